//! 6to4: IPv6 sites across the IPv4 Internet, each with a prefix made of its
//! IPv4 address. [RFC 3056, RFC 3964]
//!
//! | file | what |
//! |---|---|
//! | [`addr`] | site prefixes and the addresses in them |
//!
//! # Security limits
//!
//! A packet with a native source may come from any relay, and nothing vouches
//! for it (`S64-24`).

pub mod addr;
