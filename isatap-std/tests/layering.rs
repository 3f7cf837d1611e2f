//! The import rule of this crate, checked on its sources.
//!
//! What the rule says of layers is in isatap-core's `tests/layering/sources.rs`. Above all, nothing
//! that runs links imports the simulator or the tool: they stand in the last layer.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::unwrap_used, clippy::panic)]

#[path = "../../isatap-core/tests/layering/sources.rs"]
mod sources;

use sources::{Rule, sources};
use std::path::Path;

const RULE: Rule = Rule {
    layers: &[
        &["capacity", "error", "clock", "fib", "offload", "pcap"],
        &[
            "advice",
            "device",
            "entropy",
            "file_watch",
            "runtime_dir",
            "privileges",
            "selection",
            "small_file",
            "text_file",
            "thread",
            "told",
            "waker",
        ],
        // The operating system.
        &["dhcp_lease", "netlink", "nd_socket", "proto41_socket", "resolve", "signal", "tun"],
        &["locators", "mistakes"],
        &["spec"],
        &["broker", "driver", "control", "dns_update", "udp_socket"],
        &["kernel_path", "teredo"],
        // Links, and all of them in one process.
        &["service"],
        &["portproxy"],
        &["run", "config"],
        // The simulator and the tool.
        &["capture", "lab", "check", "explain", "doctor", "plan", "policy"],
    ],
    technologies: &[],
    apart: &[],
    macros: &[],
};

/// `nd.rs` beside `nd/`, never `nd/mod.rs`: a module is found by its name.
#[test]
fn a_module_stands_beside_its_folder() {
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let inside: Vec<&String> = sources.files.keys().filter(|path| path.ends_with("mod.rs")).collect();
    assert!(sources.files.len() > 5 && inside.is_empty(), "{inside:?}");
}

#[test]
fn modules_import_only_from_their_left() {
    let mut sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    sources.files.retain(|path, _| !path.starts_with("bin/"));
    assert!(sources.files.len() > 5, "where are the sources?");
    let violations = sources.violations(&RULE);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}
