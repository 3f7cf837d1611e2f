//! The policy table: precedence and label by prefix. [RFC 6724 §2.1]

use core::net::{IpAddr, Ipv6Addr};

use super::{Policy, mapped};
use crate::error::{Table, TableFull};
use crate::prefix::{Ipv6Prefix, halves};

/// A row of a policy table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PolicyRow {
    /// The addresses; IPv4 ones lie in `::ffff:0:0/96`.
    pub prefix: Ipv6Prefix,
    /// The higher, the earlier is a destination.
    pub precedence: u32,
    /// Sources and destinations of equal labels belong together.
    pub label: u32,
    /// It was not configured, but follows from an address of this node.
    pub automatic: bool,
}

impl PolicyRow {
    /// A row that is configured.
    #[must_use]
    pub const fn new(prefix: Ipv6Prefix, precedence: u32, label: u32) -> Self {
        PolicyRow { prefix, precedence, label, automatic: false }
    }

    /// Of the prefix of the first `length` bits of `first`.
    const fn of(first: u128, length: u8, precedence: u32, label: u32) -> Self {
        match Ipv6Prefix::new(Ipv6Addr::from_bits(first), length) {
            Some(prefix) => PolicyRow::new(prefix, precedence, label),
            None => PolicyRow::new(Ipv6Prefix::DEFAULT, precedence, label),
        }
    }
}

/// What an address has that no row knows.
const REST: PolicyRow = PolicyRow::new(Ipv6Prefix::DEFAULT, 40, 1);

/// The default table of RFC 6724 §2.1.
pub const RFC6724: [PolicyRow; 9] = [
    PolicyRow::of(1, 128, 50, 0),
    REST,
    PolicyRow::of(0xffff_0000_0000, 96, 35, 4),
    PolicyRow::of(0x2002 << 112, 16, 30, 2),
    PolicyRow::of(0x2001 << 112, 32, 5, 5),
    PolicyRow::of(0xfc00 << 112, 7, 3, 13),
    PolicyRow::of(0, 96, 1, 3),
    PolicyRow::of(0xfec0 << 112, 10, 1, 11),
    PolicyRow::of(0x3ffe << 112, 16, 1, 12),
];

/// The default table of RFC 3484 §2.1, which old Windows has: IPv4 comes after
/// everything else, Teredo and unique local addresses are like others.
pub const RFC3484: [PolicyRow; 5] = [
    PolicyRow::of(1, 128, 50, 0),
    REST,
    PolicyRow::of(0x2002 << 112, 16, 30, 2),
    PolicyRow::of(0, 96, 20, 3),
    PolicyRow::of(0xffff_0000_0000, 96, 10, 4),
];

/// The row of the longest prefix that `address` lies in. `SEL-1`
pub(super) fn find(rows: &[PolicyRow], address: &Ipv6Addr) -> PolicyRow {
    let (high, low) = halves(address);
    let mut found: Option<&PolicyRow> = None;
    for row in rows {
        let longer = found.is_none_or(|found| found.prefix.length() < row.prefix.length());
        if longer && row.prefix.contains_halves(high, low) {
            found = Some(row);
        }
    }
    found.copied().unwrap_or(REST)
}

/// The prefix of the site that an address belongs to, where it shows: a 6to4
/// or unique local /48. `SEL-16 [RFC 6724 §10.6, §10.7]`
fn site_of(address: IpAddr) -> Option<Ipv6Prefix> {
    let address = mapped(address);
    let [a, b, ..] = address.octets();
    if (a, b) == (0x20, 0x02) || a & 0xfe == 0xfc { Ipv6Prefix::new(address, 48) } else { None }
}

/// A policy table of at most `N` rows that can be changed.
#[derive(Clone, Debug)]
pub struct PolicyTable<const N: usize> {
    rows: heapless::Vec<PolicyRow, N, u16>,
    takes_automatic: bool,
}

impl<const N: usize> PolicyTable<N> {
    /// The highest precedence of the default tables is 50, `::1`'s, and the next 40:
    /// the own site comes between. [RFC 6724 §10.6]
    const SITE_PRECEDENCE: u32 = 45;
    /// The default tables use labels up to 13.
    const SITE_LABEL: u32 = 14;

    /// A table of these rows, such as [`RFC6724`], that takes automatic ones
    /// too. Of rows with the same prefix the last one counts.
    ///
    /// # Errors
    /// There are more than `N`.
    pub fn new(rows: &[PolicyRow]) -> Result<Self, TableFull> {
        let mut table = PolicyTable { rows: heapless::Vec::new(), takes_automatic: true };
        rows.iter().try_for_each(|row| table.set(*row).map(drop))?;
        Ok(table)
    }

    /// The rows, in the order in which they came.
    #[must_use]
    pub fn rows(&self) -> &[PolicyRow] {
        &self.rows
    }

    /// The table with the scopes and choices of RFC 6724.
    #[must_use]
    pub fn policy(&self) -> Policy<'_> {
        Policy::new(&self.rows)
    }

    /// Adds a row, or puts it in the place of that of the same prefix, which is
    /// given back. A row that is automatic leaves a configured one as it is, and
    /// is given back itself; so it is where the table takes none.
    /// `SEL-18 [RFC 6724 §2.1]`
    ///
    /// # Errors
    /// The table is full; nothing changed.
    pub fn set(&mut self, row: PolicyRow) -> Result<Option<PolicyRow>, TableFull> {
        if row.automatic && !self.takes_automatic {
            return Ok(Some(row));
        }
        match self.rows.iter_mut().find(|other| other.prefix == row.prefix) {
            Some(other) if row.automatic && !other.automatic => Ok(Some(row)),
            Some(other) => Ok(Some(core::mem::replace(other, row))),
            None => match self.rows.push(row) {
                Ok(()) => Ok(None),
                Err(_) => Err(TableFull::new(Table::Policy)),
            },
        }
    }

    /// Removes the row of a prefix.
    pub fn remove(&mut self, prefix: &Ipv6Prefix) -> Option<PolicyRow> {
        let row = self.rows.iter().find(|row| row.prefix == *prefix).copied();
        self.rows.retain(|row| row.prefix != *prefix);
        row
    }

    /// Whether automatic rows are taken. Off, those that there are go.
    /// `SEL-18 [RFC 6724 §2.1]`
    pub fn take_automatic(&mut self, takes: bool) {
        self.takes_automatic = takes;
        if !takes {
            self.rows.retain(|row| !row.automatic);
        }
    }

    /// Adds an automatic row for the site that `address`, one of this node's,
    /// belongs to: before all but loopback, with a label of its own. An address
    /// that shows no site adds none. `SEL-16 [RFC 6724 §10.6, §10.7]`
    ///
    /// # Errors
    /// The table is full; nothing changed.
    pub fn add_site_of(&mut self, address: IpAddr) -> Result<(), TableFull> {
        let Some(prefix) = site_of(address) else { return Ok(()) };
        if self.rows.iter().any(|row| row.prefix == prefix) {
            return Ok(());
        }
        let last = self.rows.iter().map(|row| row.label).max().unwrap_or(0);
        let label = last.saturating_add(1).max(Self::SITE_LABEL);
        let row = PolicyRow { automatic: true, ..PolicyRow::new(prefix, Self::SITE_PRECEDENCE, label) };
        self.set(row).map(drop)
    }
}
