//! The decisions of the port proxy, on a system that does nothing by itself.

use super::counters::{Counters, Cut, End, Refusal};
use super::flow::{BUFFER, Ready};
use super::proxy::Proxy;
use super::slots::Id;
use super::system::{Opened, System, Taken};
use super::{Rule, RuleStatus};
use crate::resolve::Name;
use crate::spec::{Family, PortProxy, ZonedAddress};
use isatap_core::time::Instant;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A rule from 0.0.0.0:80 to [2001:db8::1]:80.
pub(super) fn rule(change: impl FnOnce(&mut PortProxy)) -> Arc<Rule> {
    let mut spec = PortProxy::new("0.0.0.0:80".parse().unwrap());
    spec.connect = Some("[2001:db8::1]:80".parse().unwrap());
    change(&mut spec);
    Arc::new(Rule::new(1, &spec, Arc::new(Counters::default())))
}

fn client() -> SocketAddr {
    "192.0.2.7:4000".parse().unwrap()
}

/// A stream as its owner sees it: what it may read, and what it has written.
#[derive(Debug, Default)]
struct Tube {
    incoming: VecDeque<u8>,
    has_ended: bool,
    written: Vec<u8>,
    room: usize,
    /// A write was refused since there was room.
    is_full: bool,
    shutdowns: u32,
    fate: Option<Fate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Closed,
    Reset,
}

/// Streams by number.
#[derive(Debug)]
struct Fake {
    tubes: Vec<Tube>,
    /// Where to, and when.
    attempts: Vec<(SocketAddr, Instant)>,
    /// What is known at once of an address.
    refuses: fn(SocketAddr) -> Option<Refusal>,
    /// The most bytes of one piece; 0: none.
    piece: usize,
    ends: Vec<End>,
}

impl Fake {
    fn new(piece: usize) -> Self {
        Self { tubes: Vec::new(), attempts: Vec::new(), refuses: |_| None, piece, ends: Vec::new() }
    }

    fn tube(&mut self) -> usize {
        self.tubes.push(Tube::default());
        self.tubes.len() - 1
    }
}

impl System for Fake {
    type Stream = usize;
    type Piece = Vec<u8>;

    fn has_room(&mut self, _rule: &Rule, _client: &usize, _now: Instant) -> bool {
        true
    }

    fn watch(&mut self, _id: Id, _client: &usize) -> Result<(), Refusal> {
        Ok(())
    }

    fn place(&self, address: &ZonedAddress, port: u16) -> Result<SocketAddr, Refusal> {
        Ok(SocketAddr::new(address.address, port))
    }

    fn addresses(&mut self, _name: &Name, _family: Family, _id: Id, _now: Instant) -> Option<Vec<IpAddr>> {
        None
    }

    fn connect(&mut self, _rule: &Rule, _id: Id, to: SocketAddr, now: Instant) -> Result<Opened<usize>, Refusal> {
        self.attempts.push((to, now));
        match (self.refuses)(to) {
            Some(refusal) => Err(refusal),
            None => Ok(Opened { stream: self.tube(), own: None }),
        }
    }

    fn connected(&mut self, _server: &usize) -> Result<(), Refusal> {
        Ok(())
    }

