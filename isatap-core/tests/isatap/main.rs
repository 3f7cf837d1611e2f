//! ISATAP hosts and routers of the library: their bytes, their rules, their clocks.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

mod bytes;
mod configured;
mod host;
mod ops;
mod router;
mod shares;
mod timers;
