//! The state machines of Neighbor Discovery as tables: every state, every
//! event, printed to files that reviewers read and diffs show.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test --test transitions` writes them anew.

#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::unwrap_used)]

use isatap_core::time::Duration;
use std::fmt::Write as _;
use std::path::Path;

use isatap_core::capacity::N;
use isatap_core::nd::neighbor::{Neighbors, Reachability};
use isatap_core::nd::solicit::{Config, Phase, Solicitation};
use isatap_core::time::{Expiry, Instant};

#[test]
fn solicitation() {
    let config = Config::DEFAULT;
    let plain = Config { backoff: false, ..config };
    // How to get into each state, and the time then.
    let reach = |name: &str, config: &Config| {
        let mut solicitation = Solicitation::IDLE;
        let mut now = Instant::from_secs(1000);
        let sent = match name {
            "Idle" => return (solicitation, now),
            "Idle, answered just now" => {
                solicitation.start(now, false, config);
                assert!(solicitation.handle_timeout(now, config, &mut middle));
                solicitation.answered();
                return (solicitation, now);
            }
            "Starting" => {
                solicitation.start(now, true, config);
                return (solicitation, now);
            }
            "Delaying" => {
                solicitation.start(now, true, config);
                assert!(!solicitation.handle_timeout(now, config, &mut middle));
                return (solicitation, now);
            }
            "Soliciting, 1 sent" => 1,
            "Soliciting, 3 sent" => 3,
            "Soliciting, 6 sent" => 6,
            "Exhausted" => 4,
            _ => unreachable!(),
        };
        solicitation.start(now, false, config);
        for _ in 0..sent {
            now = now.max(solicitation.deadline().instant().unwrap());
            solicitation.handle_timeout(now, config, &mut middle);
        }
        (solicitation, now)
    };
    let events: [(&str, Event<Solicitation>); 5] = [
        ("start, with delay", |solicitation, now, config| {
            solicitation.start(now, true, config);
            (now, false)
        }),
        ("start, without", |solicitation, now, config| {
            solicitation.start(now, false, config);
            (now, false)
        }),
        ("answered", |solicitation, now, _| {
            solicitation.answered();
            (now, false)
        }),
        ("timeout, early", |solicitation, now, config| {
            let deadline = solicitation.deadline().instant().unwrap_or(Instant::from_secs(100_000));
            let early = Instant::from_micros(deadline.micros() - 1).max(now);
            (early, solicitation.handle_timeout(early, config, &mut middle))
        }),
        ("timeout, due", |solicitation, now, config| {
            let due = solicitation.deadline().instant().unwrap_or(Instant::from_secs(100_000)).max(now);
            (due, solicitation.handle_timeout(due, config, &mut middle))
        }),
    ];
    let mut table = Table::new("state", &events.map(|(name, _)| name));
    let with_backoff = [
        "Idle",
        "Idle, answered just now",
        "Starting",
        "Delaying",
        "Soliciting, 1 sent",
        "Soliciting, 3 sent",
        "Soliciting, 6 sent",
    ];
    let rows = with_backoff.map(|name| (name, config)).into_iter();
    for (name, config) in rows.chain([("Soliciting, 3 sent", plain), ("Exhausted", plain)]) {
        let cells = events.map(|(_, event)| {
            let (mut solicitation, now) = reach(name, &config);
            let (now, sends) = event(&mut solicitation, now, &config);
            let mut cell = match solicitation.phase() {
                Phase::Soliciting => format!("Soliciting {}", solicitation.attempts()),
                phase => format!("{phase:?}"),
            };
            if sends {
                cell.push_str(", SEND");
            }
            cell + &due_in(solicitation.deadline(), now)
        });
        table.row(&format!("{name}{}", if config.backoff { "" } else { " (backoff off)" }), &cells);
    }
    table.compare(
        "solicitation.txt",
        "What each event does to a Solicitation (RFC 7559 §2; RAND = 0), and when it wants to wake.",
    );
}

