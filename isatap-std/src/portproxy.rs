//! The port proxy: TCP connections carried on to another address, between IPv4 and IPv6.
//!
//! ```text
//! Run ── PortProxies (rules, listeners, status) ──commands──▶ thread "isatap-portproxy": Worker
//!                                                             listeners, one epoll, its clock
//! Worker ── Proxy: who is let in, where that leads, when it ends ── System: Kernel, its sockets
//! Kernel ──▶ a thread for each name that is looked up
//! ```
//!
//! `Proxy` does no I/O. In the lab it has the TCP of a node for its `System`.
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

mod activity;
mod admission;
mod attempts;
mod connection;
mod counters;
mod flow;
mod header;
mod proxy;
mod slots;
mod system;
#[cfg(test)]
mod tests;

#[cfg(target_os = "linux")]
mod here;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(target_os = "linux")]
mod listener;
#[cfg(target_os = "linux")]
mod member;
#[cfg(target_os = "linux")]
mod names;
#[cfg(target_os = "linux")]
mod worker;

pub use counters::RuleStatus;
#[cfg(all(target_os = "linux", feature = "file"))]
pub(crate) use here::{check_here, loops_here};
#[cfg(all(target_os = "linux", feature = "file"))]
pub(crate) use listener::missing;
#[cfg(target_os = "linux")]
pub(crate) use member::{Changes, PortProxies};

#[cfg(feature = "lab")]
pub(crate) use {
    counters::{Counters, Cut, End, Refusal},
    flow::Ready,
    proxy::Proxy,
    slots::Id,
    system::{Opened, System, Taken},
};

use crate::spec::{PortProxy, TargetHost};
#[cfg(not(feature = "lab"))]
use counters::{Counters, End};
use std::sync::Arc;

/// A rule as connections have it. Those that run keep the one that they began with.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Its number, which stays when the rule changes.
    id: u32,
    /// With nothing left open: see [`PortProxy::resolved`].
    pub(crate) spec: PortProxy,
    counters: Arc<Counters>,
}

impl Rule {
    pub(crate) fn new(id: u32, spec: &PortProxy, counters: Arc<Counters>) -> Self {
        Self { id, spec: spec.resolved(), counters }
    }

    /// The target and its port, as a resolved rule has both.
    fn target(&self) -> Option<(&TargetHost, u16)> {
        let target = self.spec.connect.as_ref()?;
        Some((target.host.as_ref()?, target.port?))
    }
}
