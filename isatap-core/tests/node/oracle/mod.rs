//! A second opinion: packets out of any bytes, links of every kind, and the
//! rules that say what they let in.
//!
//! The fuzz targets share this folder (`fuzz/src/lib.rs`); `ingress_oracle.rs`
//! runs it on the same bytes each time.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

pub mod input;
pub mod links;
pub mod options;
pub mod packets;
pub mod rules;
pub mod selection;
pub mod tunnels;
pub mod twins;
