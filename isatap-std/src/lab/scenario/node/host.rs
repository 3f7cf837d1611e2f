//! A `[[node]]` that is a host with several links.

use toml::Spanned;

use super::super::super::gateway::{Gateway, GatewayOptions, GatewayPort, GatewayRoute};
use super::super::super::isatap;
use super::super::super::multihomed::MultihomedHost;
use super::super::super::native::NativeHost;
use super::super::super::teredo;
use super::{CLIENT_PORT, LinkId, LinkSpec, Node, NodeId, NodeTable, RouteTable, World, port};
use crate::error::Error;
use crate::spec::{SixRdRole, SixToFourRole};

impl NodeTable {
    /// Whether its links stand beside each other, as on a host; else it has one, or forwards between
    /// them.
    pub(super) fn is_multihomed(&self, links: &[LinkSpec]) -> bool {
        let is_of_host = |link: &LinkSpec| matches!(link, LinkSpec::IsatapHost(_) | LinkSpec::TeredoClient(_));
        self.host || (links.iter().any(is_of_host) && links.len() + self.lan.len() > 1)
    }

    /// What a host with several links cannot have.
    pub(super) fn host_parts(&self, links: &[LinkSpec]) -> Option<String> {
        let name = &self.name;
        for (number, link) in links.iter().enumerate() {
            let (forwards, rests) = match link {
                LinkSpec::IsatapRouter(_) | LinkSpec::TeredoServer(_) | LinkSpec::TeredoRelay(_) => (true, false),
                LinkSpec::SixRd(sixrd) => (sixrd.role != SixRdRole::CustomerEdge, false),
                LinkSpec::SixToFour(own) => (own.role != SixToFourRole::HostRouter, !own.beside_native),
                LinkSpec::TeredoClient(client) => (false, !client.beside_native),
                _ => (false, false),
            };
            let kind = link.kind();
            if forwards {
                return Some(format!("{name} is a host, and the {kind} forwards: make two nodes of it"));
            }
            if rests {
                return Some(format!(
                    "the {kind} of {name} would rest beside other IPv6, which the lab does not play: write \
                     beside-native = true"
                ));
            }
            let by = GatewayPort::Tunnel(number);
            let is_own =
                |route: &&Spanned<RouteTable>| self.route(route.get_ref(), links).is_ok_and(|own| own.port == by);
            if matches!(link, LinkSpec::IsatapHost(_) | LinkSpec::TeredoClient(_))
                && self.route.iter().any(|one| is_own(&one))
            {
                return Some(format!("the {kind} of {name} has its own routes: leave the [[node.route]] out"));
            }
        }
        let is_null = |route: &Spanned<RouteTable>| route.get_ref().by == "nothing";
        let text = || format!("{name} is a host, and no route of it leads nowhere: name a LAN or a tunnel");
        self.route.iter().any(is_null).then(text)
    }
}

impl Node<'_> {
    /// Puts it into a world. Its first native link as well.
    pub(super) fn add_multihomed(&self, world: &mut World) -> Result<(NodeId, Option<LinkId>), Error> {
        let mut host = MultihomedHost::new();
        for (number, link) in self.links.iter().enumerate() {
            host = match link {
                LinkSpec::IsatapHost(spec) => {
                    let node: isatap::IsatapHost = isatap::IsatapHost::new(spec)?;
                    host.link(link.device(), node)
                }
                LinkSpec::TeredoClient(client) => {
                    let config = client.config(port(client.socket().port(), CLIENT_PORT));
                    host.link(link.device(), teredo::TeredoClient::new(config))
                }
                _ => {
                    let of_link = self.routes.iter().filter(|route| route.port == GatewayPort::Tunnel(number));
                    let routes = of_link.map(|route| GatewayRoute { port: GatewayPort::Tunnel(0), ..*route }).collect();
                    let options = GatewayOptions { routes, forwards: false, ..GatewayOptions::new(link.clone()) };
                    let node: Gateway = Gateway::new(&options)?;
                    host.link(link.device(), node)
                }
            };
        }
        for (number, lan) in self.host_lans() {
            let of_lan = self.table.lan.iter().map(Spanned::get_ref).filter(|table| table.name == lan);
            let node = of_lan.fold(NativeHost::unnumbered(), |node, table| {
                let own = table.address.as_ref().map(|address| address.0.0);
                match own.and_then(|own| Some((own.address, own.prefix()?))) {
                    Some((address, prefix)) => node.address(address, prefix, table.deprecated),
                    None => node,
                }
            });
            let routes = self.routes.iter().filter(|route| route.port == GatewayPort::Lan(number));
            let node = routes.fold(node, |node, route| node.way(route.prefix, route.next_hop, route.metric));
            host = host.link(lan, node);
        }
        let first = u8::try_from(self.links.len()).ok().map(LinkId);
        Ok((world.add(&self.table.name, host), first))
    }

    /// The LANs of a host, each once, and which of its tables names it first.
    pub(super) fn host_lans(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_first = |(at, lan): &(usize, &str)| self.table.lans().position(|name| name == *lan) == Some(*at);
        self.table.lans().enumerate().filter(is_first)
    }
}
