//! The socket by which `isatap status` and `isatap doctor` ask a running daemon.
//!
//! One JSON object on one line asks, one answers, and the connection ends:
//!
//! ```text
//! {"ask":"status"}                       -> the JSON of `isatap status -j`
//! {"ask":"evidence"}                     -> the same and more, for `isatap doctor` to judge
//! {"ask":"solicit"}                      -> {"asked":["10.0.0.1"]}: routers are asked now
//! {"ask":"monitor"}                      -> {"time":…,"dev":"isatap0","event":"status",…}, and then a
//!                                           line for each event, until one of both hangs up
//! {"ask":"something new"}                -> {"error":"…"}
//! ```
//!
//! Requests may get more members and there may be more of them; a daemon that does not know
//! one says so. Whoever may write to the socket (mode 0660) may ask; nothing can be changed
//! by it but the time of the next solicitation. A client that asks nothing is hung up on
//! after 5 seconds.

mod monitors;
mod watch;

pub(crate) use self::monitors::Monitors;
pub use self::watch::{Heard, Watch};

use crate::error::Error;
use crate::runtime_dir::{Claim, RuntimeDir, new_owner};
use isatap_core::packet::LinkId;
use isatap_core::time::Instant;
use nix::sys::stat::{Mode, umask};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

/// What a daemon can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Request {
    /// What it knows and has counted.
    Status,
    /// The same, and what bears on why something does not work.
    Evidence,
    /// To ask its routers, relay, server or tunnel broker now.
    Solicit,
    /// The same for an examination, which may be repeated: a tunnel broker would lock out who asks too often.
    Examine,
    /// To tell what happens from now on: see [`Watch`].
    Monitor,
}

/// The answer to [`Request::Solicit`] and [`Request::Examine`].
pub(crate) fn solicited(asked: Result<Vec<Ipv4Addr>, &'static str>) -> serde_json::Value {
    match asked {
        Ok(asked) => serde_json::json!({ "asked": asked }),
        Err(why) => serde_json::json!({ "error": why }),
    }
}

/// Asks the daemon of a device and waits for its answer, 5 s at most.
///
/// # Errors
///
/// No daemon has the device: kind [`ErrorKind::NotFound`], and the error names those that there
/// are. No permission, or no answer. Of a daemon that [`ended`] before it answered, the error says
/// so. What the daemon refuses is of kind [`ErrorKind::Other`].
pub fn ask(runtime: &RuntimeDir, device: &str, request: Request) -> Result<serde_json::Value, Error> {
    let refused = |error: io::Error| {
        if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) {
            let nobody = io::Error::new(ErrorKind::NotFound, "no daemon has this device");
            let advice = runtime.instead_of(device).unwrap_or_else(|| "start one: see isatap --help".to_owned());
            return Error::refused("ask", device, nobody).with_advice(advice);
        }
        let error = Error::refused("ask the daemon of", device, error);
        if ended(&error) { error.with_advice("it ended before it answered: ask again") } else { error }
    };
    converse(&runtime.socket(device), request).map_err(refused)
}

/// Asks all processes that have rules of the port proxy for the [`Request::Status`] of each rule.
/// Those that have ended, or end meanwhile, are no error.
///
/// # Errors
///
/// No permission, or no answer.
pub fn ask_port_proxies(runtime: &RuntimeDir) -> Result<Vec<serde_json::Value>, Error> {
    let mut rules = Vec::new();
    for socket in runtime.port_proxies() {
        match converse(&socket, Request::Status) {
            Ok(mut answer) => match answer.get_mut("portproxy").map(serde_json::Value::take) {
                Some(serde_json::Value::Array(of_it)) => rules.extend(of_it),
                _ => {
                    let error = io::Error::other("the answer has no rules");
                    return Err(Error::refused("ask the port proxy at", socket.display(), error));
                }
            },
            Err(error) => {
                let is_gone = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused);
                let error = Error::refused("ask the port proxy at", socket.display(), error);
                if !is_gone && !ended(&error) {
                    return Err(error);
                }
            }
        }
    }
    Ok(rules)
}

/// One question, and its answer.
fn converse(socket: &Path, request: Request) -> io::Result<serde_json::Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    if BufReader::new(stream).read_line(&mut answer)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    match answer.get("error").and_then(serde_json::Value::as_str) {
        Some(why) => Err(io::Error::other(why.to_owned())),
        None => Ok(answer),
    }
}

/// Whether [`ask`] failed because the daemon ended between the question and the answer.
pub fn ended(error: &Error) -> bool {
    let kind = error.io_error().map(io::Error::kind);
    matches!(kind, Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof))
}

/// Where one device's daemon is asked.
#[derive(Debug)]
pub(crate) struct Listener(UnixListener);

