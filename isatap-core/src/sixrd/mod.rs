//! 6rd: a provider's IPv6 prefix, spread across its IPv4 network. [RFC 5969]
//!
//! | file | what |
//! |---|---|
//! | [`addr`] | domains, delegated prefixes and the addresses in them |

pub mod addr;

pub use addr::{Domain, DomainError};
