//! `[[node]]`: where a node stands, and its links, which are the tables of `isatap run`.

mod host;

use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::link::InterfaceAddress;
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::route::Preference;
use toml::Spanned;

use super::super::gateway::{GATEWAY_LINKS, Gateway, GatewayOptions, GatewayPort, GatewayRoute};
use super::super::isatap;
use super::super::teredo::{self, INTERNET_LINK};
use super::super::unplayed;
use super::super::world::{NodeId, World};
use super::Wrong;
use super::table::table;
use super::tcp::wrong_rules;
use super::value::{Span, Text};
use crate::error::Error;
use crate::spec::{
    AddressWithLength, Compatible, IsatapHost, IsatapRouter, LinkSpec, PortProxy, SixRd, SixToFour, TeredoClient,
    TeredoRelay, TeredoServer, Tunnel, conflicts, list,
};

table! {
    /// A node: where it stands, and below it its links, LANs and rules of the port proxy. Links and rules are
    /// the tables of isatap run, see isatap config reference; the lab refuses pcap, secret-file, via, port-mapping, the lan of 6to4 and
    /// 6rd, and names of relays and Teredo servers, which have one link.
    pub(super) NodeTable ["[[node]]"] {
        /// Its name.
        "name" ["\"NAME\"; needed"] pub(super) name: String,
        /// Its IPv4 addresses.
        "ipv4" ["[\"V4\", …]; default those that its links name"] ipv4: Option<Vec<Ipv4Addr>>,
        /// When it gets them. Without it an ISATAP host gets them at the start, and any other node
        /// before.
        "start" ["\"SPAN\""] start: Option<Span>,
        /// The NAT that it is behind.
        "nat" ["\"NAT\""] pub(super) nat: Option<String>,
        /// Whether it is a host, which chooses among its links and addresses (RFC 6724) and forwards for
        /// nobody. A node with an ISATAP host or a Teredo client is one always.
        #[serde(default)]
        "host" ["true or false; default false"] host: bool,
        /// Whether it looks for routing loops (RFC 6324).
        #[serde(default = "yes")]
        "loop-checks" ["true or false; default true"] loop_checks: bool,
        /// An ISATAP host.
        #[serde(default)]
        "isatap-host" ["[[node.isatap-host]]"] isatap_host: Vec<Spanned<IsatapHost>>,
        /// An ISATAP router.
        #[serde(default)]
        "isatap-router" ["[[node.isatap-router]]"] isatap_router: Vec<Spanned<IsatapRouter>>,
        /// A configured tunnel.
        #[serde(default)]
        "tunnel" ["[[node.tunnel]]"] tunnel: Vec<Spanned<Tunnel>>,
        /// Tunnels to IPv4-compatible addresses.
        #[serde(default)]
        "compatible" ["[[node.compatible]]"] compatible: Vec<Spanned<Compatible>>,
        /// A 6rd customer edge or border relay.
        #[serde(default)]
        "6rd" ["[[node.6rd]]"] sixrd: Vec<Spanned<SixRd>>,
        /// A 6to4 host, router or relay.
        #[serde(default)]
        "6to4" ["[[node.6to4]]"] sixtofour: Vec<Spanned<SixToFour>>,
        /// A Teredo client.
        #[serde(default)]
        "teredo-client" ["[[node.teredo-client]]"] teredo_client: Vec<Spanned<TeredoClient>>,
        /// A Teredo server.
        #[serde(default)]
        "teredo-server" ["[[node.teredo-server]]"] teredo_server: Vec<Spanned<TeredoServer>>,
        /// A Teredo relay.
        #[serde(default)]
        "teredo-relay" ["[[node.teredo-relay]]"] teredo_relay: Vec<Spanned<TeredoRelay>>,
        /// A rule of its port proxy.
        #[serde(default)]
        "portproxy" ["[[node.portproxy]]"] portproxy: Vec<Spanned<PortProxy>>,
        /// Its native segments.
        #[serde(default)]
        "lan" ["[[node.lan]]"] lan: Vec<Spanned<LanTable>>,
        /// Its static routes.
        #[serde(default)]
        "route" ["[[node.route]]"] route: Vec<Spanned<RouteTable>>,
    }
}

