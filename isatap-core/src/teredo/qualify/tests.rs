#![allow(clippy::arithmetic_side_effects)]
use super::*;
use crate::drop_reason::DropReason;
use crate::teredo::ingress::Path;
use crate::teredo::packet::Datagram;
use crate::teredo::packet::MTU;
use crate::wire::hex;
use std::borrow::ToOwned;
use std::string::String;
use std::vec;
use std::vec::Vec;

const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const AUTH: &str = "00 01 00 00 01 23 45 67 89 ab cd ef 00";
const ORIGIN_A: &str = "00 00 ef ff 3f ff fd fe";
const RA_HEAD: &str = "60 00 00 00 00 38 3a ff fe 80 00 00 00 00 00 00 80 00 f2 27 39 cc 9b fe
    fe 80 00 00 00 00 00 00 00 00 ff ff ff ff ff ff ";
const RA_BODY: &str = "86 00 95 4c 00 00 00 00 00 00 00 00 00 00 07 d0
    03 04 40 40 ff ff ff ff ff ff ff ff 00 00 00 00 20 01 00 00 c6 33 64 01 00 00 00 00 00 00 00 00
    05 01 00 00 00 00 05 00";
const NONCE: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];

fn config() -> QualifyConfig {
    QualifyConfig::new(SERVER)
}

fn mapping(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), port)
}

fn from(server: Ipv4Addr) -> Path {
    Path { from: SocketAddrV4::new(server, SERVER_PORT), to: "192.168.1.2:40000".parse().unwrap() }
}

fn judged(payload: &[u8]) -> Result<Advertisement, DropReason> {
    judge(&config(), from(SERVER), &Datagram::parse(payload).unwrap())
}

/// A payload whose ICMPv6 checksum was made right again.
fn advertisement(front: &str, head: &str, body: &str) -> Vec<u8> {
    let (front, mut head, mut body) = (hex(front), hex(head), hex(body));
    head[4..6].copy_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
    let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&head[at..at + 16]).unwrap());
    let (source, destination) = (address(8), address(24));
    crate::wire::icmpv6::fill_checksum(&mut body, &source, &destination);
    [front, head, body].concat()
}

#[test]
fn ter_32_ter_106_the_advertisement_of_the_vectors() {
    let payload = hex(&[AUTH, ORIGIN_A, RA_HEAD, RA_BODY].concat());
    let expected = Advertisement {
        from: SERVER,
        destination: CLIENT_LINK_LOCAL,
        nonce: NONCE,
        mapping: mapping(4096),
        server: SERVER,
    };
    assert_eq!(judged(&payload), Ok(expected));
    assert_eq!(MTU, 1280);
    // A Windows server: no MTU option, garbage behind the prefix.
    let windows = "86 00 64 9d 00 00 00 00 00 00 3a 98 00 00 07 d0
        03 04 40 40 ff ff ff ff ff ff ff ff 00 00 00 00 20 01 00 00 c2 88 1c 4c ff 00 00 00 00 20 01 00";
    let head = "60 00 00 00 00 30 3a ff fe80000000000000 8000f2273d77e3b3 fe80000000000000 0000fffffffffffe";
    let payload = hex(&[AUTH, ORIGIN_A, head, windows].concat());
    let server = Ipv4Addr::new(0xc2, 0x88, 0x1c, 0x4c);
    let judged = judge(&QualifyConfig::new(server), from(server), &Datagram::parse(&payload).unwrap());
    assert_eq!(judged.unwrap().server, server);
}

