//! IPv6 across IPv4 without an operating system.
#![no_std]

pub mod capacity;
pub mod drop_reason;
pub mod error;
pub mod packet;
pub mod prefix;
pub mod route;
pub mod time;
pub mod wire;

#[cfg(test)]
extern crate std;
