//! A deterministic world in one process, to try nodes in.
//!
//! A [`World`] has a virtual clock, an IPv4 [`Cloud`] with latency, loss,
//! duplication, reordering, path MTUs and filters, native IPv6 segments, a
//! DNS, and [nodes](LabNode): this crate's, or your own. What happens follows
//! from a seed, so a failure can be played again; thirty days pass in
//! seconds. Nothing here needs a privilege or an operating system.
//!
//! ```
//! use isatap_std::lab::{NATIVE_LINK, NativeHost, World};
//!
//! let mut world = World::new(1);
//! let lan = world.add_lan("lan");
//! let prefix = "2001:db8:0:8::/64".parse()?;
//! let c = world.add("C", NativeHost::new("2001:db8:0:8::c".parse()?, prefix, None));
//! let d = world.add("D", NativeHost::new("2001:db8:0:8::d".parse()?, prefix, None));
//! world.join(c, NATIVE_LINK, lan);
//! world.join(d, NATIVE_LINK, lan);
//! let ping = world.ping(c, "2001:db8:0:8::d".parse()?);
//! world.run_for(core::time::Duration::from_secs(1));
//! assert!(world.outcome(ping).is_reply());
//! for hop in world.journey() {
//!     println!("{hop}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Limits
//! The cloud has no routing: every IPv4 address reaches every other, but those
//! behind a [`Nat`]. Segments resolve neighbours by asking the nodes, without Neighbor
//! Discovery. Programs are echo requests and raw packets; there is no TCP.

mod balancer;
mod cloud;
mod forwarder;
mod gateway;
pub mod ip;
mod isatap;
mod journey;
mod names;
mod nat;
mod native;
mod node;
mod ping;
mod rng;
#[cfg(feature = "file")]
pub mod scenario;
mod teredo;
mod world;

pub use crate::pcap;
pub use balancer::Balancer;
pub use cloud::{CLOUD_ADDRESS, Chance, Cloud, Conditions, Filter};
pub use gateway::{GATEWAY_LINKS, Gateway, GatewayOptions, GatewayRoute, Port};
pub use isatap::{ISATAP_LINK, IsatapHost, IsatapRouter, LAN_LINK, RouterOptions};
pub use journey::{Action, Hop, InnerHeader, OuterHeader, seconds};
pub use names::{Answer, Names};
pub use nat::{Nat, NatKind};
pub use native::{NATIVE_LINK, NativeHost};
pub use node::{LabNode, Outbox};
pub use ping::{Ping, PingId, PingOutcome};
pub use rng::Rng;
pub use teredo::{
    Connection, INTERNET_LINK, TEREDO_LINK, TeredoClient, TeredoRelay, TeredoServer, TeredoSetup, TeredoSite,
};
pub use world::{LanId, NodeId, World};
