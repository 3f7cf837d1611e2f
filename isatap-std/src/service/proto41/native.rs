//! The native links of this machine, as one link of the core's: the addresses that nobody
//! else may speak from (SEC-10) and that packets may be for (RTE-7), and where routes lead
//! that a router advertises.

use super::{Machine, Proto41Role};
use crate::error::Error;
use crate::service::elsewhere::is_native;
use crate::service::{Notice, Service};
use isatap_core::datapath::Switches;
use isatap_core::error::TableFull;
use isatap_core::link::{InterfaceAddress, NativeLink};
use isatap_core::node::AnyInterface;
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::route::{Origin, Route};
use isatap_core::time::Expiry;
use std::net::Ipv6Addr;
use std::time::Duration;

/// How long hosts are told that a route ends: long enough to reach all of them.
const LEAVE: Duration = Duration::from_secs(2);

/// The core sends nothing there itself: the kernel forwards.
const MTU: u16 = 1500;

/// Adds the native link to a machine.
pub(super) fn add(machine: &mut Machine) -> Result<LinkId, Error> {
    machine.add(Box::new(AnyInterface::Native(NativeLink::new(MTU))), Switches::DEFAULT).map_err(full)
}

impl Service<Proto41Role> {
    /// Has these routes lead to a native link, to be advertised on the others, and no more.
    /// Whether that is news.
    pub(super) fn publish_routes(&mut self, prefixes: &[Ipv6Prefix]) -> Result<bool, Error> {
        let native = self.common.native;
        // Hosts would keep a route that is no longer spoken of: it is, for a moment, and is taken back.
        let leaving = Expiry::at(self.driver.now().saturating_add(LEAVE));
        let machine = self.driver.machine_mut();
        let is_ours = |route: &&Route| route.link == native && route.publish && route.expires == Expiry::NEVER;
        let of_before = || machine.routes().filter(is_ours);
        let is_known = |prefix: &Ipv6Prefix| of_before().any(|route| route.prefix == *prefix);
        let new: Vec<Ipv6Prefix> = prefixes.iter().filter(|prefix| !is_known(prefix)).copied().collect();
        let gone: Vec<Route> = of_before().filter(|route| !prefixes.contains(&route.prefix)).copied().collect();
        for route in &gone {
            // The header takes ::/0 back, and says so only once the route is away.
            if route.prefix.is_default() {
                machine.remove_route(&route.key());
                continue;
            }
            machine.insert_route(Route { expires: leaving, ..*route }).map_err(full)?;
        }
        let route = |prefix| Route { publish: true, ..Route::on_link(prefix, native, Origin::Manual) };
        new.iter().try_for_each(|prefix| machine.insert_route(route(*prefix)).map_err(full))?;
        Ok(!new.is_empty() || !gone.is_empty())
    }

    /// Reads the IPv6 addresses of all devices.
    ///
    /// RTE-7: a link that does not forward lets in what is for one of them, and on our own
    /// devices other programs may have put some.
    ///
    /// TUN-17: a router lets no source in by a tunnel that is on-link on a native link of
    /// its own. A host knows only its own addresses (SEC-10): with a native link beside the
    /// tunnel it may rightly hear a native neighbour by way of a router.
    pub(super) fn learn_native(&mut self) -> Result<(), Error> {
        let routes = self.links.iter().any(|link| link.role.forwards());
        let native = self.common.native;
        if std::mem::replace(&mut self.common.native_forwards, routes) != routes
            && let Some(switches) = self.driver.machine_mut().switches_mut(native)
        {
            switches.forwarding = routes;
        }
        let mut link = NativeLink::new(MTU);
        let mut is_full = None;
        let mut native_by = None;
        for (index, address) in self.netlink.ipv6_addresses()? {
            if !is_of_a_neighbourhood(&address.address) {
                continue;
            }
            let tunnel = self.links.iter().map(|link| &link.attachment).find(|ours| ours.index() == index);
            if tunnel.is_some_and(|ours| ours.addresses().iter().any(|own| own.address == address.address)) {
                continue;
            }
            if tunnel.is_none() && is_native(&address.address) {
                native_by = native_by.or(Some(index));
            }
            let prefix_length = if routes && tunnel.is_none() { address.prefix_len } else { 128 };
            is_full = link.add_address(InterfaceAddress { address: address.address, prefix_length }).err().or(is_full);
        }
        // Addresses of other links come and go with containers, and no decision is to end with them.
        if !matches!(self.interface(native), Some(AnyInterface::Native(known)) if known.addresses() == link.addresses())
        {
            self.with_interface(native, |interface, _| *interface = AnyInterface::Native(link));
        }
        let name =
            |index| self.netlink.links().ok()?.into_iter().find(|link| link.index == index).map(|link| link.name);
        self.common.native_by = native_by.and_then(name);
        for id in self.links.iter().map(|link| link.attachment.link()).collect::<Vec<_>>() {
            // S64-33: native IPv6 is better than 6to4.
            let is_told = !matches!(self.interface(id), Some(AnyInterface::SixToFourRouter(router))
                if router.has_native() != native_by.is_some());
            if is_told {
                continue;
            }
            let told = self.with_interface(id, |interface, cx| match interface {
                AnyInterface::SixToFourRouter(router) => router.set_native(cx, native_by.is_some()),
                _ => Ok(()),
            });
            is_full = told.and_then(Result::err).or(is_full);
        }
        if let Some(full) = is_full {
            self.notice(&Notice::Warning(format!(
                "not every address of this machine is known: {full}. Anybody may use the others as a source, and a \
                 tunnel that does not forward drops what is for them"
            )));
        }
        Ok(())
    }
}

/// Link-local ones are those of another link, and loopback is nobody's neighbour.
fn is_of_a_neighbourhood(address: &Ipv6Addr) -> bool {
    !address.is_unicast_link_local() && !address.is_loopback()
}

fn full(error: TableFull) -> Error {
    Error::usage("add", "a native link or a route", error.to_string()).with_advice("advertise fewer routes")
}
