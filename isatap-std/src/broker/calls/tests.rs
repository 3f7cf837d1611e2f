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
    begin_as("t0", None, calls, url, credentials, tell)
}

/// The same as another link, which leaves by this device.
fn begin_as(
    name: &str,
    device: Option<&str>,
    calls: &Calls,
    url: &UpdateUrl,
    credentials: &Credentials,
    tell: &Sender<Told>,
) -> Updater {
    let tell = tell.clone();
    let tell = move |told| tell.send(told).unwrap();
    let binding = Binding { mark: 0, device: device.map(str::to_owned) };
    calls.begin(name, url, credentials, &binding, tell).unwrap()
}

/// A link that has this URL.
fn link(url: UpdateUrl) -> LinkSpec {
    let mut link = Tunnel::new(OLD.into());
    link.update_url = Some(url);
    LinkSpec::from(link)
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
    for name in ["t0", "t1"] {
        let (server, calls, (tell, told)) = (Server::start(), Calls::default(), channel());
        let old = begin(&calls, &server.url("old"), &credentials("pw"), &tell);
        old.follow(Some(OLD));
        let slow = server.expect("old", OLD);
        // A reload: another URL and another address, perhaps another name.
        drop(old);
        let new = begin_as(name, None, &calls, &server.url("new"), &credentials("pw"), &tell);
        calls.retain([(&link(server.url("new")), &credentials("pw"))].into_iter());
        new.follow(Some(NEW));
        server.expect_none();
        answer(slow, "good 127.0.0.2");
        answer(server.expect("new", NEW), "good 127.0.0.3");
        let text = format!("{name}: the tunnel broker 127.0.0.1 answers for 127.0.0.3: good 127.0.0.3");
        assert_eq!(told.recv_timeout(SOON), Ok(Told::Done(text)), "of the old one nobody is told");
        server.expect_none();
    }
}

