//! Our daemons beside real peers, in network namespaces and user-mode kernels: root, and the
//! Debian packages that `.ci/run interop` installs.
//!
//! Each test has a [`Lab`](common::Lab) of its own, so that they run beside each other.
//! `compare_*` measure and judge nothing; CI leaves them out by name.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "measurements, and what a failed test wants to know")]

mod common;

mod binding;
mod broker;
mod captures;
mod changes;
mod compare_portproxy;
mod compare_teredo;
mod daemon;
mod destinations;
mod differential;
mod direct_access;
mod dns_update;
mod doctor;
mod ends;
mod explain;
mod floods;
mod follow;
mod full_table;
mod hooks;
mod host;
mod ingress;
mod kernel;
mod kernel_path;
mod lan;
mod leases;
mod loops;
mod monitor;
mod mtu;
mod name_responder;
mod names;
mod openwrt;
mod outer;
mod pair;
mod plan;
mod portproxy;
mod privileges;
mod readme;
mod router;
mod run;
mod selection;
mod sixrd;
mod sixtofour;
mod teredo;
mod teredo_kernel;
mod teredo_matrix;
mod teredo_nat;
mod teredo_rest;
mod teredo_tool;
mod tunnel;