impl Listener {
    /// Listens at the place of the claim, whose drop removes the socket.
    pub(crate) fn open(claim: &Claim) -> Result<Self, Error> {
        let path = claim.socket();
        let open = || -> io::Result<UnixListener> {
            // Not by its name afterwards: a link may stand there by then.
            let umask = umask(Mode::from_bits_truncate(0o117));
            let listener = UnixListener::bind(path);
            nix::sys::stat::umask(umask);
            let listener = listener?;
            if let Some((uid, gid)) = new_owner() {
                std::os::unix::fs::lchown(path, Some(uid), Some(gid))?;
            }
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        open().map(Self).map_err(|error| Error::refused("listen at", path.display(), error))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Those who are asking. None can make the loop wait: what does not come or go at once is
/// waited for, for a while, and the oldest of too many is hung up on.
#[derive(Debug, Default)]
pub(crate) struct Server {
    clients: Vec<Client>,
    next: u32,
    retry: Option<Instant>,
    not_accepted: u64,
}

#[derive(Debug)]
struct Client {
    number: u32,
    link: LinkId,
    stream: UnixStream,
    line: Vec<u8>,
    patience: Instant,
}

const MOST_CLIENTS: usize = 16;
const LONGEST_REQUEST: usize = 4096;
/// As long as [`ask`] waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Until a client that could not be accepted is tried again.
const RETRY: Duration = Duration::from_secs(1);

impl Server {
    /// The next who wants to ask about the link `link`: a number, and what to watch.
    ///
    /// The listener is to be watched [for what is new](crate::driver::Watcher::watch_edge): a
    /// client that cannot be accepted, for lack of descriptors, stays there, and would keep the
    /// loop busy. It is tried again after [`deadline`](Self::deadline).
    ///
    /// # Errors
    ///
    /// A client could not be accepted; told once.
    pub(crate) fn accept(
        &mut self,
        now: Instant,
        listener: &Listener,
        link: LinkId,
    ) -> Result<Option<(u32, BorrowedFd<'_>)>, Error> {
        let accepted = listener.0.accept().and_then(|(stream, _)| stream.set_nonblocking(true).map(|()| stream));
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => {
                self.retry = Some(now.saturating_add(RETRY));
                self.not_accepted += 1;
                let told = Error::refused("accept", "who asks for the status", error).with_advice(
                    "it is tried again each second; raise the limit on open files (ulimit -n, LimitNOFILE=)",
                );
                return if self.not_accepted == 1 { Err(told) } else { Ok(None) };
            }
        };
        if self.clients.len() >= MOST_CLIENTS {
            self.clients.remove(0);
        }
        let number = self.next;
        self.next = (self.next + 1) % (1 << 30);
        let patience = now.saturating_add(PATIENCE);
        self.clients.push(Client { number, link, stream, line: Vec::new(), patience });
        Ok(self.clients.last().map(|client| (number, client.stream.as_fd())))
    }

    /// When [`expire`](Self::expire) is to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.clients.iter().map(|client| client.patience).chain(self.retry).min()
    }

    /// Hangs up on those who have asked nothing for too long. `true`: clients wait to be
    /// accepted.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        self.clients.retain(|client| client.patience > now);
        self.retry.take_if(|due| *due <= now).is_some()
    }

    /// Hangs up on those who ask about a link that is gone.
    pub(crate) fn forget(&mut self, link: LinkId) {
        self.clients.retain(|client| client.link != link);
    }

    /// Adds how often a client could not be accepted.
    pub(crate) fn count(&self, counters: &mut BTreeMap<String, u64>) {
        if self.not_accepted > 0 {
            counters.insert("accept-failed".to_owned(), self.not_accepted);
        }
    }

