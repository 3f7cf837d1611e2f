//! Nodes of the core for Teredo, a file each, and a site that is made of them.

mod client;
mod relay;
mod server;
mod site;
mod station;

pub use client::TeredoClient;
pub use relay::TeredoRelay;
pub use server::TeredoServer;
pub use site::{Connection, TeredoSetup, TeredoSite};

use isatap_core::packet::LinkId;

/// The Teredo link of the nodes here.
pub const TEREDO_LINK: LinkId = LinkId(0);
/// The native link of a [`TeredoServer`] and a [`TeredoRelay`].
pub const INTERNET_LINK: LinkId = LinkId(1);