table! {
    /// A native IPv6 segment that the node is on. A host names a LAN again for one more address there.
    pub(super) LanTable ["[[node.lan]]"] {
        /// The segment: those who name the same one are neighbours.
        "name" ["\"LAN\"; needed"] name: String,
        /// The node's address there. Needed, but for a Teredo server, which has none.
        "address" ["\"P/LEN\""] address: Option<Text<AddressWithLength>>,
        /// Of a host with several links: the address is used only where no other will do (its preferred
        /// lifetime has ended).
        #[serde(default)]
        "deprecated" ["true or false; default false"] deprecated: bool,
    }
}

table! {
    /// A static route.
    pub(super) RouteTable ["[[node.route]]"] {
        /// The destinations.
        "prefix" ["\"P/LEN\"; needed"] prefix: Text<Ipv6Prefix>,
        /// A LAN of the node, the device of a tunnel, or nothing.
        "by" ["\"LAN\" or \"DEV\" or \"nothing\"; needed"] by: String,
        /// The next hop; without it the destinations are on-link.
        "via" ["\"V6\""] via: Option<Ipv6Addr>,
        /// Of two routes of one prefix the smaller metric wins.
        #[serde(default)]
        "metric" ["N; default 0"] metric: u32,
        /// What an ISATAP router says of the route, if it advertises it.
        #[serde(default)]
        "preference" ["\"low\" or \"medium\" or \"high\"; default \"medium\""] preference: Preference,
    }
}

fn yes() -> bool {
    true
}

/// A node that makes sense.
pub(super) struct Node<'a> {
    table: &'a NodeTable,
    links: Vec<LinkSpec>,
    ipv4: Vec<Ipv4Addr>,
    routes: Vec<GatewayRoute>,
}

/// UDP ports of Teredo where any would do.
const CLIENT_PORT: u16 = 40_000;
const RELAY_PORT: u16 = 3545;

impl NodeTable {
    /// Its links, in the order of the file, and where the table of each begins.
    fn links(&self) -> (Vec<usize>, Vec<LinkSpec>) {
        fn each<T: Clone + Into<LinkSpec>>(tables: &[Spanned<T>]) -> impl Iterator<Item = (usize, LinkSpec)> {
            tables.iter().map(|table| (table.span().start, table.get_ref().clone().into()))
        }
        let mut links: Vec<(usize, LinkSpec)> = each(&self.isatap_host)
            .chain(each(&self.isatap_router))
            .chain(each(&self.tunnel))
            .chain(each(&self.compatible))
            .chain(each(&self.sixrd))
            .chain(each(&self.sixtofour))
            .chain(each(&self.teredo_client))
            .chain(each(&self.teredo_server))
            .chain(each(&self.teredo_relay))
            .collect();
        links.sort_by_key(|(begin, _)| *begin);
        links.into_iter().unzip()
    }

    /// The LANs that it names.
    pub(super) fn lans(&self) -> impl Iterator<Item = &str> {
        self.lan.iter().map(|lan| lan.get_ref().name.as_str())
    }

    /// Whether it is a Teredo client.
    pub(super) fn is_teredo_client(&self) -> bool {
        !self.teredo_client.is_empty()
    }

