//! Teredo datagrams against a second opinion of the wire format and of who may
//! send what.
//!
//! The oracle reads RFC 4380 §5.1.1, §5.2.3, §5.3.1, §5.4.2 and RFC 6081 §4
//! again, by positions in the payload and with 128-bit numbers; nothing of the
//! core's is called in it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use isatap_core::drop_reason::DropReason;
use isatap_core::error::{Layer, ParseErrorKind};
use isatap_core::link::Locator;
use isatap_core::packet::{HEADROOM, PacketMut};
use isatap_core::teredo::ingress::{
    self, ClientCase, ClientView, LONGEST_ICMPV6, Path, Reach, RelayCase, ServerCase, ServerView,
};
use isatap_core::teredo::packet::{Authentication, Datagram, Trailer, origin_bytes, push_origin};
use isatap_core::wire::field::Writer;

use crate::input::Input;

/// The server and its secondary address.
pub const SERVERS: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(198, 51, 100, 2)];
/// Where the NAT shows the client under test.
pub const MAPPED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 4096);
/// Its address and port behind the NAT.
pub const LOCAL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), 40_000);

/// A Teredo address, by the bits of RFC 4380 §4.
pub fn address(server: Ipv4Addr, flags: u16, mapping: SocketAddrV4) -> Ipv6Addr {
    let prefix = 0x2001_0000_u128 << 96 | u128::from(server.to_bits()) << 64;
    let identifier = u128::from(flags) << 48 | u128::from(!mapping.port()) << 32;
    Ipv6Addr::from_bits(prefix | identifier | u128::from(!mapping.ip().to_bits()))
}

/// Ends of UDP flows: clients, servers, relays, and what nobody may send to.
pub const ENDS: [SocketAddrV4; 12] = [
    SocketAddrV4::new(SERVERS[0], 3544),
    SocketAddrV4::new(SERVERS[1], 3544),
    MAPPED,
    SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 10), 8192),
    SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 10), 8193),
    SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 11), 1),
    SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 50), 3545),
    LOCAL,
    SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 3), 40_001),
    SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 1), 9),
    SocketAddrV4::new(Ipv4Addr::new(192, 88, 99, 1), 9),
    SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 120), 0),
];

/// IPv6 addresses that matter, and any other.
pub fn ipv6(input: &mut Input<'_>) -> Ipv6Addr {
    let server =
        input.among(&[SERVERS[0], SERVERS[0], SERVERS[1], Ipv4Addr::new(203, 0, 113, 120), Ipv4Addr::LOCALHOST]);
    match input.byte() % 12 {
        0 | 1 => address(SERVERS[0], 0, MAPPED),
        2 | 3 => address(server, 0, input.among(&ENDS)),
        4 => address(server, input.u16(), input.among(&ENDS)),
        5 => Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(input.byte() % 4)),
        6 => {
            Ipv6Addr::from_bits(0xfe80_u128 << 112 | u128::from(input.among(&[0xffff_ffff_ffff_u64, 1 << 63, 0x1234])))
        }
        7 => Ipv6Addr::from_bits(0xfe80_u128 << 112 | 0x8000_f227_39cc_9bfe),
        8 => Ipv6Addr::from_bits(0xff02_u128 << 112 | u128::from(1 + input.byte() % 2)),
        9 => Ipv6Addr::from_bits(0x3ffe_831f << 96 | u128::from(server.to_bits()) << 64 | u128::from(input.u32())),
        10 => input.among(&[Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST, Ipv6Addr::from_bits(0xffff_0a00_0001)]),
        _ => input.ipv6(),
    }
}

