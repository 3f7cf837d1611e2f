//! IPv6 across IPv4 without an operating system.
#![no_std]

pub mod capacity;
pub mod drop_reason;
pub mod engine;
pub mod error;
pub mod nd;
pub mod packet;
pub mod prefix;
pub mod time;
pub mod wire;

#[cfg(test)]
extern crate std;