    fn ends(&self, _client: &usize) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((client(), "192.0.2.1:80".parse().unwrap()))
    }

    fn read(&mut self, from: &usize, buffer: &mut [u8]) -> io::Result<usize> {
        let tube = &mut self.tubes[*from];
        if tube.incoming.is_empty() {
            return if tube.has_ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let count = buffer.len().min(tube.incoming.len());
        for (place, byte) in buffer.iter_mut().zip(tube.incoming.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }

    fn write(&mut self, to: &usize, bytes: &[u8]) -> io::Result<usize> {
        let tube = &mut self.tubes[*to];
        assert!(tube.shutdowns == 0, "nothing is written behind the end");
        let count = bytes.len().min(tube.room);
        if count == 0 {
            tube.is_full = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        tube.room -= count;
        tube.written.extend(&bytes[..count]);
        Ok(count)
    }

    fn shutdown(&mut self, stream: &usize) -> io::Result<()> {
        self.tubes[*stream].shutdowns += 1;
        Ok(())
    }

    fn take(&mut self, from: &usize) -> io::Result<Taken<Vec<u8>>> {
        if self.piece == 0 {
            return Ok(Taken::Never);
        }
        let mut bytes = vec![0; self.piece];
        Ok(match self.read(from, &mut bytes)? {
            0 => Taken::End,
            count => {
                bytes.truncate(count);
                Taken::Piece(bytes, count)
            }
        })
    }

    fn give(&mut self, piece: &Vec<u8>, left: usize, to: &usize) -> io::Result<usize> {
        self.write(to, &piece[piece.len() - left..])
    }

    fn recycle(&mut self, _piece: Vec<u8>) {}

    fn queued(&self, _stream: &usize) -> u64 {
        0
    }

    fn close(&mut self, stream: usize) {
        assert_eq!(self.tubes[stream].fate.replace(Fate::Closed), None);
    }

    fn reset(&mut self, stream: usize) {
        assert_eq!(self.tubes[stream].fate.replace(Fate::Reset), None);
    }

    fn ended(&mut self, _rule: &Rule, _client: &usize, end: End) {
        self.ends.push(end);
    }
}

const CLIENT: usize = 0;
const SERVER: usize = 1;

/// One client, whose stream is number 0, and the proxy.
struct Bench {
    proxy: Proxy<Fake>,
    system: Fake,
    rule: Arc<Rule>,
    id: Id,
}

impl Bench {
    fn new(rule: Arc<Rule>, mut system: Fake) -> Self {
        let mut proxy = Proxy::new();
        let stream = system.tube();
        proxy.begin(&mut system, &rule, stream, client(), Instant::ZERO);
        // The first connection of a proxy has its first number.
        let (id, _) = Id::of(0);
        Self { proxy, system, rule, id }
    }

    fn event(&mut self, stream: usize, ready: Ready) {
        self.proxy.event(&mut self.system, self.id, stream != CLIENT, ready, Instant::ZERO);
        while self.proxy.poll_timeout() == Some(Instant::ZERO) {
            self.proxy.handle_timeout(&mut self.system, Instant::ZERO);
        }
    }

    fn open(&mut self) {
        self.event(SERVER, Ready { writable: true, ..Ready::default() });
    }

    /// There is room for so many more bytes, which is told to who was refused.
    fn make_room(&mut self, stream: usize, bytes: usize) {
        let tube = &mut self.system.tubes[stream];
        tube.room += bytes;
        if std::mem::take(&mut tube.is_full) {
            self.event(stream, Ready { writable: true, ..Ready::default() });
        }
    }

    fn status(&self) -> RuleStatus {
        RuleStatus::of(&self.rule, None)
    }
}

/// What happens to one of the two streams.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Bytes(usize),
    Room(usize),
    End,
}

fn happening() -> impl Strategy<Value = (usize, Happening)> {
    let size = || prop_oneof![1_usize..100, 1_usize..300_000];
    let what = prop_oneof![
        4 => size().prop_map(Happening::Bytes),
        4 => size().prop_map(Happening::Room),
        1 => Just(Happening::End),
    ];
    (prop_oneof![Just(CLIENT), Just(SERVER)], what)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// `PPX-3`, `PPX-7`: whatever comes when, and however little the other side takes, each side gets the
    /// other's bytes unchanged and in order, then its end, while the other direction goes on.
    #[test]
    fn ppx_3_ppx_7_bytes_and_ends_go_each_way_unchanged(
        piece in prop_oneof![Just(0_usize), 1_usize..100_000],
        happenings in vec(happening(), 0..40),
    ) {
        let mut bench = Bench::new(rule(|_| {}), Fake::new(piece));
        bench.open();
        let mut sent: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
        for (stream, happening) in happenings {
            let has_ended = bench.system.tubes[stream].has_ended;
            match happening {
                Happening::Bytes(count) if !has_ended => {
                    let begin = sent[stream].len();
                    // Primes, so that no buffer's length hides that bytes moved.
                    let bytes: Vec<u8> = (begin..begin + count).map(|at| (at % 251) as u8).collect();
                    sent[stream].extend(&bytes);
                    bench.system.tubes[stream].incoming.extend(bytes);
                    bench.event(stream, Ready { readable: true, ..Ready::default() });
                }
                Happening::Room(count) => bench.make_room(stream, count),
                Happening::End if !has_ended => {
                    bench.system.tubes[stream].has_ended = true;
                    bench.event(stream, Ready { readable: true, ends: true, ..Ready::default() });
                }
                _ => {}
            }
            for (from, to) in [(CLIENT, SERVER), (SERVER, CLIENT)] {
                let [source, target] = [from, to].map(|at| &bench.system.tubes[at]);
                let held = sent[from].len() - source.incoming.len() - target.written.len();
                prop_assert!(held <= BUFFER.max(piece), "{held} bytes are held");
                prop_assert!(held == 0 || target.room == 0, "bytes wait although there is room");
                let is_through = source.has_ended && target.written.len() == sent[from].len();
                let is_closed = target.fate.is_some();
                prop_assert!(target.shutdowns <= 1);
                prop_assert_eq!(target.shutdowns == 1 || is_closed, is_through || is_closed, "the end of {}", from);
            }
        }
        for stream in [CLIENT, SERVER] {
            bench.make_room(stream, usize::MAX / 2);
            if !std::mem::replace(&mut bench.system.tubes[stream].has_ended, true) {
                bench.event(stream, Ready { readable: true, ends: true, ..Ready::default() });
            }
        }
        prop_assert!(bench.system.tubes[SERVER].written == sent[CLIENT]);
        prop_assert!(bench.system.tubes[CLIENT].written == sent[SERVER]);
        prop_assert!(bench.system.tubes.iter().all(|tube| tube.fate == Some(Fate::Closed)));
        prop_assert_eq!(&bench.system.ends, &[End::Over]);
        let status = bench.status();
        let carried = (status.bytes_to_target, status.bytes_to_client);
        prop_assert_eq!(carried, (sent[CLIENT].len() as u64, sent[SERVER].len() as u64));
        prop_assert_eq!((status.connections, status.total, bench.proxy.poll_timeout()), (0, 1, None));
    }
}

#[test]
fn ppx_7_a_reset_of_either_side_resets_both_behind_what_was_sent_before() {
    for stream in [CLIENT, SERVER] {
        let mut bench = Bench::new(rule(|_| {}), Fake::new(0));
        bench.open();
        let other = 1 - stream;
        bench.make_room(other, 100);
        bench.system.tubes[stream].incoming.extend(*b"last words");
        bench.event(stream, Ready { readable: true, writable: true, ends: true, is_error: true });
        assert_eq!(bench.system.tubes[other].written, b"last words");
        assert!(bench.system.tubes.iter().all(|tube| tube.fate == Some(Fate::Reset)));
        assert_eq!((bench.status().reset, bench.status().connections), (1, 0));
        assert_eq!(bench.system.ends, [End::Cut(Cut::Reset)]);
    }
}

#[test]
fn ppx_7_a_reset_ends_a_connection_that_waits_for_its_turn() {
    let mut bench = Bench::new(rule(|_| {}), Fake::new(0));
    bench.open();
    bench.system.tubes[SERVER].room = usize::MAX / 2;
    bench.system.tubes[CLIENT].incoming.extend(vec![0; 40 * BUFFER]);
    let Bench { proxy, system, id, .. } = &mut bench;
    proxy.event(system, *id, false, Ready { readable: true, ..Ready::default() }, Instant::ZERO);
    assert_eq!(proxy.poll_timeout(), Some(Instant::ZERO), "it wants another turn");
    let reset = Ready { readable: true, writable: true, ends: true, is_error: true };
    proxy.event(system, *id, true, reset, Instant::ZERO);
    assert_eq!(system.ends, [End::Cut(Cut::Reset)]);
}

#[test]
fn ppx_6_nothing_is_read_from_the_client_before_the_target_is_there() {
    let mut bench = Bench::new(rule(|_| {}), Fake::new(0));
    bench.system.tubes[CLIENT].incoming.extend(*b"early");
    bench.event(CLIENT, Ready { readable: true, ..Ready::default() });
    assert_eq!(bench.system.tubes[CLIENT].incoming.len(), 5);
    bench.system.tubes[SERVER].room = 100;
    bench.open();
    assert_eq!(bench.system.tubes[SERVER].written, b"early");
}

#[test]
fn ppx_6_a_target_that_is_silent_is_refused_when_the_time_is_over() {
    let mut bench = Bench::new(rule(|_| {}), Fake::new(0));
    assert_eq!(bench.proxy.poll_timeout(), Some(Instant::from_secs(20)));
    bench.proxy.handle_timeout(&mut bench.system, Instant::from_millis(19_999));
    assert_eq!(bench.system.tubes[CLIENT].fate, None);
    bench.proxy.handle_timeout(&mut bench.system, Instant::from_secs(20));
    assert!(bench.system.tubes.iter().all(|tube| tube.fate == Some(Fate::Reset)));
    assert_eq!(bench.status().refused["target-timeout"], 1);
    assert_eq!((bench.status().connections, bench.proxy.poll_timeout()), (0, None));
}

#[test]
fn ppx_6_the_addresses_of_a_name_are_tried_in_order_and_share_the_time() {
    let named = rule(|spec| {
        spec.connect = Some("www.example.net:80".parse().unwrap());
        spec.direction = Some("v4tov4".parse().unwrap());
    });
    let mut bench = Bench::new(named, Fake::new(0));
    // The first is refused at once, the second and the third are silent.
    bench.system.refuses = |to| (to.ip() == IpAddr::from([192, 0, 2, 1])).then_some(Refusal::Target);
    let addresses = [1, 2, 3].map(|last| IpAddr::from([192, 0, 2, last]));
    bench.proxy.resolved(&mut bench.system, bench.id, &addresses, Instant::from_secs(4));
    while let Some(due) = bench.proxy.poll_timeout() {
        bench.proxy.handle_timeout(&mut bench.system, due);
    }
    let tried: Vec<_> = bench.system.attempts.iter().map(|(to, at)| (to.ip(), at.micros() / 1_000_000)).collect();
    assert_eq!(tried, [(addresses[0], 4), (addresses[1], 4), (addresses[2], 12)]);
    assert_eq!(bench.status().refused["target-timeout"], 1);
    assert_eq!(bench.system.ends, [End::Refused(Refusal::Timeout)]);
}

#[test]
fn ppx_1_a_name_that_nobody_answers_is_refused_when_the_time_is_over() {
    let named = rule(|spec| {
        spec.connect = Some("www.example.net:80".parse().unwrap());
        spec.direction = Some("v4tov6".parse().unwrap());
    });
    let mut bench = Bench::new(named, Fake::new(0));
    bench.proxy.handle_timeout(&mut bench.system, Instant::from_secs(20));
    assert_eq!(bench.status().refused["name-not-resolved"], 1);
    // The answer comes too late, and meets nobody.
    let late = [IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])];
    bench.proxy.resolved(&mut bench.system, bench.id, &late, Instant::from_secs(21));
    assert!(bench.system.attempts.is_empty());
}

