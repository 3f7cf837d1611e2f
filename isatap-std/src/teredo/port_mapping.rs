//! Asking the NAT to open the service port: by PCP, NAT-PMP or UPnP. [RFC 6081 §5.3]
//!
//! A mapping that holds for everybody lets peers in that the NAT would otherwise keep out,
//! above all where it is symmetric: the client tells them of it. A thread of its own talks to
//! the gateway, so that the loop never waits; it asks again in time, and takes the mapping
//! back in the end.
//!
//! # Security limits
//!
//! Whoever knows the port can then send to it, not only who was sent to: so it is off unless
//! wanted. The gateway is believed, and the protocols are not encrypted: whoever can answer in
//! its place on the local network can tell a wrong address, to which peers then send bubbles.

#[cfg(feature = "pcp")]
mod pcp;
#[cfg(feature = "upnp")]
mod upnp;

use crate::error::Error;
use crate::spec::PortMapping;
use crate::waker::Waker;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::{Duration, Instant};

/// What a gateway has granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapped {
    /// How the world sees the port.
    pub(crate) external: SocketAddrV4,
    /// `PCP`, `NAT-PMP` or `UPnP`.
    pub(crate) by: &'static str,
    renew_after: Duration,
    /// Why the next daemon could not take it back, should this one be killed.
    pub(crate) forgotten: Option<String>,
}

/// One protocol, blocking.
trait Method: Send {
    /// Gets a mapping for `local`, or renews the one that there is. Ends within some seconds.
    fn map(&mut self, gateway: Ipv4Addr, local: SocketAddrV4) -> Result<Mapped, String>;

    /// Takes it back.
    fn unmap(&mut self);
}

/// What to map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    gateway: Ipv4Addr,
    local: SocketAddrV4,
}

/// How it went; again whenever that changes.
pub(crate) type Outcome = Result<Mapped, String>;

/// The thread that talks to the gateway; readable when [`try_recv`](Self::try_recv) has
/// something.
#[derive(Debug)]
pub(crate) struct Mapper {
    orders: Option<Sender<Option<Order>>>,
    outcomes: Receiver<Outcome>,
    ended: Receiver<()>,
    wake: UnixStream,
    _waker: Waker,
    is_lost: bool,
}

/// After a gateway had none, or did not renew it.
const RETRY: Duration = Duration::from_secs(600);
/// How long the end may take: a gateway that does not answer is not waited for.
const FAREWELL: Duration = Duration::from_secs(3);

impl Mapper {
    /// Starts the thread, which waits for [`map`](Self::map). `memory`: the folder where is remembered
    /// what a killed predecessor could not take back.
    pub(crate) fn start(how: PortMapping, memory: Option<&Path>, device: &str) -> Result<Self, Error> {
        let file = memory.map(|folder| folder.join(format!("{device}.port-mapping")));
        Self::with_methods(methods(how, file))
    }

    fn with_methods(methods: Vec<Box<dyn Method>>) -> Result<Self, Error> {
        let refused = |error| Error::refused("start", "the thread for port mappings", error);
        let (waker, wake) = Waker::pair().map_err(refused)?;
        let kept = waker.clone();
        let (orders, wanted) = mpsc::channel();
        let (told, outcomes) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let work = move || {
            // Dropped last: who waits for it knows that the gateway was told.
            let _end = end;
            // Rings after `told` has gone, so that who hears it finds that nothing more comes.
            let bell = waker;
            let waker = &bell;
            let tell = move |outcome| {
                let heard = told.send(outcome).is_ok();
                waker.wake();
                heard
            };
            serve(methods, &wanted, tell);
        };
        crate::thread::spawn("isatap-mapping", work).map_err(refused)?;
        Ok(Self { orders: Some(orders), outcomes, ended, wake, _waker: kept, is_lost: false })
    }

    /// Wants `local` mapped by `gateway`, and nothing else any more; `false`: the thread has
    /// ended, and no outcome will come.
    pub(crate) fn map(&self, gateway: Ipv4Addr, local: SocketAddrV4) -> bool {
        let order = Order { gateway, local };
        !self.is_lost && self.orders.as_ref().is_some_and(|orders| orders.send(Some(order)).is_ok())
    }

    /// Wants nothing mapped: what there is is taken back.
    pub(crate) fn unmap(&self) {
        // A thread that has ended has taken it back.
        let _ = self.orders.as_ref().map(|orders| orders.send(None));
    }

