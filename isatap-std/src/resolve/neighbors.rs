//! Who else can be asked for a name than the DNS: neighbours, and WINS servers.

use std::fmt;
use std::net::Ipv4Addr;

use super::discard::Discards;
use super::netbios::NetbiosName;
use super::{Answered, Failure, Heard, Name};

/// The steps that send something, the DNS apart. Tests have others than the system's.
pub(super) trait Neighbors: fmt::Debug + Send {
    fn llmnr(&mut self, name: &Name, discards: &mut Discards) -> Result<Answered, Failure>;

    /// The answer, and the server that gave it.
    fn wins(
        &mut self,
        servers: &[Ipv4Addr],
        name: &NetbiosName,
        discards: &mut Discards,
    ) -> Result<(Heard, Ipv4Addr), Failure>;

    fn broadcast(&mut self, name: &NetbiosName, discards: &mut Discards) -> Result<Answered, Failure>;
}

/// The links of this host.
#[derive(Debug)]
pub(super) struct Links;

#[cfg(target_os = "linux")]
impl Neighbors for Links {
    fn llmnr(&mut self, name: &Name, discards: &mut Discards) -> Result<Answered, Failure> {
        super::llmnr::ask(&interfaces()?, name, discards)
    }

    fn wins(
        &mut self,
        servers: &[Ipv4Addr],
        name: &NetbiosName,
        discards: &mut Discards,
    ) -> Result<(Heard, Ipv4Addr), Failure> {
        super::netbios::ask_wins(servers, name, discards)
    }

    fn broadcast(&mut self, name: &NetbiosName, discards: &mut Discards) -> Result<Answered, Failure> {
        super::netbios::ask_broadcast(&interfaces()?, name, discards)
    }
}

#[cfg(target_os = "linux")]
fn interfaces() -> Result<Vec<super::interfaces::Interface>, Failure> {
    super::interfaces::interfaces().map_err(|_| Failure::Unreachable)
}

/// Elsewhere nobody is asked but the DNS.
#[cfg(not(target_os = "linux"))]
impl Neighbors for Links {
    fn llmnr(&mut self, _: &Name, _: &mut Discards) -> Result<Answered, Failure> {
        Err(Failure::Unreachable)
    }

    fn wins(&mut self, _: &[Ipv4Addr], _: &NetbiosName, _: &mut Discards) -> Result<(Heard, Ipv4Addr), Failure> {
        Err(Failure::Unreachable)
    }

    fn broadcast(&mut self, _: &NetbiosName, _: &mut Discards) -> Result<Answered, Failure> {
        Err(Failure::Unreachable)
    }
}
