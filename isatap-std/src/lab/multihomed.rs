//! A host with several links at once, each by itself as a machine's devices are, which chooses among
//! them by route and by RFC 6724.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use isatap_core::drop_reason::DropReason;
use isatap_core::packet::LinkId;
use isatap_core::select::{Destination, Policy, Source};
use isatap_core::time::Instant;

use super::ip::Ipv6;
use super::names::DnsAnswer;
use super::node::{LabNode, Outbox, Path, interface};
use super::rng::Rng;

/// A host of several nodes of one link each: tunnels, and native links. It forwards for nobody.
///
/// A packet leaves by the link that has its source, if that leads to the destination; else by the
/// best route of all links. What comes in from the cloud is offered to one link after the other.
#[derive(Default)]
pub struct MultihomedHost {
    links: Vec<Part>,
    /// The latest time that it was told.
    now: Instant,
}

struct Part {
    device: String,
    node: Box<dyn LabNode>,
}

/// Of each part the only link has this number.
const ONLY: LinkId = LinkId(0);

impl MultihomedHost {
    /// A host without links.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one more link: `node` has one, of number 0. Links count from 0 in the order in
    /// which they come.
    #[must_use]
    pub fn link(mut self, device: &str, node: impl LabNode) -> Self {
        self.links.push(Part { device: device.to_owned(), node: Box::new(node) });
        self
    }

    fn parts(&self) -> impl Iterator<Item = (LinkId, &Part)> {
        (0..).map(LinkId).zip(&self.links)
    }

    /// Calls into a link, and takes what it hands back.
    fn call<R>(
        &mut self,
        link: LinkId,
        out: &mut Outbox,
        call: impl FnOnce(&mut dyn LabNode, &mut Outbox) -> R,
    ) -> Option<R> {
        let part = self.links.get_mut(usize::from(link.0))?;
        let mut theirs = out.of_part();
        let result = call(part.node.as_mut(), &mut theirs);
        out.absorb(theirs, link);
        Some(result)
    }

    fn each(&mut self, out: &mut Outbox, mut call: impl FnMut(&mut dyn LabNode, &mut Outbox)) {
        let links = self.links.len();
        for link in (0..).map(LinkId).take(links) {
            self.call(link, out, &mut call);
        }
    }

    /// The link whose address this is.
    fn owner(&self, address: &Ipv6Addr) -> Option<LinkId> {
        self.parts().find(|(_, part)| part.node.owns_ipv6(address)).map(|(link, _)| link)
    }

    /// The best route by one link, or by any.
    fn best(&self, only: Option<LinkId>, destination: &Ipv6Addr) -> Option<Path> {
        let paths =
            self.parts().filter(|(link, _)| only.is_none_or(|only| only == *link)).filter_map(|(link, part)| {
                Some(Path { link, device: Some(part.device.clone()), ..part.node.path(destination)? })
            });
        paths.min_by_key(|path| (u8::MAX - path.prefix_length, path.metric))
    }
}

impl LabNode for MultihomedHost {
    fn receive_ipv4(&mut self, now: Instant, packet: &[u8], out: &mut Outbox) {
        self.now = now;
        // Each link would hear it, and all but one drop it without a word. What all drop is told once.
        let mut told: Option<(DropReason, LinkId, Outbox)> = None;
        for (link, part) in (0..).map(LinkId).zip(&mut self.links) {
            let mut theirs = out.of_part();
            part.node.receive_ipv4(now, packet, &mut theirs);
            let Some(reason) = theirs.refusal() else { return out.absorb(theirs, link) };
            if told.as_ref().is_none_or(|(before, ..)| *before == DropReason::NotAddressed) {
                told = Some((reason, link, theirs));
            }
        }
        match told {
            Some((_, link, theirs)) => out.absorb(theirs, link),
            None => out.dropped(DropReason::NotAddressed, packet),
        }
    }

    fn receive_ipv6(&mut self, now: Instant, link: LinkId, packet: &[u8], out: &mut Outbox) {
        self.now = now;
        self.call(link, out, |node, out| node.receive_ipv6(now, ONLY, packet, out));
    }

    fn send_ipv6(&mut self, now: Instant, link: Option<LinkId>, packet: &[u8], out: &mut Outbox) {
        self.now = now;
        let Some(header) = Ipv6::parse(packet) else { return out.dropped(DropReason::NotIpv6, packet) };
        if let Some(own) = self.owner(&header.destination) {
            return out.deliver(own, packet);
        }
        let path = |only| self.best(only, &header.destination).map(|path| path.link);
        let of_source = || self.owner(&header.source).and_then(|own| path(Some(own)));
        match link.or_else(of_source).or_else(|| path(None)) {
            Some(link) => {
                self.call(link, out, |node, out| node.send_ipv6(now, Some(ONLY), packet, out));
            }
            None => out.dropped(DropReason::NoRoute, packet),
        }
    }

    fn timeout(&mut self, now: Instant, entropy: &mut Rng, out: &mut Outbox) {
        self.now = now;
        self.each(out, |node, out| {
            if node.poll_timeout().is_some_and(|deadline| deadline <= now) {
                node.timeout(now, entropy, out);
            }
        });
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.links.iter().filter_map(|part| part.node.poll_timeout()).min()
    }

    fn drain(&mut self, now: Instant, out: &mut Outbox) {
        self.now = now;
        self.each(out, |node, out| node.drain(now, out));
    }

    fn set_ipv4(&mut self, now: Instant, addresses: &[Ipv4Addr], out: &mut Outbox) {
        self.now = now;
        self.each(out, |node, out| node.set_ipv4(now, addresses, out));
    }

    fn resolved(&mut self, now: Instant, link: LinkId, answer: &DnsAnswer, out: &mut Outbox) {
        self.now = now;
        self.call(link, out, |node, out| node.resolved(now, ONLY, answer, out));
    }

    fn set_link(&mut self, now: Instant, link: LinkId, is_up: bool, out: &mut Outbox) {
        self.now = now;
        self.call(link, out, |node, out| node.set_link(now, ONLY, is_up, out));
    }

    fn source_for(&self, destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        let path = self.best(None, destination)?;
        let to = Destination { interface: path.interface(), ..Destination::new((*destination).into()) };
        match Policy::RFC6724.choose_source(&to, self.sources(self.now))?.source.address {
            IpAddr::V6(source) => Some(source),
            IpAddr::V4(_) => None,
        }
    }

    fn path(&self, destination: &Ipv6Addr) -> Option<Path> {
        self.best(None, destination)
    }

    fn sources(&self, now: Instant) -> Vec<Source> {
        let of_part = |(link, part): (LinkId, &Part)| {
            let sources = part.node.sources(now).into_iter();
            sources.map(|source| Source { interface: interface(link), ..source }).collect::<Vec<_>>()
        };
        self.parts().flat_map(of_part).collect()
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        self.links.iter().flat_map(|part| part.node.addresses()).collect()
    }

    fn check(&self) -> Result<(), String> {
        self.links.iter().try_for_each(|part| part.node.check())
    }
}