#[test]
fn ppx_8_the_target_reads_who_the_client_is_in_front_of_its_bytes() {
    let told = rule(|spec| spec.proxy_protocol = Some("v1".parse().unwrap()));
    let mut bench = Bench::new(told, Fake::new(0));
    bench.system.tubes[CLIENT].incoming.extend(*b"hello");
    bench.system.tubes[SERVER].room = 100;
    bench.event(CLIENT, Ready { readable: true, ..Ready::default() });
    bench.open();
    assert_eq!(bench.system.tubes[SERVER].written, b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 80\r\nhello");
    assert_eq!(bench.status().bytes_to_target, 5);
}

#[test]
fn ppx_7_an_idle_connection_ends_only_where_a_limit_is_set() {
    let mut bench = Bench::new(rule(|spec| spec.idle_timeout = Some(30)), Fake::new(0));
    bench.open();
    assert_eq!(bench.proxy.poll_timeout(), Some(Instant::from_secs(30)));
    bench.proxy.handle_timeout(&mut bench.system, Instant::from_secs(30));
    assert_eq!((bench.status().idle, bench.system.ends.as_slice()), (1, &[End::Cut(Cut::Idle)][..]));
    let mut bench = Bench::new(rule(|_| {}), Fake::new(0));
    bench.open();
    assert_eq!(bench.proxy.poll_timeout(), None);
}

#[test]
fn a_client_that_goes_before_the_target_is_there_is_counted_as_gone() {
    let mut bench = Bench::new(rule(|_| {}), Fake::new(0));
    bench.event(CLIENT, Ready { readable: true, writable: true, ends: true, is_error: true });
    assert_eq!(bench.status().refused["client-gone"], 1);
    assert!(bench.system.tubes.iter().all(|tube| tube.fate == Some(Fate::Reset)));
}
