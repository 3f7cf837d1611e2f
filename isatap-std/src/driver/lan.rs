//! LANs behind tunnels: their routers' Neighbor Discovery.

use super::{Driver, Source, Token};
use crate::error::Error;
use crate::nd_socket::NdSocket;
use isatap_core::capacity::Capacity;
use isatap_core::datapath::Remember;
use isatap_core::engine::Verdict;
use isatap_core::interface::Interface;
use isatap_core::node::Node;
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use std::os::fd::AsFd;

/// A native link of the machine's on which it advertises.
#[derive(Debug)]
pub(super) struct LanPort {
    link: LinkId,
    socket: NdSocket,
    sent: u64,
}

impl LanPort {
    pub(super) fn is_of(&self, link: LinkId) -> bool {
        self.link == link
    }

    /// Whether the kernel took it.
    pub(super) fn send(&mut self, packet: &[u8]) -> bool {
        let sent = self.socket.send(packet).is_ok();
        self.sent += u64::from(sent);
        sent
    }
}

/// Solicitations handled in a row.
const BATCH: usize = 16;

impl<M, S, D> Driver<M, S, D> {
    /// Sends what the machine sends by the native link `link` through `socket`, instead of one
    /// before. When the socket is readable, `token` is: call [`hear_lan`](Self::hear_lan) then.
    ///
    /// # Errors
    ///
    /// Out of descriptors.
    pub fn attach_lan(&mut self, link: LinkId, socket: NdSocket, token: Token) -> Result<(), Error> {
        self.detach_lan(link);
        self.watcher.watch(socket.as_fd(), Source::Owner(token))?;
        self.lans.push(LanPort { link, socket, sent: 0 });
        Ok(())
    }

    /// Closes the socket of a native link.
    pub fn detach_lan(&mut self, link: LinkId) {
        self.lans.retain(|lan| lan.link != link);
    }

    /// Packets sent by the native link `link`, since its socket was attached.
    pub fn lan_packets(&self, link: LinkId) -> u64 {
        self.lans.iter().find(|lan| lan.link == link).map_or(0, |lan| lan.sent)
    }
}

impl<I: Interface<C>, C: Capacity, K: Remember, S, D, const LINKS: usize> Driver<Node<I, C, LINKS, K>, S, D> {
    /// Hands what waits at the socket of a native link to the machine.
    pub fn hear_lan(&mut self, link: LinkId) {
        for _ in 0..BATCH {
            let Some(lan) = self.lans.iter().find(|lan| lan.link == link) else { return };
            let Some(space) = self.scratch.get_mut(HEADROOM..) else { return };
            let length = match lan.socket.receive(space) {
                Ok(Some(length)) => length,
                Ok(None) => return,
                Err(_) => {
                    self.out.counters.receive_failed += 1;
                    return;
                }
            };
            let now = self.clock.now();
            if let Ok(mut packet) = PacketMut::new(&mut self.scratch, HEADROOM..HEADROOM + length) {
                // Taken or dropped: a solicitation becomes nothing else.
                if let Verdict::Drop(reason) = self.machine.forward_native(now, link, &mut packet) {
                    self.out.claimed(None).count(reason);
                }
            }
        }
    }
}
