//! Where programs are: at the devices of tunnels, and at those underneath that packets come by.

use super::pace::Pace;
use super::programs::{Programs, Side};
use super::queues::{self, Obstacle};
use super::tunnel::Tunnel;
use crate::error::Error;
use crate::netlink::{Ipv4Address, NetDevice};
use isatap_core::packet::LinkId;
use isatap_core::time::Instant;
use std::io;
use std::net::Ipv4Addr;

const NO_PROGRAM: &str =
    "the device underneath takes no program: it is a VRF, or not of the kind of Ethernet, or refuses it";
const NO_PROGRAM_AT_TUNNEL: &str = "the tunnel's device takes no program";

/// The programs, and what stands in their way at each device.
pub(super) struct Places {
    programs: Programs,
    tunnels: Vec<Tunnel>,
    /// Devices underneath that cannot have a program.
    refused: Vec<u32>,
    /// To which addresses of this machine's packets of a link come.
    expected: Vec<(LinkId, Vec<Ipv4Addr>)>,
    /// Whether programs may be somewhere for nothing.
    tidied: Pace,
    /// What tc has at devices with programs.
    queues: Vec<Obstacle>,
    queues_told: Pace,
}

impl Places {
    pub(super) fn new(programs: Programs) -> Self {
        Self {
            programs,
            tunnels: Vec::new(),
            refused: Vec::new(),
            expected: Vec::new(),
            tidied: Pace::default(),
            queues: Vec::new(),
            queues_told: Pace::default(),
        }
    }

    /// The device of a link, if the programs may have its packets.
    pub(super) fn device(&self, link: LinkId) -> Option<u32> {
        let tunnel = self.tunnels.iter().find(|tunnel| tunnel.link == link && tunnel.is_attached)?;
        self.obstacle_at(tunnel.index, Side::Tunnel).is_none().then_some(tunnel.index)
    }

    /// The devices of all links, whether they have programs or not.
    pub(super) fn tunnels(&self) -> Vec<u32> {
        self.tunnels.iter().map(|tunnel| tunnel.index).collect()
    }

    /// Whether it is a link's device, or has a program.
    pub(super) fn has(&self, index: u32) -> bool {
        self.tunnels.iter().any(|tunnel| tunnel.index == index)
            || self.programs.places().iter().any(|(at, _)| *at == index)
    }

