//! Packets between peers that know each other, for who carries them elsewhere.
//!
//! That is data without TCP, of which each packet changes nothing but when its peer was heard or spoken to: he
//! says so afterwards. TCP is the machine's: sockets take it in pieces of 64 KiB.

use core::net::{Ipv6Addr, SocketAddrV4};

use super::packet::MTU;
use super::peer::{Peer, PeerTable, Stamp};
use crate::capacity::Storage;
use crate::drop_reason::Counters;
use crate::engine::{Admits, Carried, Sends};
use crate::packet::LinkId;
use crate::proto41::Outer;
use crate::time::{Expiry, Instant};
use crate::wire::protocol;

/// The packet that a machine had last.
#[derive(Clone, Copy, Debug)]
pub(super) enum Last {
    /// The machine is to see its like.
    Seen,
    /// To a peer that is reachable; from this source.
    Sent(Known),
    /// Data from a peer with which nothing is under way; to this destination.
    Came(Known),
}

/// A packet of a peer, as it was before it was noted. What follows from it is judged when somebody asks: most
/// machines have nobody who does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) place: usize,
    /// The end that is not the peer.
    pub(super) end: Ipv6Addr,
    /// The last packet that way before it.
    pub(super) before: Stamp,
    pub(super) next_header: u8,
}

impl Known {
    /// `noted`: when the packet itself came or went.
    fn peer<S: Storage<Peer>>(self, peers: &PeerTable<S>, noted: fn(&Peer) -> Stamp) -> Option<&Peer> {
        let is_data = self.next_header != protocol::TCP;
        peers.at(self.place).filter(|peer| is_data && peer.is_settled() && noted(peer).is_soon_after(self.before))
    }
}

impl Last {
    /// By a link that sends from `local`.
    pub(super) fn sends<S: Storage<Peer>>(
        self,
        peers: &PeerTable<S>,
        link: LinkId,
        local: SocketAddrV4,
    ) -> Option<Sends> {
        let Last::Sent(known) = self else { return None };
        let (source, peer) = (known.end, known.peer(peers, Peer::sent)?);
        let outer = Outer::udp(local, peer.mapping());
        Some(Sends {
            source,
            destination: peer.address(),
            link,
            outer_source: outer.source,
            outer_destination: outer.destination,
            ports: outer.ports,
            mtu: MTU,
            tos: outer.tos,
            tos_mask: 0,
            ttl: outer.ttl,
            until: peer.reachable_until(),
            again: true,
        })
    }

    /// By a link that is sent to at `local`.
    pub(super) fn admits<S: Storage<Peer>>(
        self,
        peers: &PeerTable<S>,
        link: LinkId,
        local: SocketAddrV4,
    ) -> Option<Admits> {
        let Last::Came(known) = self else { return None };
        let (destination, peer) = (known.end, known.peer(peers, Peer::received)?);
        let outer = Outer::udp(peer.mapping(), local);
        Some(Admits {
            source: peer.address(),
            destination,
            outer_source: outer.source,
            outer_destination: outer.destination,
            ports: outer.ports,
            link,
            awaited: false,
            until: Expiry::NEVER,
            again: true,
        })
    }
}

/// Counts what was carried, and notes that its peer was spoken to or heard: not later than is sure. Who looks late, after
/// a night's sleep, has nobody believed to be where he was heard the evening before. [RFC 4380 §5.2.4]
///
/// Until when packets go to him by now.
pub(super) fn note<S: Storage<Peer>>(
    peers: &mut PeerTable<S>,
    counters: &mut Counters<u64>,
    now: Instant,
    carried: &Carried,
) -> Option<Expiry> {
    let by_kind = if carried.destination.is_some() { &mut counters.tunnelled } else { &mut counters.delivered };
    *by_kind = by_kind.saturating_add(carried.packets);
    counters.entered = counters.entered.saturating_add(carried.packets);
    let at = carried.since.min(now);
    let peer = peers.find_mut(&carried.peer)?;
    match carried.destination {
        Some(_) => peer.note_sent(at),
        // Nobody else is believed to have been heard where it is trusted.
        None if peer.is_settled() => peer.note_received(at),
        None => {}
    }
    carried.destination.map(|_| peer.reachable_until())
}

