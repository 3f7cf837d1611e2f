//! Against a server that answers when the test says so.

use super::*;
use crate::spec::Tunnel;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

const OLD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const NEW: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const SOON: Duration = Duration::from_secs(10);
/// Longer than a change waits for others.
const A_WHILE: Duration = Duration::from_secs(1);

/// Of a CA that signs nothing.
const CA: &[u8] = b"\
-----BEGIN CERTIFICATE-----
MIIBbzCCARWgAwIBAgIUYwZVynOvAXxztzayx7EzzAMNbRcwCgYIKoZIzj0EAwIw
DTELMAkGA1UEAwwCY2EwHhcNMjYxMTMwMTU0MzEwWhcNMjYxMjAyMTU0MzEwWjAN
MQswCQYDVQQDDAJjYTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABPpiMMCxAtl6
mOIB+1/ecy9J4RGYDKs5UaULorriwTjirlQlAubkKRnwcswi/JbyZOfibS+U6dsU
8h1kb+lnyD6jUzBRMB0GA1UdDgQWBBQCKIz2Pq6e028kK81IPf8tANia/jAfBgNV
HSMEGDAWgBQCKIz2Pq6e028kK81IPf8tANia/jAPBgNVHRMBAf8EBTADAQH/MAoG
CCqGSM49BAMCA0gAMEUCIEUhj2MyRDRNCK05PoTxI5G3tQGs8lx7ZOKX+npiXj0B
AiEA2CHMho/vou0/9POe60mXXsCeEnQhv9SNnerKYDyH5Wc=
-----END CERTIFICATE-----
";

/// Each call: where it comes from, its first line, and the connection that waits for an answer.
struct Server {
    port: u16,
    calls: Receiver<(IpAddr, String, TcpStream)>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (heard, calls) = channel();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let heard = heard.clone();
                std::thread::spawn(move || {
                    let mut text = Vec::new();
                    let mut byte = [0];
                    while !text.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                        text.extend(byte);
                    }
                    let line = String::from_utf8(text).unwrap().lines().next().unwrap_or_default().to_owned();
                    let from = stream.peer_addr().unwrap().ip();
                    // The test may be over.
                    let _ = heard.send((from, line, stream));
                });
            }
        });
        Self { port, calls }
    }

    fn url(&self, tunnel: &str) -> UpdateUrl {
        format!("http://127.0.0.1:{}/{tunnel}", self.port).parse().unwrap()
    }

    /// The next call is for this tunnel, from this address.
    fn expect(&self, tunnel: &str, from: Ipv4Addr) -> TcpStream {
        let (address, line, stream) = self.calls.recv_timeout(SOON).expect("nobody calls");
        assert_eq!((address, line), (from.into(), format!("GET /{tunnel} HTTP/1.1")));
        stream
    }

    fn expect_none(&self) {
        assert!(self.calls.recv_timeout(A_WHILE).is_err());
    }
}

fn answer(mut stream: TcpStream, text: &str) {
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()).unwrap();
}

fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let begun = Instant::now();
    listener.set_nonblocking(true).unwrap();
    loop {
        match listener.accept() {
            Ok((stream, from)) => {
                stream.set_nonblocking(false).unwrap();
                return (stream, from);
            }
            Err(error) => assert!(error.kind() == io::ErrorKind::WouldBlock && begun.elapsed() < SOON, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Until the other end closes or is cut.
fn expect_cut(mut stream: TcpStream) {
    stream.set_read_timeout(Some(SOON)).unwrap();
    let end = stream.read_to_end(&mut Vec::new());
    assert!(end.as_ref().map_or_else(|error| error.kind() == io::ErrorKind::ConnectionReset, |_| true), "{end:?}");
}

fn credentials(password: &str) -> Credentials {
    let login = Login { user: "me".to_owned(), password: password.to_owned() };
    Credentials { login: Some(login), authorities: None }
}

/// Begins, as the link t0.
fn begin(calls: &Calls, url: &UpdateUrl, credentials: &Credentials, tell: &Sender<Told>) -> Updater {
    let tell = tell.clone();
    let tell = move |told| tell.send(told).unwrap();
    calls.begin("t0", url, credentials, &Binding::default(), tell).unwrap()
}

/// No thread has what calls have.
fn expect_no_thread(calls: &Calls, updaters: usize) {
    let begun = Instant::now();
    while Arc::strong_count(&calls.0) > 1 + updaters {
        assert!(begun.elapsed() < SOON, "a thread goes on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn tun_66_what_the_broker_is_told_last_is_the_new_address() {
    let (server, calls, (tell, told)) = (Server::start(), Calls::default(), channel());
    let old = begin(&calls, &server.url("old"), &credentials("pw"), &tell);
    old.follow(Some(OLD));
    let slow = server.expect("old", OLD);
    // A reload: another URL and another address.
    drop(old);
    let new = begin(&calls, &server.url("new"), &credentials("pw"), &tell);
    new.follow(Some(NEW));
    server.expect_none();
    answer(slow, "good 127.0.0.2");
    answer(server.expect("new", NEW), "good 127.0.0.3");
    let text = "t0: the tunnel broker 127.0.0.1 answers for 127.0.0.3: good 127.0.0.3".to_owned();
    assert_eq!(told.recv_timeout(SOON), Ok(Told::Done(text)), "of the old one nobody is told");
    server.expect_none();
}

#[test]
fn tun_66_a_call_that_has_told_nothing_is_cut_by_another_address_and_by_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://127.0.0.1:{}/", listener.local_addr().unwrap().port()).parse().unwrap();
    let authorities = Some(Authorities { file: "ca.pem".to_owned(), text: CA.to_vec() });
    let (calls, (tell, told)) = (Calls::default(), channel());
    let updater = begin(&calls, &url, &Credentials { login: None, authorities }, &tell);
    updater.follow(Some(OLD));
    // It never gets as far as the request: nobody answers its first message.
    let (stream, from) = accept(&listener);
    assert_eq!(from.ip(), OLD);
    updater.follow(Some(NEW));
    expect_cut(stream);
    let (stream, from) = accept(&listener);
    assert_eq!((from.ip(), updater.state().failure), (NEW.into(), None));
    calls.end();
    expect_cut(stream);
    expect_no_thread(&calls, 1);
    assert!(told.try_recv().is_err());
}

#[test]
fn tun_66_only_a_call_that_may_tell_something_is_waited_for() {
    let (server, calls, (tell, _told)) = (Server::start(), Calls::default(), channel());
    for (has_told, is_cut) in [(false, false), (true, false), (true, true), (false, true)] {
        let other = UnderWay { account: 0, device: "t0".to_owned(), address: OLD, socket: None, has_told, is_cut };
        calls.0.lock().under_way = vec![other];
        let updater = begin(&calls, &server.url("x"), &credentials("pw"), &tell);
        updater.follow(Some(NEW));
        match has_told || !is_cut {
            true => server.expect_none(),
            false => drop(server.expect("x", NEW)),
        }
    }
}

#[test]
fn the_end_waits_for_no_broker_and_nobody_is_told_afterwards() {
    let (server, calls, (tell, told)) = (Server::start(), Calls::default(), channel());
    let updater = begin(&calls, &server.url("slow"), &credentials("pw"), &tell);
    updater.follow(Some(OLD));
    let stream = server.expect("slow", OLD);
    calls.end();
    expect_cut(stream);
    drop(updater);
    expect_no_thread(&calls, 0);
    assert!(told.try_recv().is_err());
}

#[test]
fn tun_67_a_refusal_stands_until_url_or_login_is_another() {
    let (server, calls, (tell, told)) = (Server::start(), Calls::default(), channel());
    let url = server.url("x");
    let updater = begin(&calls, &url, &credentials("wrong"), &tell);
    updater.follow(Some(OLD));
    answer(server.expect("x", OLD), "badauth");
    assert!(matches!(told.recv_timeout(SOON), Ok(Told::Failed(text)) if text.starts_with("t0: ")));
    drop(updater);
    // The thread has ended, and what is known is kept while a link is to have it.
    expect_no_thread(&calls, 0);
    let link = |tunnel: &str| {
        let mut link = Tunnel::new(OLD.into());
        link.update_url = Some(server.url(tunnel));
        LinkSpec::from(link)
    };
    calls.retain([(&link("x"), &credentials("wrong"))].into_iter());
    let updater = begin(&calls, &url, &credentials("wrong"), &tell);
    updater.follow(Some(NEW));
    server.expect_none();
    let why = updater.state().failure.unwrap();
    assert!(matches!(told.try_recv(), Ok(Told::Failed(text)) if text.ends_with(&format!("is not called: {why}"))));
    for (tunnel, password) in [("x", "right"), ("y", "wrong")] {
        let other = begin(&calls, &server.url(tunnel), &credentials(password), &tell);
        other.follow(Some(NEW));
        answer(server.expect(tunnel, NEW), "good");
    }
    drop(updater);
    // Something else was configured meanwhile.
    calls.retain([(&link("y"), &credentials("wrong")), (&link("x"), &credentials("right"))].into_iter());
    let updater = begin(&calls, &url, &credentials("wrong"), &tell);
    updater.follow(Some(NEW));
    answer(server.expect("x", NEW), "good");
    assert_eq!(calls.0.lock().accounts.len(), 3);
}

#[test]
fn tun_67_a_link_that_changes_otherwise_is_not_called_for() {
    let (server, calls, (tell, told)) = (Server::start(), Calls::default(), channel());
    let updater = begin(&calls, &server.url("x"), &credentials("pw"), &tell);
    updater.follow(Some(OLD));
    answer(server.expect("x", OLD), "good");
    assert!(told.recv_timeout(SOON).is_ok());
    drop(updater);
    let updater = begin(&calls, &server.url("x"), &credentials("pw"), &tell);
    updater.follow(Some(OLD));
    server.expect_none();
    let state = updater.state();
    assert_eq!((state.address, state.answer.as_deref(), state.again), (Some(OLD), Some("good"), None));
}
