//! What hooks are still to run for: in order, the last of each subject, and not without end.

use std::collections::{BTreeMap, VecDeque};

use isatap_std::service::LinkEvent;
use serde_json::Value;

/// As many wait while a hook runs; then the oldest are lost.
const MOST: usize = 256;

/// One run of the hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) dev: String,
    pub(super) event: String,
    /// The environment, without `ISATAP_` in front.
    variables: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    jobs: VecDeque<Job>,
    roles: BTreeMap<String, String>,
    /// Since the last run.
    lost: u64,
    /// All that came, and of these all that there was no room for.
    pushed: u64,
    pub(super) overflowed: u64,
}

impl Queue {
    /// Adds an event. What waits about the same address, prefix or router is out of date, and
    /// so is all about a device that ends.
    pub(super) fn push(&mut self, dev: String, event: &LinkEvent, lost: u64) {
        self.lost += lost;
        self.pushed += 1;
        if let LinkEvent::Started { role } = event {
            self.roles.insert(dev.clone(), role.clone());
        }
        let is_end = *event == LinkEvent::Ended;
        let role = if is_end { self.roles.remove(&dev) } else { self.roles.get(&dev).cloned() };
        let Some(job) = Job::new(dev, role, event) else { return };
        self.jobs
            .retain(|waiting| waiting.dev != job.dev || (job.event != "ended" && waiting.subject() != job.subject()));
        self.jobs.push_back(job);
        if self.jobs.len() > MOST {
            self.jobs.pop_front();
            self.lost += 1;
            self.overflowed += 1;
        }
    }

    /// Events that do not wait here any more.
    pub(super) fn taken(&self) -> u64 {
        self.pushed - self.jobs.len() as u64
    }

    /// The next run, with how many events were lost before it.
    pub(super) fn pop(&mut self) -> Option<(Job, u64)> {
        let job = self.jobs.pop_front()?;
        Some((job, std::mem::take(&mut self.lost)))
    }
}

impl Job {
    /// The keys of `isatap monitor -j` as variables. What is not of harmless signs is left out: it
    /// comes from a process that talks to the network.
    fn new(dev: String, role: Option<String>, event: &LinkEvent) -> Option<Self> {
        let Ok(Value::Object(keys)) = serde_json::to_value(event) else { return None };
        let mut variables: BTreeMap<String, String> = keys
            .iter()
            .filter_map(|(key, value)| Some((key.to_ascii_uppercase(), text(value)?)))
            .filter(|(_, text)| is_harmless(text))
            .collect();
        variables.extend(role.filter(|role| is_harmless(role)).map(|role| ("ROLE".to_owned(), role)));
        variables.insert("DEV".to_owned(), dev.clone());
        let event = variables.get("EVENT")?.clone();
        is_harmless(&dev).then_some(Self { dev, event, variables })
    }

    /// `ISATAP_ADDRESS` and its value, and so on.
    pub(super) fn environment(&self, lost: u64) -> impl Iterator<Item = (String, String)> {
        let lost = (lost > 0).then(|| ("LOST".to_owned(), lost.to_string()));
        self.variables.clone().into_iter().chain(lost).map(|(name, value)| (format!("ISATAP_{name}"), value))
    }

    /// What it is about: of two about the same, the later is true.
    fn subject(&self) -> (&str, [Option<&String>; 5]) {
        let ends = ["-added", "-removed", "-found", "-lost"];
        let kind = ends.iter().find_map(|end| self.event.strip_suffix(end)).unwrap_or(&self.event);
        (kind, ["ADDRESS", "PREFIX", "VIA", "ROUTER", "RELAY"].map(|name| self.variables.get(name)))
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(list) => Some(list.iter().filter_map(text).collect::<Vec<_>>().join(" ")),
        _ => None,
    }
}

