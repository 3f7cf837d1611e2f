//! A timer, an IPv4 port, an IPv6 stack or LAN, and a source of randomness, of
//! which the optimiser knows nothing and which weigh nothing.

use core::hint::black_box;
use core::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::engine::Event;
use isatap_core::link::Locator;
use isatap_core::packet::PacketMut;
use isatap_core::proto41::Outer;
use isatap_core::time::Instant;

/// A value of which the optimiser knows nothing else: a setting of the board's.
#[inline(always)]
pub fn setting<T>(value: T) -> T {
    black_box(value)
}

/// An IPv4 address out of the settings.
pub fn ipv4() -> Ipv4Addr {
    Ipv4Addr::from_bits(setting(0))
}

/// An IPv6 address out of the settings.
pub fn ipv6() -> Ipv6Addr {
    setting(Ipv6Addr::UNSPECIFIED)
}

/// This board's IPv4 address.
pub fn locators() -> [Locator; 1] {
    [ipv4().into()]
}

/// Time since power-on.
pub fn now() -> Instant {
    Instant::from_micros(setting(0))
}

/// Sleeps until `deadline` or until a packet waits.
pub fn sleep_until(deadline: Option<Instant>) {
    black_box(deadline);
}

/// An empty packet in the board's buffer.
pub fn buffer() -> PacketMut<'static> {
    PacketMut::empty(setting(&mut []))
}

/// Reads a packet, if one waits: an IPv4 one of protocol 41 from the IPv4 port,
/// or an IPv6 one from the stack above or the LAN.
#[inline(never)]
pub fn receive(packet: &mut PacketMut<'_>) -> bool {
    black_box(packet);
    setting(true)
}

/// Sends an IPv4 packet.
#[inline(never)]
pub fn send_ipv4(packet: &[u8]) {
    black_box(packet);
}

/// Puts the outer header in front and sends the packet.
#[inline(never)]
pub fn send(outer: &Outer, packet: &mut PacketMut<'_>) {
    if outer.push(packet).is_ok() {
        send_ipv4(packet.as_slice());
    }
}

/// Hands an IPv6 packet to the stack above.
#[inline(never)]
pub fn deliver(packet: &[u8]) {
    black_box(packet);
}

/// Sends an IPv6 packet on the LAN.
#[inline(never)]
pub fn send_native(next_hop: &Ipv6Addr, packet: &[u8]) {
    black_box((next_hop, packet));
}

/// Gives the stack above an address or a route, or takes it back.
#[inline(never)]
pub fn apply(event: &Event) {
    black_box(event);
}

/// Whatever the board has for randomness.
pub fn entropy(out: &mut [u8]) {
    black_box(out);
}