    /// What a client has asked, once its line is complete, and of which link.
    pub(crate) fn read(&mut self, number: u32) -> Option<(LinkId, Result<Request, String>)> {
        let at = self.clients.iter().position(|client| client.number == number)?;
        let client = self.clients.get_mut(at)?;
        let mut bytes = [0; 512];
        loop {
            match client.stream.read(&mut bytes) {
                Ok(0) => {
                    self.clients.remove(at);
                    return None;
                }
                Ok(count) => client.line.extend_from_slice(bytes.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => {
                    self.clients.remove(at);
                    return None;
                }
            }
            if let Some(end) = client.line.iter().position(|byte| *byte == b'\n') {
                let line = client.line.get(..end).unwrap_or_default();
                let request = serde_json::from_slice(line);
                return Some((client.link, request.map_err(|error| format!("not understood: {error}"))));
            }
            if client.line.len() > LONGEST_REQUEST {
                return Some((client.link, Err(format!("a request has at most {LONGEST_REQUEST} bytes"))));
            }
        }
    }

    /// Gives the connection of a client away, to be answered for longer.
    pub(crate) fn take(&mut self, number: u32) -> Option<UnixStream> {
        let at = self.clients.iter().position(|client| client.number == number)?;
        Some(self.clients.remove(at).stream)
    }

    /// Answers and hangs up. The kernel's buffer holds any answer; a client that does not
    /// read, and so has filled it, gets what fits.
    pub(crate) fn answer(&mut self, number: u32, answer: &serde_json::Value) {
        let Some(at) = self.clients.iter().position(|client| client.number == number) else { return };
        let mut client = self.clients.remove(at);
        let mut line = answer.to_string();
        line.push('\n');
        let _ = client.stream.write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    struct Scratch(RuntimeDir);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("isatap-control-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(RuntimeDir::at(path))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(self.0.path());
        }
    }

    /// Serves one client to its end, as the loop would.
    fn serve(listener: &Listener, respond: impl Fn(Result<Request, String>) -> serde_json::Value) {
        let mut server = Server::default();
        let number = loop {
            if let Some((number, _)) = server.accept(Instant::ZERO, listener, LinkId(7)).unwrap() {
                break number;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        while server.clients.iter().any(|client| client.number == number) {
            if let Some((link, request)) = server.read(number) {
                assert_eq!(link, LinkId(7));
                server.answer(number, &respond(request));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_request_is_answered_on_one_line() {
        let scratch = Scratch::new("answer");
        let claim = scratch.0.claim("isatap0").unwrap();
        let listener = Listener::open(&claim).unwrap();
        let mode = fs::metadata(claim.socket()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let answer = std::thread::scope(|scope| {
            scope.spawn(|| {
                serve(&listener, |request| {
                    assert_eq!(request, Ok(Request::Status));
                    serde_json::json!({ "dev": "isatap0" })
                });
            });
            ask(&scratch.0, "isatap0", Request::Status).unwrap()
        });
        assert_eq!(answer["dev"], "isatap0");
    }

    #[test]
    fn what_is_not_understood_is_told_and_slow_clients_wait() {
        let scratch = Scratch::new("error");
        let claim = scratch.0.claim("isatap0").unwrap();
        let listener = Listener::open(&claim).unwrap();
        let mut stream = UnixStream::connect(claim.socket()).unwrap();
        let text = std::thread::scope(|scope| {
            scope.spawn(|| {
                serve(&listener, |request| serde_json::json!({ "error": request.unwrap_err() }));
            });
            stream.write_all(b"{\"ask\":\"no").unwrap();
            std::thread::sleep(Duration::from_millis(20));
            stream.write_all(b"nsense\"}\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        });
        assert!(text.contains("not understood: unknown variant `nonsense`"), "{text}");
    }

    #[test]
    fn too_many_clients_do_not_pile_up() {
        let scratch = Scratch::new("many");
        let claim = scratch.0.claim("isatap0").unwrap();
        let listener = Listener::open(&claim).unwrap();
        let mut server = Server::default();
        let streams: Vec<_> = (0..40).map(|_| UnixStream::connect(claim.socket()).unwrap()).collect();
        while server.accept(Instant::ZERO, &listener, LinkId(0)).unwrap().is_some() {}
        assert_eq!(server.clients.len(), MOST_CLIENTS);
        drop(streams);
    }

    #[test]
    fn who_asks_nothing_is_hung_up_on() {
        let scratch = Scratch::new("silent");
        let claim = scratch.0.claim("isatap0").unwrap();
        let listener = Listener::open(&claim).unwrap();
        let mut server = Server::default();
        let mut silent = UnixStream::connect(claim.socket()).unwrap();
        server.accept(Instant::ZERO, &listener, LinkId(0)).unwrap().unwrap();
        assert_eq!(server.deadline(), Some(Instant::from_secs(5)));
        assert!(!server.expire(Instant::from_micros(4_999_999)));
        assert_eq!(server.clients.len(), 1);
        assert!(!server.expire(Instant::from_secs(5)));
        assert_eq!(server.deadline(), None);
        assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    }

    /// By closing the connection before the request was read, or after: the first resets it.
    #[test]
    fn a_daemon_that_ends_while_it_is_asked_is_told() {
        for reads in [false, true] {
            let scratch = Scratch::new(if reads { "end" } else { "reset" });
            let claim = scratch.0.claim("isatap0").unwrap();
            let listener = UnixListener::bind(claim.socket()).unwrap();
            let error = std::thread::scope(|scope| {
                scope.spawn(|| {
                    let (mut stream, _) = listener.accept().unwrap();
                    if reads {
                        stream.read_to_end(&mut Vec::new()).unwrap();
                    }
                });
                ask(&scratch.0, "isatap0", Request::Status).unwrap_err()
            });
            assert!(ended(&error), "{error}");
            assert!(error.to_string().ends_with("it ended before it answered: ask again"), "{error}");
        }
    }

    #[test]
    fn a_device_without_a_daemon_is_told_with_those_that_have_one() {
        let scratch = Scratch::new("nobody");
        let told = |device: &str| ask(&scratch.0, device, Request::Status).unwrap_err().to_string();
        let nobody = |device: &str| format!("cannot ask {device}: no daemon has this device; ");
        assert_eq!(told("isatp0"), nobody("isatp0") + "start one: see isatap --help");
        let listens = |device: &str| {
            let claim = scratch.0.claim(device).unwrap();
            (Listener::open(&claim).unwrap(), claim)
        };
        let _daemons = [listens("isatap0"), listens("tun6to4")];
        assert_eq!(told("isatp0"), nobody("isatp0") + "write isatap0; there are: isatap0, tun6to4");
        assert_eq!(told("eth0"), nobody("eth0") + "there are: isatap0, tun6to4");
    }
}
