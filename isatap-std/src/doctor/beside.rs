//! What a process does beside its links: hooks, names in the DNS, answers to its own name. A link works
//! without, so no step waits for these, and these wait for none.

use super::shared::reconfigured;
use super::{Facts, Finding, Step};
use crate::service::status::HooksStatus;

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    facts.evidence.status.hooks.iter().map(|of_it| hooks(facts, of_it)).collect()
}

fn hooks(facts: &Facts, of_it: &HooksStatus) -> Finding {
    let HooksStatus { runs, failures, lost, .. } = of_it;
    if let Some(how) = &of_it.ended {
        let cause =
            format!("the process that runs hooks has ended, {how}: no hook runs any more, {lost} events are lost");
        return Finding::bad(Step::Hooks, cause, reconfigured(facts));
    }
    let failed = of_it.last_failure.as_ref().filter(|_| *failures > 0);
    let age = of_it.failed.map(|age| format!(", {age} s ago")).unwrap_or_default();
    let failed = failed.map(|failure| format!("{failures} of {runs} runs failed; the last{age}: {failure}"));
    let lost = (*lost > 0).then(|| format!("{lost} events were lost, since the hook takes too long"));
    let warning: Vec<String> = failed.into_iter().chain(lost).collect();
    let seen = match &of_it.command {
        Some(command) => format!("{command} has run {runs} times"),
        None => "none is to run any more".to_owned(),
    };
    Finding::good(Step::Hooks, seen).warn((!warning.is_empty()).then(|| warning.join("; ")))
}
