//! IPv6 across IPv4 without an operating system.
#![no_std]

pub mod capacity;
pub mod drop_reason;
pub mod error;
pub mod packet;
pub mod prefix;
pub mod time;
pub mod timer;
pub mod wire;

pub mod engine;
pub mod nd;
pub mod proto41;
pub mod route;

pub mod interface;
pub mod link;

pub mod configured;
pub mod isatap;

pub mod datapath;
pub mod node;

#[cfg(test)]
extern crate std;
