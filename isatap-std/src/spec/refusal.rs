//! What fields cannot be, and the checks that several links have in common.

use crate::device::check_device;
use crate::error::Error;
use isatap_core::error::TableFull;
use isatap_core::isatap::addr::is_locator;
use isatap_core::teredo::ingress::is_usable;
use std::fmt;
use std::net::Ipv4Addr;

/// What a field cannot be, on any machine.
#[derive(Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// The field, as the key of a file; `""`: no one field alone.
    pub key: &'static str,
    /// What is wrong with it, and what to write instead.
    pub error: Error,
}

/// What the fields of one struct cannot be.
#[derive(Default)]
pub(crate) struct Refusals(pub(super) Vec<Refusal>);

impl Refusals {
    pub(super) fn add(&mut self, key: &'static str, error: Error) {
        self.0.push(Refusal { key, error });
    }

    pub(super) fn note(&mut self, key: &'static str, result: Result<(), Error>) {
        self.0.extend(result.err().map(|error| Refusal { key, error }));
    }
}

/// Whether a link is said to have one IPv4 address: a given one, or the first of a device.
pub(super) fn check_local(local: Option<Ipv4Addr>, via: Option<&str>, doing: &'static str, refusals: &mut Refusals) {
    if let Some(local) = local {
        refusals.note("local", check_locator(local));
    }
    let Some(via) = via else {
        if local.is_none() {
            let error = Error::usage("start a", doing, "it has no IPv4 address to send from");
            refusals.add("", error.with_advice("give local, or via: the device whose IPv4 address it is to follow"));
        }
        return;
    };
    check_via(via, refusals);
    if local.is_some() {
        let error = Error::usage("send from", via, "local and via exclude each other");
        refusals.add("", error.with_advice("keep one"));
    }
}

pub(super) fn check_via(via: &str, refusals: &mut Refusals) {
    refusals.note("via", check_device(via));
    if via.parse::<Ipv4Addr>().is_ok() {
        let error = Error::usage("send from the device", via, "it is an address");
        refusals.add("via", error.with_advice("give it as local instead of via"));
    }
}

/// Whether a host of the IPv4 network can have this address.
pub(super) fn check_locator(address: Ipv4Addr) -> Result<(), Error> {
    if is_locator(address) {
        return Ok(());
    }
    Err(Error::usage("send from", address, "no host can have this address").with_advice("see: ip -4 address"))
}

/// `TER-33`, `TER-40`: what Teredo addresses embed and packets go to.
pub(crate) fn check_public(address: Ipv4Addr, doing: &'static str, accept_bogons: bool) -> Result<(), Error> {
    if is_usable(address, accept_bogons) {
        return Ok(());
    }
    let error = Error::usage(doing, address, "Teredo works with public IPv4 addresses only");
    let is_bogon = is_usable(address, true);
    Err(if is_bogon { error.with_advice("--accept-bogons is for labs with private addresses") } else { error })
}

pub(super) fn too_many(what: &'static str, which: impl fmt::Display, full: TableFull) -> Error {
    Error::usage(format!("use {what}"), which, full.to_string())
}
