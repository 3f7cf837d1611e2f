//! Instruction counts of the operations in `lib.rs`.
//!
//! What the functions return is dropped outside of the measured part: hand packets back.
// The macros of gungraun write public items without documentation.
#![allow(missing_docs)]

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

use gungraun::{library_benchmark, library_benchmark_group, main};

#[library_benchmark]
#[bench::link_local("fe80::5efe:10.0.0.1".parse().unwrap())]
fn embedded_ipv4(address: Ipv6Addr) -> Ipv4Addr {
    isatap_benches::embedded_ipv4(black_box(address))
}

// Cases named `bytes_N`: .ci/instructions.py wants the same count for each length.
#[library_benchmark]
#[bench::bytes_64(isatap_benches::packet(64))]
#[bench::bytes_1280(isatap_benches::packet(1280))]
fn version(packet: Vec<u8>) -> (Option<u8>, Vec<u8>) {
    (isatap_benches::version(black_box(&packet)), packet)
}

library_benchmark_group!(name = operations, benchmarks = [embedded_ipv4, version]);
main!(library_benchmark_groups = operations);