/// An inner packet: a bubble, ICMPv6 of some type, or anything.
pub fn inner(input: &mut Input<'_>, source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let mut packet = match input.byte() % 8 {
        0..=2 => vec![0x60, 0, 0, 0, 0, 0, 59, input.among(&[255, 0, 1, 21])],
        kind @ 3..=6 => {
            let next_header = input.among(&[58, 58, 58, 17, 6, 43, 44, 0]);
            let length = usize::from(input.byte() % 120);
            let mut body = input.bytes(length).to_vec();
            if kind == 3 && !body.is_empty() {
                body[0] = input.among(&[128, 129, 133, 134, 135, 1]);
            }
            let mut packet = vec![0x60, 0, 0, 0, 0, body.len() as u8, next_header, input.among(&[64, 255, 1, 0])];
            packet.extend([0; 32]);
            packet.extend(body);
            packet
        }
        _ => {
            let length = usize::from(input.byte());
            input.bytes(length).to_vec()
        }
    };
    if packet.len() == 8 {
        packet.extend([0; 32]);
    }
    if let Some(addresses) = packet.get_mut(8..40) {
        addresses[..16].copy_from_slice(&source.octets());
        addresses[16..].copy_from_slice(&destination.octets());
    }
    let is_icmpv6 =
        packet.get(6) == Some(&58) && packet.get(4..6) == Some(&(packet.len().saturating_sub(40) as u16).to_be_bytes());
    if is_icmpv6 && input.byte() & 7 != 0 {
        crate::input::fix_icmpv6(&mut packet);
    }
    packet
}

/// One trailer, well formed or not.
pub fn trailer(input: &mut Input<'_>) -> Vec<u8> {
    let kind = input.among(&[1_u8, 1, 2, 3, 3, 4, 5, 6, 0x40, 0x7f, 0x80, 0xff]);
    let usual: &[u8] = match kind {
        2 | 5 => &[2],
        3 => &[8, 14, 20, 26, 32],
        _ => &[4, 4, 0],
    };
    let stated = if input.byte().is_multiple_of(8) { input.byte() } else { input.among(usual) };
    let mut value = input.bytes(usize::from(stated)).to_vec();
    // Most are as long as they say.
    if !input.byte().is_multiple_of(8) {
        value.resize(usize::from(stated), 7);
    }
    [vec![kind, stated], value].concat()
}

/// Headers, packets and trailers in any order, and cut anywhere.
pub fn payload(input: &mut Input<'_>) -> Vec<u8> {
    let order = input.byte();
    let mut payload = Vec::new();
    let pieces: &[u8] = match order % 8 {
        0 => &[2],
        1 => &[1, 2],
        2 => &[0, 2],
        3 => &[0, 1, 2],
        4 => &[1, 2, 3],
        5 => &[0, 1, 2, 3, 3],
        6 => &[2, 3, 3],
        _ => &[9; 5],
    };
    for piece in pieces {
        match if *piece == 9 { input.byte() % 5 } else { *piece } {
            0 => {
                let lengths = [input.among(&[0_u8, 0, 4, 255]), input.among(&[0_u8, 20, 20, 255])];
                payload.extend([0, 1, lengths[0], lengths[1]]);
                let length = usize::from(lengths[0]) + usize::from(lengths[1]);
                let mut text = input.bytes(length).to_vec();
                text.resize(length, 0xaa);
                payload.extend(text);
                let mut nonce = input.bytes(8).to_vec();
                nonce.resize(8, 0xee);
                payload.extend(nonce);
                payload.push(input.among(&[0, 0, 1]));
            }
            1 => {
                let origin = input.among(&ENDS);
                payload.extend([0, 0]);
                payload.extend((!origin.port()).to_be_bytes());
                payload.extend((!origin.ip().to_bits()).to_be_bytes());
            }
            2 => {
                let (source, destination) = (ipv6(input), ipv6(input));
                payload.extend(inner(input, source, destination));
            }
            3 => payload.extend(trailer(input)),
            _ => {
                let length = usize::from(input.byte() % 16);
                payload.extend(input.bytes(length));
            }
        }
    }
    if input.byte().is_multiple_of(8) {
        payload.truncate(usize::from(input.u16()) % (payload.len() + 1));
    }
    payload
}

/// Positions in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts {
    authentication: Option<usize>,
    origin: Option<usize>,
    inner: (usize, usize),
}

type Wrong = (Layer, ParseErrorKind, usize);