#[test]
fn ter_32_ter_33_ter_35_what_does_not_qualify() {
    let prefix = |text: &str| RA_BODY.replace("20 01 00 00 c6 33 64 01", text);
    let ok = |front: &str, body: &str| judged(&advertisement(front, RA_HEAD, body)).is_ok();
    let both = AUTH.to_owned() + ORIGIN_A;
    assert!(ok(&both, RA_BODY));
    // Without authentication header, or origin.
    assert_eq!(judged(&advertisement(ORIGIN_A, RA_HEAD, RA_BODY)), Err(DropReason::TeredoNonce));
    assert_eq!(judged(&advertisement(AUTH, RA_HEAD, RA_BODY)), Err(DropReason::TeredoAdvertisement));
    // The origin is a global unicast address: 10.0.0.1, 192.88.99.1, port 0.
    for origin in ["0000 efff f5fffffe", "0000 efff 3fa79cfe", "0000 ffff 3ffffdfe"] {
        let payload = advertisement(&(AUTH.to_owned() + origin), RA_HEAD, RA_BODY);
        assert_eq!(judged(&payload), Err(DropReason::TeredoOrigin), "{origin}");
    }
    // Another prefix, another server, another length, none, two.
    assert!(!ok(&both, &prefix("20 01 0d b8 c6 33 64 01")));
    assert!(!ok(&both, &prefix("20 01 00 00 c6 33 64 03")));
    assert!(ok(&both, &prefix("20 01 00 00 c6 33 64 02")), "the secondary address, too");
    assert!(!ok(&both, &RA_BODY.replace("03 04 40", "03 04 30")));
    assert!(!ok(&both, &RA_BODY[..48]));
    let option = "03 04 40 40 ff ff ff ff ff ff ff ff 00 00 00 00 20 01 00 00 c6 33 64 01 00 00 00 00 00 00 00 00";
    assert!(!ok(&both, &(RA_BODY.to_owned() + option)));
    // Hop limit, source, checksum.
    assert!(judged(&advertisement(&both, &RA_HEAD.replace("3a ff", "3a fe"), RA_BODY)).is_err());
    assert!(judged(&advertisement(&both, &RA_HEAD.replacen("fe 80", "20 01", 1), RA_BODY)).is_err());
    let mut flipped = advertisement(&both, RA_HEAD, RA_BODY);
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(judged(&flipped), Err(DropReason::NdChecksum));
    // From elsewhere.
    let payload = advertisement(&both, RA_HEAD, RA_BODY);
    let datagram = Datagram::parse(&payload).unwrap();
    let elsewhere = Path { from: "198.51.100.1:3545".parse().unwrap(), ..from(SERVER) };
    assert!(judge(&config(), elsewhere, &datagram).is_err());
    assert!(judge(&config(), from(Ipv4Addr::new(198, 51, 100, 9)), &datagram).is_err());
}

#[test]
fn ter_7_the_old_prefix_is_taken_while_the_knob_is_on() {
    let old = RA_BODY.replace("20 01 00 00 c6", "3f fe 83 1f c6");
    let payload = advertisement(&(AUTH.to_owned() + ORIGIN_A), RA_HEAD, &old);
    let datagram = Datagram::parse(&payload).unwrap();
    assert_eq!(judge(&config(), from(SERVER), &datagram).unwrap().server, SERVER);
    let strict = QualifyConfig { accept_obsolete_prefix: false, ..config() };
    assert!(judge(&strict, from(SERVER), &datagram).is_err());
}

/// A client with a clock and a world that answers.
struct Bench {
    machine: Qualification,
    config: QualifyConfig,
    now: Instant,
    draws: u8,
    sent: Vec<(Instant, Solicitation)>,
}

impl Bench {
    fn new(config: QualifyConfig) -> Self {
        let mut machine = Qualification::new();
        machine.start(Instant::ZERO, &config);
        Bench { machine, config, now: Instant::ZERO, draws: 0, sent: vec![] }
    }

    /// Goes on to the next deadline; gives what is then to be sent.
    fn next(&mut self) -> (Outcome, Option<Solicitation>) {
        let deadline = self.machine.deadline().instant().unwrap();
        self.now = self.now.max(deadline);
        let draws = &mut self.draws;
        let mut entropy = |out: &mut [u8]| {
            *draws = draws.wrapping_add(1);
            out.fill(*draws);
        };
        let outcome = self.machine.handle_timeout(self.now, &self.config, &mut entropy);
        assert!(self.machine.deadline() > Expiry::at(self.now));
        let wanted = self.machine.wanted(&self.config);
        self.machine.sent();
        assert_eq!(self.machine.wanted(&self.config), None);
        self.sent.extend(wanted.map(|wanted| (self.now, wanted)));
        (outcome, wanted)
    }

    fn answer(&mut self, solicitation: &Solicitation, from: Ipv4Addr, port: u16) -> Result<Outcome, DropReason> {
        let advertisement = Advertisement {
            from,
            destination: solicitation.source,
            nonce: solicitation.nonce,
            mapping: mapping(port),
            server: SERVER,
        };
        self.machine.on_advertisement(self.now, &self.config, &advertisement)
    }

