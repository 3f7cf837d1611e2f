//! IPv6 across IPv4, without an operating system.
//!
//! This crate knows the protocols: ISATAP hosts and routers, configured
//! tunnels, 6to4, 6rd, Teredo, protocol-41 encapsulation, the Neighbor
//! Discovery that tunnels need, and route lookup. It never does I/O, never reads a clock, never
//! allocates and never panics; there is no `unsafe` in it. The caller gives
//! bytes, time and entropy; the crate gives back verdicts, bytes to send,
//! events and a deadline. The same code runs in a daemon, in the firmware of
//! a router and over a copy of its tables in threads.
//!
//! # An ISATAP host
//!
//! ```
//! use isatap_core::capacity::Small;
//! use isatap_core::engine::Machine;
//! use isatap_core::isatap::{HostConfig, Resolved};
//! use isatap_core::node::IsatapHost;
//! use isatap_core::packet::PacketMut;
//! use isatap_core::time::Instant;
//!
//! # let mut entropy = |out: &mut [u8]| out.fill(0);
//! let now = Instant::from_secs(1);
//! let mut host: IsatapHost<Small> = IsatapHost::host(HostConfig::DEFAULT);
//! host.set_locators(now, &["10.0.0.2".parse::<core::net::Ipv4Addr>()?.into()])?;
//! host.routers_resolved(now, Ok(Resolved { addresses: &["10.0.0.1".parse()?], ttl: None }))?;
//! host.handle_timeout(now, &mut entropy);
//! let mut buffer = [0; 1500];
//! let mut packet = PacketMut::empty(&mut buffer);
//! while let Some(sent) = host.poll_transmit(&mut packet)? {
//!     let outer = sent.outer.expect("ISATAP sends tunnelled packets only");
//!     assert_eq!(outer.destination.to_string(), "10.0.0.1");
//!     assert_eq!(packet.len(), 48); // a Router Solicitation: for a socket that writes the IPv4 header
//!     outer.push(&mut packet)?; // or behind one, for a network interface
//!     assert_eq!(packet.len(), 68);
//! }
//! while let Some(event) = host.poll_event() {
//!     println!("{event:?}"); // the link-local address fe80::5efe:10.0.0.2, the MTU
//! }
//! let wake_at = host.poll_timeout(); // in 4 s, unless an advertisement comes
//! # assert!(wake_at.is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layers
//!
//! A module imports only from the rows above its own; a technology never
//! imports another one.
//!
//! | modules | what |
//! |---|---|
//! | [`time`], [`error`], [`drop_reason`] | instants and lifetimes; the ways to fail; why packets are dropped |
//! | [`packet`], [`capacity`], [`wire`], [`prefix`] | packets in a caller's buffer; table sizes; wire formats; prefixes |
//! | [`engine`], [`route`], [`proto41`], [`nd`] | the contract of a machine; routes; encapsulation; Neighbor Discovery |
//! | [`select`] | source and destination addresses by rules (RFC 6724) |
//! | [`link`], [`interface`] | the two questions of a tunnel; a link with its control machine |
//! | [`configured`], [`isatap`], [`sixrd`], [`sixtofour`], [`compatible`], [`teredo`] | the mechanisms |
//! | [`lan`] | a router's native link |
//! | [`datapath`], [`node`] | what happens to a packet; the owner of it all |
//! | [`embedded`] | every IPv4 address hidden in an IPv6 address |
//! | [`pretty`] | packets for people: what any bytes are, outer to inner |
//!
//! # Features
//!
//! `machines`, which is on by default, is everything but addresses. A filter
//! needs less, and compiles in about a second: [`embedded`], [`prefix`],
//! [`error`] and the modules `addr` of the mechanisms are the feature `embedded`.
//!
//! ```toml
//! isatap-core = { version = "0.1", default-features = false, features = ["embedded"] }
//! ```
//!
//! The others are off, and none changes what another one does: `serde` writes
//! and reads prefixes as text, `defmt` logs what firmware logs.
//!
//! # What it does not do
//!
//! - It resolves no names and no link-layer addresses: the caller does, when
//!   an event or a verdict says so.
//! - It reassembles no IPv4 fragments; a kernel or a stack hands it whole
//!   packets (`TUN-10`).
//! - It does not encrypt or authenticate. Protocol 41 is as trustworthy as
//!   the IPv4 network below: filter it at the border of the site.
//! - That no path panics is proven by linking for everything but [`teredo`],
//!   which is written to the same rules and tested, and not yet part of that
//!   proof.
//!
//! Requirements are cited as `ISA-42 [RFC 5214 §7.3]` beside the code that
//! keeps them; tests carry the same number.
#![no_std]
#![cfg_attr(not(feature = "machines"), allow(dead_code, reason = "what machines alone ask of addresses and prefixes"))]

#[cfg(feature = "machines")]
pub mod drop_reason;
pub mod error;
#[cfg(feature = "machines")]
pub mod time;

#[cfg(feature = "machines")]
pub mod capacity;
#[cfg(feature = "machines")]
pub mod packet;
pub mod prefix;
#[cfg(feature = "machines")]
pub mod wire;

#[cfg(feature = "machines")]
pub mod engine;
#[cfg(feature = "machines")]
pub mod nd;
#[cfg(feature = "machines")]
pub mod proto41;
#[cfg(feature = "machines")]
pub mod route;
#[cfg(feature = "machines")]
pub mod select;

#[cfg(feature = "machines")]
pub mod interface;
#[cfg(feature = "machines")]
pub mod link;

#[cfg(feature = "machines")]
pub mod compatible;
#[cfg(feature = "machines")]
pub mod configured;
pub mod isatap;
#[cfg(feature = "machines")]
pub mod lan;
pub mod sixrd;
pub mod sixtofour;
pub mod teredo;

#[cfg(feature = "machines")]
pub mod datapath;
pub mod embedded;
#[cfg(feature = "machines")]
pub mod node;
#[cfg(feature = "machines")]
pub mod pretty;

#[cfg(feature = "defmt")]
mod defmt_format;

#[cfg(all(doctest, feature = "machines"))]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(test)]
extern crate std;