#[cfg(test)]
pub(super) mod told {
    //! What a machine has told, judged by what it does.
    #![allow(clippy::arithmetic_side_effects)]

    use super::*;
    use crate::engine::{Machine, Verdict};
    use crate::packet::{HEADROOM, PacketMut};
    use std::vec;
    use std::vec::Vec;

    /// A decision, and while which number it holds.
    #[derive(Clone, Copy, Debug)]
    pub(in crate::teredo) enum Told {
        Sends(u32, Sends),
        Admits(u32, Admits),
    }

    /// After a packet: what holds no more goes, and what was told comes.
    pub(in crate::teredo) fn hear(told: &mut Vec<Told>, machine: &mut impl Machine) {
        forget(told, machine);
        told.extend(Told::of(machine));
    }

    pub(in crate::teredo) fn forget(told: &mut Vec<Told>, machine: &mut impl Machine) {
        while let Some(peer) = machine.poll_void() {
            told.retain(|told| told.peer() != peer);
        }
    }

    impl Told {
        fn of(machine: &impl Machine) -> Option<Self> {
            let generation = machine.generation();
            let sends = machine.last_sends().map(|sends| Told::Sends(generation, sends));
            sends.or_else(|| machine.last_admits().map(|admits| Told::Admits(generation, admits)))
        }

        fn peer(&self) -> Ipv6Addr {
            match self {
                Told::Sends(_, sends) => sends.destination,
                Told::Admits(_, admits) => admits.source,
            }
        }

        pub(in crate::teredo) fn is_current(&self, machine: &impl Machine, now: Instant) -> bool {
            match self {
                Told::Sends(generation, sends) => *generation == machine.generation() && !sends.until.is_due(now),
                Told::Admits(generation, _) => *generation == machine.generation(),
            }
        }

        /// A packet of that kind, handed to the machine, ends as was told.
        pub(in crate::teredo) fn hold(&self, now: Instant, machine: &mut impl Machine) {
            let (source, destination) = match self {
                Told::Sends(_, sends) => (sends.source, sends.destination),
                Told::Admits(_, admits) => (admits.source, admits.destination),
            };
            let mut bytes: Vec<u8> = vec![0; HEADROOM];
            bytes.extend([0x60, 0, 0, 0, 0, 12, protocol::UDP, 64]);
            bytes.extend(source.octets().into_iter().chain(destination.octets()).chain([7; 12]));
            let end = bytes.len();
            let mut packet = PacketMut::new(&mut bytes, HEADROOM..end).unwrap();
            match self {
                Told::Sends(_, told) => {
                    let Verdict::Tunnel { link, outer } = machine.encapsulate(now, &mut packet) else {
                        panic!("{self:?}")
                    };
                    let ends = (outer.source, outer.destination, outer.ports);
                    assert_eq!((link, ends), (told.link, (told.outer_source, told.outer_destination, told.ports)));
                    assert_eq!((outer.tos, outer.ttl, outer.dont_fragment), (told.tos, told.ttl, false));
                }
                Told::Admits(_, told) => {
                    let ports = told.ports.unwrap();
                    let from = SocketAddrV4::new(told.outer_source, ports.0);
                    let to = SocketAddrV4::new(told.outer_destination, ports.1);
                    let verdict = machine.decapsulate(now, &Outer::udp(from, to), &mut packet);
                    assert!(
                        matches!(verdict, Verdict::Deliver { link, .. } if link == told.link),
                        "{verdict:?}: {self:?}"
                    );
                    // Nobody waited for it.
                    assert_eq!(machine.poll_event(), None, "{self:?}");
                }
            }
        }
    }
}
