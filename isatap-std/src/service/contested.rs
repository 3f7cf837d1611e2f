//! Names that machines of a link contest: who is told of them, and how often.

use crate::resolve::{Step, Trial};
use isatap_core::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

/// How long a conflict of the same name is not told again, whatever the machines: whoever is on the link can
/// be others each time, and can agree in between.
const QUIET: Duration = Duration::from_secs(600);

/// What was told of each step and name.
#[derive(Debug, Default)]
pub(super) struct Contested(BTreeMap<(Step, String), Told>);

#[derive(Debug)]
struct Told {
    machines: BTreeSet<Ipv4Addr>,
    at: Instant,
}

impl Contested {
    /// Those conflicts of the last look-up that are to be told.
    pub(super) fn news<'t>(&mut self, trials: &'t [Trial], now: Instant) -> Vec<&'t Trial> {
        let is_news = |trial: &&Trial| {
            let key = (trial.step, trial.name.clone());
            let told = self.0.get(&key);
            let is_quiet = told.is_some_and(|told| now < told.at.saturating_add(QUIET));
            let Some(conflict) = &trial.conflict else {
                // Only who was asked and agreed is done with it.
                if trial.said.is_ok() && !is_quiet {
                    self.0.remove(&key);
                }
                return false;
            };
            let machines: BTreeSet<Ipv4Addr> = conflict.answers.keys().copied().collect();
            let is_news = !is_quiet && told.is_none_or(|told| told.machines != machines);
            if is_news {
                self.0.insert(key, Told { machines, at: now });
            }
            is_news
        };
        trials.iter().filter(is_news).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::{Conflict, Failure};

    #[test]
    fn nam_23_nam_33_a_conflict_is_told_once_and_of_other_machines_at_most_every_ten_minutes() {
        let mut contested = Contested::default();
        let mut is_told = |at: u64, machines: &[u8]| {
            let own = |last: &u8| {
                let address = Ipv4Addr::new(10, 0, 0, *last);
                (address, BTreeSet::from([address]))
            };
            let answers: BTreeMap<_, _> = machines.iter().map(own).collect();
            let conflict = (answers.len() > 1).then(|| Conflict { interface: "eth0".to_owned(), answers });
            let said = if machines.is_empty() { Err(Failure::NoSuchName) } else { Ok(Vec::new()) };
            let trial = Trial { step: Step::Broadcast, name: "isatap".to_owned(), said, conflict };
            !contested.news(&[trial], Instant::from_millis(at * 1000)).is_empty()
        };
        assert!(is_told(0, &[1, 4]));
        // Whoever changes, agrees or is silent meanwhile.
        for machines in [&[1, 4][..], &[1, 5], &[1], &[]] {
            assert!(!is_told(599, machines), "{machines:?}");
        }
        assert!(!is_told(599, &[1, 4]));
        assert!(!is_told(700, &[1, 4]), "the same machines");
        assert!(!is_told(700, &[]) && !is_told(700, &[1, 4]), "nobody has agreed");
        assert!(is_told(701, &[1, 5]), "others");
        assert!(!is_told(1400, &[1]) && is_told(1400, &[1, 5]), "they had agreed");
    }
}
