//! A WINS server that the name is registered with (NAM-25, NAM-62).

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use super::Holding;
use super::links::RECLAIM;
use crate::resolve::client::random_id;
use crate::resolve::link_socket::LinkSocket;
use crate::resolve::netbios::{self, Claim, LONGEST_WAIT, SERVER_TIMEOUT, SERVER_TRIES, Saying, Verdict};

/// A name is refreshed as often as this, even one that was given for longer or for ever: a server that
/// lost its table learns the name again.
const LONGEST_REFRESH: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct Server {
    pub(super) address: Ipv4Addr,
    pub(super) holding: Holding,
    pub(super) due: Instant,
    /// Requests since the last answer.
    sent: u8,
    /// Whether the kernel refused to send the last one.
    is_unsent: bool,
    asked: Option<Request>,
}

/// A request without an answer yet. Its answer ends it, so that nobody can guess at an
/// identification for longer than a server takes.
struct Request {
    id: u16,
    /// NAM-62: a server may ask for more time once.
    has_waited: bool,
}

impl Server {
    pub(super) fn new(address: Ipv4Addr, now: Instant) -> Self {
        Self { address, holding: Holding::Checking, due: now, sent: 0, is_unsent: false, asked: None }
    }

    /// What is to be said to it now.
    pub(super) fn step(&mut self, now: Instant) -> Option<Saying> {
        if self.due > now {
            return None;
        }
        // An answer that comes now is none to what is asked next.
        self.asked = None;
        if matches!(self.holding, Holding::Lost(_) | Holding::Silent | Holding::Failing) {
            (self.holding, self.sent) = (Holding::Checking, 0);
        }
        if self.sent >= SERVER_TRIES {
            self.rest(if self.is_unsent { Holding::Failing } else { Holding::Silent }, now);
            return None;
        }
        self.sent = self.sent.saturating_add(1);
        self.due = now + SERVER_TIMEOUT;
        Some(if self.holding == Holding::Held { Saying::Refresh } else { Saying::Register })
    }

    /// Something has changed on this machine: a server out of reach is asked at once.
    pub(super) fn hurry(&mut self, now: Instant) {
        if self.is_unsent || self.holding == Holding::Silent {
            (self.sent, self.due) = (0, now);
        }
    }

    pub(super) fn send(&mut self, names: &LinkSocket, claim: &Claim, saying: Saying) {
        let sent = random_id().and_then(|id| {
            let request = self.request(id, claim, saying);
            // The kernel's way to it, from the router's address.
            names.send(&request, SocketAddrV4::new(self.address, netbios::PORT), claim.address, 0)
        });
        self.went(&sent);
    }

    fn request(&mut self, id: u16, claim: &Claim, saying: Saying) -> Vec<u8> {
        self.asked = Some(Request { id, has_waited: false });
        claim.say(id, saying, false)
    }

    fn went(&mut self, sent: &io::Result<()>) {
        self.is_unsent = sent.is_err();
    }

    /// Takes what it says; whether that answers a request of ours.
    pub(super) fn hear(&mut self, now: Instant, claim: &Claim, bytes: &[u8]) -> bool {
        let Some(request) = &mut self.asked else { return false };
        match claim.verdict(bytes, request.id) {
            Ok(Verdict::Granted(ttl)) => {
                (self.holding, self.sent) = (Holding::Held, 0);
                // Early enough that several tries come before its end.
                let refresh = ttl.map_or(LONGEST_REFRESH, |ttl| (ttl / 2).clamp(SERVER_TIMEOUT, LONGEST_REFRESH));
                self.due = now + refresh;
            }
            Ok(Verdict::Refused) => self.rest(Holding::Lost(self.address), now),
            Ok(Verdict::Failed) => self.rest(Holding::Failing, now),
            Ok(Verdict::Wait(time)) => {
                if !std::mem::replace(&mut request.has_waited, true) {
                    self.due = now + time.clamp(SERVER_TIMEOUT, LONGEST_WAIT);
                }
                return true;
            }
            Ok(Verdict::Released) => return true,
            Err(_) => return false,
        }
        self.asked = None;
        true
    }

    /// Whether this says that the name is given back.
    pub(super) fn released(&self, claim: &Claim, bytes: &[u8]) -> bool {
        self.asked.as_ref().is_some_and(|request| claim.verdict(bytes, request.id) == Ok(Verdict::Released))
    }

