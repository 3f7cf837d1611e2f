//! Answering to the name `isatap` on the links of a router: by LLMNR and by NetBIOS (NAM-25).
//!
//! [`Responder`] does it on threads of its own, with sockets that are opened before. It answers on the
//! links that the router's addresses are on, and nowhere else; only to askers there; and only
//! after it has found that nobody else has the name. Where somebody has it the router is silent, and
//! checks again each minute: two routers on one link need two names, or the DNS.
//!
//! Beside that it keeps the name registered with WINS servers, and gives it back at the end.
//! A router with several addresses registers the first there.
//!
//! Not done: LLMNR over IPv6, NetBIOS node status, registration of other names.
//!
//! # Security
//!
//! Whoever is on the link can claim the name and so keep this router from answering to it.
//! Nothing in these protocols prevents that.

mod links;
mod server;
mod stream;
mod worker;

use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc};
use std::thread::JoinHandle;

use self::links::Link;
use self::worker::Worker;
use super::discard::{Discard, Discards};
use super::link_socket::LinkSocket;
use super::lookup::NAME;
use super::{Name, NameService, llmnr, netbios};
use crate::error::{Error, LOW_PORTS};
use crate::waker::Waker;

/// What to answer, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponderSettings {
    /// The router's addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// By what it answers.
    pub services: Vec<NameService>,
    /// WINS servers to register the name with.
    pub wins: Vec<Ipv4Addr>,
}

/// Whether a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holding {
    /// It is being asked whether somebody else has it.
    Checking,
    /// It is ours.
    Held,
    /// Another machine has it: this one, or as this server says.
    Lost(Ipv4Addr),
    /// The server does not answer.
    Silent,
    /// The server answers with an error, or the kernel refuses to listen or to send.
    Failing,
}

/// What a responder has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponderReport {
    /// Each link and service.
    pub links: Vec<LinkReport>,
    /// Each WINS server.
    pub wins: Vec<(Ipv4Addr, Holding)>,
    /// Questions that were answered.
    pub answered: u64,
    /// Messages that were not, since they should not be there.
    pub discards: Discards,
    /// Its thread has ended: nothing is answered any more.
    pub is_stopped: bool,
}

/// Whether the name is ours on one link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkReport {
    /// The interface.
    pub interface: String,
    /// By what.
    pub service: NameService,
    /// Whether it is.
    pub holding: Holding,
}

/// What the threads and their owner share.
#[derive(Debug, Default)]
struct Shared {
    report: ResponderReport,
    /// The links for those who ask by TCP.
    links: Vec<Link>,
}

/// Answers until it is dropped, which gives registered names back and takes up to half a second.
#[derive(Debug)]
pub struct Responder {
    shared: Arc<Mutex<Shared>>,
    news: UnixStream,
    /// Kept open here too: the end of a stream would be readable for ever.
    _waker: Waker,
    /// Their ends tell the threads to end.
    control: UnixStream,
    _stream: Option<UnixStream>,
    /// Dropped after those, which it waits for.
    threads: Ending,
}

impl ResponderSettings {
    /// Of a router with these addresses.
    #[must_use]
    pub fn new(addresses: Vec<Ipv4Addr>, services: Vec<NameService>) -> Self {
        ResponderSettings { addresses, services, wins: Vec::new() }
    }
}

impl Responder {
    /// Opens the ports and starts.
    ///
    /// # Errors
    ///
    /// A port is taken or not allowed, or there is no thread.
    pub fn start(settings: ResponderSettings) -> Result<Self, Error> {
        Self::start_after(settings, &mut Vec::new())
    }

