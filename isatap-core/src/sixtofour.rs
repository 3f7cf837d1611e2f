//! 6to4: IPv6 sites across the IPv4 Internet, each with a prefix made of its
//! IPv4 address. [RFC 3056, RFC 3964]
//!
//! | file | what |
//! |---|---|
//! | [`addr`] | site prefixes and the addresses in them; DirectAccess prefixes |
//! | [`ingress`] | the checks of RFC 3964: one function a rule |
//! | [`link`] | next hop to IPv4 address, and the checks applied |
//! | [`router`] | a site's router, and the host that is its own router |
//! | [`relay`] | between 6to4 sites and the native Internet |
//!
//! A host behind a 6to4 router is an ordinary IPv6 host (`RTE-12`).
//!
//! # What it cannot do
//!
//! No multicast; no crossing of a NAT, not even of one with public-looking
//! addresses (`S64-36`); no native Internet without somebody's relay, which
//! may be slow, far or a black hole. It is off unless a node is given such an
//! interface (`S64-30`).
//!
//! # Security limits
//!
//! A packet with a native source may come from any relay, and nothing vouches
//! for it: [`UnverifiedRelay`](crate::engine::Admitted::UnverifiedRelay)
//! (`S64-24`). A relay without a list of clients works for everybody
//! (`S64-46`). The reverse-path check of RFC 3964 §5.3.3 is the node's
//! [`Strict`](crate::datapath::IngressFilter::Strict) filter (`S64-25`).

pub mod addr;
#[cfg(feature = "machines")]
pub mod ingress;
#[cfg(feature = "machines")]
pub mod link;
#[cfg(feature = "machines")]
pub mod relay;
#[cfg(feature = "machines")]
pub mod router;

#[cfg(feature = "machines")]
pub use link::SixToFourLink;
#[cfg(feature = "machines")]
pub use relay::{RelayConfig, RelayInterface};
#[cfg(feature = "machines")]
pub use router::{Relay, RouterConfig, RouterInterface};
