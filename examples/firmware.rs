//! The loop of an embedded router's firmware: one host, one buffer, no heap.
//!
//! ```text
//! cargo run -p isatap-examples --example firmware
//! ```
//!
//! [`run`] is what firmware contains: `no_std` code over three things that a
//! board has (a timer, an Ethernet port that carries IPv4, a source of
//! randomness) and the IPv6 stack above. Here the board is made up: its
//! timer jumps to whatever the host waits for, its port is a router's answer.
//! `isatap-core/no-std-proof` links the same machine for a Cortex-M4, where a
//! path that could panic fails the link.
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use core::net::Ipv4Addr;

use isatap_core::capacity::Small;
use isatap_core::engine::{Entropy, Event, Machine, Transmit, Verdict, Via};
use isatap_core::isatap::{HostConfig, Resolved};
use isatap_core::node::IsatapHost;
use isatap_core::packet::{HEADROOM, PacketMut};
use isatap_core::proto41::Outer;
use isatap_core::time::Instant;

/// What the firmware needs of the board.
trait Board {
    /// Time since power-on.
    fn now(&self) -> Instant;
    /// Sleeps until `deadline` or until a packet waits; `false` at power-off.
    fn sleep_until(&mut self, deadline: Option<Instant>) -> bool;
    /// Sends an IPv4 packet.
    fn send(&mut self, packet: &[u8]);
    /// Reads an IPv4 packet of protocol 41 into `packet`.
    fn receive(&mut self, packet: &mut PacketMut<'_>) -> bool;
    /// Whatever the board has for randomness.
    fn entropy(&mut self) -> &mut dyn Entropy;
}

/// The IPv6 stack above.
trait Stack {
    /// An address, a route or an MTU comes or goes.
    fn apply(&mut self, event: Event);
    /// A packet for this board.
    fn input(&mut self, packet: &[u8]);
    /// The next packet of this board, with headroom in front.
    fn output(&mut self, packet: &mut PacketMut<'_>) -> bool;
}

/// Everything: 2 KiB of state, one buffer. Never returns on a real board.
fn run(board: &mut impl Board, stack: &mut impl Stack) {
    let mut host: IsatapHost<Small> = IsatapHost::host(HostConfig::DEFAULT);
    let locators = [Ipv4Addr::new(10, 0, 0, 2).into()];
    // Two locators fit a `Small` host; one cannot be too many.
    if host.set_locators(board.now(), &locators).is_err() {
        return;
    }
    let mut buffer = [0; HEADROOM + 1500];
    let mut packet = PacketMut::empty(&mut buffer);
    loop {
        let now = board.now();
        if host.poll_timeout().is_some_and(|due| due <= now) {
            host.handle_timeout(now, board.entropy());
        }
        while let Ok(Some(Transmit { outer: Some(outer), .. })) = host.poll_transmit(&mut packet) {
            send(board, &outer, &mut packet);
        }
        while let Some(event) = host.poll_event() {
            if let Event::ResolveRouters { .. } = event {
                // A board without DNS has the address in its settings.
                let answer = Resolved { addresses: &[Ipv4Addr::new(10, 0, 0, 1)], ttl: None };
                let _ = host.routers_resolved(now, Ok(answer));
            }
            stack.apply(event);
        }
        packet.clear();
        if board.receive(&mut packet) {
            match host.decapsulate_ipv4(now, &mut packet) {
                Verdict::Deliver { .. } => stack.input(packet.as_slice()),
                Verdict::Answer { via: Via::Tunnel { outer, .. }, .. } => send(board, &outer, &mut packet),
                _ => {} // taken by the host, or dropped and counted
            }
        }
        packet.clear();
        if stack.output(&mut packet) {
            match host.encapsulate(now, &mut packet) {
                Verdict::Tunnel { outer, .. } => send(board, &outer, &mut packet),
                Verdict::Answer { .. } => stack.input(packet.as_slice()),
                _ => {}
            }
        }
        if !board.sleep_until(host.poll_timeout()) {
            return;
        }
    }
}

/// Puts the outer header in front: the board has no socket that would.
fn send(board: &mut impl Board, outer: &Outer, packet: &mut PacketMut<'_>) {
    if outer.push(packet).is_ok() {
        board.send(packet.as_slice());
    }
}

fn main() {
    let mut board = MadeUpBoard { now: Instant::from_secs(1), sent: 0, inbox: Vec::new(), entropy: |out| out.fill(7) };
    let mut stack = MadeUpStack::default();
    run(&mut board, &mut stack);
    assert_eq!(stack.sent, 1, "the stack never got its route");
    println!("after {}: {} packets sent", board.now, board.sent);
}

/// A board whose only neighbour is a router that answers every solicitation.
struct MadeUpBoard {
    now: Instant,
    sent: u32,
    inbox: Vec<Vec<u8>>,
    entropy: fn(&mut [u8]),
}

impl Board for MadeUpBoard {
    fn now(&self) -> Instant {
        self.now
    }

