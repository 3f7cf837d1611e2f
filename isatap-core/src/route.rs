//! Routes: which link, and which next hop on it.
//!
//! | | [`RouteTable`] | [`Fib`] |
//! |---|---|---|
//! | for | the routes of a host or a small router | a router's full table, up to a million prefixes |
//! | a route | prefix, link, next hop, metric, preference, origin, lifetime | prefix and a number of the caller's |
//! | chooses among routes of a prefix | yes | the least number; the caller has chosen before |
//! | changes | one route at a time | written anew as a whole |
//! | memory of a route | 88 bytes | about 15 bytes |
//!
//! A [`RouteTable`]'s rows lie in the order in which they are to be found, so
//! that a lookup is the first hit of one scan, shortened by a few bits; each
//! change moves rows. From some hundred routes on a [`Fib`] is faster by far.
//!
//! A role is a set of routes: an ISATAP host has its advertised prefix
//! on-link, `fe80::/64` on-link and `::/0` by its router's link-local
//! address.

mod fib;
mod index;
mod shares;
mod slot;
mod table;

use core::fmt;
use core::net::Ipv6Addr;

use crate::packet::LinkId;
use crate::prefix::Ipv6Prefix;
use crate::time::Expiry;

pub use fib::{Fib, FibRoute, Node, Sorted};
pub use slot::Slot;
pub use table::{Lookup, RouteId, RouteTable};

/// How a router wants its route to be weighed against the same prefix by
/// another router. [RFC 4191 §2.1]
///
/// The order is that of preference: `Low < Medium < High`. It is not that of
/// the two bits on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
#[repr(i8)]
pub enum Preference {
    /// Only if there is nothing else.
    Low = -1,
    /// What a router says that has no opinion.
    #[default]
    Medium = 0,
    /// Before the others.
    High = 1,
}

impl Preference {
    /// `low`, `medium` or `high`: stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Preference::Low => "low",
            Preference::Medium => "medium",
            Preference::High => "high",
        }
    }
}

impl fmt::Display for Preference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who made a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// The owner of the table or an administrator, by hand.
    Manual,
    /// The operating system, whose routes on the tunnel's device are copied.
    Mirrored,
    /// A prefix that is on-link: advertised, configured, or `fe80::/64`.
    OnLink,
    /// A Router Advertisement: its header (`::/0`) or a Route Information
    /// option. Both fill one row. `NDP-36 [RFC 4191 §3.1]`
    Advertised,
    /// A Redirect: one destination, remembered for a while. `ISA-46`
    Redirected,
    /// The mechanism itself: 6to4's `2002::/16`, the way to a relay.
    Automatic,
}

impl Origin {
    /// Whether [`RouteTable::poll_change`] tells of such routes: manual and
    /// mirrored ones come from where it would tell.
    #[must_use]
    pub const fn is_told(self) -> bool {
        !matches!(self, Origin::Manual | Origin::Mirrored)
    }

    /// The origin's name in kebab-case; stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Origin::Manual => "manual",
            Origin::Mirrored => "mirrored",
            Origin::OnLink => "on-link",
            Origin::Advertised => "advertised",
            Origin::Redirected => "redirected",
            Origin::Automatic => "automatic",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happened to a row that others keep a copy of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// It is new.
    Added,
    /// The same row has other values.
    Changed,
    /// It is gone.
    Removed,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Change::Added => "added",
            Change::Changed => "changed",
            Change::Removed => "removed",
        })
    }
}

/// One route. `RTE-1`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destinations.
    pub prefix: Ipv6Prefix,
    /// When it is to be removed.
    pub expires: Expiry,
    /// The neighbour that forwards; `None`: the destinations are on-link,
    /// each is its own next hop.
    pub next_hop: Option<Ipv6Addr>,
    /// The cost, compared after the preference; the interface's metric is
    /// added to it. Less is better.
    pub metric: u32,
    /// The link that packets leave by; [`LinkId::NULL`]: they end here.
    pub link: LinkId,
    /// The wish of the router that advertised it.
    pub preference: Preference,
    /// Who made it.
    pub origin: Origin,
    /// Whether advertising interfaces put it into Router Advertisements.
    /// `RTE-6`
    pub publish: bool,
}

// Larger, and a host's table does not fit the smallest profile.
const _: () = assert!(size_of::<Route>() <= 64);

impl Route {
    /// A prefix whose addresses are neighbours on `link`: metric 0, medium
    /// preference, not published, never ending.
    #[must_use]
    pub const fn on_link(prefix: Ipv6Prefix, link: LinkId, origin: Origin) -> Self {
        Route {
            prefix,
            link,
            origin,
            next_hop: None,
            metric: 0,
            preference: Preference::Medium,
            publish: false,
            expires: Expiry::NEVER,
        }
    }

    /// A prefix behind the neighbour `next_hop` on `link`: metric 0, medium
    /// preference, not published, never ending.
    #[must_use]
    pub const fn via(prefix: Ipv6Prefix, link: LinkId, next_hop: Ipv6Addr, origin: Origin) -> Self {
        Route { next_hop: Some(next_hop), ..Route::on_link(prefix, link, origin) }
    }

    /// A prefix that is this node's although no link has all of it: packets
    /// to it end here unless a longer prefix leads on, and do not bounce to
    /// the default route. `S6R-20`
    #[must_use]
    pub const fn null(prefix: Ipv6Prefix, origin: Origin) -> Self {
        Route::on_link(prefix, LinkId::NULL, origin)
    }

    /// The neighbour that gets a packet to `destination`.
    #[inline]
    #[must_use]
    pub const fn next_hop_for(&self, destination: &Ipv6Addr) -> Ipv6Addr {
        // RTE-2 [RFC 4861 §5.2]: on-link means the destination itself.
        match self.next_hop {
            Some(next_hop) => next_hop,
            None => *destination,
        }
    }

    /// What tells this route from others: see [`RouteKey`].
    #[must_use]
    pub const fn key(&self) -> RouteKey {
        RouteKey { prefix: self.prefix, link: self.link, next_hop: self.next_hop, origin: self.origin }
    }
}

impl fmt::Display for Route {
    /// `2001:db8::/64 via fe80::5efe:a00:1 link 0 metric 10 advertised`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.prefix)?;
        match self.next_hop {
            Some(next_hop) => write!(f, " via {next_hop}")?,
            None if self.link == LinkId::NULL => f.write_str(" null")?,
            None => f.write_str(" on-link")?,
        }
        if self.link != LinkId::NULL {
            write!(f, " link {}", self.link.0)?;
        }
        write!(f, " metric {} {}", self.metric, self.origin)?;
        if self.preference != Preference::Medium {
            write!(f, " preference {}", self.preference)?;
        }
        if self.publish { f.write_str(" published") } else { Ok(()) }
    }
}

/// What makes two routes the same row: inserting one replaces the other.
///
/// RFC 4191 §3.1 keys by prefix and next hop. The link is part of it because
/// link-local next hops mean nothing without one; the origin, so that an
/// advertisement neither overwrites nor withdraws what an administrator
/// wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteKey {
    /// The destinations.
    pub prefix: Ipv6Prefix,
    /// The link that packets leave by.
    pub link: LinkId,
    /// The neighbour that forwards; `None`: on-link.
    pub next_hop: Option<Ipv6Addr>,
    /// Who made it.
    pub origin: Origin,
}

#[cfg(test)]
mod tests;
