//! A complete search over the machine: a world that answers or is silent, and
//! an attacker who knows everything but the nonce that is under way.
//!
//! Two states are the same when they differ only in when they are and in the
//! numbers that were drawn; every state that can be reached is visited.

use super::*;
use crate::teredo::qualify::{Phase, State as Inner};
use std::collections::HashSet;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The next deadline; what is drawn then is the least or the most.
    Wait(u8),
    /// The server that was asked answers, from this mapping.
    Answer(u16),
    /// The attacker sends an advertisement from this server's address.
    Forge(Ipv4Addr, Ipv6Addr),
    /// The attacker sends what he saw in an earlier phase.
    Replay,
}

const FORGED: u16 = 666;

#[derive(Clone)]
struct State {
    machine: Qualification,
    now: Instant,
    drawn: u64,
    asked: Option<Solicitation>,
    earlier: Option<Solicitation>,
}

impl State {
    fn wait(&mut self, config: &QualifyConfig, drawn: u8) {
        self.now = self.now.max(self.machine.deadline().instant().unwrap());
        let count = &mut self.drawn;
        let mut entropy = |out: &mut [u8]| match <&mut [u8; 8]>::try_from(&mut *out) {
            Ok(nonce) => {
                *count += 1;
                *nonce = count.to_be_bytes();
            }
            Err(_) => out.fill(drawn),
        };
        self.machine.handle_timeout(self.now, config, &mut entropy);
        assert!(self.machine.deadline() > Expiry::at(self.now));
        if let Some(wanted) = self.machine.wanted(config) {
            if self.asked.is_some_and(|asked| asked.nonce != wanted.nonce) {
                self.earlier = self.asked;
            }
            self.asked = Some(wanted);
        }
        self.machine.sent();
    }

    fn hear(&mut self, config: &QualifyConfig, from: Ipv4Addr, to: Ipv6Addr, nonce: [u8; 8], port: u16) {
        let advertisement = Advertisement { from, destination: to, nonce, mapping: mapping(port), server: SERVER };
        let _ = self.machine.on_advertisement(self.now, config, &advertisement);
    }

    /// Equal for states from which the same can happen.
    fn key(&self) -> (Qualification, Option<(SocketAddrV4, Ipv6Addr)>, bool) {
        let mut machine = self.machine.clone();
        let current = self.asked.map(|asked| asked.nonce);
        if let Inner::Asking(_, Some(question)) = &mut machine.state {
            question.nonce = if Some(question.nonce) == current { [1; 8] } else { [2; 8] };
        }
        machine.heard = Instant::from_micros(self.now.micros() - machine.heard.micros());
        machine.deadline = Expiry::at(Instant::from_micros(
            machine.deadline.instant().unwrap().micros().saturating_sub(self.now.micros()),
        ));
        (machine, self.asked.map(|asked| (asked.to, asked.source)), self.earlier.is_some())
    }
}

fn phase(machine: &Qualification) -> Option<Phase> {
    match machine.state {
        Inner::Asking(phase, _) => Some(phase),
        _ => None,
    }
}

/// Qualified, or by the first of two servers.
fn believed(machine: &Qualification) -> Option<Mapped> {
    match machine.state {
        Inner::Asking(Phase::Secondary(mapped), _) => Some(mapped),
        _ => machine.mapped().copied(),
    }
}

/// Visits every state. `checked`: as `false` the control, in which the attacker
/// always has the right nonce, which is a machine that compares none. Gives
/// how many states there are, and whether a forged mapping was ever believed.
fn search(config: QualifyConfig, checked: bool) -> (usize, bool) {
    let mut machine = Qualification::new();
    machine.start(Instant::ZERO, &config);
    let mut ahead = vec![State { machine, now: Instant::ZERO, drawn: 0, asked: None, earlier: None }];
    let mut seen = HashSet::new();
    let mut steps = vec![Step::Wait(0), Step::Wait(0xff), Step::Answer(4096), Step::Answer(4097), Step::Replay];
    for server in [SERVER, SECOND] {
        steps.extend([CLIENT_LINK_LOCAL, CLIENT_LINK_LOCAL_CONE].map(|to| Step::Forge(server, to)));
    }
    while let Some(state) = ahead.pop() {
        if !seen.insert(state.key()) {
            continue;
        }
        if believed(&state.machine).is_some_and(|mapped| mapped.mapping.port() == FORGED) {
            return (seen.len(), true);
        }
        assert!(seen.len() < 1_000_000, "the search does not end");
        for step in &steps {
            let mut state = state.clone();
            match *step {
                Step::Wait(drawn) => state.wait(&config, drawn),
                Step::Answer(port) => {
                    let Some(asked) = state.asked else { continue };
                    let Some(from) = phase(&state.machine).map(|phase| phase.answering(&config)) else { continue };
                    state.hear(&config, from, asked.source, asked.nonce, port);
                }
                Step::Replay => {
                    let Some(earlier) = state.earlier else { continue };
                    let Some(from) = phase(&state.machine).map(|phase| phase.answering(&config)) else { continue };
                    state.hear(&config, from, earlier.source, earlier.nonce, FORGED);
                }
                Step::Forge(from, to) => {
                    let nonce = match state.machine.state {
                        Inner::Asking(_, Some(question)) if !checked => question.nonce,
                        _ => [0xee; 8],
                    };
                    state.hear(&config, from, to, nonce, FORGED);
                }
            }
            ahead.push(state);
        }
    }
    (seen.len(), false)
}

fn configurations() -> Vec<QualifyConfig> {
    let mut all = vec![];
    for cone_phase in [false, true] {
        for secondary in [None, Some(SECOND)] {
            for symmetric_nat in [false, true] {
                all.push(QualifyConfig { cone_phase, secondary, symmetric_nat, ..config() });
            }
        }
    }
    all
}

#[test]
fn no_forged_advertisement_changes_the_mapping_in_any_state() {
    for config in configurations() {
        let (states, believed) = search(config, true);
        assert!(states > 100, "{states}");
        assert!(!believed, "{config:?}");
    }
}

#[test]
fn without_the_check_of_the_nonce_the_search_finds_the_attack() {
    for config in configurations() {
        assert!(search(config, false).1, "{config:?}");
    }
}
