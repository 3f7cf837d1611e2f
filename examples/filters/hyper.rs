//! hyper with the client of hyper-util, by a connector of its own:
//!
//! ```text
//! cargo run -p isatap-filter-examples --example hyper_filter -- http://example.com/ 'http://[::ffff:127.0.0.1]/'
//! ```
//!
//! The mistake: to filter in the resolver of `HttpConnector::new_with_resolver`. It is asked about names only, so
//! `http://127.0.0.1/` and `http://[::ffff:127.0.0.1]/` go past it. A connector gets every host. TLS goes around it
//! (`hyper_rustls::HttpsConnectorBuilder::wrap_connector`).
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Empty};
use hyper::Uri;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use isatap_filter_examples::Filter;
use tokio::net::TcpStream;
use tower_service::Service;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = client(Filter::public());
    for url in std::env::args().skip(1) {
        println!("{url}: {:?}", runtime.block_on(get(&client, &url)).map(|body| body.len()));
    }
    Ok(())
}

/// A client that connects to permitted addresses only. It follows no redirects; each is a request of its own.
fn client(filter: Filter) -> Client<Filtered, Empty<Bytes>> {
    Client::builder(TokioExecutor::new()).build(Filtered(filter))
}

#[derive(Clone)]
struct Filtered(Filter);

impl Service<Uri> for Filtered {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let filter = self.0.clone();
        Box::pin(async move {
            let host = uri.host().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
            let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
            let addresses = tokio::task::spawn_blocking(move || filter.addresses(&host, port)).await??;
            // By address: the name is not looked up again.
            TcpStream::connect(&addresses[..]).await.map(TokioIo::new)
        })
    }
}

async fn get<C>(client: &Client<C, Empty<Bytes>>, url: &str) -> Result<String, Error>
where
    C: hyper_util::client::legacy::connect::Connect + Clone + Send + Sync + 'static,
{
    let answer = client.get(url.parse()?).await?;
    Ok(String::from_utf8_lossy(&answer.into_body().collect().await?.to_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper_util::client::legacy::connect::HttpConnector;
    use hyper_util::client::legacy::connect::dns::Name;
    use isatap_filter_examples::loopback::{World, judge, told};
    use std::net::SocketAddr;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn it_connects_to_permitted_addresses_alone() {
        let runtime = runtime();
        judge("tests::it_connects_to_permitted_addresses_alone", |world, url| {
            runtime.block_on(get(&client(world.filter()), url)).map_err(|error| told(&*error))
        });
    }

    /// A resolver that knows no name at all.
    #[derive(Clone)]
    struct Hook;

    impl Service<Name> for Hook {
        type Response = std::vec::IntoIter<SocketAddr>;
        type Error = io::Error;
        type Future = std::future::Ready<io::Result<Self::Response>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Name) -> Self::Future {
            std::future::ready(Err(io::ErrorKind::PermissionDenied.into()))
        }
    }

    #[test]
    fn the_mistake_a_resolver_hook_is_not_asked_about_numbers() {
        let (world, runtime) = (World::new(), runtime());
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new_with_resolver(Hook));
        assert!(runtime.block_on(get(&client, &world.url("localhost"))).is_err());
        for (number, host) in (1..).zip(["127.0.0.1", "[::ffff:127.0.0.1]"]) {
            let answer = runtime.block_on(get(&client, &world.url(host))).unwrap();
            assert_eq!((answer.as_str(), world.intrusions()), ("secret", number), "{host}");
        }
    }
}
