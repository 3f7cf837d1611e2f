//! The port proxy: TCP connections carried on to another address, between IPv4 and IPv6.
//!
//! ```text
//! Run ── PortProxies (rules, listeners, status) ──commands──▶ thread "isatap-portproxy": Worker
//!                                                             listeners, connections, one epoll
//! Worker ──▶ a thread for each name that is looked up
//! ```
//!
//! Two connections, not one that is translated: the target sees this machine's address. Bytes are
//! never changed (PPX-3). The thread has no privileges: listeners are opened before, by who has
//! them.
//!
//! Clients of one IP version reach servers of the other, or of the same: PPX-11 has the four uses. The
//! proxy itself can be the server.
//!
//! # What moves bytes
//!
//! Small amounts are read into one buffer that all connections share, and written on at once. Where
//! a read fills the buffer, `splice` takes over: the bytes go through a pipe and never come here.
//! What the other side does not take waits in the pipe, or in a buffer of its own, and nothing more
//! is read meanwhile (PPX-7); so an idle connection has neither.
//!
//! # What it does not do
//!
//! - It carries TCP alone, and rewrites no addresses in the data (FTP, SIP).
//! - One thread serves all rules. A name is resolved as the C library does it, and its addresses are
//!   tried one after the other. Modules for names that nsswitch.conf(5) gets after the start are not used.
//! - Out-of-band data (MSG_OOB) is not carried.
//!
//! # Security limits
//!
//! Whoever reaches a listener reaches the target, by this machine's address: filters at the target
//! that go by the client's address see the proxy's. [`PortProxy::warnings`] tells where a service of
//! this machine alone is opened (PPX-14). A source can keep as many connections open as
//! [`PortProxy::max_per_source`] says.

mod connection;
mod counters;
mod flow;
mod header;
mod listener;
mod member;
mod names;
mod worker;

pub use counters::RuleStatus;
#[cfg(feature = "file")]
pub(crate) use listener::missing;
pub(crate) use member::{Changes, PortProxies};

use crate::error::Error;
use crate::spec::{Conflict, PortProxy, TargetHost, ZonedAddress, rule_conflicts, rule_loops};
use counters::Counters;
use socket2::{Domain, Socket, Type};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

/// A rule as connections have it. Those that run keep the one that they began with.
#[derive(Debug)]
struct Rule {
    /// Its number, which stays when the rule changes.
    id: u32,
    /// With nothing left open: see [`PortProxy::resolved`].
    spec: PortProxy,
    counters: Arc<Counters>,
}

impl Rule {
    fn new(id: u32, spec: &PortProxy, counters: Arc<Counters>) -> Self {
        Self { id, spec: spec.resolved(), counters }
    }

    /// The target and its port, as a resolved rule has both.
    fn target(&self) -> Option<(&TargetHost, u16)> {
        let target = self.spec.connect.as_ref()?;
        Some((target.host.as_ref()?, target.port?))
    }
}

/// An endpoint as the kernel takes it. `PPX-10`: with the number of the zone's device, which may be
/// another one each time.
fn socket_address(address: IpAddr, zone: Option<&str>, port: u16) -> Result<SocketAddr, Error> {
    let scope = match zone {
        None => 0,
        Some(zone) => match zone.parse() {
            Ok(number) => number,
            Err(_) => nix::net::if_::if_nametoindex(zone)
                .map_err(|errno| Error::refused("use the device", zone, errno.into()).with_advice("see: ip link"))?,
        },
    };
    Ok(match address {
        IpAddr::V4(address) => SocketAddr::new(address.into(), port),
        IpAddr::V6(address) => SocketAddrV6::new(address, port, 0, scope).into(),
    })
}

/// What rules cannot be on any machine, alone and beside each other: usage errors.
fn check(rules: &[PortProxy]) -> Vec<Error> {
    let alone = rules.iter().flat_map(|rule| {
        let key = rule.key();
        rule.check().into_iter().map(move |refusal| refusal.error.of_device(&key))
    });
    let beside = rule_conflicts(rules).into_iter().map(|conflict| {
        let key = rules.get(conflict.link).map(PortProxy::key).unwrap_or_default();
        let doing = if conflict.key == "listen" { "listen at" } else { "connect to" };
        Error::usage(doing, conflict.value, conflict.text).of_device(&key)
    });
    alone.chain(beside).collect()
}

/// The same, and where none could listen now: the port is another program's, or the device of the zone
/// is not there. `own`: devices that links of the same process make; `running`: rules whose ports this
/// asks nobody for.
#[cfg(feature = "file")]
pub(crate) fn check_here(rules: &[PortProxy], own: &[&str], is_running: impl Fn(&PortProxy) -> bool) -> Vec<Error> {
    let mut refused = check(rules);
    for rule in rules {
        let is_later = listener::device(rule).is_some_and(|device| own.contains(&device));
        if !is_later && !is_running(rule) {
            refused.extend(listener::check_place(rule).err().map(|error| error.of_device(&rule.key())));
        }
    }
    refused
}

/// `PPX-12`: rules that lead to themselves by an address that this machine has now. It may leave as it
/// came, so no rule is refused for it: each connection that comes back is.
pub(crate) fn loops_here(rules: &[PortProxy]) -> Vec<Conflict> {
    rule_loops(rules, &is_own)
}

/// Whether an address is this machine's: it speaks to that from the same one. Nothing is sent.
fn is_own(address: &ZonedAddress) -> bool {
    const ANY_PORT: u16 = 9;
    let Ok(place) = socket_address(address.address, address.zone.as_deref(), ANY_PORT) else { return false };
    let from = Socket::new(Domain::for_address(place), Type::DGRAM, None).and_then(|socket| {
        socket.connect(&place.into())?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.as_socket().is_some_and(|from| from.ip() == place.ip()))
}
