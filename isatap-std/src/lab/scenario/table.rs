//! The tables of a scenario: each key is described once, for the reader and for the reference.

use std::fmt::Write as _;

use super::direct_access::DirectAccessTable;
use super::file::{BalancerTable, CloudTable, File, NameTable, NatTable, NativeRoute, NativeTable};
use super::node::{LanTable, NodeTable, RouteTable};
use super::select::{ExpectedTable, SelectDeed};
use super::step::{
    AddressDeed, DropTable, Ipv4Deed, LanDeed, PingDeed, QualifiedDeed, Range, SentDeed, SpoofDeed, StepTable,
};
use super::tcp::{RefusalTable, ServedTable, ServerTable, TcpDeed};

/// What the reference says of a table.
pub(super) struct Table {
    /// How it is written.
    title: &'static str,
    about: &'static [&'static str],
    keys: &'static [Key],
}

/// What it says of a key.
pub(super) struct Key {
    name: &'static str,
    /// What its value looks like, and what holds without it; in brackets: a table of its own.
    value: &'static str,
    about: &'static [&'static str],
}

/// A struct that serde reads, and its `TABLE` for the reference. In front of each field stand its
/// documentation, the key, and what the value looks like.
macro_rules! table {
    (
        $(#[doc = $about:literal])+
        $(#[derive($($derive:ident),+)])?
        $vis:vis $name:ident [$title:literal] {
            $(
                $(#[doc = $doc:literal])+
                $(#[serde($($serde:tt)+)])?
                $key:literal [$value:literal] $of:vis $field:ident: $type:ty,
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, serde::Deserialize $($(, $derive)+)?)]
        #[serde(deny_unknown_fields)]
        $vis struct $name {
            $(
                $(#[doc = $doc])+
                #[serde(rename = $key $(, $($serde)+)?)]
                $of $field: $type,
            )+
        }

        impl $name {
            pub(super) const TABLE: super::table::Table = super::table::Table::new(
                $title,
                &[$($about),+],
                &[$(super::table::Key::new($key, $value, &[$($doc),+])),+],
            );
        }
    };
}
pub(super) use table;

impl Table {
    pub(super) const fn new(title: &'static str, about: &'static [&'static str], keys: &'static [Key]) -> Self {
        Table { title, about, keys }
    }
}

impl Key {
    pub(super) const fn new(name: &'static str, value: &'static str, about: &'static [&'static str]) -> Self {
        Key { name, value, about }
    }
}

/// All tables, in the order of a file.
const TABLES: [Table; 27] = [
    File::TABLE,
    CloudTable::TABLE,
    NameTable::TABLE,
    NodeTable::TABLE,
    LanTable::TABLE,
    RouteTable::TABLE,
    NativeTable::TABLE,
    NativeRoute::TABLE,
    NatTable::TABLE,
    BalancerTable::TABLE,
    ServerTable::TABLE,
    DirectAccessTable::TABLE,
    StepTable::TABLE,
    PingDeed::TABLE,
    SpoofDeed::TABLE,
    DropTable::TABLE,
    Range::TABLE,
    AddressDeed::TABLE,
    SentDeed::TABLE,
    QualifiedDeed::TABLE,
    SelectDeed::TABLE,
    ExpectedTable::TABLE,
    TcpDeed::TABLE,
    ServedTable::TABLE,
    RefusalTable::TABLE,
    LanDeed::TABLE,
    Ipv4Deed::TABLE,
];

/// Every table and key of a scenario, with type, default and documentation.
#[must_use]
pub fn reference() -> String {
    let mut text =
        "A scenario is a TOML file. isatap lab --example prints one to begin with. Steps happen in the order\n\
                    of the file, each not before its at. A SPAN is a whole number with us, ms, s, m, h or d.\n"
            .to_owned();
    for table in TABLES {
        let _ = write!(text, "\n{}\n", table.title);
        if table.title.contains(['[', '=']) {
            lines(&mut text, 2, table.about);
        }
        for key in table.keys {
            if key.value.starts_with("[[") || key.value == format!("[{}]", key.name) {
                continue;
            }
            let _ = write!(text, "\n  {} = {}\n", key.name, key.value);
            lines(&mut text, 6, key.about);
        }
    }
    text
}

/// Lines of documentation.
fn lines(text: &mut String, indent: usize, lines: &[&str]) {
    for line in lines {
        let _ = writeln!(text, "{:indent$}{}", "", line.trim());
    }
}