fn is_harmless(text: &str) -> bool {
    text.len() <= 1024 && text.chars().all(|sign| sign.is_ascii_alphanumeric() || ".:/_- ".contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(value: Value) -> LinkEvent {
        serde_json::from_value(value).unwrap()
    }

    fn address(what: &str, address: &str) -> LinkEvent {
        event(json!({"event": format!("address-{what}"), "address": address, "prefix_length": 64,
            "preferred": 1800, "valid": null}))
    }

    fn drain(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.pop())
            .map(|(job, lost)| {
                let all: BTreeMap<String, String> = job.environment(lost).collect();
                let of = |name: &str| all.get(name).map(String::as_str).unwrap_or("-").to_owned();
                let words = ["ISATAP_DEV", "ISATAP_EVENT", "ISATAP_ADDRESS", "ISATAP_ROLE", "ISATAP_LOST"];
                words.map(of).join(" ")
            })
            .collect()
    }

    #[test]
    fn the_last_of_each_subject_runs_in_order() {
        let mut queue = Queue::default();
        let mut push = |dev: &str, event: LinkEvent| queue.push(dev.to_owned(), &event, 0);
        push("isatap0", event(json!({"event": "started", "role": "isatap-host"})));
        push("isatap0", address("added", "2001:db8::1"));
        push("isatap0", address("added", "2001:db8::2"));
        push("tun6to4", address("added", "2001:db8::1"));
        push("isatap0", address("removed", "2001:db8::1"));
        assert_eq!(
            drain(&mut queue),
            [
                "isatap0 started - isatap-host -",
                "isatap0 address-added 2001:db8::2 isatap-host -",
                "tun6to4 address-added 2001:db8::1 - -",
                "isatap0 address-removed 2001:db8::1 isatap-host -",
            ]
        );
        let mut push = |dev: &str, event: LinkEvent| queue.push(dev.to_owned(), &event, 0);
        push("isatap0", address("added", "2001:db8::3"));
        push("tun6to4", address("added", "2001:db8::4"));
        push("isatap0", LinkEvent::Ended);
        push("isatap0", event(json!({"event": "started", "role": "isatap-router"})));
        assert_eq!(
            drain(&mut queue),
            [
                "tun6to4 address-added 2001:db8::4 - -",
                "isatap0 ended - isatap-host -",
                "isatap0 started - isatap-router -",
            ]
        );
    }

    #[test]
    fn the_queue_is_bounded_and_says_what_it_lost() {
        let mut queue = Queue::default();
        for number in 0..300 {
            queue.push(
                "isatap0".to_owned(),
                &address("added", &format!("2001:db8::{number:x}")),
                u64::from(number == 7),
            );
        }
        let all = drain(&mut queue);
        assert_eq!(all.len(), MOST);
        assert_eq!(all[0], "isatap0 address-added 2001:db8::2c - 45");
        assert_eq!(all[1], "isatap0 address-added 2001:db8::2d - -");
    }

    #[test]
    fn what_could_be_read_as_more_than_a_value_is_left_out() {
        let mut queue = Queue::default();
        let lie = event(json!({"event": "prefix-added", "prefix": "$(reboot)\n"}));
        queue.push("isatap0".to_owned(), &lie, 0);
        let (job, lost) = queue.pop().unwrap();
        let all: Vec<_> = job.environment(lost).collect();
        assert_eq!(all.len(), 2, "{all:?}");
        queue.push("isatap0;reboot".to_owned(), &address("added", "2001:db8::1"), 0);
        assert_eq!(queue.pop(), None);
        let prl = event(json!({"event": "prl-changed", "routers": ["10.0.0.1", "10.0.0.2"], "sources": ["dns a'b"]}));
        queue.push("isatap0".to_owned(), &prl, 0);
        let all: BTreeMap<_, _> = queue.pop().unwrap().0.environment(0).collect();
        assert_eq!(
            (all.get("ISATAP_ROUTERS").unwrap().as_str(), all.get("ISATAP_SOURCES")),
            ("10.0.0.1 10.0.0.2", None)
        );
    }
}
