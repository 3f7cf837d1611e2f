#![allow(clippy::arithmetic_side_effects)]
use super::*;
use crate::packet::HEADROOM;
use crate::teredo::ingress::is_global_unicast;
use crate::teredo::packet::Bubble;
use crate::teredo::packet::Datagram;
use crate::wire::field::Writer;
use crate::wire::hex;
use crate::wire::protocol;
use hmac::Mac;
use proptest::prelude::*;
use std::borrow::ToOwned;
use std::string::String;
use std::vec;
use std::vec::Vec;

const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 120);
const LINK: LinkId = LinkId(3);
const AUTH: &str = "00 01 00 00 01 23 45 67 89 ab cd ef 00";
const RS: &str = "60 00 00 00 00 08 3a ff fe 80 00 00 00 00 00 00 00 00 ff ff ff ff ff ff
    ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 02 85 00 7d 37 00 00 00 00";
const RA: &str = "60 00 00 00 00 38 3a ff fe 80 00 00 00 00 00 00 80 00 f2 27 39 cc 9b fe
    fe 80 00 00 00 00 00 00 00 00 ff ff ff ff ff ff 86 00 95 4c 00 00 00 00 00 00 00 00 00 00 07 d0
    03 04 40 40 ff ff ff ff ff ff ff ff 00 00 00 00 20 01 00 00 c6 33 64 01 00 00 00 00 00 00 00 00
    05 01 00 00 00 00 05 00";
const ORIGIN_A: &str = "00 00 ef ff 3f ff fd fe";

fn config() -> ServerConfig {
    let mut config = ServerConfig::new(SERVER);
    config.known_servers[0] = OTHER;
    config
}

fn server() -> Server {
    Server::new(config(), LINK)
}

