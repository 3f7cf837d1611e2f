//! The stack as the system of the port proxy.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use isatap_core::time::Instant;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{RecvError, Socket, State};

use super::super::User;
use super::{Is, Stack};
use crate::portproxy::{Cut, End, Id, Opened, Refusal, Rule, System, Taken};
use crate::resolve::Name;
use crate::spec::{Family, ZonedAddress};

impl System for Stack {
    type Stream = SocketHandle;
    type Piece = Infallible;

    fn has_room(&mut self, _rule: &Rule, _client: &SocketHandle, _now: Instant) -> bool {
        true
    }

    fn watch(&mut self, id: Id, client: &SocketHandle) -> Result<(), Refusal> {
        self.give(*client, User::Proxy(id, false));
        if let Some(remote) = self.remote(*client) {
            self.clients.insert(*client, remote.ip());
        }
        Ok(())
    }

    fn place(&self, address: &ZonedAddress, port: u16) -> Result<SocketAddr, Refusal> {
        Ok(SocketAddr::new(address.address, port))
    }

    fn addresses(&mut self, _name: &Name, _family: Family, _id: Id, _now: Instant) -> Option<Vec<IpAddr>> {
        // Scenarios with a name for a target are refused.
        Some(Vec::new())
    }

    fn connect(
        &mut self,
        _rule: &Rule,
        id: Id,
        to: SocketAddr,
        _now: Instant,
    ) -> Result<Opened<SocketHandle>, Refusal> {
        Ok(self.dial(to, User::Proxy(id, true)))
    }

    fn connected(&mut self, server: &SocketHandle) -> Result<(), Refusal> {
        match self.is(*server) {
            Is::Broken if self.lost.contains(server) => Err(Refusal::Unreachable),
            Is::Broken => Err(Refusal::Target),
            _ => Ok(()),
        }
    }

    fn ends(&self, client: &SocketHandle) -> io::Result<(SocketAddr, SocketAddr)> {
        self.remote(*client).zip(self.local(*client)).ok_or_else(|| ErrorKind::NotConnected.into())
    }

    fn read(&mut self, from: &SocketHandle, buffer: &mut [u8]) -> io::Result<usize> {
        match self.sockets.get_mut::<Socket<'_>>(*from).recv_slice(buffer) {
            Ok(0) => Err(ErrorKind::WouldBlock.into()),
            Ok(count) => {
                self.is_changed = true;
                Ok(count)
            }
            Err(RecvError::Finished) => Ok(0),
            Err(RecvError::InvalidState) => Err(ErrorKind::ConnectionReset.into()),
        }
    }

    fn write(&mut self, to: &SocketHandle, bytes: &[u8]) -> io::Result<usize> {
        match self.sockets.get_mut::<Socket<'_>>(*to).send_slice(bytes) {
            Ok(0) => Err(ErrorKind::WouldBlock.into()),
            Ok(count) => {
                self.is_changed = true;
                Ok(count)
            }
            Err(_) => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn shutdown(&mut self, stream: &SocketHandle) -> io::Result<()> {
        self.sockets.get_mut::<Socket<'_>>(*stream).close();
        self.is_changed = true;
        Ok(())
    }

    fn take(&mut self, _from: &SocketHandle) -> io::Result<Taken<Infallible>> {
        Ok(Taken::Never)
    }

    fn give(&mut self, piece: &Infallible, _left: usize, _to: &SocketHandle) -> io::Result<usize> {
        match *piece {}
    }

    fn recycle(&mut self, piece: Infallible) {
        match piece {}
    }

    fn queued(&self, stream: &SocketHandle) -> u64 {
        self.unacknowledged(*stream) as u64
    }

    fn close(&mut self, stream: SocketHandle) {
        self.sockets.get_mut::<Socket<'_>>(stream).close();
        self.users.remove(&stream);
        self.is_changed = true;
    }

    fn reset(&mut self, stream: SocketHandle) {
        self.is_changed = true;
        self.dialled.retain(|(handle, _, _)| *handle != stream);
        let socket = self.sockets.get_mut::<Socket<'_>>(stream);
        if socket.state() == State::SynSent {
            // Nobody has answered, so there is nobody to tell.
            return self.remove(stream);
        }
        socket.abort();
        self.users.remove(&stream);
    }

    fn ended(&mut self, rule: &Rule, client: &SocketHandle, end: End) {
        let at = &rule.spec.listen;
        let client = self.clients.get(client).copied().or_else(|| Some(self.remote(*client)?.ip()));
        let client = client.map(|client| client.to_string()).unwrap_or_default();
        match end {
            End::Over => {}
            End::Cut(Cut::Idle) => self.tell(format!("{at}: resets {client} and its target, which were idle")),
            End::Cut(_) => self.tell(format!("{at}: {client} or its target has reset, so both are")),
            End::Refused(why) => self.tell(format!("{at}: resets {client}: {}", why.as_str())),
        }
    }
}
