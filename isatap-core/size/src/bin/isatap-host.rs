//! An ISATAP host, `Minimal`: the router by DNS, addresses, routes and MTU by its advertisements
#![no_std]
#![no_main]

use isatap_core::capacity::Minimal;
use isatap_core::isatap::HostConfig;
use isatap_core::node::IsatapHost;

size::image!(IsatapHost<Minimal> = IsatapHost::host(HostConfig::DEFAULT), size::host::run);
