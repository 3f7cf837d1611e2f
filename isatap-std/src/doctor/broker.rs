//! What a tunnel broker says of this end's address. The tunnel may work all the same, where the broker has it
//! already; so no step waits for this.

use super::{Facts, Finding, Step};
use crate::service::status::UpdateStatus;

pub(super) fn judge(facts: &Facts) -> Option<Finding> {
    let status = &facts.evidence.status;
    let update @ UpdateStatus { host, .. } = status.update.as_ref()?;
    let when = match update.again {
        Some(0) => "it is being called".to_owned(),
        Some(seconds) => format!("it is called again in {seconds} s"),
        None => "it is not called again by itself".to_owned(),
    };
    if let Some(failure) = &update.failure {
        let known = match update.address {
            Some(address) => format!("the last address that it took is {address}"),
            None => "it has taken no address yet".to_owned(),
        };
        let cause = format!("the tunnel broker {host} does not take this end's address: {failure}; {known}; {when}");
        let fix = update.fix.clone().unwrap_or_else(|| "see the daemon's log".to_owned());
        return Some(Finding::bad(Step::Broker, cause, fix));
    }
    let local = status.locators.first().copied();
    Some(match (update.address, local) {
        (Some(address), local) if local.is_none_or(|local| local == address) => {
            let said = update.answer.as_ref().map(|answer| format!(": {answer}")).unwrap_or_default();
            let age = update.answered.map(|age| format!(", {age} s ago")).unwrap_or_default();
            Finding::good(Step::Broker, format!("{host} has {address}{said}{age}"))
        }
        (_, None) => Finding::unknown(Step::Broker, format!("{host} is not called: this end has no IPv4 address")),
        (_, Some(local)) => Finding::unknown(Step::Broker, format!("{host} has not been told of {local} yet: {when}")),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::healthy;
    use super::super::{Finding, Step, diagnose};
    use serde_json::{Value, from_value, json};

    /// Of a link that sends from 10.0.0.2, or has no address, with these changes of what a broker says.
    fn judged(has_address: bool, change: &Value) -> Finding {
        let mut update = json!({"host": "broker.example", "address": null, "answer": null, "answered": null,
            "failure": null, "fix": null, "again": null});
        update.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let mut facts = healthy();
        facts.evidence.status.update = Some(from_value(update).unwrap());
        if !has_address {
            facts.evidence.status.locators.clear();
        }
        // Whatever becomes of the link's own steps.
        diagnose(&facts).into_iter().find(|finding| finding.step == Step::Broker).unwrap()
    }

    #[test]
    fn what_a_broker_has_taken_is_good_and_what_it_was_not_told_is_unknown() {
        let took = json!({"address": "10.0.0.2", "answer": "good 10.0.0.2", "answered": 7});
        for has_address in [true, false] {
            let finding = judged(has_address, &took);
            assert!(finding.ok && !finding.unknown);
            assert_eq!(finding.seen.as_deref(), Some("broker.example has 10.0.0.2: good 10.0.0.2, 7 s ago"));
        }
        for (has_address, change, seen) in [
            (false, json!({}), "broker.example is not called: this end has no IPv4 address"),
            (true, json!({"again": 0}), "broker.example has not been told of 10.0.0.2 yet: it is being called"),
            (
                true,
                json!({"address": "10.0.0.9", "again": 9}),
                "broker.example has not been told of 10.0.0.2 yet: it is called again in 9 s",
            ),
        ] {
            let finding = judged(has_address, &change);
            assert!(finding.ok && finding.unknown);
            assert_eq!(finding.seen.as_deref(), Some(seen));
        }
        assert!(diagnose(&healthy()).iter().all(|finding| finding.step != Step::Broker), "there is none");
    }

    #[test]
    fn each_failure_is_told_with_what_was_known_before_and_what_to_do() {
        let failed = |change: Value| {
            let mut update = json!({"failure": "WHY", "fix": "DO THIS"});
            update.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            judged(true, &update)
        };
        for (change, rest) in [
            (json!({}), "it has taken no address yet; it is not called again by itself"),
            (json!({"again": 30}), "it has taken no address yet; it is called again in 30 s"),
            (
                json!({"address": "10.0.0.2", "again": 30}),
                "the last address that it took is 10.0.0.2; it is called again in 30 s",
            ),
        ] {
            let finding = failed(change);
            let cause = format!("the tunnel broker broker.example does not take this end's address: WHY; {rest}");
            assert_eq!((finding.ok, finding.cause, finding.fix.as_deref()), (false, Some(cause), Some("DO THIS")));
        }
        assert_eq!(failed(json!({"fix": null})).fix.as_deref(), Some("see the daemon's log"));
    }
}
