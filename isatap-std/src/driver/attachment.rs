//! A link of the machine's as the kernel has it: the device, and on it the addresses,
//! routes and MTU that the machine wants, and what other programs do to it.

use super::FollowedTable;
use crate::error::Error;
use crate::netlink::{self, InterfaceAddress, Monitor, Netlink, sysctl};
use crate::tun::Tun;
use isatap_core::engine::{Event, LearnedAddress};
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::route::{self, Change, Origin, Preference, Route, RouteKey};
use isatap_core::time::{Expiry, Instant, Lifetime};
use std::cmp::Ordering;
use std::io;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// The metric of the kernel's own routes to the prefixes of a device.
const LAN_METRIC: u32 = 256;

/// Between two repairs.
const REPAIR_INTERVAL: Duration = Duration::from_secs(1);

/// The longest packet that fits an outer IPv4 packet.
const LONGEST_INNER: u32 = 65_515;

/// The kernel's side of one link. Its device exists as long as the [`Tun`] does that
/// [`open`](Self::open) gives.
#[derive(Debug)]
pub struct Attachment {
    link: LinkId,
    name: String,
    index: u32,
    metric: u32,
    kind: Kind,
    monitor: Monitor,
    is_up: bool,
    mtu: u16,
    addresses: Vec<LearnedAddress>,
    routes: Vec<Route>,
    mirrored: Vec<Route>,
    full_table: Option<FollowedTable>,
    /// When what was lost is to be put back.
    loss: Option<Instant>,
    /// Not before this, so that two who disagree do not keep a machine busy.
    next_repair: Instant,
}

/// Whose the device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A TUN device of ours, and all that is on it.
    Tunnel,
    /// A native device of the administrator's.
    Lan,
}

/// What other programs have done since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Routes on the device: [`Attachment::mirror`] them.
    pub routes: bool,
    /// IPv4 addresses, links or routes of the host: the locators may be others.
    pub ipv4: bool,
    /// IPv6 addresses on devices of the host.
    pub native: bool,
    /// Routes to the prefixes that the attachment [follows](Attachment::follow_ipv6_routes).
    pub followed: bool,
    /// Switches of a device's: whether the kernel forwards, say.
    pub switches: bool,
    /// An address or route of ours is gone: [`Attachment::note_loss`].
    pub lost: bool,
    /// The device is up again, and has lost everything: [`Attachment::restore`] it.
    pub came_up: bool,
}

impl Attachment {
    /// Makes the device `name`, switches it on and listens to what happens to it. `metric`
    /// is that of all routes of ours.
    ///
    /// # Errors
    ///
    /// What [`Tun::create`] says, or the kernel has no IPv6.
    pub fn open(netlink: &Netlink, link: LinkId, name: &str, metric: u32) -> Result<(Self, Tun), Error> {
        let tun = Tun::create(name)?;
        let index = tun.index()?;
        sysctl::prepare_tunnel(name)?;
        netlink.forbid_kernel_addresses(index)?;
        netlink.limit_super_packets(index, LONGEST_INNER)?;
        let mtu = isatap_core::wire::ipv6::MINIMUM_MTU;
        netlink.set_mtu(index, mtu.into())?;
        // Listening comes first, so that no change falls between.
        let monitor = Monitor::open(index)?;
        netlink.set_up(index, true)?;
        let attachment = Self {
            link,
            name: name.to_owned(),
            index,
            metric,
            kind: Kind::Tunnel,
            monitor,
            is_up: true,
            mtu,
            addresses: Vec::new(),
            routes: Vec::new(),
            mirrored: Vec::new(),
            full_table: None,
            loss: None,
            next_repair: Instant::ZERO,
        };
        attachment.add_link_local_route(netlink)?;
        Ok((attachment, tun))
    }

    /// Takes the native device `name`, which is there and up, as that of a LAN: it gets
    /// addresses and routes beside its own, until [`withdraw`](Self::withdraw). What a killed
    /// predecessor left there goes.
    ///
    /// # Errors
    ///
    /// No such device, or the kernel's refusal.
    pub fn adopt(netlink: &Netlink, link: LinkId, name: &str) -> Result<Self, Error> {
        let found = netlink.link(name)?;
        let monitor = Monitor::open(found.index)?;
        // The core makes its addresses so; others in the prefix are the administrator's.
        let ours = netlink.link_local(found.index)?.map(|own| identifier(&own));
        for route in netlink.own_routes(found.index)? {
            let prefix = Ipv6Prefix::new(route.destination, route.prefix_len);
            for left in netlink.addresses(found.index)? {
                // A route outlives its address: see `withdraw`.
                if prefix.is_some_and(|prefix| prefix.contains(&left.address))
                    && Some(identifier(&left.address)) == ours
                {
                    netlink.remove_address(found.index, left.address, left.prefix_len)?;
                }
            }
            netlink.remove_route(found.index, &route)?;
        }
        Ok(Self {
            link,
            name: found.name,
            index: found.index,
            metric: LAN_METRIC,
            kind: Kind::Lan,
            monitor,
            is_up: found.is_up,
            mtu: u16::try_from(found.mtu).unwrap_or(u16::MAX),
            addresses: Vec::new(),
            routes: Vec::new(),
            mirrored: Vec::new(),
            full_table: None,
            loss: None,
            next_repair: Instant::ZERO,
        })
    }