    /// The same after others that are ending: it takes over their ports, and says nothing before they have said their
    /// last.
    pub(crate) fn start_after(settings: ResponderSettings, before: &mut Vec<Ending>) -> Result<Self, Error> {
        let ports = Ports::open(&settings.services, before)?;
        let lent = ports.lend(before);
        let Ports { listen, listener, names } = ports;
        let before = std::mem::take(before);
        let no_thread = |error| Error::refused("answer to the name", NAME, error);
        let begin = || {
            let (waker, news) = Waker::pair()?;
            let shared = Arc::new(Mutex::new(Shared::default()));
            let mut threads = Vec::new();
            let (control, of_worker) = UnixStream::pair()?;
            of_worker.set_nonblocking(true)?;
            let check = listen.is_some().then(|| LinkSocket::open(0).map(Arc::new)).transpose()?;
            let of_thread = waker.clone();
            let mut worker = Worker::new(settings, [listen, check, names], of_worker, shared.clone(), of_thread);
            let (begun, is_begun) = mpsc::channel::<()>();
            threads.push(crate::thread::spawn("isatap-answer", move || {
                drop(before);
                worker.begin();
                drop(begun);
                worker.run();
            })?);
            let mut stream = None;
            if let Some(listener) = listener {
                let (ours, theirs) = UnixStream::pair()?;
                let shared = shared.clone();
                threads.push(crate::thread::spawn("isatap-tcp", move || {
                    // Those before have said their last then, and the links are known. Nothing is sent: it ends.
                    let _ = is_begun.recv();
                    stream::serve(&listener, &theirs, &shared);
                })?);
                stream = Some(ours);
            }
            let threads = Ending { ports: lent, threads };
            Ok(Self { shared, news, _waker: waker, control, _stream: stream, threads })
        };
        begin().map_err(no_thread)
    }

    /// Whether one could start by these services, after those that are ending; nothing stays open.
    ///
    /// # Errors
    ///
    /// A port is taken or not allowed.
    pub(crate) fn check_free(services: &[NameService], before: &[Ending]) -> Result<(), Error> {
        Ports::open(services, before).map(drop)
    }

    /// Has its threads end: they give registered names back. Who keeps what is returned does not wait for that.
    pub(crate) fn end(self) -> Ending {
        let Self { threads, .. } = self;
        threads
    }

    /// Addresses or links of this machine are others.
    pub fn refresh(&self) {
        use std::io::Write as _;
        // A full pipe says the same already.
        let _ = (&self.control).write(&[0]);
    }

    /// What it has done so far.
    #[must_use]
    pub fn report(&self) -> ResponderReport {
        lock(&self.shared).report.clone()
    }

    /// The same, once it is readable: whether the name is ours has changed somewhere.
    pub fn take_news(&mut self) -> ResponderReport {
        while matches!((&self.news).read(&mut [0; 16]), Ok(1..)) {}
        self.report()
    }
}

/// A responder whose threads are ending. Dropped, it waits for them.
#[derive(Debug)]
pub(crate) struct Ending {
    ports: LentPorts,
    threads: Vec<JoinHandle<()>>,
}

