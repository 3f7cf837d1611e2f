//! 6to4, 6rd, links of several kinds in one node, and the LANs behind them.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

mod lan;
mod mixed_links;
mod sixrd;
mod sixtofour;
