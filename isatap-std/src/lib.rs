//! The operating-system side of `isatap-core`.
//!
//! | module | what it gives | where |
//! | --- | --- | --- |
//! | [`capacity`] | how large the tables of a node are on Linux | everywhere |
//! | [`fib`] | full route tables: replaced while others read, lookups by AVX-512 | everywhere |
//! | [`clock`], [`entropy`] | the two arguments that every machine of the core asks for | everywhere |
//! | [`pcap`] | captures in the classic pcap format, written and read | everywhere |
//! | [`offload`] | super-packets of the kernel: cut, completed, recognised; pure functions | everywhere |
//! | [`resolve`] | names of potential routers to IPv4 addresses | everywhere |
//! | `lab` | a deterministic world in one process, to try nodes in (feature `lab`) | everywhere |
//! | `check` | which packets a node would let in, and why not the others (feature `check`) | everywhere |
//! | `capture` | frames of pcap and pcapng files, and the IP packets in them (feature `capture`) | everywhere |
//! | `explain` | what an address, a prefix or a packet is (feature `explain`) | everywhere |
//! | `plan` | the commands for the other end of a link (feature `plan`) | everywhere |
//! | `policy` | the tables by which the kernel and the C library select addresses (feature `policy`) | everywhere; the kernel: Linux |
//! | [`spec`] | what a link is to be: one struct a mechanism, its flags, keys and checks | everywhere |
//! | [`error`] | what was tried, on what, what went wrong, what to do | everywhere |
//! | [`selection`] | the order in which a host tries destinations, for people | everywhere |
//! | [`text_file`] | text files that people write: UTF-8, or what they are instead | everywhere |
//! | [`advice`] | what to write instead of a text that is no address and no number | everywhere |
//! | `run` | links in one process: ISATAP, 6to4, 6rd, configured tunnels, Teredo | Linux |
//! | `service` | what `run` runs: links, their roles and what they say of themselves | Linux |
//! | `portproxy` | TCP connections carried on between IPv4 and IPv6, a part of `run` | Linux |
//! | `kernel_path` | decisions of the driver in the kernel, a part of `run` (feature `kernel-path`) | Linux 6.6 |
//! | `driver` | packets and time between a machine of the core, sockets and devices | Linux |
//! | `config` | one TOML file for a whole node (feature `file`) | Linux |
//! | `broker` | a tunnel broker's update URL, called when the address changes (feature `update-url`) | Linux |
//! | `dns_update` | AAAA records of this node in the DNS, by RFC 2136 (feature `dns-update`) | Linux |
//! | `control` | the socket by which a running daemon is asked (feature `control`) | Linux |
//! | `doctor` | why a link does not work, and what to do (feature `doctor`) | Linux |
//! | `tun` | the device through which the kernel and the core exchange IPv6 packets | Linux |
//! | `proto41_socket` | raw IPv4 sockets for protocol 41, and the ICMPv4 errors about what they sent | Linux |
//! | `teredo` | a Teredo client, server and relay on this machine | Linux |
//! | `udp_socket` | UDP sockets for Teredo, many ports as one | Linux |
//! | `nd_socket` | Router Solicitations and Advertisements on a native device | Linux |
//! | `netlink` | addresses, routes and MTU of the device; what other programs change | Linux |
//! | `signal`, `runtime_dir` | what a daemon needs to end and to start cleanly | Linux |
//! | `privileges` | what a daemon gives up once it runs (feature `privileges`) | Linux |

pub mod advice;
pub mod capacity;
#[cfg(feature = "capture")]
pub mod capture;
#[cfg(feature = "check")]
pub mod check;
pub mod clock;
pub mod entropy;
pub mod error;
#[cfg(feature = "explain")]
pub mod explain;
pub mod fib;
#[cfg(feature = "lab")]
pub mod lab;
#[cfg(feature = "file")]
mod mistakes;
pub mod offload;
pub mod pcap;
#[cfg(feature = "plan")]
pub mod plan;
#[cfg(feature = "policy")]
pub mod policy;
pub mod resolve;
pub mod selection;
pub mod spec;
pub mod text_file;

#[cfg(target_os = "linux")]
mod broker;
#[cfg(all(target_os = "linux", feature = "file"))]
pub mod config;
#[cfg(all(target_os = "linux", feature = "control"))]
pub mod control;
mod device;
#[cfg(target_os = "linux")]
mod dhcp_lease;
#[cfg(all(target_os = "linux", feature = "dns-update"))]
mod dns_update;
#[cfg(all(target_os = "linux", feature = "doctor"))]
pub mod doctor;
#[cfg(target_os = "linux")]
pub mod driver;
#[cfg(target_os = "linux")]
mod file_watch;
#[cfg(all(target_os = "linux", feature = "kernel-path"))]
mod kernel_path;
#[cfg(target_os = "linux")]
mod locators;
#[cfg(target_os = "linux")]
pub mod nd_socket;
#[cfg(target_os = "linux")]
pub mod netlink;
#[cfg(any(target_os = "linux", feature = "lab"))]
pub mod portproxy;
#[cfg(all(target_os = "linux", feature = "privileges"))]
pub mod privileges;
#[cfg(target_os = "linux")]
pub mod proto41_socket;
#[cfg(target_os = "linux")]
pub mod run;
#[cfg(target_os = "linux")]
pub mod runtime_dir;
#[cfg(target_os = "linux")]
pub mod service;
#[cfg(target_os = "linux")]
pub mod signal;
#[cfg(target_os = "linux")]
mod small_file;
#[cfg(target_os = "linux")]
pub mod teredo;
mod thread;
#[cfg(target_os = "linux")]
mod told;
#[cfg(target_os = "linux")]
pub mod tun;
#[cfg(target_os = "linux")]
pub mod udp_socket;
#[cfg(unix)]
mod waker;

pub use error::Error;
