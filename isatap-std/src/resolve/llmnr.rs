//! Link-Local Multicast Name Resolution \[RFC 4795\]: a name that is asked of everybody on a link.
//!
//! Messages are those of the DNS, read and written by the crate `domain`; two bits of the header
//! mean something else: AA is C, *conflict*, and RD is T, *tentative*. It is spoken over IPv4, by
//! which the routers that are looked for are reached. Nothing is remembered between questions
//! (NAM-24): there is no cache that could mix links or sources.

#[cfg(target_os = "linux")]
mod answer;
mod message;
#[cfg(target_os = "linux")]
mod query;

#[cfg(target_os = "linux")]
pub(super) use self::answer::{Asked, Query, check, claim};
pub use self::message::{LlmnrReply, llmnr_reply};
#[cfg(target_os = "linux")]
pub(super) use self::query::{ask, jitter};

use std::net::Ipv4Addr;
use std::time::Duration;

/// NAM-20: the port, by UDP and TCP.
pub(crate) const PORT: u16 = 5355;
/// NAM-20: the group of everybody on the link who speaks it.
pub(super) const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 252);
/// NAM-22: LLMNR_TIMEOUT, one for links of all kinds.
pub(super) const TIMEOUT: Duration = Duration::from_secs(1);
/// NAM-22: a query is not sent more often.
#[cfg(target_os = "linux")]
pub(super) const TRIES: u8 = 3;
/// NAM-22: JITTER_INTERVAL.
pub(super) const JITTER: Duration = Duration::from_millis(100);
/// NAM-61: the longest message.
pub(super) const LARGEST: u16 = 9194;