/// RFC 4380 §5.1.1, by positions.
fn parts(payload: &[u8]) -> Result<Parts, Wrong> {
    let word = |at: usize| Some(u16::from(*payload.get(at)?) << 8 | u16::from(*payload.get(at + 1)?));
    let end = (Layer::Teredo, ParseErrorKind::Truncated, payload.len());
    let mut at = 0;
    let mut authentication = None;
    if word(0) == Some(1) {
        let lengths = word(2).ok_or(end)?;
        authentication = Some(0);
        at = 13 + usize::from(lengths >> 8) + usize::from(lengths & 0xff);
        if payload.len() < at {
            return Err(end);
        }
    }
    let mut origin = None;
    if word(at) == Some(0) {
        origin = Some(at);
        at += 8;
        if payload.len() < at {
            return Err(end);
        }
    }
    if payload.get(at) == Some(&0) {
        return Err((Layer::Teredo, ParseErrorKind::Type, at));
    }
    if payload.len() < at + 40 {
        return Err((Layer::Ipv6, ParseErrorKind::Truncated, payload.len()));
    }
    if payload[at] & 0xf0 != 0x60 {
        return Err((Layer::Ipv6, ParseErrorKind::Version, at));
    }
    let inner_end = at + 40 + usize::from(word(at + 4).unwrap());
    if inner_end > payload.len() {
        return Err((Layer::Ipv6, ParseErrorKind::Truncated, payload.len()));
    }
    Ok(Parts { authentication, origin, inner: (at, inner_end) })
}

/// RFC 6081 §4.1: type and value of each trailer, up to the first malformed.
fn trailers(bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + 2 <= bytes.len() {
        let end = at + 2 + usize::from(bytes[at + 1]);
        if end > bytes.len() {
            break;
        }
        found.push((bytes[at], &bytes[at + 2..end]));
        at = end;
    }
    found
}

/// RFC 6081 §5.6.4.2: the addresses of a list, if it may be used.
fn alternates(value: &[u8]) -> Option<Vec<SocketAddrV4>> {
    if ![8, 14, 20, 26].contains(&value.len()) {
        return None;
    }
    let read = |at: usize| {
        let octets = [value[at], value[at + 1], value[at + 2], value[at + 3]];
        let port = u16::from(value[at + 4]) * 256 + u16::from(value[at + 5]);
        let is_unicast = octets[0] != 0 && octets[0] != 127 && octets[0] < 224;
        (is_unicast && port != 0).then(|| SocketAddrV4::new(octets.into(), port))
    };
    (2..value.len()).step_by(6).map(read).collect()
}

/// RFC 4380 §5.2.4, as ranges of numbers; 100.64/10 and 240/4 besides.
pub fn is_global(address: Ipv4Addr) -> bool {
    let number = u32::from(address);
    let refused = [
        (0x0000_0000, 0x00ff_ffff),
        (0x0a00_0000, 0x0aff_ffff),
        (0x6440_0000, 0x647f_ffff),
        (0x7f00_0000, 0x7fff_ffff),
        (0xa9fe_0000, 0xa9fe_ffff),
        (0xac10_0000, 0xac1f_ffff),
        (0xc058_6300, 0xc058_63ff),
        (0xc0a8_0000, 0xc0a8_ffff),
        (0xe000_0000, 0xffff_ffff),
    ];
    !refused.iter().any(|(first, last)| (*first..=*last).contains(&number))
}

/// Server, mapping of a Teredo address.
pub fn embedded(address: u128) -> Option<(Ipv4Addr, SocketAddrV4)> {
    if address >> 96 != 0x2001_0000 {
        return None;
    }
    let server = Ipv4Addr::from((address >> 64) as u32);
    Some((server, SocketAddrV4::new(Ipv4Addr::from(!address as u32), (!address >> 32) as u16)))
}

/// 2000::/3 without both Teredo prefixes.
pub fn is_native(address: u128) -> bool {
    address >> 125 == 1 && !matches!(address >> 96, 0x2001_0000 | 0x3ffe_831f)
}

/// The inner packet, read by positions: what the rules of all roles need.
struct Inner<'a> {
    bytes: &'a [u8],
    source: u128,
    destination: u128,
    bubble: bool,
    /// Of ICMPv6 that is no fragment.
    icmpv6: Option<&'a [u8]>,
    is_icmpv6: bool,
}