    /// Takes addresses and routes off a device that stays.
    ///
    /// # Errors
    ///
    /// The first of the kernel's refusals; what could be removed is.
    pub fn withdraw(&mut self, netlink: &Netlink) -> Result<(), Error> {
        let addresses = std::mem::take(&mut self.addresses);
        let mut outcomes: Vec<Result<(), Error>> =
            addresses.iter().map(|own| netlink.remove_address(self.index, own.address, own.prefix_length)).collect();
        let routes: Vec<netlink::Route> =
            self.routes.drain(..).map(|route| kernel_route(self.metric, &route)).collect();
        outcomes.extend(routes.iter().map(|route| netlink.remove_route(self.index, route)));
        outcomes.into_iter().collect()
    }

    /// The link of the machine.
    pub fn link(&self) -> LinkId {
        self.link
    }

    /// The name of the device.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The interface index of the device.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Whether the device is switched on.
    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// The MTU that the machine wants, in bytes.
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// The addresses that the machine wants on the device.
    pub fn addresses(&self) -> &[LearnedAddress] {
        &self.addresses
    }

    /// The routes that the machine wants on the device.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Has the routes that other programs put on the device in a full table, not in the machine's
    /// route table: for more than a hundred of them.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, or more routes than a table can have.
    pub fn follow_full_table(&mut self) -> Result<(), Error> {
        self.full_table = Some(FollowedTable::open(self.link, self.index)?);
        Ok(())
    }

    /// The full table, of a device that has one.
    pub fn full_table(&self) -> Option<&FollowedTable> {
        self.full_table.as_ref()
    }

    pub(crate) fn full_table_mut(&mut self) -> Option<&mut FollowedTable> {
        self.full_table.as_mut()
    }

    /// Follows IPv4 routes too: see [`Changes::ipv4`].
    ///
    /// # Errors
    ///
    /// The kernel's refusal, which is not expected.
    pub fn follow_ipv4_routes(&mut self) -> Result<(), Error> {
        self.monitor.follow_ipv4_routes()
    }

    /// Follows routes to these prefixes by all devices: see [`Changes::followed`].
    pub fn follow_ipv6_routes(&mut self, prefixes: Vec<Ipv6Prefix>) {
        self.monitor.follow_ipv6_routes(prefixes);
    }

    /// Does to the device what an event of the machine says, if it is about this link.
    ///
    /// # Errors
    ///
    /// The kernel's refusal: worth a warning, since other things go on; the device being
    /// down is no error, [`restore`](Self::restore) comes later.
    pub fn apply(&mut self, netlink: &Netlink, now: Instant, event: &Event) -> Result<(), Error> {
        match event {
            // The link-local address of a LAN is the kernel's.
            Event::Address { address, .. } if self.kind == Kind::Lan && address.address.is_unicast_link_local() => {
                Ok(())
            }
            Event::Address { link, change, address } if *link == self.link => {
                self.addresses.retain(|known| known.address != address.address);
                if *change == Change::Removed {
                    return netlink.remove_address(self.index, address.address, address.prefix_length);
                }
                self.addresses.push(*address);
                self.while_up(|this| this.put_address(netlink, now, address))
            }
            Event::Route { change, route } if route.link == self.link => {
                let before = self.routes.iter().position(|known| known.key() == route.key());
                let before = before.map(|at| self.routes.remove(at));
                if *change == Change::Removed {
                    return netlink.remove_route(self.index, &self.kernel_route(route));
                }
                self.routes.push(*route);
                self.while_up(|this| {
                    // A route that is there already the kernel leaves as it is.
                    if let Some(before) = before.filter(|before| before.preference != route.preference) {
                        netlink.remove_route(this.index, &this.kernel_route(&before))?;
                    }
                    netlink.add_route(this.index, &this.kernel_route(route))
                })
            }
            Event::Mtu { link, mtu } if *link == self.link && self.kind == Kind::Tunnel => {
                self.mtu = *mtu;
                netlink.set_mtu(self.index, u32::from(*mtu))
            }
            _ => Ok(()),
        }
    }