#[test]
fn unreachability_detection() {
    type Neighborhood = Neighbors<u8, N<1>>;
    const KEY: u8 = 1;
    let reach = |name: &str| {
        let mut neighbors: Neighborhood = Neighbors::EMPTY;
        let mut now = Instant::from_secs(1000);
        if name == "(none)" {
            return (neighbors, now);
        }
        neighbors.note_sent(now, KEY).unwrap();
        match name {
            "Delay" => {}
            "Reachable" => neighbors.confirm(now, KEY),
            "Stale" => {
                neighbors.confirm(now, KEY);
                neighbors.doubt(now, KEY);
            }
            _ => {
                let sent = name.split(' ').nth(1).map_or(3, |count| count.parse().unwrap());
                now = neighbors.deadline().instant().unwrap();
                neighbors.handle_timeout(now);
                for _ in 0..sent {
                    now = now.max(neighbors.deadline().instant().unwrap());
                    assert_eq!(neighbors.next_probe(now), Some(KEY));
                    neighbors.probe_sent(now, KEY);
                }
                if name == "Failed" {
                    now = neighbors.deadline().instant().unwrap();
                    neighbors.handle_timeout(now);
                }
            }
        }
        (neighbors, now)
    };
    let events: [(&str, Event<Neighborhood>); 9] = [
        ("packet sent", |neighbors, now, _| {
            neighbors.note_sent(now, KEY).unwrap();
            (now, false)
        }),
        ("upper layer confirms", |neighbors, now, _| {
            neighbors.confirm(now, KEY);
            (now, false)
        }),
        ("NA, S=1", |neighbors, now, _| {
            neighbors.advertised(now, KEY, true, false);
            (now, false)
        }),
        ("NA, S=0", |neighbors, now, _| {
            neighbors.advertised(now, KEY, false, false);
            (now, false)
        }),
        ("RA", |neighbors, now, _| {
            neighbors.heard_router(KEY);
            (now, false)
        }),
        ("doubt", |neighbors, now, _| {
            neighbors.doubt(now, KEY);
            (now, false)
        }),
        ("probe asked", |neighbors, now, _| {
            neighbors.probe(now, KEY).unwrap();
            (now, false)
        }),
        ("timeout, due", |neighbors, now, _| {
            let due = neighbors.deadline().instant().unwrap_or(Instant::from_secs(100_000)).max(now);
            neighbors.handle_timeout(due);
            (due, false)
        }),
        ("NS sent", |neighbors, now, _| {
            if let Some(key) = neighbors.next_probe(now) {
                neighbors.probe_sent(now, key);
            }
            (now, false)
        }),
    ];
    let mut table = Table::new("state", &events.map(|(name, _)| name));
    for name in ["(none)", "Stale", "Reachable", "Delay", "Probe 0", "Probe 1", "Probe 2", "Probe 3", "Failed"] {
        let (neighbors, _) = reach(name);
        let found = neighbors.reachability(KEY).map_or("(none)".into(), |state| format!("{state:?}"));
        assert_eq!(Some(&*found), name.split(' ').next(), "the way into {name}");
        let cells = events.map(|(_, event)| {
            let (mut neighbors, now) = reach(name);
            let (now, _) = event(&mut neighbors, now, &Config::DEFAULT);
            let mut cell = match neighbors.iter().next() {
                None => "(none)".to_string(),
                Some(row) if row.reachability() == Reachability::Probe => format!("Probe {}", row.probes()),
                Some(row) => format!("{:?}", row.reachability()),
            };
            if neighbors.next_probe(now).is_some() {
                cell.push_str(", NS wanted");
            }
            cell + &due_in(neighbors.deadline(), now)
        });
        table.row(name, &cells);
    }
    table.compare(
        "neighbor.txt",
        "What each event does to a neighbour (RFC 4861 §7.3), and when it wants to wake. A failed one is reported and forgotten.",
    );
}

/// Applies an event; gives the time then, and whether something is sent.
type Event<T> = fn(&mut T, Instant, &Config) -> (Instant, bool);

/// RAND is 0: the middle of every span.
fn middle(out: &mut [u8]) {
    out.fill(0);
    out[0] = 0x80;
}

fn due_in(deadline: Expiry, now: Instant) -> String {
    match deadline.instant() {
        None => String::new(),
        Some(at) if at <= now => ", now".into(),
        Some(at) => match at.saturating_duration_since(now) {
            short if short < Duration::from_millis(1) => ", 1 µs".into(),
            long => format!(", {} s", std::time::Duration::from(long).as_secs_f64()),
        },
    }
}

/// A text table whose columns are as wide as they must be.
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(first: &str, events: &[&str]) -> Self {
        let head = [first].iter().chain(events).map(|text| text.to_string()).collect();
        Table { rows: vec![head] }
    }

    fn row(&mut self, state: &str, cells: &[String]) {
        self.rows.push([state.to_string()].iter().chain(cells).cloned().collect());
    }

    fn render(&self, title: &str) -> String {
        let mut text = format!("{title}\n\n");
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        for (index, row) in self.rows.iter().enumerate() {
            let cells: Vec<_> =
                row.iter().enumerate().map(|(column, cell)| format!("{cell:0$}", width(column))).collect();
            writeln!(text, "{}", cells.join(" | ").trim_end()).unwrap();
            if index == 0 {
                let rule: Vec<_> = (0..row.len()).map(|column| "-".repeat(width(column))).collect();
                writeln!(text, "{}", rule.join("-+-")).unwrap();
            }
        }
        text
    }

    fn compare(&self, file: &str, title: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(file);
        let found = self.render(title);
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(&path, &found).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(committed, found, "{} differs; UPDATE_SNAPSHOTS=1 writes it anew", path.display());
    }
}