    /// Answers whatever is asked, as a restricted NAT and both servers would.
    fn qualify(&mut self) {
        while self.machine.mapping().is_none() {
            let asked = self.next().1.unwrap();
            self.answer(&asked, *asked.to.ip(), 4096).unwrap();
        }
    }
}

#[test]
fn ter_3_both_servers_are_asked_and_agree() {
    let mut bench = Bench::new(config());
    let first = bench.next().1.unwrap();
    assert_eq!((first.to, first.source), (SocketAddrV4::new(SERVER, 3544), CLIENT_LINK_LOCAL));
    assert_eq!(bench.answer(&first, SERVER, 4096), Ok(Outcome::None));
    assert_eq!(bench.machine.stage(), Stage::Secondary);
    let second = bench.next().1.unwrap();
    assert_eq!(second.to, SocketAddrV4::new(SECOND, 3544));
    assert_ne!(second.nonce, first.nonce);
    assert_eq!(bench.answer(&second, SECOND, 4096), Ok(Outcome::Qualified));
    assert_eq!(bench.machine.nat(), NatKind::Restricted);
    assert_eq!(bench.machine.mapping(), Some(mapping(4096)));
}

#[test]
fn another_mapping_at_the_second_server_is_a_symmetric_nat() {
    for (symmetric_nat, stage) in [(true, Stage::Qualified), (false, Stage::Offline(OfflineReason::SymmetricNat))] {
        let mut bench = Bench::new(QualifyConfig { symmetric_nat, ..config() });
        let first = bench.next().1.unwrap();
        bench.answer(&first, SERVER, 4096).unwrap();
        let second = bench.next().1.unwrap();
        bench.answer(&second, SECOND, 4097).unwrap();
        assert_eq!(bench.machine.stage(), stage);
        assert_eq!(bench.machine.mapping(), symmetric_nat.then_some(mapping(4096)));
    }
}

#[test]
fn the_cone_phase_comes_first_only_when_asked_for() {
    let cone = QualifyConfig { cone_phase: true, ..config() };
    let mut bench = Bench::new(cone);
    let asked = bench.next().1.unwrap();
    assert_eq!((asked.source, *asked.to.ip()), (CLIENT_LINK_LOCAL_CONE, SERVER));
    // An answer from the address that was asked proves nothing.
    assert_eq!(bench.answer(&asked, SERVER, 4096), Err(DropReason::TeredoAdvertisement));
    assert_eq!(bench.answer(&asked, SECOND, 4096), Ok(Outcome::Qualified));
    assert_eq!(bench.machine.nat(), NatKind::Cone);

    let mut bench = Bench::new(cone);
    for _ in 0..3 {
        assert_eq!(bench.next().1.unwrap().source, CLIENT_LINK_LOCAL_CONE);
    }
    assert_eq!(bench.next().1.unwrap().source, CLIENT_LINK_LOCAL);
    assert_eq!(bench.machine.stage(), Stage::Primary);
}

#[test]
fn three_solicitations_four_seconds_apart_then_pauses_that_grow() {
    let mut bench = Bench::new(config());
    let mut pauses = vec![];
    for _ in 0..10 {
        let mut times = vec![];
        for _ in 0..3 {
            assert!(bench.next().1.is_some());
            times.push(bench.now);
        }
        let gap = |n: usize| times[n + 1].saturating_duration_since(times[n]);
        assert_eq!((gap(0), gap(1)), (SOLICITATION_INTERVAL, SOLICITATION_INTERVAL));
        assert_eq!(bench.next(), (Outcome::Lost, None));
        assert_eq!(bench.machine.stage(), Stage::Offline(OfflineReason::ServerSilent));
        let until = bench.machine.deadline().instant().unwrap();
        pauses.push(until.saturating_duration_since(bench.now).as_secs());
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 3600, 3600, 3600, 3600]);
    // As configured, and never faster than it asks anyhow.
    for (first, expected) in [(10, 10), (0, 4)] {
        let mut config = config();
        config.first_pause = Duration::from_secs(first);
        let mut bench = Bench::new(config);
        for _ in 0..3 {
            bench.next();
        }
        bench.next();
        let until = bench.machine.deadline().instant().unwrap();
        assert_eq!(until.saturating_duration_since(bench.now).as_secs(), expected);
    }
    // Success ends the growth.
    bench.qualify();
    assert!(bench.machine.mapping().is_some());
}

