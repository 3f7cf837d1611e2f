//! The device of smoltcp: what comes in, and what goes out of the node or stays in it.

use std::collections::VecDeque;
use std::net::IpAddr;

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};

use super::super::Spoken;
use super::segment::tcp_of;

/// What every link carries, so that no segment is too big anywhere.
const MTU: usize = 1280;

/// What has come and is not taken yet, and what was sent.
#[derive(Default)]
pub(super) struct Wire {
    pub(super) incoming: VecDeque<Vec<u8>>,
    pub(super) spoken: Vec<Spoken>,
    pub(super) own: Vec<IpAddr>,
}

impl Wire {
    pub(super) fn is_own(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.own.contains(&address)
    }
}

/// A packet that has come.
pub(super) struct Arrived(Vec<u8>);

/// Room for one to send.
pub(super) struct Sent<'a>(&'a mut Wire);

impl Device for Wire {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _now: smoltcp::time::Instant) -> Option<(Arrived, Sent<'_>)> {
        let packet = self.incoming.pop_front()?;
        Some((Arrived(packet), Sent(self)))
    }

    fn transmit(&mut self, _now: smoltcp::time::Instant) -> Option<Sent<'_>> {
        Some(Sent(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = vec![0; len];
        let result = write(&mut packet);
        let Sent(wire) = self;
        if tcp_of(&packet).is_some_and(|(_, destination, _)| wire.is_own(destination)) {
            wire.incoming.push_back(packet.clone());
            wire.spoken.push(Spoken::Inside(packet));
        } else {
            wire.spoken.push(Spoken::Packet(packet));
        }
        result
    }
}
