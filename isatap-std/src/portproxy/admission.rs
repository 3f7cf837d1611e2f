//! Who may come in, and who has. `PPX-12`

use super::Rule;
use super::counters::Refusal;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Rules of one process may lead to each other so often.
const MOST_ROUNDS: u8 = 8;

/// Whom the limit for one source counts: an IPv4 address, or an IPv6 /64, of which one host has as
/// many addresses as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    V4(Ipv4Addr),
    V6([u16; 4]),
}

impl Source {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Source::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Source::V6([a, b, c, d])
            }
        }
    }
}

/// What a connection has until it is given back.
#[derive(Debug)]
pub(super) struct Seat {
    source: Source,
    /// How often this process has accepted what it had opened itself, before this one.
    rounds: u8,
    /// Our end of the connection to the target, where that is on this machine.
    own: Option<SocketAddr>,
}

/// The connections that there are, as far as the next one depends on them.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// Of each rule's limit for one source.
    sources: HashMap<(u32, Source), u32>,
    /// Our ends of connections to targets on this machine, and how many rounds those have had.
    own: HashMap<SocketAddr, u8>,
}

impl Admission {
    /// Counts one more connection of the rule, or why there may be none.
    pub(super) fn admit(
        &mut self,
        rule: &Rule,
        client: SocketAddr,
        has_room: impl FnOnce() -> bool,
    ) -> Result<Seat, Refusal> {
        let source = Source::of(client.ip());
        let of_source = self.sources.get(&(rule.id, source)).copied().unwrap_or_default();
        let rounds = self.own.get(&client).map_or(0, |rounds| rounds + 1);
        if rule.counters.now() >= rule.spec.max_connections.into() {
            return Err(Refusal::TooMany);
        } else if of_source >= rule.spec.max_per_source {
            return Err(Refusal::TooManyOfSource);
        } else if rounds > MOST_ROUNDS {
            return Err(Refusal::Loop);
        } else if !has_room() {
            return Err(Refusal::NoRoom);
        }
        rule.counters.began();
        *self.sources.entry((rule.id, source)).or_default() += 1;
        Ok(Seat { source, rounds, own: None })
    }

    /// What comes back from this end has had one round more.
    pub(super) fn leads_to(&mut self, seat: &mut Seat, own: Option<SocketAddr>) {
        if let Some(old) = std::mem::replace(&mut seat.own, own) {
            self.own.remove(&old);
        }
        if let Some(own) = own {
            self.own.insert(own, seat.rounds);
        }
    }

    /// A connection of the rule has ended.
    pub(super) fn release(&mut self, rule: &Rule, mut seat: Seat) {
        self.leads_to(&mut seat, None);
        let key = (rule.id, seat.source);
        if let Some(count) = self.sources.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&key);
            }
        }
        rule.counters.ended();
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::rule;
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn ppx_12_a_source_is_an_ipv4_address_or_an_ipv6_subnet() {
        let source = |text: &str| Source::of(text.parse().unwrap());
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("2001:db8:0:1::1"), source("2001:db8:0:1:ffff::2"));
        assert_ne!(source("2001:db8:0:1::1"), source("2001:db8:0:2::1"));
    }

    #[test]
    fn ppx_12_what_comes_back_is_refused_after_eight_rounds() {
        let (rule, mut admission) = (rule(|_| {}), Admission::default());
        let end = |round: u16| SocketAddr::from(([127, 0, 0, 1], 40_000 + round));
        let mut seats = Vec::new();
        for round in 0..=8 {
            let mut seat = admission.admit(&rule, end(round), || true).unwrap();
            admission.leads_to(&mut seat, Some(end(round + 1)));
            seats.push(seat);
        }
        assert_eq!(admission.admit(&rule, end(9), || true).unwrap_err(), Refusal::Loop);
        // The connection that it came from is gone, so the port is somebody else's now.
        admission.release(&rule, seats.pop().unwrap());
        assert!(admission.admit(&rule, end(9), || true).is_ok());
    }

    proptest! {
        /// `PPX-12`: a client is let in exactly while neither limit is reached, and nothing is left
        /// of those who went.
        #[test]
        fn ppx_12_limits_hold_whoever_comes_and_goes(
            (most, of_source) in (1_u32..6, 1_u32..4),
            visits in vec((0_u8..4, any::<bool>(), any::<prop::sample::Index>()), 1..80),
        ) {
            let rule = rule(|spec| (spec.max_connections, spec.max_per_source) = (most, of_source));
            let mut admission = Admission::default();
            let mut inside: Vec<(u8, Seat)> = Vec::new();
            for (source, comes, which) in visits {
                if !comes && !inside.is_empty() {
                    let (_, seat) = inside.swap_remove(which.index(inside.len()));
                    admission.release(&rule, seat);
                    continue;
                }
                let same = inside.iter().filter(|(other, _)| *other == source).count();
                let expected = match (inside.len() >= most as usize, same >= of_source as usize) {
                    (true, _) => Some(Refusal::TooMany),
                    (_, true) => Some(Refusal::TooManyOfSource),
                    _ => None,
                };
                let client = SocketAddr::from(([192, 0, 2, source], 4000));
                match admission.admit(&rule, client, || true) {
                    Ok(seat) => {
                        prop_assert_eq!(expected, None);
                        inside.push((source, seat));
                    }
                    Err(refusal) => prop_assert_eq!(Some(refusal), expected),
                }
                prop_assert_eq!(rule.counters.now(), inside.len() as u64);
            }
            for (_, seat) in inside {
                admission.release(&rule, seat);
            }
            prop_assert_eq!(rule.counters.now(), 0);
            prop_assert!(admission.sources.is_empty() && admission.own.is_empty());
        }
    }
}