    /// Nothing more is asked for a while.
    fn rest(&mut self, holding: Holding, now: Instant) {
        (self.holding, self.sent, self.due) = (holding, 0, now + RECLAIM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::netbios::NetbiosName;

    fn claim() -> Claim {
        let name = NetbiosName::new("isatap", 0).unwrap();
        Claim { name, address: Ipv4Addr::new(10, 0, 0, 1), is_hybrid: true }
    }

    fn server(now: Instant) -> Server {
        Server::new(Ipv4Addr::new(10, 0, 0, 53), now)
    }

    /// Asks, if something is due.
    fn ask(server: &mut Server, now: Instant, id: u16) -> Option<Saying> {
        let saying = server.step(now)?;
        server.request(id, &claim(), saying);
        Some(saying)
    }

    /// An answer: its flags, and a TTL.
    fn answer(id: u16, flags: u16, ttl: u32) -> Vec<u8> {
        let name = b"\x20EJFDEBFEEBFACACACACACACACACACAAA\0\0\x20\0\x01";
        let header = [id, flags, 0, 1, 0, 0].map(u16::to_be_bytes).concat();
        [&header[..], name, &ttl.to_be_bytes(), &[0, 6, 0, 0, 10, 0, 0, 1]].concat()
    }

    const GRANTED: u16 = 0xad80;
    const WAIT: u16 = 0xbc00;

    #[test]
    fn nam_62_one_answer_to_each_request_is_heard_and_none_without_one() {
        let now = Instant::now();
        let mut server = server(now);
        assert!(!server.hear(now, &claim(), &answer(1, GRANTED, 60)), "nothing was asked");
        assert_eq!(ask(&mut server, now, 1), Some(Saying::Register));
        assert!(!server.hear(now, &claim(), &answer(2, GRANTED, 60)));
        assert!(server.hear(now, &claim(), &answer(1, GRANTED, 60)));
        // What comes later with the same identification is forged, or was on its way twice.
        for flags in [GRANTED | 6, GRANTED, WAIT] {
            assert!(!server.hear(now, &claim(), &answer(1, flags, 0)), "{flags:x}");
        }
        assert_eq!((server.holding, server.due), (Holding::Held, now + Duration::from_secs(30)));
        let due = server.due;
        assert_eq!(ask(&mut server, due, 3), Some(Saying::Refresh));
        assert!(server.hear(now, &claim(), &answer(3, GRANTED | 6, 0)));
        assert_eq!(server.holding, Holding::Lost(server.address));
    }

    #[test]
    fn nam_62_a_server_gets_more_time_once() {
        let now = Instant::now();
        let mut server = server(now);
        ask(&mut server, now, 1);
        assert!(server.hear(now, &claim(), &answer(1, WAIT, 3600)));
        assert_eq!(server.due, now + LONGEST_WAIT);
        assert!(server.hear(now + LONGEST_WAIT, &claim(), &answer(1, WAIT, 3600)));
        assert_eq!(server.due, now + LONGEST_WAIT);
    }

    #[test]
    fn a_name_given_for_ever_is_refreshed_each_day() {
        let now = Instant::now();
        for ttl in [0, u32::MAX] {
            let mut server = server(now);
            ask(&mut server, now, 1);
            assert!(server.hear(now, &claim(), &answer(1, GRANTED, ttl)));
            assert_eq!(server.due, now + Duration::from_secs(86_400));
        }
    }

    #[test]
    fn an_error_of_the_server_is_no_other_owner() {
        let now = Instant::now();
        for (code, holding) in [(1, Holding::Failing), (2, Holding::Failing), (4, Holding::Failing)] {
            let mut server = server(now);
            ask(&mut server, now, 1);
            assert!(server.hear(now, &claim(), &answer(1, GRANTED | code, 0)));
            assert_eq!((server.holding, server.due), (holding, now + RECLAIM));
            assert_eq!(ask(&mut server, now + RECLAIM, 2), Some(Saying::Register));
        }
    }

    #[test]
    fn a_server_out_of_reach_is_asked_as_soon_as_something_changes() {
        let mut now = Instant::now();
        let mut server = server(now);
        for id in 0..3 {
            assert_eq!(ask(&mut server, now, id), Some(Saying::Register));
            now = server.due;
        }
        assert_eq!((ask(&mut server, now, 4), server.holding), (None, Holding::Silent));
        server.hurry(now);
        assert_eq!(ask(&mut server, now, 5), Some(Saying::Register));
        // The kernel's refusal is not the server's silence.
        for _ in 0..3 {
            server.went(&Err(io::ErrorKind::NetworkUnreachable.into()));
            now = server.due;
            ask(&mut server, now, 6);
        }
        assert_eq!(server.holding, Holding::Failing);
        server.hurry(now);
        assert_eq!(ask(&mut server, now, 7), Some(Saying::Register));
        // One that answers is left alone.
        assert!(server.hear(now, &claim(), &answer(7, GRANTED, 60)));
        server.went(&Ok(()));
        server.hurry(now);
        assert_eq!(ask(&mut server, now, 8), None);
    }
}