    /// The node, if it makes sense. `at`: where its table begins.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn read(&self, at: usize) -> Result<Node<'_>, Vec<Wrong>> {
        let (begins, links) = self.links();
        let begin = |link: usize| begins.get(link).copied().unwrap_or(at);
        let mut wrong = Vec::new();
        for (number, link) in links.iter().enumerate() {
            let refusals = link.check().into_iter().chain(unplayed::refusals(link));
            wrong.extend(refusals.map(|refusal| {
                Wrong::of_key(begin(number), refusal.key, refusal.error.on(), refusal.error.to_string())
            }));
        }
        let clashes = conflicts(&links, &[]).into_iter();
        wrong.extend(clashes.map(|clash| Wrong::of_key(begin(clash.link), clash.key, &clash.value, clash.text)));
        let ipv4 = match &self.ipv4 {
            Some(ipv4) => ipv4.clone(),
            None => links.iter().flat_map(LinkSpec::locals).collect(),
        };
        if self.ipv4.is_none() && ipv4.is_empty() && !links.is_empty() {
            wrong.push(Wrong::of_table(at, format!("{} has no IPv4 address: add ipv4", self.name)));
        }
        for (number, link) in links.iter().enumerate() {
            for local in link.locals().into_iter().filter(|local| !ipv4.contains(local)) {
                let text = format!("{} has a tunnel at {local}, which is not in its ipv4: add it there", self.name);
                wrong.push(Wrong::of_key(begin(number), "", &local.to_string(), text));
            }
        }
        wrong.extend(self.parts(at, &links).err());
        wrong.extend(self.lan.iter().filter_map(|lan| {
            let (begin, is_server) = (lan.span().start, matches!(links.as_slice(), [LinkSpec::TeredoServer(_)]));
            let name = &lan.get_ref().name;
            match &lan.get_ref().address {
                None if !is_server => {
                    let advice = "for example, write address = \"2001:db8:0:8::1/64\"";
                    Some(Wrong::of_table(begin, format!("missing field `address`: {advice}")))
                }
                Some(_) if is_server => {
                    let text = format!("a Teredo server of the lab only sends to the LAN {name}: leave address out");
                    Some(Wrong::of_key(begin, "address", "", text))
                }
                _ => None,
            }
        }));
        wrong.extend(wrong_rules(&self.portproxy));
        let mut routes = Vec::new();
        for route in &self.route {
            match self.route(route.get_ref(), &links) {
                Ok(read) => routes.push(read),
                Err(text) => wrong.push(Wrong::of_key(route.span().start, "by", &route.get_ref().by, text)),
            }
        }
        for (number, link) in links.iter().enumerate() {
            for route in link.published_routes().iter().filter(|route| !self.has_route(&route.prefix)) {
                let text =
                    format!("{} advertises {} and has no route for it: add a [[node.route]]", self.name, route.prefix);
                wrong.push(Wrong::of_key(begin(number), "advertise-route", &route.to_string(), text));
            }
        }
        if wrong.is_empty() { Ok(Node { table: self, links, ipv4, routes }) } else { Err(wrong) }
    }

    /// Whether the lab has a node of all these parts.
    fn parts(&self, at: usize, links: &[LinkSpec]) -> Result<(), Wrong> {
        let cannot = |text: String| Err(Wrong::of_table(at, text));
        if self.is_multihomed(links) {
            return self.host_parts(links).map_or(Ok(()), cannot);
        }
        if let Some(lan) = self.lan.iter().find(|lan| lan.get_ref().deprecated) {
            let text = format!("{} has no other address to prefer: leave deprecated out", self.name);
            return Err(Wrong::of_key(lan.span().start, "deprecated", "", text));
        }
        let alone = links.iter().find(|link| link.is_teredo() || matches!(link, LinkSpec::IsatapHost(_)));
        let Some(link) = alone else {
            if links.len() + self.lan.len() > GATEWAY_LINKS {
                return cannot(format!(
                    "{} has more than {GATEWAY_LINKS} tunnels and LANs: make two nodes of it",
                    self.name
                ));
            }
            return Ok(());
        };
        let kind = link.kind();
        if links.len() > 1 {
            return cannot(format!(
                "{} has other links beside the {kind}, and no node of the lab has both: make two nodes of it",
                self.name
            ));
        }
        if !self.loop_checks {
            return cannot(format!("the {kind} {} does not forward: leave loop-checks out", self.name));
        }
        let lans = self.lan.len();
        match link {
            LinkSpec::TeredoServer(_) | LinkSpec::TeredoRelay(_) if lans != 1 => {
                cannot(format!("a {kind} of the lab has one LAN, and {} has {lans}: write one [[node.lan]]", self.name))
            }
            LinkSpec::TeredoServer(_) | LinkSpec::TeredoRelay(_) => {
                let is_default = |route: &RouteTable| route.prefix.0.is_default() && route.via.is_some();
                match self.route.iter().map(Spanned::get_ref).filter(|route| !is_default(route)).count() {
                    0 if self.route.len() < 2 => Ok(()),
                    _ => cannot(format!(
                        "a {kind} of the lab has one route at most, {} has others: write ::/0 with by and via",
                        self.name
                    )),
                }
            }
            _ if lans + self.route.len() > 0 => {
                cannot(format!("the {kind} {} is alone on its host: leave [[node.route]] out", self.name))
            }
            _ => Ok(()),
        }
    }

    fn route(&self, route: &RouteTable, links: &[LinkSpec]) -> Result<GatewayRoute, String> {
        let of_tunnel = || links.iter().position(|link| link.device() == route.by).map(GatewayPort::Tunnel);
        let of_lan = self.lan.iter().position(|lan| lan.get_ref().name == route.by).map(GatewayPort::Lan);
        let port = match route.by.as_str() {
            "nothing" => GatewayPort::Null,
            _ => of_lan.or_else(of_tunnel).ok_or_else(|| {
                format!("{} has no LAN and no tunnel {:?}: name one of its own, or \"nothing\"", self.name, route.by)
            })?,
        };
        let base = GatewayRoute::new(route.prefix.0, port, route.via);
        Ok(GatewayRoute { metric: route.metric, preference: route.preference, ..base })
    }

    fn has_route(&self, prefix: &Ipv6Prefix) -> bool {
        let on_link = self.lan.iter().filter_map(|lan| lan.get_ref().address.as_ref()?.0.0.prefix());
        self.route.iter().map(|route| route.get_ref().prefix.0).chain(on_link).any(|own| own == *prefix)
    }
}