/// `None`: no role takes it.
fn read(bytes: &[u8]) -> Option<Inner<'_>> {
    let number = |at: usize| u128::from_be_bytes(bytes[at..at + 16].try_into().unwrap());
    let (source, destination) = (number(8), number(24));
    // Multicast, `::/96`, IPv4-mapped: nobody's address.
    if source >> 120 == 0xff || source < 1 << 32 || source >> 32 == 0xffff {
        return None;
    }
    let (mut next, mut at, mut headers, mut fragment, mut later) = (bytes[6], 40, 0, false, false);
    while [0, 43, 44, 51, 60, 135, 139, 140].contains(&next) && !later {
        headers += 1;
        let fixed = bytes.get(at..at + 8)?;
        if headers > 8 {
            return None;
        }
        let length = match next {
            44 => 8,
            51 => (usize::from(fixed[1]) + 2) * 4,
            _ => (usize::from(fixed[1]) + 1) * 8,
        };
        // RFC 5095 and RFC 6169 §2.3.3; types 2 (mobility) and 3 (RPL) stay inside.
        if next == 43 && fixed[3] != 0 && !ROUTING_TYPES.contains(&fixed[2]) {
            return None;
        }
        if next == 44 {
            fragment = true;
            later = fixed[2] != 0 || fixed[3] & 0xf8 != 0;
        }
        next = fixed[0];
        at += length;
        if at > bytes.len() {
            return None;
        }
    }
    let bubble = bytes[6] == 59 && bytes.len() == 40;
    let is_icmpv6 = next == 58 && !fragment;
    Some(Inner { bytes, source, destination, bubble, icmpv6: is_icmpv6.then(|| &bytes[at..]), is_icmpv6 })
}

/// Routing headers that may ask for forwarding: of mobile nodes.
const ROUTING_TYPES: &[u8] = isatap_core::wire::ipv6::DEFAULT_ROUTING_TYPES;

/// RFC 4380 §5.3.1 for the server at [`SERVERS`].
fn by_server(from: SocketAddrV4, inner: Option<&Inner<'_>>, lax: bool) -> Option<ServerCase> {
    let inner = inner?;
    if from.port() == 3544 && SERVERS.contains(from.ip()) {
        return None;
    }
    let small = inner.bytes.len() <= 40 + usize::from(LONGEST_ICMPV6);
    if !(inner.bubble || (inner.is_icmpv6 && small)) || !is_global(*from.ip()) || from.port() == 0 {
        return None;
    }
    let all_routers = 0xff02_u128 << 112 | 2;
    let kind = inner.icmpv6.and_then(|message| message.first());
    if inner.source >> 118 == 0x3fa && inner.destination == all_routers && kind == Some(&133) {
        return Some(ServerCase::Solicitation { cone: inner.source >> 63 & 1 == 1 });
    }
    match (embedded(inner.source), embedded(inner.destination)) {
        (Some((_, mapping)), _) if mapping == from => Some(ServerCase::FromClient),
        (Some((_, mapping)), _) if lax && inner.bubble && mapping.ip() == from.ip() => Some(ServerCase::FromClient),
        (Some(_), _) => None,
        (None, Some((server, _))) if server == SERVERS[0] => Some(ServerCase::ToClient),
        _ => None,
    }
}

/// RFC 4380 §5.2.3 for a client at [`MAPPED`] that knows no peer, where the
/// case does not need one.
fn by_client(path: Path, parts: &Parts, inner: Option<&Inner<'_>>) -> Option<ClientCase> {
    let inner = inner?;
    let own = address(SERVERS[0], 0, MAPPED).to_bits();
    let from_server = path.from.port() == 3544 && SERVERS.contains(path.from.ip());
    let kind = inner.icmpv6.filter(|message| message.len() >= 8).map(|message| message[0]);
    if kind == Some(134) {
        return from_server.then_some(ClientCase::Advertisement);
    }
    // Local discovery is off; nothing else is for the group.
    if *path.to.ip() == Ipv4Addr::new(224, 0, 0, 253) || inner.destination != own || inner.source == own {
        return None;
    }
    let teredo = embedded(inner.source);
    let by_origin = from_server && parts.origin.is_some();
    if from_server && inner.bubble && (by_origin || teredo.is_some()) {
        return Some(ClientCase::IndirectBubble);
    }
    // Nobody is, or is believed to be, at such an address.
    let first = path.from.ip().octets()[0];
    let possible = first != 0 && first != 127 && first < 224 && path.from.port() != 0 && path.from.ip() != LOCAL.ip();
    match teredo {
        _ if !by_origin && !possible => None,
        Some((_, mapping)) => {
            let usable = is_global(*mapping.ip()) && mapping.port() != 0;
            (!by_origin && mapping == path.from && usable).then_some(ClientCase::Mapped)
        }
        None => is_native(inner.source).then_some(ClientCase::Untested),
    }
}

