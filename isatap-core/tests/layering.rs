//! The import rule of this crate, checked on its sources.
//!
//! What the rule says of layers and technologies is in `layering/sources.rs`.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::unwrap_used, clippy::panic)]

#[path = "layering/sources.rs"]
mod sources;

use sources::{Rule, Sources, sources};
use std::path::Path;

/// The layer whose modules do not know each other.
const TECHNOLOGIES: &[&str] = &["configured", "isatap", "sixtofour", "sixrd", "compatible", "lan", "teredo"];

const RULE: Rule = Rule {
    layers: &[
        &["time", "error", "drop_reason"],
        &["packet", "capacity", "wire", "prefix"],
        &["engine", "route", "proto41", "nd", "select"],
        &["link", "interface"],
        TECHNOLOGIES,
        &["embedded", "datapath", "node", "pretty"],
        // What the modules are to a logger.
        &["defmt_format"],
    ],
    technologies: TECHNOLOGIES,
    // `packet` writes with `wire::field`, the messages of `wire` are written into packets.
    apart: &[("wire", "field")],
    macros: &[("timers", "timer")],
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
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(sources.files.len() > 5, "where are the sources?");
    let violations = sources.violations(&RULE);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

mod the_checker {
    use super::*;

    fn check(files: &[(&str, &str)]) -> Vec<String> {
        let mut sources = Sources::default();
        for (path, text) in files {
            sources.add(path, text);
        }
        sources.violations(&RULE)
    }

    #[track_caller]
    fn finds(path: &str, text: &str, what: &str) {
        let violations = check(&[(path, text)]);
        assert!(violations.len() == 1 && violations[0].contains(what), "{violations:?}");
    }

    #[test]
    fn finds_imports_from_the_right() {
        finds("proto41/flow.rs", "use crate::isatap::IsatapLink;", "proto41 imports isatap");
        finds("time.rs", "fn f() { crate::packet::f() }", "time imports packet");
        finds("error.rs", "use crate::{time::Instant, wire::{field, prefix}};", "error imports wire");
        finds("isatap.rs", "pub(crate) use crate::node;", "isatap imports node");
        finds("engine.rs", "use super::link::Link;", "engine imports link");
        finds("nd/solicit/backoff.rs", "use super::super::super::{route, link};", "nd imports link");
        finds("packet.rs", "macro_rules! m { () => { $crate::engine::f() } }", "packet imports engine");
    }

    #[test]
    fn finds_technologies_that_know_each_other() {
        finds("isatap/host.rs", "use crate::sixtofour;", "technology isatap imports the technology sixtofour");
        finds("lan.rs", "use crate::{link, teredo::addr};", "technology lan imports the technology teredo");
    }

    #[test]
    fn finds_circles_and_strangers() {
        let circle = [("packet.rs", "use crate::wire;"), ("wire.rs", "use crate::prefix;")];
        assert_eq!(check(&circle), [""; 0]);
        let closed = [circle[0], circle[1], ("prefix.rs", "use crate::packet::LinkId;")];
        assert_eq!(check(&closed).len(), 3);
        // A part that stands apart breaks the circle, unless it closes it.
        let apart = [("packet.rs", "use crate::wire::field::Writer;"), ("wire/icmpv6.rs", "use crate::packet;")];
        assert_eq!(check(&apart), [""; 0]);
        for back in ["use crate::packet;", "use super::icmpv6;", "use crate::{wire::{icmpv6 as i}};"] {
            assert!(check(&[apart[0], apart[1], ("wire/field.rs", back)]).len() > 1, "{back}");
        }
        finds("strange.rs", "", "the module strange stands in no layer");
        finds("nd.rs", "use crate::Instant;", "crate::Instant is no module");
    }

    #[test]
    fn leaves_alone_what_is_allowed() {
        let fine = "
            //! See [`crate::node`]. use crate::node;
            /* use crate::node; /* nested */ use crate::node; */
            use crate::{error::TableFull, time::{Expiry, Instant}, nd};
            use super::Message; // crate::node
            fn f<'a>(x: &'a str) -> char { let _ = \"use crate::node \\\" crate::node\"; let _ = b\"crate::node\"; '\"' }
            const R: &str = r#\"a \" use crate::node;\"#;
            pub(in crate::nd) struct S;
            #[cfg(test)]
            use crate::{node, pretty};
            #[cfg(test)]
            #[allow(clippy::panic)]
            mod tests { use crate::node; mod inner { use crate::isatap; } }
            #[cfg(test)]
            mod more;
        ";
        let more = ("nd/option/more.rs", "use crate::node;");
        let below = ("nd/option/more/below.rs", "use crate::node;");
        assert_eq!(check(&[("nd/option.rs", fine), more, below]), [""; 0]);
        // What comes behind the tests is looked at again.
        let behind = format!("{fine} use crate::pretty;");
        assert_eq!(check(&[("nd/option.rs", &behind), more]).len(), 1);
        // A file of that name that is no test is no exception.
        assert_eq!(check(&[("nd/option.rs", "mod more;"), more]).len(), 1);
    }
}
