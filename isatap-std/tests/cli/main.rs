//! The tool as a user meets it, where no privileges are needed: what it prints, and how it ends.

mod check;
// What a file asks for is opened on Linux only.
#[cfg(target_os = "linux")]
mod config;
// Daemons listen on Linux only.
#[cfg(target_os = "linux")]
mod devices;
// Files are read by commands that are Linux's.
#[cfg(target_os = "linux")]
mod encodings;
mod explain;
// The commands that run a link are Linux's.
#[cfg(target_os = "linux")]
mod flags;
// Files and links are opened on Linux only.
#[cfg(target_os = "linux")]
mod json;
mod lab;
// Daemons listen on Linux only.
#[cfg(target_os = "linux")]
mod monitor;
// Policies are Linux's.
#[cfg(target_os = "linux")]
mod select;
// Full disks are made of /dev/full.
#[cfg(target_os = "linux")]
mod output;
mod plan;
// Run on Linux only.
#[cfg(target_os = "linux")]
mod portproxy;
