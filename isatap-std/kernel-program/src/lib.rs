//! What the kernel does with packets whose decision is known: tc programs that encapsulate and
//! decapsulate by tables that user space fills.
//!
//! ```text
//! kernel ──▶ TUN, egress:  encapsulate ─ row found ──▶ device underneath, by its neighbour
//!                                      ╰ else ───────▶ user space reads it from the TUN
//! device underneath, ingress: decapsulate ─ row found ──▶ received on the TUN
//!                                         ╰ else ───────▶ IPv4, raw socket, user space
//! ```
//!
//! A row is found for exactly the addresses and the device that user space has decided about. What
//! depends on other bytes is looked at here, and is as plain as it can be: whatever is not clearly in
//! order goes on to user space, which has the rules.
#![no_std]
#![feature(asm_experimental_arch)]

mod kernel;
#[path = "../../src/kernel_path/layout.rs"]
mod layout;
mod teredo;

use kernel::{Map, Packet, coarse_now, count};
use layout::{Admission, AdmissionKey, Life, Path, PathKey, SLOTS, State, Used};

#[unsafe(no_mangle)]
#[unsafe(link_section = "maps")]
static PATHS: Map<PathKey, Path> = Map::lru_hash(16_384);

#[unsafe(no_mangle)]
#[unsafe(link_section = "maps")]
static ADMISSIONS: Map<AdmissionKey, Admission> = Map::lru_hash(16_384);

#[unsafe(no_mangle)]
#[unsafe(link_section = "maps")]
static STATE: Map<u32, State> = Map::array(SLOTS);

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 4] = *b"GPL\0";

/// The next program, and in the end the device or IPv4 (`TCX_NEXT`).
const NEXT: i32 = -1;
/// The packet is lost (`TCX_DROP`).
const DROP: i32 = 2;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const IPV6_HEADER: u32 = 40;
const IPV4_HEADER: u32 = 20;
const UDP_HEADER: u32 = 8;
const ETHERNET_HEADER: u32 = 14;
/// What an IPv4 packet has room for.
const LONGEST: u32 = 65_515;

/// A packet that the kernel sends by a tunnel's device.
#[unsafe(no_mangle)]
#[unsafe(link_section = "classifier/encapsulate")]
pub extern "C" fn encapsulate(packet: Packet) -> i32 {
    send(packet).unwrap_or(NEXT)
}

/// A packet that a device underneath has received.
#[unsafe(no_mangle)]
#[unsafe(link_section = "classifier/decapsulate")]
pub extern "C" fn decapsulate(packet: Packet) -> i32 {
    receive(packet).unwrap_or(NEXT)
}

