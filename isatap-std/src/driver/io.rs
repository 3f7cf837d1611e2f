//! What the driver asks of sockets and devices: the real ones, or ones that fail on
//! purpose.

use super::{Source, Watcher};
use crate::error::Error;
use crate::netlink::Netlink;
use crate::offload::{Joined, VirtioHeader};
use crate::proto41_socket::{Bound, Icmpv4Error, OuterPacket, Proto41Socket, ReceiveBatch, SendCounters, SendFailure};
use crate::tun::{Received, Tun};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

/// The outer side: [`Proto41Socket`] and its like.
pub trait OuterSocket {
    /// See [`Proto41Socket::send`].
    fn send(&self, datagrams: &[OuterPacket<'_>], failed: &mut dyn FnMut(usize, SendFailure)) -> usize;

    /// See [`Proto41Socket::receive`].
    ///
    /// # Errors
    ///
    /// Worth counting, not fatal.
    fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<usize>;

    /// See [`Proto41Socket::receive_icmpv4`].
    ///
    /// # Errors
    ///
    /// Worth counting, not fatal.
    fn receive_icmpv4(&self, buffer: &mut [u8]) -> io::Result<Option<Icmpv4Error>>;

    /// The MTU of the device by which a packet to `destination` would leave, in bytes;
    /// `None` when that cannot be found out.
    fn device_mtu(&self, destination: Ipv4Addr, bound: Bound) -> Option<u16>;

    /// See [`Proto41Socket::listen`]; others know no devices.
    ///
    /// # Errors
    ///
    /// As there.
    fn listen(&mut self, _interfaces: &[u32], _watcher: &Watcher) -> Result<(), Error> {
        Ok(())
    }

    /// Says from now on when there are [packets](Source::Packets) and [ICMPv4
    /// errors](Source::Icmpv4).
    ///
    /// # Errors
    ///
    /// Out of descriptors.
    fn watch(&mut self, watcher: &Watcher) -> Result<(), Error>;

    /// What became of the packets sent so far.
    fn counters(&self) -> SendCounters;

    /// See [`Proto41Socket::receive_drops`], where the kernel says that.
    fn receive_drops(&self) -> Option<u64> {
        None
    }
}

/// The inner side: [`Tun`] and its like.
pub trait Device: AsFd {
    /// The name of the device.
    fn name(&self) -> &str;

    /// See [`Tun::read`].
    ///
    /// # Errors
    ///
    /// As there: `EBADFD` when the device was deleted.
    fn read(&self, buffer: &mut [u8]) -> io::Result<Option<Received>>;

    /// See [`Tun::write`].
    ///
    /// # Errors
    ///
    /// The packet is lost.
    fn write(&self, packet: &[u8], header: &VirtioHeader) -> io::Result<()>;

    /// See [`Tun::write_joined`].
    ///
    /// # Errors
    ///
    /// The packets are lost.
    fn write_joined<'p>(&self, joined: &Joined<'_>, packet: &dyn Fn(usize) -> &'p [u8]) -> io::Result<()>;
}

impl OuterSocket for Proto41Socket {
    fn send(&self, datagrams: &[OuterPacket<'_>], failed: &mut dyn FnMut(usize, SendFailure)) -> usize {
        Proto41Socket::send(self, datagrams, failed)
    }

    fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        Proto41Socket::receive(self, batch)
    }

    fn receive_icmpv4(&self, buffer: &mut [u8]) -> io::Result<Option<Icmpv4Error>> {
        Proto41Socket::receive_icmpv4(self, buffer)
    }

    fn device_mtu(&self, destination: Ipv4Addr, bound: Bound) -> Option<u16> {
        // Asked for a packet that was just refused, and the core's estimate keeps the next
        // ones from being sent: too rare to keep a socket open for.
        let path = Netlink::open().ok()?.ipv4_path_of(destination, bound).ok()?;
        Some(u16::try_from(path.mtu).unwrap_or(u16::MAX))
    }

    fn listen(&mut self, interfaces: &[u32], watcher: &Watcher) -> Result<(), Error> {
        Proto41Socket::listen(self, interfaces, |opened| watcher.watch(opened, Source::Packets))
    }

    fn watch(&mut self, watcher: &Watcher) -> Result<(), Error> {
        watcher.watch(self.packets_fd(), Source::Packets)?;
        watcher.watch(self.icmpv4_fd(), Source::Icmpv4)
    }

    fn counters(&self) -> SendCounters {
        Proto41Socket::counters(self)
    }

    fn receive_drops(&self) -> Option<u64> {
        Proto41Socket::receive_drops(self).ok()
    }
}

impl Device for Tun {
    fn name(&self) -> &str {
        Tun::name(self)
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        Tun::read(self, buffer)
    }

    fn write(&self, packet: &[u8], header: &VirtioHeader) -> io::Result<()> {
        Tun::write(self, packet, header)
    }

    fn write_joined<'p>(&self, joined: &Joined<'_>, packet: &dyn Fn(usize) -> &'p [u8]) -> io::Result<()> {
        Tun::write_joined(self, joined, packet)
    }
}