#[test]
fn ter_36_a_silent_server_is_asked_within_the_interval() {
    let mut bench = Bench::new(config());
    bench.qualify();
    for round in 0..200_u64 {
        let heard = bench.machine.last_heard();
        // The interval is drawn first, then waited for.
        let mut asked = bench.next().1;
        if asked.is_none() {
            asked = bench.next().1;
        }
        let silent = bench.now.saturating_duration_since(heard);
        assert!((22_500..=30_000).contains(&silent.as_millis()), "{round}: {silent:?}");
        bench.answer(&asked.unwrap(), SERVER, 4096).unwrap();
    }
    // Whatever the server sends puts it off.
    bench.next();
    let due = bench.machine.deadline().instant().unwrap();
    let later = due.saturating_add(Duration::from_secs(0));
    bench.machine.note_heard(later);
    assert_eq!(bench.next().1, None);
    assert!(bench.machine.deadline().instant().unwrap() > due);
}

#[test]
fn ter_36_another_mapping_moves_the_client() {
    let mut bench = Bench::new(config());
    bench.qualify();
    bench.next();
    let asked = bench.next().1.unwrap();
    assert_eq!(bench.answer(&asked, SERVER, 5000), Ok(Outcome::Moved));
    assert_eq!(bench.machine.mapping(), Some(mapping(5000)));
}

#[test]
fn ter_38_three_unanswered_questions_are_the_end_of_the_mapping() {
    let mut bench = Bench::new(config());
    bench.qualify();
    bench.next();
    for _ in 0..3 {
        assert!(matches!(bench.next(), (Outcome::None, Some(_))));
        assert!(bench.machine.mapping().is_some());
    }
    let (outcome, asked) = bench.next();
    assert_eq!(outcome, Outcome::Lost);
    assert!(asked.is_some(), "it qualifies anew at once");
    assert_eq!((bench.machine.stage(), bench.machine.mapping()), (Stage::Primary, None));
}

#[test]
fn an_answer_counts_once_and_only_with_the_nonce_of_the_phase() {
    let mut bench = Bench::new(config());
    let first = bench.next().1.unwrap();
    let forged = Solicitation { nonce: [0xee; 8], ..first };
    let before = bench.machine.clone();
    assert_eq!(bench.answer(&forged, SERVER, 1), Err(DropReason::TeredoNonce));
    assert_eq!(bench.machine, before);
    bench.answer(&first, SERVER, 4096).unwrap();
    assert_eq!(bench.answer(&first, SERVER, 5000), Err(DropReason::TeredoNonce), "a copy");
    let second = bench.next().1.unwrap();
    // The first server cannot speak for the second.
    assert_eq!(bench.answer(&second, SERVER, 4096), Err(DropReason::TeredoAdvertisement));
    // A late answer to the first of three solicitations counts.
    bench.next();
    assert_eq!(bench.answer(&second, SECOND, 4096), Ok(Outcome::Qualified));
    assert_eq!(bench.answer(&second, SECOND, 4096), Err(DropReason::TeredoNonce));
}

#[test]
fn a_nat_that_moves_each_time_makes_no_storm() {
    let mut bench = Bench::new(config());
    bench.qualify();
    let since = bench.now;
    for port in 0..100 {
        let asked = loop {
            if let Some(asked) = bench.next().1 {
                break asked;
            }
        };
        bench.answer(&asked, SERVER, 10_000 + port).unwrap();
    }
    assert!(bench.now.saturating_duration_since(since) >= Duration::from_secs(100 * 22));
}

mod search;

#[test]
fn kinds_and_reasons_have_names() {
    let names: Vec<String> = [NatKind::Cone, NatKind::Restricted, NatKind::Symmetric, NatKind::Unknown]
        .map(|kind| kind.as_str().into())
        .into();
    assert_eq!(names, ["cone", "restricted", "symmetric", "unknown"]);
    assert_eq!(OfflineReason::SecondarySilent.as_str(), "secondary-silent");
}