/// RFC 4380 §5.4.2 for a relay that knows nobody: whoever is well formed and
/// where its address says is not served, the others are forged.
fn by_relay(from: SocketAddrV4, inner: Option<&Inner<'_>>) -> Result<RelayCase, Option<DropReason>> {
    let inner = inner.ok_or(None)?;
    match embedded(inner.source) {
        Some((_, mapping)) if mapping == from && is_global(*from.ip()) && from.port() != 0 => {
            Err(Some(DropReason::TeredoNotServed))
        }
        Some((_, mapping)) if mapping == from => Err(Some(DropReason::TeredoEmbedded)),
        _ => Err(Some(DropReason::TeredoMapping)),
    }
}

/// First byte: whether the rest is a payload as it is, or says how to make
/// one. Then the ends of the flow.
pub fn teredo_datagram(data: &[u8]) {
    let mut input = Input::new(data);
    let raw = input.byte() & 1 == 1;
    let path = Path {
        from: input.among(&ENDS),
        to: input.among(&[LOCAL, LOCAL, SocketAddrV4::new([224, 0, 0, 253].into(), 3544)]),
    };
    let payload = if raw { input.rest().to_vec() } else { payload(&mut input) };

    let parsed = Datagram::parse(&payload);
    let expected = parts(&payload);
    let (datagram, parts) = match (parsed, expected) {
        (Ok(datagram), Ok(parts)) => (datagram, parts),
        (Err(error), Err(expected)) => {
            assert_eq!((error.layer, error.kind, error.offset), expected);
            let wrong_version = error.kind == ParseErrorKind::Version;
            let reason = if wrong_version { DropReason::InnerVersion } else { DropReason::TeredoMalformed };
            assert_eq!(ingress::parse(&payload).unwrap_err(), reason);
            return;
        }
        (parsed, expected) => panic!("{parsed:?}, and not {expected:?}"),
    };
    headers(&payload, &datagram, &parts);
    let (start, end) = parts.inner;
    check_trailers(&datagram, &payload[end..]);

    let inner = read(&payload[start..end]);
    let (_, header) = ingress::parse(&payload).unwrap();
    for lax in [false, true] {
        let view = ServerView {
            addresses: SERVERS,
            known_servers: &[],
            accept_symmetric_bubbles: lax,
            reach: Reach { own: &[], accept_bogons: false },
            accept_obsolete_prefix: false,
        };
        let case = ingress::server(&view, path.from, &header);
        assert_eq!(case.ok(), by_server(path.from, inner.as_ref(), lax), "{case:?}");
    }
    let locators: [Locator; 1] = [Locator { address: *LOCAL.ip(), subnet_length: 24 }];
    let view = ClientView {
        servers: SERVERS,
        address: Some(address(SERVERS[0], 0, MAPPED)),
        peer: None,
        secret_source: None,
        testing: false,
        local: None,
        discovery: false,
        reach: Reach { own: &locators, accept_bogons: false },
    };
    if let Ok(known) = datagram.trailers().collect_known() {
        let case = ingress::client(&view, path, &datagram, &header, &known);
        assert_eq!(case.ok(), by_client(path, &parts, inner.as_ref()), "{case:?}");
    }
    let case = ingress::relay(None, None, path.from, &header, Reach { own: &[], accept_bogons: false });
    match by_relay(path.from, inner.as_ref()) {
        Err(None) => assert!(case.is_err()),
        Err(Some(reason)) => assert_eq!(case, Err(reason)),
        Ok(expected) => assert_eq!(case, Ok(expected)),
    }
}