    fn sleep_until(&mut self, deadline: Option<Instant>) -> bool {
        if self.inbox.is_empty() {
            self.now = deadline.unwrap_or(self.now).max(self.now);
        }
        // Power goes off after an hour.
        self.now < Instant::from_secs(3600)
    }

    fn send(&mut self, packet: &[u8]) {
        self.sent += 1;
        let is_solicitation = packet.get(60) == Some(&133);
        println!("{}  sent {} bytes{}", self.now, packet.len(), if is_solicitation { ": a solicitation" } else { "" });
        if is_solicitation {
            self.inbox.push(ADVERTISEMENT.to_vec());
        }
    }

    fn receive(&mut self, packet: &mut PacketMut<'_>) -> bool {
        self.inbox.pop().is_some_and(|bytes| packet.copy_from(&bytes).is_ok())
    }

    fn entropy(&mut self) -> &mut dyn Entropy {
        &mut self.entropy
    }
}

/// A stack that sends one packet as soon as it has a route.
#[derive(Default)]
struct MadeUpStack {
    has_route: bool,
    sent: u32,
}

impl Stack for MadeUpStack {
    fn apply(&mut self, event: Event) {
        if let Event::Route { route, .. } = event
            && route.prefix.is_default()
        {
            self.has_route = true;
        }
        println!("  {event:?}");
    }

    fn input(&mut self, packet: &[u8]) {
        println!("the stack got {} bytes", packet.len());
    }

    fn output(&mut self, packet: &mut PacketMut<'_>) -> bool {
        let sends = self.has_route && self.sent == 0 && packet.copy_from(&PACKET).is_ok();
        self.sent += u32::from(sends);
        sends
    }
}

/// What a router at 10.0.0.1 answers 10.0.0.2: prefix 2001:db8:0:7::/64,
/// MTU 1,280, default router for 1,800 s, a route to 2001:db8:1::/48.
#[rustfmt::skip]
const ADVERTISEMENT: [u8; 132] = [
    0x45, 0, 0, 0x84, 0, 0, 0, 0, 0x40, 41, 0x66, 0x4f, 10, 0, 0, 1, 10, 0, 0, 2,
    0x60, 0, 0, 0, 0, 0x48, 58, 255, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0x5e, 0xfe, 10, 0, 0, 1,
    0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0x5e, 0xfe, 10, 0, 0, 2,
    134, 0, 0xe1, 0x5f, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0,
    5, 1, 0, 0, 0, 0, 5, 0,
    3, 4, 64, 0xc0, 0, 1, 0x51, 0x80, 0, 0, 0x38, 0x40, 0, 0, 0, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0,
    24, 2, 48, 8, 0, 0, 0x07, 0x08, 0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0,
];

/// From 2001:db8:0:7:0:5efe:10.0.0.2 to 2001:db8:1::1, nothing inside.
#[rustfmt::skip]
const PACKET: [u8; 40] = [
    0x60, 0, 0, 0, 0, 0, 59, 64,
    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 7, 0, 0, 0x5e, 0xfe, 10, 0, 0, 2,
    0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
];
