//! Which addresses a program on a node would use. [RFC 6724]

use std::net::IpAddr;

use isatap_core::select::{Destination, Policy, Source};

use super::super::node::Path;
use super::{NodeId, World};
use crate::selection::{Candidate, Placed, order};

impl World {
    /// In which order a program on `from` tries destinations now, and from which of the node's
    /// addresses, IPv4 ones too; sends nothing.
    #[must_use]
    pub fn select(&self, from: NodeId, to: &[IpAddr], policy: &Policy<'_>) -> Vec<Placed> {
        let slot = &self.nodes[from.0];
        let mut sources = slot.node.sources(self.local(slot).max(slot.latest));
        // Of the cloud, which is no link of the node.
        sources.extend(slot.addresses.iter().map(|own| Source::new((*own).into(), 24)));
        let candidate = |address: &IpAddr| {
            let (mut to, mut device) = (Destination::new(*address), None);
            match address {
                IpAddr::V4(_) => to.unreachable = slot.addresses.is_empty(),
                IpAddr::V6(address) => match slot.node.path(address) {
                    Some(path) => {
                        (to.interface, to.encapsulated) = (path.interface(), path.encapsulated);
                        device = self.device(from, path);
                    }
                    None => to.unreachable = true,
                },
            }
            let choice = policy.choose_source(&to, sources.iter().copied());
            to.source = choice.map(|choice| choice.source);
            Candidate { to, choice, name: None, device }
        };
        order(policy, to.iter().map(candidate).collect())
    }

    /// What the first link of a path is called.
    fn device(&self, from: NodeId, path: Path) -> Option<String> {
        let of_lan = |link| {
            let port = self.nodes[from.0].ports.iter().find(|port| port.link == link)?;
            Some(self.lans[port.lan.0].name.clone())
        };
        path.device.or_else(|| of_lan(path.link))
    }
}