fn endpoint(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn ipv6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// Client A of the vectors.
fn client_a() -> (SocketAddrV4, Ipv6Addr) {
    (endpoint("192.0.2.1:4096"), ipv6("2001:0:c633:6401:0:efff:3fff:fdfe"))
}

/// Client B of the vectors.
fn client_b() -> (SocketAddrV4, Ipv6Addr) {
    (endpoint("203.0.113.10:8192"), ipv6("2001:0:c633:6401:0:dfff:34ff:8ef5"))
}

fn path(from: SocketAddrV4, to: Ipv4Addr) -> Path {
    Path { from, to: SocketAddrV4::new(to, SERVER_PORT) }
}

fn teredo_address(server: Ipv4Addr, at: SocketAddrV4) -> Ipv6Addr {
    let flags = crate::teredo::addr::Flags::empty();
    crate::teredo::addr::Address { server, flags, port: at.port(), client: *at.ip() }.to_ipv6()
}

fn bubble(source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let mut out = vec![0; 40];
    Bubble::new(source, destination).emit(&mut Writer::new(&mut out));
    out
}

fn echo(source: Ipv6Addr, destination: Ipv6Addr, data: &[u8], hop_limit: u8) -> Vec<u8> {
    let mut buffer = [0; 2000];
    let mut packet = PacketMut::empty(&mut buffer);
    icmpv6::Echo { identifier: 0, sequence: 1 }.request(&mut packet, source, destination, data).unwrap();
    ipv6::set_hop_limit(packet.as_mut_slice().first_chunk_mut().unwrap(), hop_limit);
    packet.as_slice().to_vec()
}

/// What the server makes of a payload, and what the buffer then holds: of what
/// is sent, the packet on the wire.
fn handle<A: Authenticator>(server: &mut Server<A>, path: Path, payload: &[u8]) -> (Verdict, Vec<u8>) {
    let mut buffer = vec![0xaa; 2048];
    buffer[HEADROOM..HEADROOM + payload.len()].copy_from_slice(payload);
    let mut packet = PacketMut::new(&mut buffer, HEADROOM..HEADROOM + payload.len()).unwrap();
    let verdict = server.decapsulate(Instant::ZERO, &Outer::udp(path.from, path.to), &mut packet);
    if let Verdict::Tunnel { outer, .. } | Verdict::Answer { via: Via::Tunnel { outer, .. }, .. } = verdict {
        outer.push(&mut packet).unwrap();
    }
    (verdict, packet.as_slice().to_vec())
}

/// The UDP payload that the server sends, with both ends.
fn sent(answer: &(Verdict, Vec<u8>)) -> (SocketAddrV4, SocketAddrV4, Vec<u8>) {
    let outer = match answer.0 {
        Verdict::Tunnel { link: LINK, outer }
        | Verdict::Answer { via: Via::Tunnel { link: LINK, outer }, reason: None } => outer,
        other => panic!("{other:?}"),
    };
    let ports = outer.ports.unwrap();
    // The headers on the wire say the same.
    let mut bytes = answer.1.clone();
    let len = bytes.len();
    let mut packet = PacketMut::new(&mut bytes, 0..len).unwrap();
    let path = Path::of(&Outer::pull(&mut packet).unwrap()).unwrap();
    assert_eq!(path.from, SocketAddrV4::new(outer.source, ports.0));
    assert_eq!(path.to, SocketAddrV4::new(outer.destination, ports.1));
    assert!(!outer.dont_fragment && outer.tos == 0, "TER-104");
    (path.from, path.to, packet.as_slice().to_vec())
}

fn dropped(answer: &(Verdict, Vec<u8>)) -> DropReason {
    match answer.0 {
        Verdict::Drop(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ter_62_ter_104_the_advertisement_of_the_vectors() {
    let (at, _) = client_a();
    let solicitation = hex(&(AUTH.to_owned() + RS));
    let (from, to, payload) = sent(&handle(&mut server(), path(at, SERVER), &solicitation));
    assert_eq!((from, to), (SocketAddrV4::new(SERVER, 3544), at));
    assert_eq!(payload, hex(&(AUTH.to_owned() + ORIGIN_A + RA)));
    assert_eq!(payload.len(), 117);
    // Without the header there is none in the answer either.
    let (_, _, payload) = sent(&handle(&mut server(), path(at, SERVER), &hex(RS)));
    assert_eq!(payload, hex(&(ORIGIN_A.to_owned() + RA)));
}

#[test]
fn ter_3_ter_62_the_cone_bit_asks_for_the_other_address() {
    let (at, _) = client_a();
    let solicitation = |source: &str, checksum: &str| {
        hex(&("6000000000083aff".to_owned() + source + "ff020000000000000000000000000002 8500" + checksum + "00000000"))
    };
    let plain = solicitation("fe80000000000000 0000ffffffffffff", "7d37");
    let cone = solicitation("fe80000000000000 8000ffffffffffff", "fd36");
    for (solicitation, asked, answers) in
        [(&plain, SERVER, SERVER), (&plain, SECOND, SECOND), (&cone, SERVER, SECOND), (&cone, SECOND, SERVER)]
    {
        let (from, _, payload) = sent(&handle(&mut server(), path(at, asked), solicitation));
        assert_eq!(*from.ip(), answers);
        // Primary in source and prefix, whoever answers.
        let datagram = Datagram::parse(&payload).unwrap();
        assert_eq!(ipv6::Header::parse(datagram.ipv6()).unwrap().source(), ipv6("fe80::8000:f227:39cc:9bfe"));
        assert_eq!(datagram.ipv6()[72..80], hex("20010000c6336401"));
    }
}

#[test]
fn ter_5_ter_103_solicitations_of_every_client_are_answered() {
    let (at, _) = client_a();
    for (source, body) in [
        ("fe80000000000000 0000ffffffffffff", "85007d3700000000"),
        ("fe80000000000000 8000ffffffffffff", "8500fd3600000000"),
        ("fe80000000000000 00005445 5245444f", "8500925d00000000"),
        ("fe80000000000000 80005445 5245444f", "8500125d00000000"),
        ("fe80000000000000 0000ffff fffffffe", "85007d3800000000"),
        ("fe80000000000000 8000ffff fffffffd", "8500a91d00000000 0102000000000000 8000f12ab9c82815"),
    ] {
        let length = std::format!("{:04x}", hex(body).len());
        let solicitation =
            hex(&(String::from("60000000") + &length + "3aff" + source + "ff020000000000000000000000000002" + body));
        let answer = handle(&mut server(), path(at, SERVER), &solicitation);
        assert!(matches!(answer.0, Verdict::Answer { .. }), "{source}: {:?}", answer.0);
        let mut forged = solicitation.clone();
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(dropped(&handle(&mut server(), path(at, SERVER), &forged)), DropReason::NdChecksum);
    }
}

/// HMAC-SHA1 by another implementation.
#[derive(Clone)]
struct Secrets(&'static [u8], bool);

impl Authenticator for Secrets {
    fn client_id(&self) -> Option<&[u8]> {
        self.1.then_some(b"user1")
    }

    fn hmac_sha1(&self, client_id: &[u8], parts: &[&[u8]]) -> Option<[u8; 20]> {
        let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(self.0).unwrap();
        parts.iter().for_each(|part| mac.update(part));
        (client_id == b"user1").then(|| mac.finalize().into_bytes().into())
    }
}

const SECURE: &str = "00 01 05 14 7573657231 fd33b4ee5d6a5d4588a2e76d70f14bf9fb4c8dad 0123456789abcdef 00";

#[test]
fn ter_34_ter_60_secure_qualification_of_the_vectors() {
    let (at, _) = client_a();
    let secure = || Server::with_authenticator(config(), LINK, Secrets(b"secret", true));
    let solicitation = hex(&(SECURE.to_owned() + RS));
    let (_, _, payload) = sent(&handle(&mut secure(), path(at, SERVER), &solicitation));
    let expected = "00 01 05 14 7573657231 0ab5822beba75f493d5b3dda7934ca4b7dcda7f8 0123456789abcdef 00";
    assert_eq!(payload, hex(&(expected.to_owned() + ORIGIN_A + RA)));

    let refused = DropReason::TeredoAuthentication;
    for byte in [5, 12, 29, 36, 37] {
        let mut forged = solicitation.clone();
        forged[byte] ^= 1;
        assert_eq!(dropped(&handle(&mut secure(), path(at, SERVER), &forged)), refused, "byte {byte}");
    }
    for without in [RS.to_owned(), AUTH.to_owned() + RS] {
        assert_eq!(dropped(&handle(&mut secure(), path(at, SERVER), &hex(&without))), refused);
    }
}

#[test]
fn ter_35_every_byte_of_the_secret_counts() {
    let (at, _) = client_a();
    let solicitation = hex(&(SECURE.to_owned() + RS));
    for other in [&b"secreT"[..], b"s\0\0\0\0\0", b"secre"] {
        let mut server = Server::with_authenticator(config(), LINK, Secrets(other, true));
        let answer = handle(&mut server, path(at, SERVER), &solicitation);
        assert_eq!(dropped(&answer), DropReason::TeredoAuthentication);
    }
}

#[test]
fn ter_60_rules_in_their_order() {
    let (at, a) = client_a();
    let (at_b, b) = client_b();
    let native = ipv6("2001:db8::1");
    let reason = |from: SocketAddrV4, payload: &[u8]| dropped(&handle(&mut server(), path(from, SERVER), payload));
    // (1)
    assert_eq!(reason(at, &[0x45; 40]), DropReason::InnerVersion);
    assert_eq!(reason(at, &bubble(a, b)[..39]), DropReason::TeredoMalformed);
    // (2): data is a relay's business.
    let mut udp = bubble(a, b);
    udp[6] = protocol::UDP;
    assert_eq!(reason(at, &udp), DropReason::TeredoNotForServer);
    // (3)
    let private = endpoint("10.0.0.1:4096");
    assert_eq!(reason(private, &bubble(teredo_address(SERVER, private), b)), DropReason::OuterSourceRefused);
    // (5)
    assert_eq!(reason(endpoint("192.0.2.1:4097"), &bubble(a, b)), DropReason::TeredoMapping);
    assert_eq!(reason(endpoint("192.0.2.2:4096"), &bubble(a, b)), DropReason::TeredoMapping);
    assert!(matches!(handle(&mut server(), path(at, SERVER), &bubble(a, b)).0, Verdict::Tunnel { .. }));
    assert!(matches!(handle(&mut server(), path(at, SECOND), &bubble(a, b)).0, Verdict::Tunnel { .. }));
    // (6): to our own clients only, link-local sources too.
    for source in [native, ipv6("fe80::6417:cee2:b183:2e3d")] {
        assert!(matches!(handle(&mut server(), path(at_b, SERVER), &bubble(source, a)).0, Verdict::Tunnel { .. }));
        assert_eq!(reason(at_b, &bubble(source, teredo_address(OTHER, at))), DropReason::TeredoNotOurClient);
        assert_eq!(reason(at_b, &bubble(source, native)), DropReason::TeredoNotOurClient);
    }
    // Not at another port.
    let elsewhere = Path { from: at, to: SocketAddrV4::new(SERVER, 3545) };
    assert_eq!(dropped(&handle(&mut server(), elsewhere, &bubble(a, b))), DropReason::NotAddressed);
}

#[test]
fn ter_61_the_origin_is_inserted_for_own_clients_and_trailers_stay() {
    let (at, a) = client_a();
    let (at_b, b) = client_b();
    let payload = [bubble(a, b), hex("010412345678")].concat();
    let (from, to, carried) = sent(&handle(&mut server(), path(at, SERVER), &payload));
    assert_eq!((from, to), (SocketAddrV4::new(SERVER, 3544), at_b));
    assert_eq!(carried, [hex(ORIGIN_A), payload.clone()].concat());
    // From the primary address, wherever it arrived; headers do not pass.
    let marked = [hex(AUTH), hex("0000feaefefdfcfb"), payload.clone()].concat();
    let (from, _, carried) = sent(&handle(&mut server(), path(at, SECOND), &marked));
    assert_eq!((*from.ip(), &carried), (SERVER, &[hex(ORIGIN_A), payload].concat()));
    // A client of another server gets no origin.
    let foreign = teredo_address(Ipv4Addr::new(192, 0, 2, 200), at_b);
    let (_, to, carried) = sent(&handle(&mut server(), path(at, SERVER), &bubble(a, foreign)));
    assert_eq!((to, carried), (at_b, bubble(a, foreign)));

    // Natively the trailers are cut off.
    let native = ipv6("2001:db8::1");
    let test = echo(a, native, &[7; 8], 21);
    let answer = handle(&mut server(), path(at, SERVER), &[test.clone(), hex("010412345678")].concat());
    assert_eq!(answer.0, Verdict::Deliver { link: LINK, from: Admitted::Host });
    let mut expected = test;
    expected[7] = 20;
    assert_eq!(answer.1, expected);
}

#[test]
fn ter_61_what_is_not_global_is_not_forwarded() {
    let (at, a) = client_a();
    for destination in ["ff02::1", "fe80::1", "::1", "fd00::1", "::", "ff0e::1", "fec0::1"] {
        let answer = handle(&mut server(), path(at, SERVER), &bubble(a, ipv6(destination)));
        assert_eq!(dropped(&answer), DropReason::Scope, "{destination}");
    }
    for refused in ["10.0.0.1", "192.88.99.1", "127.0.0.1", "224.0.0.1", "255.255.255.255"] {
        let to = teredo_address(OTHER, SocketAddrV4::new(refused.parse().unwrap(), 4096));
        assert_eq!(dropped(&handle(&mut server(), path(at, SERVER), &bubble(a, to))), DropReason::TeredoEmbedded);
    }
    let no_port = teredo_address(SERVER, endpoint("192.0.2.9:0"));
    assert_eq!(dropped(&handle(&mut server(), path(at, SERVER), &bubble(a, no_port))), DropReason::TeredoEmbedded);
}

#[test]
fn tun_4_ter_40_a_server_sends_to_no_broadcast_address() {
    let broadcast = endpoint("198.51.100.127:4096");
    let (at, a) = client_a();
    for (subnet_length, expected) in [(32, None), (25, Some(DropReason::TeredoEmbedded))] {
        let mut server = Server::new(ServerConfig { subnet_length, ..config() }, LINK);
        let mut reason = |from, packet: &[u8]| match handle(&mut server, path(from, SERVER), packet).0 {
            Verdict::Drop(reason) => Some(reason),
            _ => None,
        };
        assert_eq!(reason(at, &bubble(a, teredo_address(SERVER, broadcast))), expected);
        assert_eq!(reason(broadcast, &hex(RS)), expected.map(|_| DropReason::OuterSourceRefused));
    }
}

/// Whoever sends to whomever, one packet in makes at most one, and no
/// server is sent to.
#[test]
fn ter_7_clients_of_the_old_prefix_are_served_on_request_and_told_of_the_new_one() {
    let (at, a) = client_a();
    let (to, b) = client_b();
    let old = |address: Ipv6Addr| Ipv6Addr::from_bits(address.to_bits() & !0 >> 32 | 0x3ffe_831f << 96);
    let lax = || Server::new(ServerConfig { accept_obsolete_prefix: true, ..config() }, LINK);
    for (source, destination, by_default) in [
        // By default the old prefix is a stranger's (rule 6), and nobody's to go to.
        (old(a), b, None),
        (a, old(b), Some(DropReason::Scope)),
        (old(a), old(b), Some(DropReason::TeredoNotOurClient)),
    ] {
        let packet = bubble(source, destination);
        let answer = handle(&mut server(), path(at, SERVER), &packet);
        assert_eq!(by_default, by_default.is_some().then(|| dropped(&answer)));
        let (_, went, carried) = sent(&handle(&mut lax(), path(at, SERVER), &packet));
        assert_eq!((went, &carried[8..]), (to, &packet[..]));
    }
    // Whoever forges its source is refused there too, and nothing else is told.
    let forged = handle(&mut lax(), path(endpoint("192.0.2.1:4097"), SERVER), &bubble(old(a), b));
    assert_eq!(dropped(&forged), DropReason::TeredoMapping);
    let (.., told) = sent(&handle(&mut lax(), path(at, SERVER), &hex(RS)));
    assert!(!told.windows(4).any(|bytes| bytes == [0x3f, 0xfe, 0x83, 0x1f]));
}

#[test]
fn ter_63_no_pair_of_servers_and_clients_makes_a_loop() {
    let ends = [
        SocketAddrV4::new(SERVER, 3544),
        SocketAddrV4::new(SECOND, 3544),
        SocketAddrV4::new(OTHER, 3544),
        client_a().0,
        client_b().0,
    ];
    let servers = &ends[..3];
    let mut carried = 0;
    for from in ends {
        for source in ends {
            for destination in ends {
                for (of_source, of_destination) in [(SERVER, SERVER), (SERVER, OTHER), (OTHER, SERVER), (OTHER, OTHER)]
                {
                    for to in [SERVER, SECOND] {
                        let (source, destination) =
                            (teredo_address(of_source, source), teredo_address(of_destination, destination));
                        for packet in [
                            bubble(source, destination),
                            bubble(ipv6("fe80::1"), destination),
                            echo(source, destination, &[1; 8], 64),
                        ] {
                            let answer = handle(&mut server(), path(from, to), &packet);
                            if servers.contains(&from) {
                                assert_eq!(dropped(&answer), DropReason::TeredoServerLoop);
                            }
                            if let Verdict::Tunnel { outer, .. } = answer.0 {
                                let end = SocketAddrV4::new(outer.destination, outer.ports.unwrap().1);
                                assert!(!servers.contains(&end), "{from} {source} {destination}");
                                carried += 1;
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(carried > 20, "{carried}");
}

#[test]
fn ter_64_only_small_icmpv6_is_carried() {
    let (at, a) = client_a();
    let native = ipv6("2001:db8::1");
    assert!(matches!(
        handle(&mut server(), path(at, SERVER), &echo(a, native, &[0; 80], 64)).0,
        Verdict::Deliver { .. }
    ));
    let long = echo(a, native, &[0; 81], 64);
    assert_eq!(dropped(&handle(&mut server(), path(at, SERVER), &long)), DropReason::TeredoNotForServer);
    // TER-103: no minimum.
    assert!(matches!(handle(&mut server(), path(at, SERVER), &echo(a, native, &[], 21)).0, Verdict::Deliver { .. }));
}

#[test]
fn ter_65_bubbles_pass_at_hop_limit_zero_and_echoes_lose_one() {
    let (at, a) = client_a();
    let (_, b) = client_b();
    let mut spent = bubble(a, b);
    spent[7] = 0;
    let (_, _, carried) = sent(&handle(&mut server(), path(at, SERVER), &spent));
    assert_eq!(carried[ORIGIN_LEN..], spent);
    for (hop_limit, expected) in [(0, None), (1, None), (2, Some(1)), (64, Some(63))] {
        for destination in [b, ipv6("2001:db8::1")] {
            let answer = handle(&mut server(), path(at, SERVER), &echo(a, destination, &[1; 8], hop_limit));
            match expected {
                None => assert_eq!(dropped(&answer), DropReason::HopLimit),
                Some(left) if destination == b => assert_eq!(sent(&answer).2[ORIGIN_LEN + 7], left),
                Some(left) => assert_eq!(answer.1[7], left),
            }
        }
    }
}

#[test]
fn ter_66_advertisements_are_limited_for_each_source() {
    let (at, _) = client_a();
    let mut server = server();
    server.handle_timeout(Instant::ZERO, &mut |out: &mut [u8]| out.fill(7));
    assert_eq!(server.poll_timeout(), None);
    let mut answered = |from: SocketAddrV4| {
        let answer = handle(&mut server, path(from, SERVER), &hex(&(AUTH.to_owned() + RS)));
        matches!(answer.0, Verdict::Answer { .. })
    };
    assert!((0..1000).filter(|_| answered(at)).count() <= 12);
    let others = (1..=100).filter(|n| answered(SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, *n), 5000))).count();
    assert!(others >= 90, "{others} of 100 are served beside a flood");
}

#[test]
fn ter_99_the_knob_lets_bubbles_of_symmetric_clients_in() {
    let (at, a) = client_a();
    let (_, b) = client_b();
    let other_port = SocketAddrV4::new(*at.ip(), 999);
    let mut config = config();
    config.accept_symmetric_bubbles = true;
    let mut lax = Server::new(config, LINK);
    assert!(matches!(handle(&mut lax, path(other_port, SERVER), &bubble(a, b)).0, Verdict::Tunnel { .. }));
    let test = echo(a, ipv6("2001:db8::1"), &[1; 8], 64);
    assert_eq!(dropped(&handle(&mut lax, path(other_port, SERVER), &test)), DropReason::TeredoMapping);
    let other_address = endpoint("192.0.2.2:4096");
    assert_eq!(dropped(&handle(&mut lax, path(other_address, SERVER), &bubble(a, b))), DropReason::TeredoMapping);
}

#[test]
fn ter_43_a_routing_header_is_refused() {
    let (at, a) = client_a();
    let mut packet = bubble(a, ipv6("2001:db8::1"));
    packet[5] = 24;
    packet[6] = protocol::ROUTING;
    packet.extend(hex("3a 02 00 01 00000000 20010db8000000000000000000000002"));
    assert_eq!(dropped(&handle(&mut server(), path(at, SERVER), &packet)), DropReason::RoutingHeader);
}

#[test]
fn the_server_answers_an_echo_to_its_link_local_address() {
    let (at, a) = client_a();
    let mut server = server();
    let request = echo(a, server.link_local(), &[1, 2, 3], 64);
    let (_, to, payload) = sent(&handle(&mut server, path(at, SERVER), &request));
    assert_eq!(to, at);
    let reply = ipv6::Header::parse(&payload).unwrap();
    assert_eq!((reply.source(), reply.destination()), (server.link_local(), a));
    assert_eq!(reply.payload()[0], icmpv6::Message::ECHO_REPLY);
}

fn any_endpoint() -> impl Strategy<Value = SocketAddrV4> {
    prop_oneof![
        3 => any::<(u32, u16)>().prop_map(|(ip, port)| SocketAddrV4::new(ip.into(), port)),
        1 => Just(SocketAddrV4::new(SERVER, 3544)),
        1 => Just(SocketAddrV4::new(OTHER, 3544)),
        2 => Just(client_a().0),
    ]
}

proptest! {
    /// Whatever comes in: one packet at most, of at most twice the length, and
    /// only to global unicast addresses. Counters add up.
    #[test]
    fn any_packet_makes_at_most_one(
        from in any_endpoint(), source in any_endpoint(), destination in any_endpoint(),
        (of_source, of_destination) in (any::<bool>(), any::<bool>()),
        kind in 0..4_u8, cut in 0..130_usize, second in any::<bool>(), flip in any::<(u16, u8)>(),
    ) {
        let server_of = |own| if own { SERVER } else { OTHER };
        let source = teredo_address(server_of(of_source), source);
        let destination = teredo_address(server_of(of_destination), destination);
        let mut payload = match kind {
            0 => bubble(source, destination),
            1 => echo(source, destination, &[5; 8], 64),
            2 => hex(&(AUTH.to_owned() + RS)),
            _ => bubble(ipv6("fe80::77"), destination),
        };
        payload.truncate(cut.max(1));
        let at = usize::from(flip.0) % payload.len();
        payload[at] ^= flip.1;
        let mut server = server();
        let answer = handle(&mut server, path(from, if second { SECOND } else { SERVER }), &payload);
        if let Verdict::Tunnel { outer, .. } | Verdict::Answer { via: Via::Tunnel { outer, .. }, .. } = answer.0 {
            prop_assert!(is_global_unicast(outer.destination));
            prop_assert!(outer.destination != SERVER || outer.ports.unwrap().1 != 3544);
            prop_assert!(answer.1.len() - outer.header_len() <= payload.len() * 2 + 21);
        }
        let counters = server.counters();
        let out = counters.tunnelled + counters.delivered + counters.consumed + counters.total_dropped();
        prop_assert_eq!(out, counters.entered);
    }
}