    /// What other programs have done since the last call.
    ///
    /// # Errors
    ///
    /// The device was deleted, or the netlink socket failed.
    pub fn changes(&mut self, netlink: &Netlink) -> Result<Changes, Error> {
        let mut changes = Changes::default();
        while let Some(event) = self.monitor.next_event()? {
            match event {
                netlink::Event::RouteAdded(_) | netlink::Event::RouteRemoved(_) => changes.routes = true,
                netlink::Event::OwnLost => changes.lost = true,
                netlink::Event::LinkChanged(link) if link.index == self.index => {
                    changes.came_up |= link.is_up && !self.is_up;
                    self.is_up = link.is_up;
                    self.name = link.name;
                }
                netlink::Event::LinkRemoved { index } if index == self.index => return Err(self.deleted()),
                netlink::Event::Ipv6AddressesChanged { .. } => changes.native = true,
                netlink::Event::Ipv6RoutesChanged => changes.followed = true,
                netlink::Event::SwitchesChanged => changes.switches = true,
                netlink::Event::Resync => {
                    // What was lost may be anything; the device may have been down meanwhile.
                    let found = netlink.links()?.into_iter().find(|link| link.index == self.index);
                    self.is_up = found.ok_or_else(|| self.deleted())?.is_up;
                    let came_up = self.is_up;
                    let all = Changes { routes: true, ipv4: true, native: true, followed: true, ..Changes::default() };
                    changes = Changes { switches: true, came_up, ..all };
                }
                _ => changes.ipv4 = true,
            }
        }
        Ok(changes)
    }

    /// Puts everything back on a device that was down, or may have been.
    ///
    /// # Errors
    ///
    /// The kernel's refusals, all of them; what could be put back is.
    pub fn restore(&self, netlink: &Netlink, now: Instant) -> Vec<Error> {
        let addresses = self.addresses.iter().map(|address| self.put_address(netlink, now, address));
        let routes = || self.routes.iter().map(|route| netlink.add_route(self.index, &self.kernel_route(route)));
        let mut errors: Vec<Error> = addresses.filter_map(Result::err).collect();
        if self.kind == Kind::Tunnel {
            errors.extend(self.add_link_local_route(netlink).err());
        }
        errors.extend(routes().filter_map(Result::err));
        errors
    }

    /// Something of ours may be gone by another program: sees to it that
    /// [`repair`](Self::repair) is due, at most once a second.
    pub fn note_loss(&mut self, now: Instant) {
        self.loss = self.loss.or(Some(now.max(self.next_repair)));
    }

    /// When [`repair`](Self::repair) is due; `None`: nothing was lost.
    pub fn deadline(&self) -> Option<Instant> {
        self.loss
    }

    /// Puts back the addresses and routes that the machine wants and that are not there, if
    /// the device is up, and gives how many those were.
    ///
    /// # Errors
    ///
    /// The first of the kernel's refusals; what could be put back is.
    pub fn repair(&mut self, netlink: &Netlink, now: Instant) -> Result<usize, Error> {
        self.loss = None;
        self.next_repair = now.saturating_add(REPAIR_INTERVAL);
        if !self.is_up {
            return Ok(0);
        }
        let found = netlink.addresses(self.index)?;
        let is_over = |address: &LearnedAddress| left(now, address.valid_until) == Some(Duration::ZERO);
        let gone =
            |address: &&LearnedAddress| !is_over(address) && found.iter().all(|there| there.address != address.address);
        let addresses = self.addresses.iter().filter(gone).map(|address| self.put_address(netlink, now, address));
        let mut outcomes: Vec<Result<(), Error>> = addresses.collect();
        let found = netlink.own_routes(self.index)?;
        let key = |route: &netlink::Route| (route.destination, route.prefix_len, route.next_hop, route.metric);
        let link_local = (self.kind == Kind::Tunnel).then(link_local_route);
        let wanted = link_local.into_iter().chain(self.routes.iter().map(|route| self.kernel_route(route)));
        let gone = wanted.filter(|wanted| found.iter().all(|there| key(there) != key(wanted)));
        outcomes.extend(gone.map(|route| netlink.add_route(self.index, &route)));
        let count = outcomes.len();
        outcomes.into_iter().collect::<Result<(), Error>>().map(|()| count)
    }

    /// Compares the routes of other programs with what the machine was told of them: those
    /// that it is to forget, and those that it is to know.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, which is not expected.
    pub fn mirror(&mut self, netlink: &Netlink, now: Instant) -> Result<(Vec<RouteKey>, Vec<Route>), Error> {
        let found = netlink.foreign_routes(self.index)?;
        let now_there: Vec<Route> = found.iter().filter_map(|foreign| self.mirrored_route(now, foreign)).collect();
        let gone = |before: &&Route| now_there.iter().all(|route| route.key() != before.key());
        let removed = self.mirrored.iter().filter(gone).map(Route::key).collect();
        let added = now_there.iter().filter(|route| !self.mirrored.contains(route)).copied().collect();
        self.mirrored = now_there;
        Ok((removed, added))
    }

