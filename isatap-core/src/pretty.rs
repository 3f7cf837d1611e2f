//! Packets for people: what any bytes are, outer to inner.
//!
//! ```
//! use isatap_core::pretty::{Layers, Packet};
//!
//! let bytes = [
//!     0x45, 0, 0, 0x3c, 0, 0, 0, 0, 0x40, 0x29, 0x8e, 0x63, 192, 0, 2, 1, 198, 51, 100, 1, // IPv4
//!     0x60, 0, 0, 0, 0, 0, 0x3b, 0x40, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // IPv6
//!     0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
//! ];
//! assert_eq!(
//!     Packet(&bytes).to_string(),
//!     "IPv4 192.0.2.1 -> 198.51.100.1, protocol 41 (IPv6), TTL 64, 60 bytes | \
//!      IPv6 2001:db8::1 -> 2001:db8::2, next header 59 (none), hop limit 64, 0 bytes of payload"
//! );
//! println!("{:#}", Packet(&bytes)); // a line a layer, options and warnings below
//! let kinds: Vec<&str> = Layers::new(&bytes).map(|layer| layer.content.kind()).collect();
//! assert_eq!(kinds, ["ipv4", "ipv6"]);
//! ```
//!
//! [`Layers`] is the walk, for who wants another shape (JSON, a filter, a
//! test); [`Packet`] is its text. Neither allocates, panics or refuses:
//! whatever is no packet is [`Content::Malformed`] or [`Content::Data`], and
//! what a node would stumble over is a [`Warning`] with its requirement.
//!
//! # What it cannot do
//!
//! One packet at a time: no reassembly, no TCP streams, no memory of who was
//! asked what. Ports other than Teredo's mean nothing to it. A warning says
//! that *some* node must refuse the packet; whether a given one does is
//! decided by its links.

mod check;
mod layer;
mod neighbor;
mod text;
mod walk;
mod warning;

pub use layer::{
    Authentication, Content, Cut, Data, Extension, Fragment, Icmp, Ipv6Beginning, Layer, Malformed, NdBody,
    NeighborDiscovery, Origin, Tcp, Trailer, Udp,
};
pub use text::Packet;
pub use walk::Layers;
pub use warning::{Warning, Warnings};

#[cfg(test)]
mod tests;
