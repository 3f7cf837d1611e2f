//! Outer packets against a second opinion of the ingress rules.
//!
//! The oracle reads RFC 4213 §3.6 and RFC 5214 §7.3 again, byte by byte and
//! with 128-bit numbers; nothing of the core's is called in it.

use std::cell::RefCell;
use std::net::Ipv4Addr;

use isatap_core::capacity::Standard;
use isatap_core::configured;
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Admitted, Machine, Verdict};
use isatap_core::interface::Interface as _;
use isatap_core::isatap::{HostConfig, Resolved};
use isatap_core::link::Link;
use isatap_core::node::IsatapHost;
use isatap_core::packet::LinkId;
use isatap_core::proto41::{Flow, Outer};
use isatap_core::time::Instant;

use crate::doors::{beside, with_packet};
use crate::input::{fix_ipv4, sum};
use crate::oracle::options;

/// This host.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// Its potential router, and the far end of the configured tunnel.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// A packet that passed: its source and destination outside and inside.
struct Passed {
    source: [u8; 4],
    destination: [u8; 4],
    inner_source: u128,
    inner_destination: u128,
}

/// The rules that need no mechanism.
fn common(packet: &[u8]) -> Option<Passed> {
    let at = |place: usize| packet.get(place).copied();
    let header_len = usize::from(at(0)? & 0xf) * 4;
    let total = usize::from(at(2)?) * 256 + usize::from(at(3)?);
    let header = packet.get(..header_len)?;
    let whole = packet.get(..total)?;
    let inner = whole.get(header_len..)?;
    let is_plain = at(0)? >> 4 == 4 && header_len >= 20 && at(9)? == 41 && at(6)? & 0x3f == 0 && at(7)? == 0;
    let are_skipped = || options::read(&header[20..]) == options::Answer::Skip;
    if !is_plain || sum(&[header]) != 0xffff || inner.len() < 40 || !are_skipped() {
        return None;
    }
    let four = |place: usize| <[u8; 4]>::try_from(&packet[place..place + 4]).unwrap();
    let (source, destination) = (four(12), four(16));
    let is_unicast = |address: [u8; 4]| (1..=126).contains(&address[0]) || (128..=223).contains(&address[0]);
    if !is_unicast(source) || !is_unicast(destination) {
        return None;
    }
    let payload = usize::from(inner[4]) * 256 + usize::from(inner[5]);
    if inner[0] >> 4 != 6 || payload + 40 > inner.len() || (payload == 0 && inner[6] == 0) {
        return None;
    }
    let sixteen = |place: usize| u128::from_be_bytes(inner[place..place + 16].try_into().unwrap());
    let (inner_source, inner_destination) = (sixteen(8), sixteen(24));
    let is_compatible = inner_source != 0 && inner_source < 1 << 32;
    let is_mapped = inner_source >> 32 == 0xffff;
    if inner_source >> 120 == 0xff || is_compatible || is_mapped {
        return None;
    }
    Some(Passed { source, destination, inner_source, inner_destination })
}

/// What an ISATAP host at [`HOST`] with [`ROUTER`] in its list and no
/// advertised prefix does with a packet.
fn isatap(packet: &[u8]) -> Option<Admitted> {
    let passed = common(packet)?;
    if passed.destination != HOST.octets() || passed.source == HOST.octets() || passed.inner_source == 0 {
        return None;
    }
    let all_nodes = 0xff02_u128 << 112 | 1;
    let destination = passed.inner_destination;
    if destination <= 1 || (destination >> 120 == 0xff && destination != all_nodes) {
        return None;
    }
    if passed.source == ROUTER.octets() {
        return Some(Admitted::Router);
    }
    let embedded = u32::from_be_bytes(passed.source);
    let [zero, one] = [0_u128, 0x0200_0000].map(|u| 0xfe80_u128 << 112 | (u | 0x5efe) << 32 | u128::from(embedded));
    (passed.inner_source == zero || passed.inner_source == one).then_some(Admitted::Host)
}

/// What a tunnel from [`HOST`] to [`ROUTER`] does with it.
fn by_configuration(packet: &[u8]) -> Option<Admitted> {
    let passed = common(packet)?;
    let ends = passed.source == ROUTER.octets() && passed.destination == HOST.octets();
    (ends && passed.inner_destination > 1).then_some(Admitted::Remote)
}

thread_local! {
    static HOST_NODE: RefCell<IsatapHost<Standard>> = RefCell::new(host());
    static TUNNEL: configured::ConfiguredInterface<Standard> =
        configured::ConfiguredInterface::new(configured::Config::new(HOST, ROUTER));
}