impl Ending {
    /// Whether they have ended.
    pub(crate) fn is_over(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The ports of threads, and of those that they wait for, which are open as long as these run.
#[derive(Debug)]
struct LentPorts {
    listen: Weak<LinkSocket>,
    listener: Weak<TcpListener>,
    names: Weak<LinkSocket>,
}

/// What is opened before the threads begin.
struct Ports {
    listen: Option<Arc<LinkSocket>>,
    listener: Option<Arc<TcpListener>>,
    names: Option<Arc<LinkSocket>>,
}

impl Ports {
    /// Those of threads that are ending are taken over: the kernel has each only once, and a process that has given up its
    /// privileges may not open it again.
    fn open(services: &[NameService], before: &[Ending]) -> Result<Self, Error> {
        let takes = |service| services.contains(&service);
        let other = "leave llmnr out of answer-by, or end the other (ss -lntup 'sport = :5355'), as by LLMNR=no in \
                     /etc/systemd/resolved.conf";
        let samba = "leave netbios out of answer-by, or end the other (ss -lnup 'sport = :137'), as nmbd";
        let of_llmnr = || {
            let port = port(before, |lent| &lent.listen, || LinkSocket::open(llmnr::PORT));
            port.map_err(refused("UDP port 5355", other))
        };
        let by_tcp = || port(before, |lent| &lent.listener, stream::listen).map_err(refused("TCP port 5355", other));
        let of_netbios = || {
            let port = port(before, |lent| &lent.names, || LinkSocket::open(netbios::PORT));
            port.map_err(refused("UDP port 137", samba))
        };
        Ok(Self {
            listen: takes(NameService::Llmnr).then(of_llmnr).transpose()?,
            listener: takes(NameService::Llmnr).then(by_tcp).transpose()?,
            names: takes(NameService::Netbios).then(of_netbios).transpose()?,
        })
    }

    /// Those that are not opened may still be open in threads that are waited for.
    fn lend(&self, before: &[Ending]) -> LentPorts {
        fn weak<T>(opened: Option<&Arc<T>>, earlier: Option<Arc<T>>) -> Weak<T> {
            opened.or(earlier.as_ref()).map(Arc::downgrade).unwrap_or_default()
        }
        LentPorts {
            listen: weak(self.listen.as_ref(), lent(before, |lent| &lent.listen)),
            listener: weak(self.listener.as_ref(), lent(before, |lent| &lent.listener)),
            names: weak(self.names.as_ref(), lent(before, |lent| &lent.names)),
        }
    }
}

/// A port that threads have which are ending, or that is opened now.
fn port<T>(
    before: &[Ending],
    of: impl Fn(&LentPorts) -> &Weak<T>,
    open: impl FnOnce() -> io::Result<T>,
) -> io::Result<Arc<T>> {
    lent(before, of).map_or_else(|| open().map(Arc::new), Ok)
}

fn lent<T>(before: &[Ending], of: impl Fn(&LentPorts) -> &Weak<T>) -> Option<Arc<T>> {
    before.iter().find_map(|ending| of(&ending.ports).upgrade())
}

fn refused(port: &'static str, if_taken: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |error| {
        let kind = error.kind();
        let error = Error::refused("answer to the name isatap at", port, error);
        match kind {
            ErrorKind::AddrInUse => error.with_advice(if_taken),
            ErrorKind::PermissionDenied => error.with_advice(format!(
                "{LOW_PORTS}: start the daemon again, as root, or leave netbios out of answer-by"
            )),
            _ => error,
        }
    }
}

impl AsFd for Responder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.news.as_fd()
    }
}

/// The name that is answered to.
fn router_name() -> Name {
    NAME.parse().expect("a label of letters")
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn discard(&mut self, reason: Discard) {
        self.report.discards.count(reason);
    }

    fn answered(&mut self) {
        self.report.answered = self.report.answered.saturating_add(1);
    }
}

impl Holding {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Holding::Checking => "checking",
            Holding::Held => "held",
            Holding::Lost(_) => "lost",
            Holding::Silent => "silent",
            Holding::Failing => "failing",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nam_25_a_port_is_taken_over_from_one_that_another_waits_for_which_ends_too() {
        let open = Arc::new(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let ending = |listener: Option<Arc<TcpListener>>, before: &[Ending]| {
            let ports = Ports { listen: None, listener, names: None };
            Ending { ports: ports.lend(before), threads: Vec::new() }
        };
        let taken = |before: &[Ending]| port(before, |lent| &lent.listener, || Err(ErrorKind::AddrInUse.into()));
        // The second answers by other services.
        let second = ending(None, &[ending(Some(open.clone()), &[])]);
        let third = taken(&[second]).unwrap();
        assert!(Arc::ptr_eq(&third, &open));
        // With the last of its threads it is closed.
        let second = ending(None, &[ending(Some(open), &[])]);
        drop(third);
        assert_eq!(taken(&[second]).unwrap_err().kind(), ErrorKind::AddrInUse);
    }
}
