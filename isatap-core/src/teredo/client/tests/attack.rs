//! A search: an attacker who sees nothing, and sends whatever he likes from
//! wherever he likes, through the server too. What he must not reach: a
//! mapping of his choice, or a peer that is trusted at his address.
//!
//! The real client is walked through every order of its own doings (sending,
//! waiting, real answers) and the attacker's packets, to a depth.

use super::*;
use std::collections::HashSet;
use std::string::String;

const ATTACKER: &str = "192.0.2.66:666";

#[derive(Clone, Copy, Debug)]
enum Step {
    SendToPeer,
    SendToNative,
    Wait(u64),
    RealBubble,
    RealReply,
    Forged(usize),
    /// Two at once, before the client does anything of its own.
    ForgedAtOnce(usize, usize),
}

/// What the attacker can make: everything but nonces that he did not see.
/// `knows`: the control, an attacker who saw everything that was sent.
fn forgeries(bench: &Bench, seen: &[Sent], knows: bool) -> Vec<(SocketAddrV4, Vec<u8>)> {
    let own = bench.address();
    let (at, b) = peer_b();
    let attacker = endpoint(ATTACKER);
    let known = |sent: Option<&Sent>| sent.filter(|_| knows).cloned();
    let mut asked = seen.iter().rev().filter(|sent| sent.to == server_at(SERVER_B));
    let (plain, by_nonce) =
        (asked.clone().find(|sent| sent.payload.len() == 40), asked.find(|sent| sent.payload.len() > 40));
    let nonce = known(by_nonce).and_then(|sent| sent.trailers().nonce).unwrap_or([0xee; 4]);
    let secret = known(plain).map_or(v6("fe80::eeee:eeee:eeee:eeee"), |sent| sent.header().0);
    let guessed = |nonce: [u8; 8]| {
        let mut buffer = [0; 200];
        let mut packet = PacketMut::empty(&mut buffer);
        let echo = icmpv6::Echo { identifier: 0, sequence: 1 };
        echo.request(&mut packet, own, native(), &nonce).unwrap();
        echo_reply(packet.as_slice())
    };
    let reply = match known(seen.iter().rev().find(|sent| sent.is_test())) {
        Some(test) => echo_reply(&test.payload),
        None => guessed([0xee; 8]),
    };
    let mut trailers = with_nonce(bubble(b, own), nonce);
    trailers.extend(written(|writer| {
        emit_alternates(writer, &[attacker]);
        Trailer::RandomPort(attacker.port()).emit(writer);
    }));
    let solicitation = known(seen.iter().rev().find(|sent| sent.payload.len() == 61))
        .map_or_else(|| [hex("00 01 00 00 eeeeeeeeeeeeeeee 00"), hex(SOLICITATION)].concat(), |sent| sent.payload);
    vec![
        // Straight, as the peer and as the native host.
        (attacker, bubble(b, own)),
        (attacker, with_nonce(bubble(b, own), nonce)),
        // To the source that only the peer gets to know.
        (attacker, bubble(b, secret)),
        (attacker, data(b, own)),
        (attacker, data(native(), own)),
        (attacker, reply.clone()),
        // A nonce that nobody has drawn yet.
        (attacker, guessed([0; 8])),
        // Through the server, with an origin that names him.
        (server_at(SERVER), with_origin(&trailers, attacker)),
        (server_at(SERVER), with_origin(&bubble(native(), own), attacker)),
        (server_at(SERVER), with_origin(&data(native(), own), attacker)),
        (server_at(SERVER), with_origin(&reply, attacker)),
        // With a forged IPv4 source: the peer's own, which is no news of him.
        (at, [bubble(b, own), hex("04 04 00000000")].concat()),
        // An advertisement of his.
        (server_at(SERVER), advertisement(&solicitation, attacker, SERVER)),
        (server_at(SECOND), advertisement(&solicitation, attacker, SECOND)),
    ]
}

/// Places in the list.
const DATA: usize = 4;
const ZERO_REPLY: usize = 6;
const DATA_BY_SERVER: usize = 9;

const SOLICITATION: &str = "60 00 00 00 00 08 3a ff fe 80 00 00 00 00 00 00 00 00 ff ff ff ff ff ff
    ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 02 85 00 7d 37 00 00 00 00";

/// Whether the attacker has what he wants.
fn is_lost(bench: &Bench) -> bool {
    let attacker = endpoint(ATTACKER);
    let mapping_is_his = bench.client.status().mapping == Some(attacker);
    let trusts = |peer: &Peer| peer.is_trusted() && peer.mapping() == attacker;
    // Case 3 trusts who is heard where his own address says: that is not he,
    // since no address here embeds his.
    mapping_is_his || bench.client.peers().iter().any(trusts)
}

