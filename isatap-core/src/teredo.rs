//! Teredo: IPv6 in UDP, through NATs. [RFC 4380, 5991, 6081]
//!
//! | file | what |
//! |---|---|
//! | [`addr`] | addresses: server, flags, and the mapped port and address behind a NAT |
//! | [`packet`] | the UDP payload: authentication, origin indication, bubbles, trailers |
//! | [`ingress`] | what each role lets in, rule by rule |
//! | [`peer`] | peers: where they were heard, and whether to believe it |
//! | [`authentication`] | secure qualification, with a hash of the caller's |
//! | [`qualify`] | how a client learns and keeps its mapped address |
//! | [`client`] | the client |
//! | [`server`] | the server |
//! | [`relay`] | the relay, and the host-specific relay |
//!
//! # What it cannot do
//!
//! Two clients behind symmetric NATs meet only in [few pairs](client). A packet that fits no 1,280 bytes is not carried.
//!
//! # Security limits
//!
//! Whoever writes a Teredo address chooses the two IPv4 addresses and the UDP
//! port in it. Nothing may be sent to any of them before they are known to be
//! global unicast addresses (`TER-40`), and nothing in them says who sent a
//! packet.

pub mod addr;
#[cfg(feature = "machines")]
pub mod authentication;
#[cfg(feature = "machines")]
mod carried;
#[cfg(feature = "machines")]
pub mod client;
#[cfg(feature = "machines")]
pub mod ingress;
#[cfg(feature = "machines")]
mod interval;
#[cfg(feature = "machines")]
pub mod packet;
#[cfg(feature = "machines")]
pub mod peer;
#[cfg(feature = "machines")]
pub mod qualify;
#[cfg(feature = "machines")]
pub mod relay;
#[cfg(feature = "machines")]
pub mod server;