/// A host that knows its router and has learned nothing.
pub fn host() -> IsatapHost<Standard> {
    let mut host = IsatapHost::host(HostConfig::DEFAULT);
    let now = Instant::from_secs(1);
    host.set_locators(now, &[HOST.into()]).unwrap();
    host.routers_resolved(now, Ok(Resolved { addresses: &[ROUTER], ttl: None })).unwrap();
    host
}

/// First byte: whether the header's checksum is made right. The rest: an
/// outer packet.
pub fn outer_packet(data: &[u8]) {
    let Some((flags, packet)) = data.split_first() else { return };
    let mut packet = packet.to_vec();
    if flags & 1 != 0 {
        fix_ipv4(&mut packet);
    }
    let flow = Flow::parse(&packet);
    assert_eq!(flow.is_ok(), common(&packet).is_some(), "{flow:?}");
    from_headers(&packet, &flow);
    pulled(&packet, &flow);
    if let Ok(flow) = &flow {
        let whole = flow.inner(&packet).len() + usize::from(flow.header_len) + usize::from(flow.padding());
        assert_eq!(whole, usize::from(flow.total_length));
    }
    links(&packet, flow.ok());
    let (pulled, behind) = with_packet(&packet, Outer::pull);
    let untouched = if pulled.is_ok() { &behind } else { &packet };
    host_node(&packet, untouched, |host| with_packet(&packet, |packet| host.decapsulate_ipv4(NOW, packet)));
    // The same bytes, with a header that nobody has looked at.
    let Some(arrived) = beside(&packet) else { return };
    let flow = Flow::of(&arrived.outer, &arrived.behind);
    assert_eq!(flow.is_ok(), common(&arrived.whole).is_some(), "{flow:?} of {:?}", arrived.outer);
    links(&arrived.whole, flow.ok());
    host_node(&arrived.whole, &arrived.behind, |host| {
        with_packet(&arrived.behind, |packet| host.decapsulate(NOW, &arrived.outer, packet))
    });
}

const NOW: Instant = Instant::from_secs(2);

/// Two links let in what the rules do. `flow`: what was read of the packet.
fn links(packet: &[u8], flow: Option<Flow>) {
    HOST_NODE.with_borrow(|host| {
        let link = host.interface(LinkId(0)).unwrap().link();
        assert_eq!(flow.and_then(|flow| link.admit(&flow).ok()), isatap(packet), "{flow:?}");
    });
    TUNNEL.with(|tunnel| {
        let link = tunnel.link();
        assert_eq!(flow.and_then(|flow| link.admit(&flow).ok()), by_configuration(packet), "{flow:?}");
    });
}

/// Whatever a host delivers or takes has passed; of what has not it changes no
/// byte but that it takes the header off.
fn host_node(packet: &[u8], untouched: &[u8], hand_in: impl FnOnce(&mut IsatapHost<Standard>) -> (Verdict, Vec<u8>)) {
    let (verdict, left) = hand_in(&mut HOST_NODE.with_borrow(Clone::clone));
    let is_let_in = isatap(packet).is_some();
    assert!(matches!(verdict, Verdict::Drop(_)) || is_let_in, "{verdict:?}");
    if !is_let_in {
        assert_eq!(left, untouched);
    }
}

/// With its header taken off a packet is judged the same.
fn pulled(packet: &[u8], flow: &Result<Flow, DropReason>) {
    let (outer, behind) = with_packet(packet, Outer::pull);
    let of = outer.and_then(|outer| Flow::of(&outer, &behind));
    let again = of.map(|mut of| {
        of.header_len = packet[0] % 16 * 4;
        of.total_length += u16::from(of.header_len);
        of
    });
    // Over UDP there is more to be refused.
    if again != *flow {
        assert!(packet[9] == 17 && *flow == Err(DropReason::NotProtocol41), "{again:?}, and not {flow:?}");
        let of_udp = [
            DropReason::OuterMalformed,
            DropReason::OuterFragment,
            DropReason::OuterOptions,
            DropReason::OuterSourceRoute,
            DropReason::TeredoMalformed,
        ];
        assert!(again.is_err_and(|reason| of_udp.contains(&reason)), "{again:?} over UDP");
    }
}

/// The door of BPF programs gives the same answer.
fn from_headers(packet: &[u8], flow: &Result<Flow, DropReason>) {
    let Some(ipv4) = packet.first_chunk::<20>() else { return };
    let header_len = usize::from(ipv4[0] & 0xf) * 4;
    let Some(ipv6) = packet.get(header_len..).and_then(|inner| inner.first_chunk::<40>()) else { return };
    // With options it cannot see, it leaves their checksum to its caller.
    if header_len == 20 {
        assert_eq!(&Flow::from_headers(ipv4, ipv6, header_len, packet.len()), flow);
    }
}