    /// Why packets of a link stay in user space.
    pub(super) fn obstacle(&self, link: LinkId) -> Option<&'static str> {
        let tunnel = self.tunnels.iter().find(|tunnel| tunnel.link == link)?;
        let no_program = (!tunnel.is_attached).then_some(NO_PROGRAM_AT_TUNNEL);
        no_program.or_else(|| self.obstacle_at(tunnel.index, Side::Tunnel)).or(tunnel.why_not_out).or(tunnel.why_not_in)
    }

    /// What tc has there.
    fn obstacle_at(&self, index: u32, side: Side) -> Option<&'static str> {
        self.queues.iter().find(|(place, _)| *place == (index, side)).map(|(_, why)| *why)
    }

    /// Says why packets of a link stay in user space, of those that go out or come in; `None`: they do not.
    pub(super) fn note(&mut self, link: LinkId, side: Side, why: Option<&'static str>) {
        let Some(tunnel) = self.tunnels.iter_mut().find(|tunnel| tunnel.link == link) else { return };
        match side {
            Side::Tunnel => tunnel.why_not_out = why,
            Side::Underlay => tunnel.why_not_in = why,
        }
    }

    /// Rows of this generation alone are good from now on; 0: none is.
    pub(super) fn set_generation(&mut self, generation: u64) -> io::Result<()> {
        self.programs.set_generation(generation)
    }

    /// How many rows of each table are there for these links.
    pub(super) fn share(&self) -> usize {
        self.programs.share()
    }

    /// From now on this device is that of `link`; `None`: there is none.
    ///
    /// # Errors
    ///
    /// It takes no program.
    pub(super) fn follow_device(&mut self, now: Instant, link: LinkId, device: Option<&str>) -> Result<(), Error> {
        for tunnel in self.tunnels.extract_if(.., |tunnel| tunnel.link == link) {
            self.programs.detach_if(|at, side| (at, side) == (tunnel.index, Side::Tunnel));
        }
        let Some(name) = device else {
            self.expect(link, &[]);
            // Nobody may be there to tidy.
            if self.tunnels.is_empty() {
                self.programs.detach_if(|_, _| true);
            }
            return Ok(());
        };
        let mut tunnel = Tunnel::find(link, name)?;
        let attached = tunnel.attach(&self.programs);
        self.look_at(now, tunnel.index, Side::Tunnel);
        self.tunnels.push(tunnel);
        attached
    }

    /// Packets of a link come to these addresses from now on.
    pub(super) fn expect(&mut self, link: LinkId, addresses: &[Ipv4Addr]) {
        self.expected.retain(|(of, _)| *of != link);
        if !addresses.is_empty() {
            self.expected.push((link, addresses.to_vec()));
        }
        self.tidied.hear();
    }

    /// Whether packets of any link come to this address.
    pub(super) fn is_expected(&self, address: Ipv4Addr) -> bool {
        self.expected.iter().any(|(_, addresses)| addresses.contains(&address))
    }

    /// Sees to it that the program is in front of the device underneath; or why it may not have its packets.
    pub(super) fn listens(
        &mut self,
        now: Instant,
        index: u32,
        device: impl FnOnce() -> Option<NetDevice>,
    ) -> Result<(), &'static str> {
        if !self.programs.is_attached(index, Side::Underlay) {
            if self.refused.contains(&index) {
                return Err(NO_PROGRAM);
            }
            let device = device().filter(receives);
            let attached =
                device.is_some_and(|device| self.programs.attach(index, &device.name, Side::Underlay).is_ok());
            if !attached {
                self.refused.push(index);
                return Err(NO_PROGRAM);
            }
            self.look_at(now, index, Side::Underlay);
        }
        self.obstacle_at(index, Side::Underlay).map_or(Ok(()), Err)
    }

    /// A device came, changed or went (`None`).
    pub(super) fn hear_of(&mut self, index: u32, device: Option<&NetDevice>) {
        if device.is_none() {
            self.programs.void_if(|at, _| at == index);
        }
        for tunnel in self.tunnels.iter_mut().filter(|tunnel| tunnel.index == index) {
            let was_attached = tunnel.is_attached;
            tunnel.follow(&self.programs, device);
            if tunnel.is_attached && !was_attached {
                self.queues_told.hear();
            }
        }
    }

    /// A device may take a program that it did not take before.
    pub(super) fn try_again(&mut self, index: u32) {
        self.refused.retain(|refused| *refused != index);
    }

    /// Anything may have changed.
    pub(super) fn begin_anew(&mut self) {
        self.refused.clear();
        self.programs.void_if(|_, side| side == Side::Underlay);
        self.queues_told.hear();
    }

    /// When one of the following has something to do: what is told of queues, and what is of ways.
    pub(super) fn deadlines(&self) -> [Option<Instant>; 2] {
        [self.queues_told.deadline(), self.tidied.deadline()]
    }

    /// Queues or filters have changed somewhere.
    pub(super) fn doubt_queues(&mut self) {
        self.queues_told.hear();
    }

    /// Looks what tc has at devices with programs, if that has changed; gives the devices with obstacles.
    pub(super) fn look_at_queues(&mut self, now: Instant) -> Vec<u32> {
        if !self.queues_told.begin(now) {
            return Vec::new();
        }
        self.queues.clear();
        let places = self.programs.places();
        self.add_obstacles(now, &places);
        self.queues.iter().map(|((index, _), _)| *index).collect()
    }

    /// The same of a device that has its program since now.
    fn look_at(&mut self, now: Instant, index: u32, side: Side) {
        self.queues.retain(|(place, _)| *place != (index, side));
        self.add_obstacles(now, &[(index, side)]);
    }

    fn add_obstacles(&mut self, now: Instant, places: &[(u32, Side)]) {
        self.queues.extend(queues::obstacles(places));
        if self.queues.iter().any(|(_, why)| *why == queues::UNKNOWN) {
            self.queues_told.retry(now);
        }
    }

    /// Addresses of this machine have changed, or ways.
    pub(super) fn doubt_use(&mut self) {
        self.tidied.hear();
    }

    /// Takes programs from devices underneath at which no link has an address, and by which nothing `leads`, if that may
    /// have changed.
    pub(super) fn tidy(
        &mut self,
        now: Instant,
        addresses: impl FnOnce() -> Result<Vec<Ipv4Address>, Error>,
        leads: impl Fn(&Self, u32) -> bool,
    ) {
        if !self.tidied.begin(now) {
            return;
        }
        let places = self.programs.places();
        let underneath = places.iter().filter(|(_, side)| *side == Side::Underlay).map(|(index, _)| *index);
        let mut idle: Vec<_> = underneath.filter(|index| !leads(self, *index)).collect();
        if idle.is_empty() {
            return;
        }
        match addresses() {
            Ok(here) => {
                let is_there =
                    |index: u32| here.iter().any(|own| own.interface == index && self.is_expected(own.address));
                idle.retain(|index| !is_there(*index));
                self.programs.detach_if(|index, side| side == Side::Underlay && idle.contains(&index));
            }
            Err(_) => self.tidied.retry(now),
        }
    }
}

/// Whether packets come by a device itself, as on Ethernet. By a VRF none do: its devices receive them, and the kernel
/// says afterwards that they came by the VRF.
fn receives(device: &NetDevice) -> bool {
    device.is_ethernet && !device.is_vrf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vrf_gets_no_program() {
        let device = |is_ethernet, is_vrf| NetDevice {
            index: 3,
            name: "red".to_owned(),
            is_up: true,
            is_running: true,
            is_loopback: false,
            is_ethernet,
            mtu: 1500,
            is_vrf,
            master: None,
        };
        assert!(receives(&device(true, false)) && !receives(&device(true, true)) && !receives(&device(false, false)));
    }
}
