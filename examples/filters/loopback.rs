//! For the recipes' tests: two servers on the loopback device, of which a filter permits one.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::Filter;

/// The server that may be connected to; all others are what the filter is to keep a client from.
const PERMITTED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const FORBIDDEN: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// In the environment of a test that runs behind a proxy.
const BEHIND_PROXY: &str = "ISATAP_TEST_BEHIND_PROXY";

/// The servers, at one port of two addresses, and what was asked of them.
pub struct World {
    port: u16,
    intrusions: Arc<AtomicUsize>,
    lookups: Arc<AtomicUsize>,
}

impl World {
    /// Starts both servers. They end with the process.
    ///
    /// # Panics
    /// No port is free at both addresses.
    #[must_use]
    pub fn new() -> Self {
        let free = (0..100).find_map(|_| {
            let permitted = TcpListener::bind((PERMITTED, 0)).ok()?;
            let forbidden = TcpListener::bind((FORBIDDEN, permitted.local_addr().ok()?.port())).ok()?;
            Some((permitted, forbidden))
        });
        let (permitted, forbidden) = free.expect("a port that is free at both addresses");
        let port = permitted.local_addr().expect("it is bound").port();
        let world = World { port, intrusions: Arc::default(), lookups: Arc::default() };
        serve(permitted, "ok", port, Arc::default());
        serve(forbidden, "secret", port, world.intrusions.clone());
        world
    }

    /// `http://host:port/`, of either server.
    #[must_use]
    pub fn url(&self, host: &str) -> String {
        format!("http://{host}:{}/", self.port)
    }

    /// How often the forbidden server was connected to.
    #[must_use]
    pub fn intrusions(&self) -> usize {
        self.intrusions.load(Ordering::SeqCst)
    }

    /// Permits the one server. Of the names that it knows, `rebinding.test` is the permitted server when it is asked
    /// for the first time, and then the forbidden one.
    #[must_use]
    pub fn filter(&self) -> Filter {
        let lookups = self.lookups.clone();
        let resolve = move |host: &str, port| {
            let both = [PERMITTED, FORBIDDEN].map(|address| SocketAddr::from((address, port)));
            match host {
                "permitted.test" => Ok(both[..1].to_vec()),
                "both.test" => Ok(both.to_vec()),
                "rebinding.test" => Ok(vec![both[lookups.fetch_add(1, Ordering::SeqCst).min(1)]]),
                other => (Filter::public().resolve)(other, port),
            }
        };
        // Of an IPv6 address all hangs on what is hidden in it.
        let allow = |part| match part {
            IpAddr::V4(part) => part == PERMITTED,
            IpAddr::V6(part) => !part.is_loopback() && !part.is_unspecified(),
        };
        Filter { allow, resolve: Arc::new(resolve) }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// Holds a client to the five rules: `get` makes one from the world's filter and fetches a URL. `test` is the name
/// of the calling test, which is run again behind a proxy.
///
/// # Panics
/// It breaks one.
pub fn judge(test: &str, get: impl Fn(&World, &str) -> Result<String, String>) {
    let world = World::new();
    for host in ["permitted.test", "127.0.0.2", "[::ffff:127.0.0.2]"] {
        assert_eq!(get(&world, &world.url(host)).as_deref(), Ok("ok"), "{host} is permitted");
    }
    // Rules 2 to 4: names, numbers, and what is hidden in them.
    for host in [
        "localhost",
        "both.test",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "017700000001",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[::ffff:0:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:db8::5efe:7f00:1]",
        "[2001:0:808:808:0:efff:80ff:fffe]",
    ] {
        let answer = get(&world, &world.url(host));
        let is_refused = answer.as_ref().is_err_and(|error| error.contains("is refused"));
        assert!(is_refused && world.intrusions() == 0, "{host}: {answer:?}");
    }
    // Rule 5: whoever follows it is refused; whoever does not gets no body.
    let redirected = get(&world, &format!("{}away", world.url("permitted.test")));
    assert!(redirected.as_deref().unwrap_or("").is_empty() && world.intrusions() == 0, "{redirected:?}");
    // Rule 1: no second look-up.
    assert_eq!(get(&world, &world.url("rebinding.test")).as_deref(), Ok("ok"));
    assert_eq!((world.intrusions(), world.lookups.load(Ordering::SeqCst)), (0, 1));
    // Rule 5: the same again, where the environment names the forbidden server as a proxy.
    if std::env::var_os(BEHIND_PROXY).is_none() {
        let mut again = Command::new(std::env::current_exe().expect("this test is a file"));
        again.args(["--exact", test]).env(BEHIND_PROXY, "1");
        for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            again.env(name, world.url("127.0.0.1"));
        }
        let output = again.output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "behind a proxy: {text}");
        assert_eq!(world.intrusions(), 0, "nothing was asked of the proxy");
    }
}

/// An error with all that it came from.
#[must_use]
pub fn told(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", told(source)),
        None => error.to_string(),
    }
}

/// Answers `body` to each request, and sends who asks for `/away` to the forbidden server.
fn serve(listener: TcpListener, body: &'static str, port: u16, count: Arc<AtomicUsize>) {
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let answer = if lines.first().is_some_and(|line| line.contains("/away ")) {
                format!(
                    "HTTP/1.1 302 Found\r\nlocation: http://{FORBIDDEN}:{port}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                )
            } else {
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
            };
            // A client may have seen enough.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
}
