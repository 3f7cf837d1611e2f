//! IPv6 across IPv4 without an operating system.
#![no_std]
