//! reqwest, by a resolver, a look at numbers, and a redirect policy:
//!
//! ```text
//! cargo run -p isatap-filter-examples --example reqwest_filter -- http://example.com/ 'http://[::ffff:127.0.0.1]/'
//! ```
//!
//! The mistake: to filter in `dns_resolver` alone. It is asked about names only. `http://127.0.0.1/`,
//! `http://2130706433/`, `http://0x7f.1/` and `http://[::ffff:127.0.0.1]/` go past it, in the first URL and in the
//! redirects that reqwest follows; and a proxy from the environment connects in its place.
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::net::IpAddr;

use isatap_filter_examples::Filter;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Filtered::new(Filter::public())?;
    for url in std::env::args().skip(1) {
        println!("{url}: {:?}", runtime.block_on(client.get(&url)).map(|body| body.len()));
    }
    Ok(())
}

/// A client that connects to permitted addresses only. Its `Client` must not be used but by way of this.
struct Filtered {
    client: Client,
    filter: Filter,
}

impl Filtered {
    fn new(filter: Filter) -> reqwest::Result<Self> {
        let of_redirects = filter.clone();
        let redirects = redirect::Policy::custom(move |attempt| match number(&of_redirects, attempt.url()) {
            Err(refused) => attempt.error(refused),
            Ok(()) if attempt.previous().len() > 5 => attempt.error("too many redirects"),
            Ok(()) => attempt.follow(),
        });
        let client = Client::builder().no_proxy().redirect(redirects).dns_resolver(Names(filter.clone())).build()?;
        Ok(Filtered { client, filter })
    }

    async fn get(&self, url: &str) -> Result<String, Error> {
        let url: Url = url.parse()?;
        number(&self.filter, &url)?;
        Ok(self.client.get(url).send().await?.text().await?)
    }
}

/// The hosts that the resolver is not asked about. A `Url` has written them as addresses, however they came.
fn number(filter: &Filter, url: &Url) -> Result<(), Error> {
    let host = url.host_str().unwrap_or("").trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(address) if !filter.permits(address) => Err(format!("{address} is refused").into()),
        _ => Ok(()),
    }
}

struct Names(Filter);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let filter = self.0.clone();
        Box::pin(async move {
            // The URL's port replaces the 0.
            let found = tokio::task::spawn_blocking(move || filter.addresses(name.as_str(), 0)).await??;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isatap_filter_examples::loopback::{World, judge, told};

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn it_connects_to_permitted_addresses_alone() {
        let runtime = runtime();
        judge("tests::it_connects_to_permitted_addresses_alone", |world, url| {
            let client = Filtered::new(world.filter()).unwrap();
            runtime.block_on(client.get(url)).map_err(|error| told(&*error))
        });
    }

    #[test]
    fn the_mistake_a_resolver_hook_is_not_asked_about_numbers() {
        let (world, runtime) = (World::new(), runtime());
        let client = Client::builder().no_proxy().dns_resolver(Names(world.filter())).build().unwrap();
        let get = |url: String| runtime.block_on(async { client.get(url).send().await?.text().await });
        assert!(get(world.url("localhost")).is_err());
        let numbers = ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"].map(|host| world.url(host));
        let redirect = world.url("permitted.test") + "away";
        for (number, url) in (1..).zip(numbers.into_iter().chain([redirect])) {
            assert_eq!((get(url.clone()).unwrap().as_str(), world.intrusions()), ("secret", number), "{url}");
        }
    }
}