/// Equal for states from which the same can happen: when they are does not
/// count, nor which numbers were drawn, only whether the last test of a peer
/// is still the one that its entry waits for.
fn key(bench: &Bench, seen: &[Sent]) -> String {
    let since = |then: Option<Instant>| then.map(|then| then.micros().wrapping_sub(bench.now.micros()));
    let client = &bench.client;
    let mut key = std::format!(
        "{:?} {:?} {:?} {:?}",
        client.qualification.stage(),
        since(client.qualification.deadline().instant()),
        since(Some(client.qualification.last_heard())),
        client
            .answers
            .iter()
            .map(|answer| (answer.destination, answer.count, since(Some(answer.since))))
            .collect::<Vec<_>>(),
    );
    for session in client.sessions.iter().filter(|session| !session.is_free()) {
        key += &std::format!(
            "\n{} {:?} {:?} {:?} {:?} {} {} {:?}",
            session.address,
            match session.work {
                Work::Idle => (None, None, None),
                Work::Confirm(until) => (None, since(Some(until)), None),
                Work::Ask(ask) => (Some(ask.how), since(Some(ask.next)), Some((ask.attempts, ask.may_ask_secretly))),
            },
            session.outbound,
            session.inbound,
            session.targets,
            session.peer_port,
            session.own_port(),
            since(session.next().instant()),
        );
    }
    let mut peers: Vec<String> = client
        .peers
        .iter()
        .map(|peer| {
            let tests = seen.iter().rev().find(|sent| sent.is_test() && sent.header().1 == peer.address());
            let current = tests.is_some_and(|test| test.payload[48..56] == peer.test_nonce());
            let ages = [2, 30, 300].map(|secs| {
                let span = Duration::from_secs(secs);
                (peer.was_heard_within(bench.now, span), peer.was_sent_within(bench.now, span))
            });
            let bubbles = (peer.may_get_bubble(bench.now), peer.may_get_answer(bench.now));
            std::format!("{peer:?} {current} {:?} {ages:?} {bubbles:?}", peer.nonce_received())
        })
        .collect();
    peers.sort();
    key + &peers.concat()
}

fn search(depth: usize, knows: bool) -> (usize, bool) {
    let start = Bench { online: false, ..Bench::qualified() };
    let mut layer = vec![(start, Vec::<Sent>::new())];
    let mut states = HashSet::new();
    for left in (0..=depth).rev() {
        let mut next = vec![];
        for (bench, seen) in layer {
            if is_lost(&bench) {
                return (states.len(), true);
            }
            // Breadth first: a state is met first with the most steps left.
            if !states.insert(key(&bench, &seen)) || left == 0 || bench.client.address().is_none() {
                continue;
            }
            let forged = forgeries(&bench, &seen, knows);
            let mut steps = vec![Step::SendToPeer, Step::SendToNative, Step::RealBubble, Step::RealReply];
            steps.extend([2, 31].map(Step::Wait));
            steps.extend((0..forged.len()).map(Step::Forged));
            steps.extend([Step::ForgedAtOnce(DATA, ZERO_REPLY), Step::ForgedAtOnce(DATA_BY_SERVER, ZERO_REPLY)]);
            for step in steps {
                let mut bench = bench.clone();
                let mut seen = seen.clone();
                let own = bench.address();
                match step {
                    Step::SendToPeer => drop(bench.send(peer_b().1)),
                    Step::SendToNative => drop(bench.send(native())),
                    // Bubbles are repeated, then the server is asked.
                    Step::Wait(secs) => bench.wait(Duration::from_secs(secs)),
                    Step::RealBubble => drop(bench.receive(peer_b().0, &bubble(peer_b().1, own))),
                    Step::RealReply => match seen.iter().rev().find(|sent| sent.is_test()) {
                        Some(test) => drop(bench.receive(endpoint("198.51.100.50:3545"), &echo_reply(&test.payload))),
                        None => continue,
                    },
                    Step::Forged(n) => {
                        let (from, payload) = &forged[n];
                        bench.receive(*from, payload);
                    }
                    Step::ForgedAtOnce(first, second) => {
                        for n in [first, second] {
                            let (from, payload) = &forged[n];
                            bench.receive_in_a_row(Path { from: *from, to: SocketAddrV4::new(LOCAL, PORT) }, payload);
                        }
                        bench.settle();
                    }
                }
                seen.extend(bench.take());
                next.push((bench, seen));
            }
        }
        layer = next;
    }
    (states.len(), false)
}

#[test]
fn no_forged_packet_moves_the_mapping_or_a_peer() {
    let (states, lost) = search(3, false);
    assert!(states > 500, "{states}");
    assert!(!lost);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimisation: .ci/run exhaustive")]
fn no_forged_packet_moves_the_mapping_or_a_peer_in_six_steps() {
    let (states, lost) = search(6, false);
    assert!(states > 40_000, "{states}");
    assert!(!lost);
}

/// The control: to an attacker who knows the nonces the client is lost, so
/// the search looks where the checks are.
#[test]
fn with_the_nonces_the_search_finds_the_attack() {
    assert!(search(3, true).1);
}
