//! `isatap monitor`: what running daemons tell, as it happens.

use std::io::Write;

use isatap_std::control::{Heard, Watch};
use isatap_std::runtime_dir::RuntimeDir;
use isatap_std::service::LinkEvent;
use isatap_std::signal::Signals;
use serde_json::Value;

use crate::exit::{Failure, Status};
use crate::output::{self, say, warn};

/// Show what happens to running links: addresses, routes, prefixes, routers, warnings, their end; and
/// to rules of the port proxy.
///
/// The first line of a link says how it is now. Each line names its link, or the process if it is not
/// about one link. What starts later is shown as well. Ends on SIGINT or SIGTERM, with status 0. A reader
/// that is too slow loses events, and is told how many (lost).
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Print JSON, one object an event: {"time","process","dev","event",…}.
    #[arg(short, long)]
    json: bool,
    /// One device, which need not be there yet; all of this network namespace if it is left out.
    dev: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    let mut signals = Signals::catch()?;
    let runtime = RuntimeDir::new();
    let mut watch = Watch::open(&runtime, args.dev.as_deref())?;
    if watch.is_idle() {
        say(format_args!("no daemon runs here yet, by {}: waiting for one", runtime.path().display()));
    }
    let mut out = output::answer_until(output::Unread::End);
    while let Some(heard) = watch.next(&mut signals)? {
        for heard in heard {
            match heard {
                Heard::Event(line) if args.json => writeln!(out, "{line}")?,
                Heard::Event(line) => writeln!(out, "{}", text(&serde_json::from_str(&line).unwrap_or_default()))?,
                Heard::Problem(error) => warn(error),
                _ => {}
            }
        }
        out.flush()?;
    }
    Ok(Status::Done)
}

/// An event for people: `06:37:47.123 isatap0: router 10.0.0.1 answers`. The time of day is UTC.
fn text(told: &Value) -> String {
    let of = |key: &str| told.get(key).and_then(Value::as_str).unwrap_or_default();
    let (seconds, micros) = of("time").split_once('.').unwrap_or_default();
    let seconds: u64 = seconds.parse().unwrap_or_default();
    let (hours, minutes, millis) = (seconds / 3600 % 24, seconds / 60 % 60, micros.get(..3).unwrap_or_default());
    let who = match told["dev"].as_str().filter(|_| told["scope"] != "process") {
        Some(dev) => dev.to_owned(),
        None => format!("process {}", told["process"]),
    };
    let what = match of("event") {
        "status" => told.get("status").map(now).unwrap_or_default(),
        "rules" => rules(&told["rules"]),
        "lost" => format!("{} events are lost: this reader is too slow", told["count"]),
        _ => {
            let mut told = told.clone();
            // In a log its text says what it is about.
            if let Some(rest) = of("text").strip_prefix(&format!("{who} ")) {
                told["text"] = rest.into();
            }
            serde_json::from_value::<LinkEvent>(told.clone())
                .map_or_else(|_| told.to_string(), |event| event.to_string())
        }
    };
    format!("{hours:02}:{minutes:02}:{:02}.{millis}Z {who}: {what}", seconds % 60)
}

/// The rules of a process when it is first seen.
fn rules(told: &Value) -> String {
    let of = |rule: &Value, key: &str| rule[key].as_str().unwrap_or_default().to_owned();
    let each = told.as_array().into_iter().flatten().map(|rule| {
        let waiting = rule["waiting"].as_str().map(|what| format!(", waits for {what}")).unwrap_or_default();
        format!("{} {} to {}{waiting}", of(rule, "listen"), of(rule, "direction"), of(rule, "connect"))
    });
    format!("port proxy: {}", each.collect::<Vec<_>>().join("; "))
}

/// How a link is when it is first seen.
fn now(status: &Value) -> String {
    let list = |key: &str, of: &str| {
        let all = status[key].as_array().into_iter().flatten().filter_map(|each| each[of].as_str());
        all.map(|each| format!(" {each}")).collect::<String>()
    };
    if let Some(waiting) = status["waiting"].as_str() {
        return format!("{} waits for {waiting}", status["role"].as_str().unwrap_or_default());
    }
    let up = if status["up"] == true { "up" } else { "down" };
    let role = status["role"].as_str().unwrap_or_default();
    let mut text = format!("{role} {up} mtu {}", status["mtu"]);
    for (what, list) in [("addresses", list("addresses", "address")), ("routers", list("routers", "address"))] {
        if !list.is_empty() {
            text += &format!(", {what}{list}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_one_line_for_people() {
        for (event, line) in [
            (json!({"event": "router-found", "router": "10.0.0.1"}), "router 10.0.0.1 answers"),
            (
                json!({"event": "address-added", "address": "fe80::5efe:a00:2", "prefix_length": 64,
                    "preferred": null, "valid": null}),
                "address fe80::5efe:10.0.0.2/64 added",
            ),
            (
                json!({"event": "route-removed", "prefix": "::/0", "via": "fe80::5efe:a00:1",
                    "origin": "advertised", "preference": "medium", "lifetime": 0}),
                "route ::/0 via fe80::5efe:10.0.0.1 advertised removed",
            ),
            (json!({"event": "lost", "count": 12}), "12 events are lost: this reader is too slow"),
            (
                json!({"event": "status", "status": {"role": "isatap-host", "up": true, "mtu": 1480,
                    "addresses": [{"address": "fe80::1"}], "routers": []}}),
                "isatap-host up mtu 1480, addresses fe80::1",
            ),
            (json!({"event": "warning", "text": "isatap0 waits for it"}), "warning: waits for it"),
            (
                json!({"event": "status", "status": {"role": "configured", "waiting": "192.0.2.1"}}),
                "configured waits for 192.0.2.1",
            ),
        ] {
            let mut told = event;
            (told["time"], told["dev"]) = ("1764484667.123456".into(), "isatap0".into());
            assert_eq!(text(&told), format!("06:37:47.123Z isatap0: {line}"));
        }
        let rules = json!([{"listen": "0.0.0.0:80", "direction": "v4tov6", "connect": "[2001:db8::1]:80",
            "waiting": "the device t1"}, {"listen": "[::]:80", "direction": "v6tov4", "connect": "192.0.2.1:80"}]);
        let told = json!({"time": "1764484667.123456", "process": 77, "event": "rules", "rules": rules});
        assert_eq!(
            text(&told),
            "06:37:47.123Z process 77: port proxy: 0.0.0.0:80 v4tov6 to [2001:db8::1]:80, waits for the device t1; \
             [::]:80 v6tov4 to 192.0.2.1:80"
        );
        let of_process = json!({"time": "1764484667.123456", "process": 77, "dev": "isatap0", "scope": "process",
            "number": 3, "event": "warning", "text": "x"});
        assert_eq!(text(&of_process), "06:37:47.123Z process 77: warning: x");
        let later = json!({"time": "1764484667.123456", "dev": "isatap0", "event": "of-a-later-version"});
        assert!(text(&later).ends_with(&later.to_string()));
    }
}
