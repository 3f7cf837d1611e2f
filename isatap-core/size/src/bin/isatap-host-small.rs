//! The same with every part and `Small` tables
#![no_std]
#![no_main]

use isatap_core::capacity::Small;
use isatap_core::isatap::HostConfig;
use isatap_core::node::IsatapHost;

size::image!(IsatapHost<Small> = IsatapHost::host(HostConfig::DEFAULT), size::host::run);
