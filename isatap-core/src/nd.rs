//! Neighbor Discovery as tunnel links need it. [RFC 4861, 4862, 4191, 8106, 7559]
//!
//! Messages and options are checked views with emitters ([`message`],
//! [`option`]); [`validate`] holds the receive rules, one pure function a
//! message; [`solicit`], [`learned`] and [`neighbor`] are the pieces of state
//! of which hosts and routers are built. Nothing here knows what a link is.
//!
//! What is not here: address resolution (a tunnel computes the IPv4 address
//! from the IPv6 one), duplicate address detection (a link without multicast
//! cannot do it), SEND.
//!
//! Security: a link that lets anybody speak lets anybody advertise. What
//! these functions check are the rules of the RFCs, above all the hop limit
//! of 255; who may be a router is the link's own check (ISA-43 on ISATAP).

pub mod advertise;
pub mod learned;
pub mod message;
pub mod neighbor;
pub mod option;
mod preference;

pub mod solicit;
pub mod validate;

pub use crate::route::Preference;
pub use message::Message;
pub use option::{NdOption, Options};