    /// How it went, if that is news.
    pub(crate) fn try_recv(&mut self) -> Option<Outcome> {
        while matches!((&self.wake).read(&mut [0; 16]), Ok(1..)) {}
        let mut last = None;
        loop {
            match self.outcomes.try_recv() {
                Ok(outcome) => last = Some(outcome),
                Err(TryRecvError::Disconnected) if !self.is_lost => {
                    self.is_lost = true;
                    return Some(Err("the thread that asks the gateway has ended".to_owned()));
                }
                Err(_) => return last,
            }
        }
    }
}

impl AsFd for Mapper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.ended.recv_timeout(FAREWELL);
    }
}

fn methods(how: PortMapping, file: Option<PathBuf>) -> Vec<Box<dyn Method>> {
    let wants = |other| how == PortMapping::Auto || how == other;
    let mut methods: Vec<Box<dyn Method>> = Vec::new();
    #[cfg(feature = "pcp")]
    if wants(PortMapping::Pcp) {
        methods.extend(pcp::Pcp::new().map(|pcp| Box::new(pcp) as Box<dyn Method>));
    }
    #[cfg(feature = "upnp")]
    if wants(PortMapping::Upnp) {
        methods.push(Box::new(upnp::Upnp::new(file.clone())));
    }
    let _ = (&wants, &mut methods, file);
    methods
}