    /// `fe80::/64` on the device: without it the kernel sends to no neighbour there.
    fn add_link_local_route(&self, netlink: &Netlink) -> Result<(), Error> {
        netlink.add_route(self.index, &link_local_route())
    }

    fn put_address(&self, netlink: &Netlink, now: Instant, address: &LearnedAddress) -> Result<(), Error> {
        let valid = left(now, address.valid_until);
        // Over in this moment: the kernel refuses it, and the machine will say so.
        if valid == Some(Duration::ZERO) {
            return Ok(());
        }
        let wanted = InterfaceAddress {
            address: address.address,
            prefix_len: address.prefix_length,
            preferred: left(now, address.preferred_until),
            valid,
        };
        match self.kind {
            Kind::Tunnel => netlink.replace_address(self.index, &wanted),
            Kind::Lan => netlink.replace_lan_address(self.index, &wanted),
        }
    }

    fn kernel_route(&self, route: &Route) -> netlink::Route {
        kernel_route(self.metric, route)
    }

    /// A route of another program, weighed against ours as the kernel weighs it: metric before
    /// preference, where the machine has preference before metric.
    fn mirrored_route(&self, now: Instant, foreign: &netlink::ForeignRoute) -> Option<Route> {
        let route = &foreign.route;
        let prefix = Ipv6Prefix::new(route.destination, route.prefix_len)?;
        if needs_no_route(&prefix) {
            return None;
        }
        let (preference, metric) = match route.metric.cmp(&self.metric) {
            Ordering::Less => (Preference::High, route.metric),
            Ordering::Greater => (Preference::Low, route.metric.saturating_sub(self.metric)),
            Ordering::Equal => (core_preference(route.preference), 0),
        };
        let expires = route
            .lifetime
            .map_or(Expiry::NEVER, |left| Expiry::after(now, Lifetime::from_duration(left + Duration::from_secs(1))));
        let on_link = Route::on_link(prefix, self.link, Origin::Mirrored);
        Some(Route { next_hop: next_hop(route.next_hop), preference, metric, expires, ..on_link })
    }

    fn while_up(&self, change: impl FnOnce(&Self) -> Result<(), Error>) -> Result<(), Error> {
        // Down by another program: the kernel would refuse, and restore() comes when it is up.
        if self.is_up { change(self) } else { Ok(()) }
    }

    fn deleted(&self) -> Error {
        Error::refused("use the device", &self.name, io::Error::from_raw_os_error(libc::ENODEV))
            .with_advice("another program deleted it: the link stands still until the device is made again")
    }
}

impl AsFd for Attachment {
    /// Readable when [`changes`](Attachment::changes) has something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.monitor.as_fd()
    }
}

/// Multicast and link-local destinations are neighbours on the device without one.
pub(super) fn needs_no_route(prefix: &Ipv6Prefix) -> bool {
    prefix.address().is_multicast() || Ipv6Prefix::LINK_LOCAL.covers(prefix)
}

/// A route as the kernel is to have it, without its lifetime: the machine tells when it ends,
/// and does not tell that it was prolonged. Should this process end first, the device goes,
/// and the route with it.
fn kernel_route(metric: u32, route: &Route) -> netlink::Route {
    netlink::Route {
        destination: route.prefix.address(),
        prefix_len: route.prefix.length(),
        next_hop: route.next_hop,
        metric: metric.saturating_add(route.metric),
        preference: match route.preference {
            Preference::Low => netlink::Preference::Low,
            Preference::Medium => netlink::Preference::Medium,
            Preference::High => netlink::Preference::High,
        },
        lifetime: None,
    }
}

fn link_local_route() -> netlink::Route {
    let prefix = Ipv6Prefix::LINK_LOCAL;
    netlink::Route {
        destination: prefix.address(),
        prefix_len: prefix.length(),
        next_hop: None,
        metric: 256,
        preference: netlink::Preference::Medium,
        lifetime: None,
    }
}

/// The lower 64 bits.
fn identifier(address: &Ipv6Addr) -> [u16; 4] {
    let [.., a, b, c, d] = address.segments();
    [a, b, c, d]
}

fn next_hop(address: Option<Ipv6Addr>) -> Option<Ipv6Addr> {
    address.filter(|address| !address.is_unspecified())
}

fn core_preference(preference: netlink::Preference) -> route::Preference {
    match preference {
        netlink::Preference::Low => Preference::Low,
        netlink::Preference::Medium => Preference::Medium,
        netlink::Preference::High => Preference::High,
    }
}

/// What is left of a lifetime, to the microsecond; `None`: for ever.
fn left(now: Instant, until: Expiry) -> Option<Duration> {
    until.instant().map(|instant| instant.saturating_duration_since(now).into())
}