#[inline(always)]
fn send(packet: Packet) -> Option<i32> {
    let ipv6 = packet.bytes::<40>(0)?;
    let len = u32::from(be16(ipv6, 4)) + IPV6_HEADER;
    if ipv6[0] >> 4 != 6 || len != packet.len() || len > LONGEST {
        return None;
    }
    let key = PathKey {
        source: [word(ipv6, 8), word(ipv6, 16)],
        destination: [word(ipv6, 24), word(ipv6, 32)],
        device: u64::from(packet.device()),
    };
    let path = PATHS.get(&key)?;
    if path.ports != 0 && !teredo::is_plain(packet, 0, ipv6, &path.used) {
        return None;
    }
    if !is_good(&path.life) || len_on_the_wire(packet, ipv6[6], len)? > path.mtu {
        return None;
    }
    let class = ipv6[0] << 4 | ipv6[1] >> 4;
    let tos = path.tos | class & path.tos_mask;
    let ttl = if path.ttl == 0 { if ipv6[7] == 0 { 1 } else { ipv6[7] } } else { path.ttl };
    // A template with the identification 0 and DF set: of protocol 41 only such packets have rows. [RFC 6864 §4.1]
    let mut ipv4 = [0x45, tos, 0, 0, 0, 0, 0x40, 0, ttl, 41, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    put(&mut ipv4, 2, &((len + IPV4_HEADER) as u16).to_be_bytes());
    let udp = teredo::header(path, ipv6, len);
    if path.ports != 0 {
        put(&mut ipv4, 2, &((len + IPV4_HEADER + UDP_HEADER) as u16).to_be_bytes());
        teredo::may_be_fragmented(&mut ipv4);
        ipv4[9] = UDP;
    }
    put(&mut ipv4, 12, &path.outer_source.to_ne_bytes());
    put(&mut ipv4, 16, &path.outer_destination.to_ne_bytes());
    let sum = !sum(&ipv4);
    put(&mut ipv4, 10, &sum.to_ne_bytes());
    // One that is in a tunnel already (`skb->encapsulation`) gets no room: it is as it was, and user space's.
    packet.push_ipv4(path.ports != 0)?;
    // What fails from here on has changed the packet.
    if packet.push_ethernet().is_none() {
        return Some(DROP);
    }
    let Some(front) = packet.bytes_mut::<34>(0) else { return Some(DROP) };
    // The kernel writes the addresses in front of it once it knows the neighbour.
    front[12] = 0x08;
    front[13] = 0x00;
    put(front, 14, &ipv4);
    if path.ports != 0 {
        let Some(front) = packet.bytes_mut::<42>(0) else { return Some(DROP) };
        put(front, 34, &udp);
    }
    packet.set_mark(path.mark);
    note(&path.used, len);
    Some(packet.redirect_to_neighbor(path.underlay))
}

/// The length of what a packet is cut into; `None`: that is for user space to say.
#[inline(always)]
fn len_on_the_wire(packet: Packet, next_header: u8, len: u32) -> Option<u32> {
    let segment = packet.segment_size();
    if segment == 0 {
        return Some(len);
    }
    if next_header != TCP {
        return None;
    }
    let words = packet.bytes::<1>(52)?[0] >> 4;
    Some(IPV6_HEADER + u32::from(words) * 4 + segment)
}

#[inline(always)]
fn receive(packet: Packet) -> Option<i32> {
    let front = packet.bytes::<74>(0)?;
    // IPv4 without options, no fragment; for this machine, and not of a VLAN, whose device is another one.
    let is_plain = be16(front, 12) == 0x0800 && front[14] == 0x45 && be16(front, 20) & 0x3fff == 0;
    if !is_plain || !packet.is_for_host() || packet.has_vlan() {
        return None;
    }
    match front[23] {
        41 => {
            let ipv6 = packet.bytes::<40>(34)?;
            let admission = admission(packet, front, ipv6, IPV4_HEADER, 0)?;
            let is_open = match ipv6[6] {
                TCP | UDP => true,
                // Neighbor Discovery is user space's.
                ICMPV6 => admission.awaited == 0 && !matches!(packet.bytes::<1>(74)?[0], 133..=137),
                // Extension headers, fragments, tunnels in tunnels.
                _ => false,
            };
            if !is_open { None } else { deliver(packet, front, ipv6, admission, false) }
        }
        UDP => {
            let ipv6 = packet.bytes::<40>(42)?;
            let admission = admission(packet, front, ipv6, IPV4_HEADER + UDP_HEADER, half(front, 34))?;
            let is_open = teredo::is_plain(packet, 42, ipv6, &admission.used) && teredo::is_whole(front, ipv6);
            if !is_open { None } else { deliver(packet, front, ipv6, admission, true) }
        }
        _ => None,
    }
}

/// The row of a packet whose lengths and outer header are in order.
#[inline(always)]
fn admission(
    packet: Packet,
    front: &[u8; 74],
    ipv6: &[u8; 40],
    headers: u32,
    ports: u32,
) -> Option<&'static Admission> {
    let (total, len) = (u32::from(be16(front, 16)), u32::from(be16(ipv6, 4)) + IPV6_HEADER);
    // Of joined datagrams there are more bytes.
    let is_as_long = packet.len() == total + ETHERNET_HEADER && (total == len + headers || packet.segment_size() != 0);
    if !is_as_long || ipv6[0] >> 4 != 6 {
        return None;
    }
    let mut ipv4 = [0; 20];
    put(&mut ipv4, 0, &word(front, 14).to_ne_bytes());
    put(&mut ipv4, 8, &half(front, 22).to_ne_bytes());
    put(&mut ipv4, 12, &word(front, 26).to_ne_bytes());
    if sum(&ipv4) != 0xffff {
        return None;
    }
    ADMISSIONS.get(&AdmissionKey {
        inner_source: [word(ipv6, 8), word(ipv6, 16)],
        inner_destination: [word(ipv6, 24), word(ipv6, 32)],
        outer_source: half(front, 26),
        outer_destination: half(front, 30),
        device: packet.device(),
        ports,
    })
}

#[inline(always)]
fn deliver(
    packet: Packet,
    front: &[u8; 74],
    ipv6: &[u8; 40],
    admission: &'static Admission,
    with_udp: bool,
) -> Option<i32> {
    // A mark of congestion that the inner packet does not have: user space combines them. [RFC 6040 §4.2]
    let (outer_ecn, inner_ecn) = (front[15] & 3, ipv6[1] >> 4 & 3);
    if (outer_ecn != 0 && outer_ecn != inner_ecn) || !is_good(&admission.life) {
        return None;
    }
    let len = u32::from(be16(ipv6, 4)) + IPV6_HEADER;
    packet.pop_ipv4(with_udp)?;
    note(&admission.used, len);
    Some(packet.redirect_into(admission.device))
}

#[inline(always)]
fn is_good(life: &Life) -> bool {
    let slot = (life.generation >> 56) as u32;
    coarse_now() < life.until && STATE.get(&slot).is_some_and(|state| state.generation == life.generation)
}

#[inline(always)]
fn note(used: &Used, len: u32) {
    count(&used.packets, 1);
    count(&used.bytes, u64::from(len));
}

/// The ones' complement sum of a header, in the packet's order of bytes: 0xffff for one that is in order.
#[inline(always)]
fn sum(header: &[u8; 20]) -> u16 {
    let mut sum = 0;
    let mut at = 0;
    while at < 20 {
        sum += half(header, at) as u64;
        at += 4;
    }
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

#[inline(always)]
fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(word)
}

#[inline(always)]
fn half<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    let mut half = [0; 4];
    half.copy_from_slice(&bytes[at..at + 4]);
    u32::from_ne_bytes(half)
}

#[inline(always)]
fn be16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[inline(always)]
fn put<const N: usize, const M: usize>(bytes: &mut [u8; N], at: usize, value: &[u8; M]) {
    bytes[at..at + M].copy_from_slice(value);
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
