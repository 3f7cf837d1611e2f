//! What the world asks of a node, and what a node hands back.

use std::any::Any;
use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::drop_reason::DropReason;
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::proto41::Outer;
use isatap_core::select::Source;
use isatap_core::time::Instant;

use super::journey::Action;
use super::names::DnsAnswer;
use super::rng::Rng;

/// Something that lives in the [`World`](super::World): one of this crate's
/// nodes, or your own router.
///
/// Every call ends fully drained: whatever the node wants to send or tell is
/// in `out` when the call returns. `now` is the node's own clock, which a
/// scenario may set forward and back.
pub trait LabNode: Any {
    /// An IPv4 packet, whole, for one of this node's IPv4 addresses.
    fn receive_ipv4(&mut self, now: Instant, packet: &[u8], out: &mut Outbox);

    /// An IPv6 packet that came in by the native link `link`.
    fn receive_ipv6(&mut self, now: Instant, link: LinkId, packet: &[u8], out: &mut Outbox);

    /// An IPv6 packet that a program on this node sends; `link` where the
    /// destination is link-local and the node has several links.
    fn send_ipv6(&mut self, now: Instant, link: Option<LinkId>, packet: &[u8], out: &mut Outbox);

    /// Does what is due.
    fn timeout(&mut self, now: Instant, entropy: &mut Rng, out: &mut Outbox);

    /// When to call [`timeout`](LabNode::timeout) next, by the node's clock.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Puts what waits into `out`, after a method of the node was called by
    /// [`World::with_node`](super::World::with_node).
    fn drain(&mut self, now: Instant, out: &mut Outbox) {
        let _ = (now, out);
    }

    /// The node's IPv4 addresses in the cloud are these from now on.
    fn set_ipv4(&mut self, now: Instant, addresses: &[Ipv4Addr], out: &mut Outbox) {
        let _ = (now, addresses, out);
    }

    /// The answer to what [`Outbox::resolve`] asked for `link`.
    fn resolved(&mut self, now: Instant, link: LinkId, answer: &DnsAnswer, out: &mut Outbox) {
        let _ = (now, link, answer, out);
    }

    /// The address from which a program here would send to `destination`.
    fn source_for(&self, destination: &Ipv6Addr) -> Option<Ipv6Addr>;

    /// The way that packets to `destination` take from here; `None`: there is no route.
    fn path(&self, destination: &Ipv6Addr) -> Option<Path> {
        self.source_for(destination).map(|_| Path::native(LinkId(0)))
    }

    /// The node's IPv6 addresses as address selection asks for them, with the numbers of
    /// [`Path::interface`].
    fn sources(&self, now: Instant) -> Vec<Source> {
        let _ = now;
        self.addresses().into_iter().map(|address| Source::new(address.into(), 64)).collect()
    }

    /// A native link has lost its LAN, or has it again. Who does not care sends into nothing.
    fn set_link(&mut self, now: Instant, link: LinkId, is_up: bool, out: &mut Outbox) {
        let _ = (now, link, is_up, out);
    }

    /// The node's IPv6 addresses, link-local ones too.
    fn addresses(&self) -> Vec<Ipv6Addr>;

    /// Whether `address` is this node's own: neighbours on a LAN find it so.
    fn owns_ipv6(&self, address: &Ipv6Addr) -> bool {
        self.addresses().contains(address)
    }

    /// What must hold after every call, told where it does not.
    ///
    /// # Errors
    /// What is wrong, for a person; the world stops with it.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The way from a node to a destination, as far as the choice of addresses depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The link that packets leave by.
    pub link: LinkId,
    /// What the link is called; `None`: a LAN's by the name of that, others not at all.
    pub device: Option<String>,
    /// The link carries IPv6 in IPv4. `SEL-10`
    pub encapsulated: bool,
    /// Length of the route's prefix in bits: of several routes the longest is taken.
    pub prefix_length: u8,
    /// The route's metric: among equally long ones the smallest is taken.
    pub metric: u32,
}

impl Path {
    /// A default route by a native link, with the metric that those have on a machine.
    #[must_use]
    pub const fn native(link: LinkId) -> Self {
        Path { link, device: None, encapsulated: false, prefix_length: 0, metric: NATIVE_METRIC }
    }

    /// The number of the link for [`Source`] and [`Destination`](isatap_core::select::Destination),
    /// where 0 is none.
    #[must_use]
    pub fn interface(&self) -> u32 {
        interface(self.link)
    }
}

/// The number of a link in address selection, where 0 is none.
pub(super) fn interface(link: LinkId) -> u32 {
    u32::from(link.0) + 1
}