/// Until nobody wants anything any more.
fn serve(mut methods: Vec<Box<dyn Method>>, wanted: &Receiver<Option<Order>>, tell: impl Fn(Outcome) -> bool) {
    let mut order: Option<Order> = None;
    let mut told: Option<Outcome> = None;
    let mut used: Option<usize> = None;
    let mut next: Option<Instant> = None;
    loop {
        let received = match next {
            Some(at) => wanted.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => wanted.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match received {
            Ok(new) => {
                // Only the last one counts.
                let new = wanted.try_iter().last().unwrap_or(new);
                if order != new
                    && let Some(method) = used.take().and_then(|at| methods.get_mut(at))
                {
                    method.unmap();
                }
                // Who asks again wants to hear again.
                (order, told, next) = (new, None, None);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let Some(order) = order else { continue };
        let outcome = attempt(&mut methods, &mut used, order);
        let wait = outcome.as_ref().map_or(RETRY, |mapped| mapped.renew_after);
        next = Some(Instant::now() + wait);
        if told.as_ref() != Some(&outcome) {
            told = Some(outcome.clone());
            if !tell(outcome) {
                break;
            }
        }
    }
    if let Some(method) = used.and_then(|at| methods.get_mut(at)) {
        method.unmap();
    }
}

/// By what worked last, else by the first that works.
fn attempt(methods: &mut [Box<dyn Method>], used: &mut Option<usize>, order: Order) -> Outcome {
    let mut failures = Vec::new();
    let first = used.take();
    let rest = (0..methods.len()).filter(|at| Some(*at) != first);
    for at in first.into_iter().chain(rest) {
        let Some(method) = methods.get_mut(at) else { continue };
        match method.map(order.gateway, order.local) {
            Ok(mapped) => {
                *used = Some(at);
                return Ok(mapped);
            }
            Err(why) => failures.push(why),
        }
    }
    Err(failures.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    const LOCAL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), 40_000);
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);

    /// A gateway that grants what its script says, and what was asked of it.
    struct Scripted {
        answers: Vec<Result<u16, &'static str>>,
        log: Arc<Mutex<Vec<String>>>,
        name: &'static str,
        renew_after: Duration,
        /// Waited for before the last answer is given.
        held: Option<Receiver<()>>,
    }

    impl Method for Scripted {
        fn map(&mut self, _: Ipv4Addr, local: SocketAddrV4) -> Result<Mapped, String> {
            self.log.lock().unwrap().push(format!("{} map {}", self.name, local.port()));
            if self.answers.len() == 1
                && let Some(held) = self.held.take()
            {
                let _ = held.recv();
            }
            let answer = if self.answers.len() > 1 { self.answers.remove(0) } else { self.answers[0] };
            let external = |port| SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 1), port);
            let granted = |port| Mapped {
                external: external(port),
                by: self.name,
                renew_after: self.renew_after,
                forgotten: None,
            };
            answer.map(granted).map_err(str::to_owned)
        }

        fn unmap(&mut self) {
            self.log.lock().unwrap().push(format!("{} unmap", self.name));
        }
    }

    fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            if let Some(value) = attempt() {
                return value;
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "no {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn next(mapper: &mut Mapper) -> Outcome {
        wait_for("outcome", || mapper.try_recv())
    }

    #[test]
    fn ter_72_what_works_is_kept_renewed_and_taken_back_in_the_end() {
        let log = Arc::new(Mutex::new(Vec::new()));
        let method = |name, answers, held| -> Box<dyn Method> {
            Box::new(Scripted { answers, log: log.clone(), name, renew_after: Duration::from_millis(20), held })
        };
        let (go_on, held) = mpsc::channel();
        let methods = vec![method("a", vec![Err("a: no")], None), method("b", vec![Ok(7), Ok(7), Ok(8)], Some(held))];
        let mut mapper = Mapper::with_methods(methods).unwrap();
        assert!(mapper.map(GATEWAY, LOCAL));
        assert_eq!(next(&mut mapper).unwrap().external.port(), 7);
        // A renewal that changes nothing is no news.
        wait_for("second renewal", || (log.lock().unwrap().len() == 4).then_some(()));
        assert_eq!(mapper.try_recv(), None);
        go_on.send(()).unwrap();
        assert_eq!(next(&mut mapper).unwrap().external.port(), 8);
        // Another address of ours: what there is goes first.
        assert!(mapper.map(GATEWAY, SocketAddrV4::new(*LOCAL.ip(), 40_001)));
        next(&mut mapper).unwrap();
        drop(mapper);
        let log = log.lock().unwrap();
        assert_eq!(log[..4], ["a map 40000", "b map 40000", "b map 40000", "b map 40000"]);
        let moved = log.iter().position(|line| line.ends_with("40001")).unwrap();
        assert_eq!(log[moved - 1], "b unmap");
        assert_eq!(log.last().unwrap(), "b unmap");
    }

    #[test]
    fn a_gateway_without_any_of_it_is_told_with_every_reason() {
        let log = Arc::new(Mutex::new(Vec::new()));
        let method = |name, why| -> Box<dyn Method> {
            Box::new(Scripted { answers: vec![Err(why)], log: log.clone(), name, renew_after: RETRY, held: None })
        };
        let mut mapper = Mapper::with_methods(vec![method("a", "a: silent"), method("b", "b: refused")]).unwrap();
        assert!(mapper.map(GATEWAY, LOCAL));
        assert_eq!(next(&mut mapper), Err("a: silent; b: refused".to_owned()));
        drop(mapper);
        assert!(log.lock().unwrap().iter().all(|line| !line.ends_with("unmap")));
    }

    #[test]
    fn a_thread_that_ends_early_is_told_once_and_leaves_nothing_readable() {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        struct Panicking;
        impl Method for Panicking {
            fn map(&mut self, _: Ipv4Addr, _: SocketAddrV4) -> Result<Mapped, String> {
                panic!("as the test wants it")
            }

            fn unmap(&mut self) {}
        }

        let mut mapper = Mapper::with_methods(vec![Box::new(Panicking)]).unwrap();
        assert!(mapper.map(GATEWAY, LOCAL));
        // As the loop waits for it.
        let readable = |mapper: &Mapper, limit: u16| {
            poll(&mut [PollFd::new(mapper.as_fd(), PollFlags::POLLIN)], PollTimeout::from(limit)).unwrap() > 0
        };
        assert!(readable(&mapper, 20_000));
        assert!(mapper.try_recv().unwrap().unwrap_err().contains("ended"));
        assert_eq!(mapper.try_recv(), None);
        mapper.ended.recv_timeout(Duration::from_secs(20)).unwrap_err();
        assert!(!readable(&mapper, 0));
        assert!(!mapper.map(GATEWAY, LOCAL));
    }

    #[test]
    fn ways_are_named() {
        assert_eq!("auto".parse(), Ok(PortMapping::Auto));
        assert_eq!("upnp".parse(), Ok(PortMapping::Upnp));
        assert!("igd".parse::<PortMapping>().is_err());
        assert!(PortMapping::Off.check().is_ok());
        assert_eq!(PortMapping::Pcp.check().is_ok(), cfg!(feature = "pcp"));
    }
}
