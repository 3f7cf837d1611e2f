//! 6rd: a provider's IPv6 prefix, spread across its IPv4 network. [RFC 5969]
//!
//! | file | what |
//! |---|---|
//! | [`addr`] | domains, delegated prefixes and the addresses in them |
//! | [`ingress`] | the checks of RFC 5969 §9.2: one function a rule |
//! | [`link`] | next hop to IPv4 address, and the checks applied |
//! | [`dhcp`] | DHCPv4 option 212 |
//! | [`edge`] | the customer edge |
//! | [`relay`] | the border relay |
//!
//! # What it cannot do
//!
//! No multicast and no link-local addresses across it (`S6R-26`); no delegated
//! prefix that outlives the IPv4 address (`S6R-9`); one domain an interface:
//! a customer edge of several has several (`S6R-14`).
//!
//! # Security limits
//!
//! Customers cannot speak for each other, as long as nobody in the provider's
//! IPv4 network forges IPv4 addresses, and the border relay cannot be reached
//! from outside of it. Of what the border relay brings from the native
//! Internet nobody knows the source.

pub mod addr;
#[cfg(feature = "machines")]
pub mod dhcp;
#[cfg(feature = "machines")]
pub mod edge;
#[cfg(feature = "machines")]
pub mod ingress;
#[cfg(feature = "machines")]
pub mod link;
#[cfg(feature = "machines")]
pub mod relay;

pub use addr::{Domain, DomainError};
#[cfg(feature = "machines")]
pub use dhcp::SixRdOption;
#[cfg(feature = "machines")]
pub use edge::{ConfigureError, EdgeConfig, EdgeInterface, POLICY};
#[cfg(feature = "machines")]
pub use link::SixRdLink;
#[cfg(feature = "machines")]
pub use relay::{RelayConfig, RelayInterface};