/// What routes of native links have on Linux, where nobody says otherwise.
pub(super) const NATIVE_METRIC: u32 = 1024;

/// What a node hands back from a call.
#[derive(Debug, Default)]
pub struct Outbox {
    pub(super) outputs: Vec<Output>,
    pub(super) journey: bool,
}

/// One thing that a node hands back.
#[derive(Clone, Debug)]
pub(super) enum Output {
    Ipv4(Action, Vec<u8>),
    Native { link: LinkId, next_hop: Ipv6Addr, packet: Vec<u8> },
    Deliver { link: LinkId, packet: Vec<u8> },
    Resolve { link: LinkId, name: String },
    Decapsulated { reason: Option<&'static str>, outer: Vec<u8> },
    Dropped { reason: DropReason, packet: Vec<u8> },
    Event(String),
}

impl Outbox {
    /// Sends an IPv4 packet into the cloud.
    pub fn ipv4(&mut self, packet: &[u8]) {
        self.outputs.push(Output::Ipv4(Action::Encapsulate, packet.to_vec()));
    }

    /// Sends an IPv4 packet on into the cloud with another address, as NATs do.
    pub fn translated(&mut self, packet: &[u8]) {
        self.outputs.push(Output::Ipv4(Action::Translate, packet.to_vec()));
    }

    /// Sends into the cloud what goes behind an outer header.
    pub fn tunnel(&mut self, outer: &Outer, packet: &[u8]) {
        let mut bytes = [&[0; HEADROOM], packet].concat();
        let end = bytes.len();
        // No machine sends more than IPv4 carries.
        if let Ok(mut packet) = PacketMut::new(&mut bytes, HEADROOM..end)
            && outer.push(&mut packet).is_ok()
        {
            self.ipv4(packet.as_slice());
        }
    }

    /// Sends an IPv6 packet to a neighbour on a native link.
    pub fn native(&mut self, link: LinkId, next_hop: Ipv6Addr, packet: &[u8]) {
        self.outputs.push(Output::Native { link, next_hop, packet: packet.to_vec() });
    }

    /// Gives an IPv6 packet to the programs on this node. The world answers
    /// echo requests and notes echo replies and errors there.
    pub fn deliver(&mut self, link: LinkId, packet: &[u8]) {
        self.outputs.push(Output::Deliver { link, packet: packet.to_vec() });
    }

    /// Asks for the IPv4 addresses of `name`; the answer comes to
    /// [`LabNode::resolved`].
    pub fn resolve(&mut self, link: LinkId, name: &str) {
        self.outputs.push(Output::Resolve { link, name: name.into() });
    }

    /// Tells the journey that `outer` was decapsulated; `reason` where that
    /// needs a word.
    pub fn decapsulated(&mut self, outer: &[u8], reason: Option<&'static str>) {
        if self.journey {
            self.outputs.push(Output::Decapsulated { reason, outer: outer.to_vec() });
        }
    }

    /// Tells the journey that `packet` (IPv4 or IPv6) was dropped.
    pub fn dropped(&mut self, reason: DropReason, packet: &[u8]) {
        let packet = if self.journey { packet.to_vec() } else { Vec::new() };
        self.outputs.push(Output::Dropped { reason, packet });
    }

    /// Tells the journey that something happened, in a few words.
    pub fn event(&mut self, text: impl FnOnce() -> String) {
        if self.journey {
            self.outputs.push(Output::Event(text()));
        }
    }

    /// Another one for a part of the node.
    pub(super) fn of_part(&self) -> Self {
        Outbox { outputs: Vec::new(), journey: self.journey }
    }

    /// Takes what a part has handed back, whose only link is `link` of the whole node.
    pub(super) fn absorb(&mut self, part: Outbox, whole: LinkId) {
        self.outputs.extend(part.outputs.into_iter().map(|mut output| {
            if let Output::Native { link, .. } | Output::Deliver { link, .. } | Output::Resolve { link, .. } =
                &mut output
            {
                *link = whole;
            }
            output
        }));
    }

    /// Why the node has dropped something, if it has.
    pub(super) fn refusal(&self) -> Option<DropReason> {
        self.outputs.iter().find_map(|output| match output {
            Output::Dropped { reason, .. } => Some(*reason),
            _ => None,
        })
    }

    /// Whether anybody reads the journey: whoever needs a copy of a packet
    /// for it alone can spare it otherwise.
    #[must_use]
    pub fn wants_journey(&self) -> bool {
        self.journey
    }
}
