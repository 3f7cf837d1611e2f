//! IPv4 addresses inside IPv6 addresses, and prefixes: vectors, and every IPv4 address there is.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod embedded_vectors;
mod every_ipv4;
mod exhaustive;
#[cfg(feature = "serde")]
mod serde_prefixes;