#[test]
fn tun_66_a_link_of_its_own_waits_for_no_other() {
    let (server, calls, (tell, _told)) = (Server::start(), Calls::default(), channel());
    let one = begin(&calls, &server.url("x"), &credentials("pw"), &tell);
    one.follow(Some(OLD));
    let _slow = server.expect("x", OLD);
    let other = begin_as("t1", None, &calls, &server.url("y"), &credentials("pw"), &tell);
    other.follow(Some(NEW));
    drop(server.expect("y", NEW));
    // The first one is gone, and its call goes on; this one calls another server.
    drop(one);
    let elsewhere = format!("http://127.0.0.4:{}/z", server.port).parse().unwrap();
    let refused = begin_as("t2", None, &calls, &elsewhere, &credentials("pw"), &tell);
    refused.follow(Some(NEW));
    let begun = Instant::now();
    while refused.state().failure.is_none() {
        assert!(begun.elapsed() < SOON, "nobody calls");
        std::thread::sleep(Duration::from_millis(10));
    }
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

/// The thread that looks up a name cannot be woken: another one calls, and nothing comes of the look-up.
#[test]
fn tun_66_a_call_that_looks_up_a_name_is_not_waited_for() {
    let url = "http://broker.example/".parse().unwrap();
    let (way, tell) = (Way { device: None, authorities: None }, Arc::new(|_| ()));
    let link = |device: &str| Link { device: device.to_owned(), tls: None, tell: tell.clone() };
    let mut all = All::default();
    let (account, lacks_thread, _) = all.join(&url, &credentials("pw"), link("t0"), way);
    assert!(lacks_thread && !all.order(account, Order::Follow(Some(OLD))));
    let later = Instant::now() + A_WHILE;
    let Next::Call(old) = all.next(account, later) else { panic!("no call") };
    assert!(!all.order(account, Order::Ask), "it is the same address");
    assert!(matches!(all.next(account, later), Next::Wait(None)));
    assert!(all.order(account, Order::Follow(Some(NEW))));
    let Next::Call(new) = all.next(account, later + A_WHILE) else { panic!("it waits for the look-up") };
    assert_eq!((old.address, new.address), (OLD, NEW));
    // In either order.
    let shared = Shared { all: Mutex::new(all), changed: Condvar::new() };
    let cut = Call { shared: &shared, number: old.call };
    assert_eq!(cut.tell().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    assert!(Call { shared: &shared, number: new.call }.tell().is_ok());
    let mut all = shared.lock();
    assert!(all.take(old.call).is_none());
    assert!(!all.account(account).unwrap().takes_thread(), "its thread ends");
    assert_eq!(all.take(new.call).unwrap().address, NEW);
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
    let link = |tunnel: &str| link(server.url(tunnel));
    calls.retain([(&link("x"), &credentials("wrong"))].into_iter());
    let updater = begin(&calls, &url, &credentials("wrong"), &tell);
    updater.follow(Some(NEW));
    assert_eq!(updater.state().again, None);
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

/// The answer comes after the reload that took the link out of the file, and then, or before it, the link is back.
#[test]
fn tun_67_a_refusal_that_comes_after_the_link_stands_and_an_address_does_not() {
    let (server, calls, (tell, told)) = (Server::start(), Calls::default(), channel());
    let (url, pw) = (server.url("x"), credentials("pw"));
    for (text, stands) in [("badauth", true), ("911", true), ("good", false), ("what?", false)] {
        for is_back in [false, true] {
            let updater = begin(&calls, &url, &pw, &tell);
            updater.follow(Some(OLD));
            let slow = server.expect("x", OLD);
            drop(updater);
            calls.retain([].into_iter());
            let back = is_back.then(|| begin(&calls, &url, &pw, &tell));
            answer(slow, text);
            match back {
                Some(updater) => {
                    let told = told.recv_timeout(SOON).unwrap();
                    assert_eq!(matches!(told, Told::Failed(_)), stands, "{told:?}");
                    assert_eq!(updater.state().failure.is_some(), stands);
                }
                None => {
                    expect_no_thread(&calls, 0);
                    let updater = begin(&calls, &url, &pw, &tell);
                    updater.follow(Some(OLD));
                    let state = updater.state();
                    let is_soon = state.again.is_some_and(|again| again < Instant::now() + SOON);
                    assert_eq!((state.failure.is_some(), is_soon), (stands, !stands), "{text}");
                    // That of before is told to the link that has come.
                    assert_eq!(told.try_recv().is_ok(), text == "badauth");
                }
            }
            // Of the links of the next reload none has it.
            expect_no_thread(&calls, 0);
            calls.retain([].into_iter());
            assert!(calls.0.lock().accounts.is_empty());
        }
    }
}

#[test]
fn a_link_that_leaves_by_another_device_is_called_for_soon_where_calls_failed() {
    let (server, calls, (tell, told)) = (Server::start(), Calls::default(), channel());
    let url = server.url("x");
    let begin = |device| begin_as("t0", Some(device), &calls, &url, &credentials("pw"), &tell);
    let is_soon = |updater: &Updater| updater.state().again.unwrap() < Instant::now() + 2 * SOON;
    let updater = begin("isatap-absent");
    updater.follow(Some(OLD));
    let Ok(Told::Failed(text)) = told.recv_timeout(SOON) else { panic!("it is called without its device") };
    assert!(text.contains("leaving by isatap-absent: No such device"), "{text}");
    assert!(text.ends_with("see: ip -4 route get 127.0.0.1 oif isatap-absent"), "{text}");
    for _ in 0..4 {
        let failed = Outcome::Failed(updater.state().failure.unwrap());
        calls.0.lock().accounts[0].schedule.called(Instant::now(), OLD, &failed);
    }
    drop(updater);
    let updater = begin("isatap-absent");
    updater.follow(Some(OLD));
    assert!(!is_soon(&updater));
    drop(updater);
    let updater = begin("lo");
    updater.follow(Some(OLD));
    assert!(is_soon(&updater));
    updater.ask();
    answer(server.calls.recv_timeout(2 * SOON).unwrap().2, "good");
    assert!(matches!(told.recv_timeout(SOON), Ok(Told::Mended(_))));
}
