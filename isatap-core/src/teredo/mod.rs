//! Teredo: IPv6 in UDP, through NATs. [RFC 4380, 5991, 6081]
//!
//! | file | what |
//! |---|---|
//! | [`addr`] | addresses: server, flags, and the mapped port and address behind a NAT |
//!
//! # What it cannot do
//!
//! There are the address codecs here and nothing that sends: no client,
//! server or relay yet.
//!
//! # Security limits
//!
//! Whoever writes a Teredo address chooses the two IPv4 addresses and the UDP
//! port in it. Nothing may be sent to any of them before they are known to be
//! global unicast addresses (`TER-40`), and nothing in them says who sent a
//! packet.

pub mod addr;