impl Node<'_> {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.table.name
    }

    /// Whether it is an ISATAP host.
    pub(super) fn is_host(&self) -> bool {
        matches!(self.links.as_slice(), [LinkSpec::IsatapHost(_)])
    }

    /// When it gets its IPv4 addresses; `None`: before the start.
    pub(super) fn start(&self) -> Option<Span> {
        self.table.start.or(self.is_host().then(Span::default))
    }

    /// The rules of its port proxy.
    pub(super) fn rules(&self) -> Vec<PortProxy> {
        self.table.portproxy.iter().map(|rule| rule.get_ref().clone()).collect()
    }

    /// Its IPv4 addresses.
    pub(super) fn ipv4(&self) -> &[Ipv4Addr] {
        &self.ipv4
    }

    /// How the tool lists it.
    pub(super) fn cast(&self) -> String {
        let kinds: Vec<&str> = self.links.iter().map(LinkSpec::kind).collect();
        let role = match (kinds.as_slice(), self.table.lan.as_slice()) {
            ([], []) => "IPv4 host".to_owned(),
            ([], _) => "IPv6 router".to_owned(),
            (kinds, _) => kinds.join(" and "),
        };
        let rules = if self.table.portproxy.is_empty() { "" } else { ", port proxy" };
        let nat = self.table.nat.as_ref().map(|nat| format!(" behind {nat}")).unwrap_or_default();
        let about = |link: &LinkSpec| match link {
            LinkSpec::IsatapHost(host) if !host.router.is_empty() => format!(", routers {}", list(&host.router)),
            LinkSpec::IsatapRouter(router) => format!(", prefix {}", list(&router.prefix)),
            LinkSpec::TeredoClient(client) => format!(", server {}", client.server),
            _ => String::new(),
        };
        let about: String = self.links.iter().map(about).collect();
        let of_lan = |lan: &Spanned<LanTable>| {
            let (lan, address) = (lan.get_ref(), lan.get_ref().address.as_ref());
            format!(
                ",{} on the LAN {}",
                address.map(|own| format!(" {}", own.0.0.address)).unwrap_or_default(),
                lan.name
            )
        };
        let lans: String = self.table.lan.iter().map(of_lan).collect();
        format!("{:<8} {role:<14} {}{nat}{about}{lans}{rules}", self.table.name, list(&self.ipv4))
    }

    /// Puts it into a world that has its NAT, without IPv4 addresses.
    ///
    /// # Errors
    /// Its tables have no room for all of it.
    pub(super) fn add(&self, world: &mut World) -> Result<NodeId, Error> {
        let (id, first) = match self.links.as_slice() {
            links if self.table.is_multihomed(links) => self.add_multihomed(world)?,
            [LinkSpec::IsatapHost(host)] => (self.add_host(world, host)?, None),
            [LinkSpec::TeredoClient(client)] => (self.add_client(world, client), None),
            [LinkSpec::TeredoServer(server)] => (self.add_server(world, server), Some(INTERNET_LINK)),
            [LinkSpec::TeredoRelay(relay)] => (self.add_relay(world, relay), Some(INTERNET_LINK)),
            _ => self.add_gateway(world)?,
        };
        let lans: Vec<&str> = match self.table.is_multihomed(&self.links) {
            true => self.host_lans().map(|(_, lan)| lan).collect(),
            false => self.table.lans().collect(),
        };
        for (link, lan) in first.into_iter().flat_map(|first| first.0..).zip(lans) {
            let segment = world.segment(lan);
            world.join(id, LinkId(link), segment);
        }
        if let Some(nat) = self.table.nat.as_ref().and_then(|nat| world.find(nat)) {
            world.set_gateway(id, nat);
        }
        Ok(id)
    }

    // Each by itself, since each takes much of a small stack.

    fn add_host(&self, world: &mut World, host: &IsatapHost) -> Result<NodeId, Error> {
        let node: isatap::IsatapHost = isatap::IsatapHost::new(host)?;
        Ok(world.add(&self.table.name, node))
    }

    fn add_client(&self, world: &mut World, client: &TeredoClient) -> NodeId {
        let config = client.config(port(client.socket().port(), CLIENT_PORT));
        world.add(&self.table.name, teredo::TeredoClient::new(config))
    }

    fn add_server(&self, world: &mut World, server: &TeredoServer) -> NodeId {
        let node = teredo::TeredoServer::new(server.config()).gateway(self.next_router());
        world.add(&self.table.name, node)
    }

    fn add_relay(&self, world: &mut World, relay: &TeredoRelay) -> NodeId {
        let config = relay.config(32, port(relay.socket().port(), RELAY_PORT));
        let own = self.addresses().next().map_or(Ipv6Addr::UNSPECIFIED, |own| own.address);
        let node = teredo::TeredoRelay::new(config, own).gateway(self.next_router());
        world.add(&self.table.name, node)
    }

    /// Its first native link as well.
    fn add_gateway(&self, world: &mut World) -> Result<(NodeId, Option<LinkId>), Error> {
        let options = GatewayOptions {
            tunnels: self.links.clone(),
            lans: self.addresses().collect(),
            routes: self.routes.clone(),
            loop_checks: self.table.loop_checks,
            forwards: true,
        };
        let node: Gateway = Gateway::new(&options)?;
        Ok((world.add(&self.table.name, node), options.link(GatewayPort::Lan(0))))
    }

    /// Its addresses on its LANs.
    fn addresses(&self) -> impl Iterator<Item = InterfaceAddress> {
        self.table.lan.iter().filter_map(|lan| Some(lan.get_ref().address.as_ref()?.0.0))
    }

    /// The one by which it sends everything else on.
    fn next_router(&self) -> Option<Ipv6Addr> {
        self.routes.first().and_then(|route| route.next_hop)
    }
}

/// A port, or another where it is left open.
fn port(port: u16, other: u16) -> u16 {
    if port == 0 { other } else { port }
}
