//! ISATAP: IPv6 inside one IPv4 site, without IPv4 multicast. [RFC 5214]
//!
//! | file | what |
//! |---|---|
//! | [`addr`] | interface identifiers and addresses |
//! | [`ingress`] | who may speak: one function a rule |
//! | [`link`] | next hop to IPv4 address, and the ingress rules applied |
//! | [`prl`] | the potential router list |
//! | [`host`] | solicits routers, learns prefixes, addresses and routes |
//! | [`router`] | answers solicitations |
//!
//! # What it cannot do
//!
//! No multicast, so no multicast applications and no duplicate address
//! detection; no crossing of a NAT; one site only: whoever can send protocol
//! 41 to a node inside can pretend to be any host of the site. Filter protocol
//! 41 at the border.
//!
//! # Security limits
//!
//! The source check (`ISA-42`) believes potential routers in everything. A
//! router list that comes from DNS is as trustworthy as that DNS. The address
//! checks against routing loops cannot see private IPv4 addresses (`SEC-3`):
//! there a router asks its neighbours ([`RouterConfig::check_neighbors`],
//! `SEC-1`). A list of the site's prefixes (`SEC-2`, [`IsatapLink::add_member`]) or of
//! other tunnel routers (`SEC-4`, [`RouterInterface::set_known_routers`]) is
//! helps, but does not replace that question: the prefixes may contain two
//! routers, and the list of routers may lack one.

pub mod addr;
#[cfg(feature = "machines")]
pub mod host;
#[cfg(feature = "machines")]
pub mod ingress;
#[cfg(feature = "machines")]
pub mod link;
#[cfg(feature = "machines")]
pub mod prl;
#[cfg(feature = "machines")]
pub mod router;

#[cfg(feature = "machines")]
pub use host::{HostConfig, HostInterface, LinkLocal, ResolveFailure, Resolved, SolicitDestination};
#[cfg(feature = "machines")]
pub use link::IsatapLink;
#[cfg(feature = "machines")]
pub use router::{CheckNeighbors, OfferDefault, PublishedPrefix, RouterConfig, RouterInterface};
