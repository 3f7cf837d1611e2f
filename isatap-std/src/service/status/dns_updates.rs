//! Names in the DNS that have this node's addresses.

use std::net::Ipv6Addr;

/// A name that updates of the DNS give this node's addresses.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct DnsUpdateStatus {
    /// The name.
    pub name: String,
    /// The server that was asked last; absent: none yet.
    pub server: Option<String>,
    /// Its AAAA records by us.
    pub addresses: Vec<Ipv6Addr>,
    /// Seconds since the server agreed; absent: it has not.
    pub updated: Option<u64>,
    /// Why the last update failed; absent: it did not.
    pub failure: Option<String>,
    /// The fix.
    #[cfg_attr(feature = "control", serde(default))]
    pub fix: Option<String>,
    /// Why the next daemon would not know the records, should this one be killed; absent: it would.
    #[cfg_attr(feature = "control", serde(default))]
    pub forgotten: Option<String>,
}
