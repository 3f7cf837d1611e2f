//! The policy of this machine for address selection (RFC 6724): what it is, and changes of it.
//!
//! On Linux it is two tables. The kernel has labels, and chooses IPv6 *source* addresses by them
//! (`ip addrlabel`). The C library has labels and precedences, and sorts *destinations* by them
//! (`/etc/gai.conf` of glibc). Neither follows the table of RFC 6724 unless it is told so; here both
//! are shown and changed as one.
//!
//! What the two do otherwise than RFC 6724, with any table, so that nobody looks for it here:
//!
//! - Linux chooses among the addresses of all devices, and asks rule 5 for the outgoing one, where
//!   RFC 6724 recommends those of the outgoing device alone (`SEL-4`). It knows no rule 5.5, and
//!   before rule 8 it prefers ORCHID sources (`2001:10::/28`) for ORCHID destinations.
//! - glibc does not end rule 9 at the source's prefix length (`SEL-3`); of IPv4 addresses it
//!   compares those in the source's own subnet only. It takes TUN devices, ours too, for native
//!   links (`SEL-10`).

mod gai_conf;
#[cfg(target_os = "linux")]
mod system;

pub use gai_conf::GaiConf;
#[cfg(target_os = "linux")]
pub use system::{GAI_CONF, System};

use isatap_core::prefix::{Ipv4Prefix, Ipv6Prefix, PrefixError};
use isatap_core::select::PolicyRow;

/// The table of glibc without a `gai.conf`: RFC 3484's, with labels for unique local and Teredo
/// addresses.
#[must_use]
pub fn glibc() -> Vec<PolicyRow> {
    GaiConf::default().rows()
}

/// The labels of Linux where nobody has changed them.
pub const LINUX_LABELS: [(&str, u32); 10] = [
    ("::1/128", 0),
    ("::/0", 1),
    ("2002::/16", 2),
    ("::/96", 3),
    ("::ffff:0:0/96", 4),
    ("fc00::/7", 5),
    ("2001::/32", 6),
    ("2001:10::/28", 7),
    ("fec0::/10", 11),
    ("3ffe::/16", 12),
];

/// Reads the prefix of a row: an IPv6 prefix, or an IPv4 one, which stands for a part of
/// `::ffff:0:0/96`.
///
/// # Errors
///
/// It is neither.
pub fn prefix(text: &str) -> Result<Ipv6Prefix, PrefixError> {
    if text.contains(':') || !text.contains('.') {
        return text.parse();
    }
    let ipv4: Ipv4Prefix = text.parse()?;
    let mapped = Ipv6Prefix::new(ipv4.address().to_ipv6_mapped(), 96 + ipv4.length());
    Ok(mapped.unwrap_or(Ipv6Prefix::DEFAULT))
}

/// The longest of some prefixes that another lies in, with what belongs to it.
fn longest<T: Copy>(rows: &[(Ipv6Prefix, T)], prefix: &Ipv6Prefix) -> Option<T> {
    let around = rows.iter().filter(|(row, _)| row.covers(prefix));
    around.max_by_key(|(row, _)| row.length()).map(|(_, value)| *value)
}
