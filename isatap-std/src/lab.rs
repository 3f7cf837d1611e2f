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
//! Nodes of the core are what [`spec`](crate::spec) says of their links, as daemons are:
//!
//! ```
//! use isatap_std::lab::{Gateway, GatewayOptions, IsatapHost, World};
//! use isatap_std::spec;
//!
//! let mut world = World::new(1);
//! let router = spec::IsatapRouter::new(vec!["10.0.0.1".parse()?], vec!["2001:db8:0:7::/64".parse()?]);
//! let router: Gateway = Gateway::new(&GatewayOptions::new(router))?;
//! let router = world.add("router", router);
//! world.set_ipv4(router, &["10.0.0.1".parse()?]);
//! let mut host = spec::IsatapHost::new();
//! host.router = vec!["10.0.0.1".parse()?];
//! let host: IsatapHost = IsatapHost::new(&host)?;
//! let host = world.add("A", host);
//! world.set_ipv4(host, &["10.0.0.2".parse()?]);
//! world.run_for(core::time::Duration::from_secs(5));
//! assert!(world.ipv6(host).contains(&"2001:db8:0:7:0:5efe:10.0.0.2".parse()?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Limits
//! The cloud has no routing: every IPv4 address reaches every other, but those
//! behind a [`Nat`]. Segments resolve neighbours by asking the nodes, without Neighbor
//! Discovery. Programs are echo requests, raw packets, and clients, servers and port proxies of TCP.

mod balancer;
mod cloud;
mod diagram;
mod forwarder;
mod gateway;
pub mod ip;
mod isatap;
mod journey;
mod multihomed;
mod names;
mod nat;
mod native;
mod node;
mod ping;
mod rng;
#[cfg(feature = "file")]
pub mod scenario;
mod tcp;
mod teredo;
mod unplayed;
mod world;

pub use crate::pcap;
pub use balancer::Balancer;
pub use cloud::{CLOUD_ADDRESS, Chance, Cloud, Conditions, Filter};
pub use diagram::Diagram;
pub use gateway::{GATEWAY_LINKS, Gateway, GatewayOptions, GatewayPort, GatewayRoute, LAN_LINK};
pub use isatap::{ISATAP_LINK, IsatapHost};
pub use journey::{Action, Hop, InnerHeader, NARRATOR, OuterHeader, UdpPorts, seconds, shown};
pub use multihomed::MultihomedHost;
pub use names::{DnsAnswer, Names};
pub use nat::{Nat, NatKind};
pub use native::{NATIVE_LINK, NativeHost};
pub use node::{LabNode, Outbox, Path};
pub use ping::{Ping, PingId, PingOutcome};
pub use rng::Rng;
pub use tcp::{Answer, ConnectionState, Served, ServedEnd, Then};
pub use teredo::{
    Connection, INTERNET_LINK, TEREDO_LINK, TeredoClient, TeredoRelay, TeredoServer, TeredoSetup, TeredoSite,
};
pub use world::{ConnectionId, LanId, NodeId, World};
