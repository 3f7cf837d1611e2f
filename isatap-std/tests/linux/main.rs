//! The layer of devices and sockets against this machine's kernel, in network namespaces: root only.
//!
//! Tests move their own threads between namespaces and count what the kernel does: one at a time.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "measurements, and what a failed test wants to know")]

mod netns;

mod isatap;
mod netlink;
mod proto41_socket;
mod stream;
mod tun;
