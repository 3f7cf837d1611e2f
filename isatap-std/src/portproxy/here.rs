//! What only this machine can say of rules: its devices, and which addresses are its own.

#[cfg(feature = "file")]
use super::listener;
use crate::error::Error;
use crate::spec::{Conflict, PortProxy, ZonedAddress, rule_conflicts, rule_loops};
use socket2::{Domain, Socket, Type};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// An endpoint as the kernel takes it. `PPX-10`: with the number of the zone's device, which may be
/// another one each time.
pub(super) fn socket_address(address: IpAddr, zone: Option<&str>, port: u16) -> Result<SocketAddr, Error> {
    let scope = match zone {
        None => 0,
        Some(zone) => match zone.parse() {
            Ok(number) => number,
            Err(_) => nix::net::if_::if_nametoindex(zone)
                .map_err(|errno| Error::refused("use the device", zone, errno.into()).with_advice("see: ip link"))?,
        },
    };
    Ok(match address {
        IpAddr::V4(address) => SocketAddr::new(address.into(), port),
        IpAddr::V6(address) => SocketAddrV6::new(address, port, 0, scope).into(),
    })
}

/// What rules cannot be on any machine, alone and beside each other: usage errors.
pub(super) fn check(rules: &[PortProxy]) -> Vec<Error> {
    let alone = rules.iter().flat_map(|rule| {
        let key = rule.key();
        rule.check().into_iter().map(move |refusal| refusal.error.of_device(&key))
    });
    let beside = rule_conflicts(rules).into_iter().map(|conflict| {
        let key = rules.get(conflict.link).map(PortProxy::key).unwrap_or_default();
        let doing = if conflict.key == "listen" { "listen at" } else { "connect to" };
        Error::usage(doing, conflict.value, conflict.text).of_device(&key)
    });
    alone.chain(beside).collect()
}

/// The same, and where none could listen now: the port is another program's, or the device of the zone
/// is not there. `own`: devices that links of the same process make; `running`: rules whose ports this
/// asks nobody for.
#[cfg(feature = "file")]
pub(crate) fn check_here(rules: &[PortProxy], own: &[&str], is_running: impl Fn(&PortProxy) -> bool) -> Vec<Error> {
    let mut refused = check(rules);
    for rule in rules {
        let is_later = listener::device(rule).is_some_and(|device| own.contains(&device));
        if !is_later && !is_running(rule) {
            refused.extend(listener::check_place(rule).err().map(|error| error.of_device(&rule.key())));
        }
    }
    refused
}

/// `PPX-12`: rules that lead to themselves by an address that this machine has now. It may leave as it
/// came, so no rule is refused for it: each connection that comes back is.
pub(crate) fn loops_here(rules: &[PortProxy]) -> Vec<Conflict> {
    rule_loops(rules, &is_own)
}

/// Whether an address is this machine's: it speaks to that from the same one. Nothing is sent.
fn is_own(address: &ZonedAddress) -> bool {
    const ANY_PORT: u16 = 9;
    let Ok(place) = socket_address(address.address, address.zone.as_deref(), ANY_PORT) else { return false };
    let from = Socket::new(Domain::for_address(place), Type::DGRAM, None).and_then(|socket| {
        socket.connect(&place.into())?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.as_socket().is_some_and(|from| from.ip() == place.ip()))
}