/// What the headers in front say, and that they are written as they were read.
fn headers(payload: &[u8], datagram: &Datagram<'_>, parts: &Parts) {
    let (start, end) = parts.inner;
    assert_eq!(datagram.inner_range(), start..end);
    assert_eq!(datagram.ipv6(), &payload[start..end]);
    assert_eq!(datagram.trailer_bytes(), &payload[end..]);
    assert_eq!(datagram.authentication().is_some(), parts.authentication.is_some());
    if let Some(header) = datagram.authentication() {
        let ends = [4, 4 + usize::from(payload[2]), 4 + usize::from(payload[2]) + usize::from(payload[3])];
        assert_eq!(header.client_id, &payload[ends[0]..ends[1]]);
        assert_eq!(header.value, &payload[ends[1]..ends[2]]);
        assert_eq!(header.nonce, payload[ends[2]..ends[2] + 8]);
        assert_eq!(header.confirmation, payload[ends[2] + 8]);
        assert_eq!(header.encoded_len(), ends[2] + 9);
        assert_eq!(written(|writer| header.emit(writer)), &payload[..ends[2] + 9]);
        assert_eq!(Authentication::parse(payload).unwrap(), (header, ends[2] + 9));
    }
    assert_eq!(datagram.origin().is_some(), parts.origin.is_some());
    if let (Some(origin), Some(at)) = (datagram.origin(), parts.origin) {
        let turned: Vec<u8> = payload[at + 2..at + 8].iter().map(|byte| byte ^ 0xff).collect();
        assert_eq!(origin.port(), u16::from(turned[0]) * 256 + u16::from(turned[1]));
        assert_eq!(origin.ip().octets(), turned[2..6]);
        assert_eq!(origin_bytes(origin), payload[at..at + 8]);
        // Pushed in front of the inner packet it is the same datagram again.
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(&payload[start..]);
        let whole = buffer.len();
        let mut packet = PacketMut::new(&mut buffer, HEADROOM..whole).unwrap();
        push_origin(&mut packet, origin).unwrap();
        assert_eq!(packet.as_slice(), &payload[at..]);
    }
}

fn written(emit: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut space = [0; 1024];
    let mut writer = Writer::new(&mut space);
    emit(&mut writer);
    let len = writer.finish().unwrap();
    space[..len].to_vec()
}

fn check_trailers(datagram: &Datagram<'_>, bytes: &[u8]) {
    let expected = trailers(bytes);
    let read: Vec<_> = datagram.trailers().collect();
    assert_eq!(read.len(), expected.len());
    let is_discard = |kind: u8| kind & 0xc0 == 0x40;
    let mut discard = false;
    for (trailer, (kind, value)) in read.iter().zip(&expected) {
        discard |= is_discard(*kind);
        match (trailer, *kind, value.len()) {
            (Trailer::Nonce(nonce), 1, 4) => assert_eq!(nonce[..], **value),
            (Trailer::AlternateAddress(list), 3, _) => {
                assert_eq!(list.addresses().ok().map(Vec::from_iter), alternates(value));
            }
            (Trailer::NeighborDiscovery(sign), 4, 4) => assert_eq!(*sign as u8, value[0]),
            (Trailer::RandomPort(port), 2 | 5, 2) => assert_eq!(port.to_be_bytes(), **value),
            (Trailer::Discard { trailer_type }, kind, _) => assert!(*trailer_type == kind && is_discard(kind)),
            (Trailer::Skipped { trailer_type, value: skipped }, kind, len) => {
                assert!(*trailer_type == kind && skipped == value && !is_discard(kind));
                let usual =
                    matches!((kind, len), (1, 4) | (3, _) | (2 | 5, 2)) || (kind == 4 && len == 4 && value[0] < 2);
                assert!(!usual, "{kind} was skipped");
            }
            other => panic!("{other:?}"),
        }
        // Written as it was read, but for the number of the random port, the
        // reserved bytes, and the value of what was thrown away.
        let mut again = [&[*kind, value.len() as u8], *value].concat();
        match trailer {
            Trailer::RandomPort(_) => again[0] = 5,
            Trailer::NeighborDiscovery(_) => again[3..].fill(0),
            Trailer::Discard { .. } => continue,
            _ => {}
        }
        assert_eq!(written(|writer| trailer.emit(writer)), again);
    }
    let known = datagram.trailers().collect_known();
    assert_eq!(known.is_err(), discard);
    if let Ok(known) = known {
        let first =
            |is: fn(u8, &[u8]) -> bool| expected.iter().find(|(kind, value)| is(*kind, value)).map(|(_, value)| *value);
        assert_eq!(known.nonce.as_ref().map(|nonce| &nonce[..]), first(|kind, value| kind == 1 && value.len() == 4));
        let port = first(|kind, value| matches!(kind, 2 | 5) && value.len() == 2);
        assert_eq!(known.random_port.map(u16::to_be_bytes).as_ref().map(|port| &port[..]), port);
        assert_eq!(known.alternates.is_some(), first(|kind, _| kind == 3).is_some());
        let sign = first(|kind, value| kind == 4 && value.len() == 4 && value[0] < 2);
        assert_eq!(known.sign_of_life.map(|sign| sign as u8), sign.map(|value| value[0]));
    }
}
