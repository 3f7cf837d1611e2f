//! A node that is one ISATAP host: its interface's inputs without its number.

use core::net::Ipv4Addr;

use super::{Node, NodeConfig};
use crate::capacity::Capacity;
use crate::datapath::{Datapath, NoDecisions, Port, Remember, Switches};
use crate::error::TableFull;
use crate::isatap::{HostConfig, HostInterface, ResolveFailure, Resolved};
use crate::link::Locator;
use crate::packet::LinkId;
use crate::time::Instant;

/// The one interface of a host.
const ONLY: LinkId = LinkId(0);

impl<C: Capacity> Node<HostInterface<C>, C, 1> {
    /// An ISATAP host without locators: [`set_locators`](Self::set_locators)
    /// brings it up. May be a constant.
    #[must_use]
    pub const fn host(config: HostConfig) -> Self {
        Self::remembering_host(config, NoDecisions)
    }
}

impl<C: Capacity, D> Node<HostInterface<C>, C, 1, D> {
    /// The same, which remembers decisions in this table.
    #[must_use]
    pub const fn remembering_host(config: HostConfig, decisions: D) -> Self {
        let port = Port { interface: HostInterface::new(config), switches: Switches::DEFAULT };
        Self::with_datapath(NodeConfig::DEFAULT, Datapath::of([Some(port)]), decisions)
    }
}

impl<C: Capacity, D: Remember> Node<HostInterface<C>, C, 1, D> {
    /// See [`HostInterface::set_locators`].
    ///
    /// # Errors
    /// More locators than the table holds.
    pub fn set_locators(&mut self, now: Instant, locators: &[Locator]) -> Result<(), TableFull> {
        self.with_interface(now, ONLY, |host, cx| host.set_locators(cx, locators)).unwrap_or(Ok(()))
    }

    /// See [`HostInterface::add_router`].
    ///
    /// # Errors
    /// The router list is full.
    pub fn add_router(&mut self, now: Instant, address: Ipv4Addr) -> Result<(), TableFull> {
        self.with_interface(now, ONLY, |host, cx| host.add_router(cx, address)).unwrap_or(Ok(()))
    }

    /// See [`HostInterface::routers_resolved`].
    ///
    /// # Errors
    /// More addresses than the router list holds.
    pub fn routers_resolved(
        &mut self,
        now: Instant,
        answer: Result<Resolved<'_>, ResolveFailure>,
    ) -> Result<(), TableFull> {
        self.with_interface(now, ONLY, |host, cx| host.routers_resolved(cx, answer)).unwrap_or(Ok(()))
    }

    /// This host's addresses.
    pub fn addresses(&self) -> impl Iterator<Item = crate::engine::LearnedAddress> + '_ {
        self.interface(ONLY).into_iter().flat_map(HostInterface::addresses)
    }
}
