//! The rules of links, routes and nodes, shown on real nodes with packets
//! made by hand.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    unreachable_pub
)]

mod oracle;
mod support;

mod agreement;
mod decisions;
mod errors;
mod forwarding;
mod full_table;
mod icmpv4;
mod ingress;
mod ingress_oracle;
mod loops;
mod minimal;
mod neighbors;
mod ops;
mod pairs;
mod selection;
mod sizes;
mod topologies;
mod whole_packets;
