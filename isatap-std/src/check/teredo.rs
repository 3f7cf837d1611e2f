//! A Teredo client of a [`Checker`](super::Checker), in the middle of its life: qualified, and
//! in touch with no peer.

use std::net::SocketAddrV4;

use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Admitted, Machine, Transmit, Verdict, Via};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::proto41::Outer;
use isatap_core::teredo::addr::{Address, SERVER_PORT};
use isatap_core::teredo::client::Client;
use isatap_core::teredo::ingress::{self, Path};
use isatap_core::teredo::server::{Server, ServerConfig};
use isatap_core::time::Instant;
use isatap_core::wire::ipv4;

use super::{Decision, Judgement, Mechanism, Trial, whole};
use crate::error::Error;
use crate::resolve::Entry;
use crate::spec;

/// The client.
#[derive(Clone)]
pub(super) struct TeredoClient {
    client: Box<Client>,
    own: Address,
    /// Where it is, as the capture shows it.
    mapped: SocketAddrV4,
    now: Instant,
}

/// Rounds of asking and answering; a cooperative server needs a few.
const ROUNDS: usize = 64;
/// Room for what a server writes.
const ROOM: usize = 1500;

impl TeredoClient {
    /// A client that a server of this library's has qualified, without a NAT between them.
    pub(super) fn new(spec: &spec::TeredoClient, mapped: Option<SocketAddrV4>) -> Result<Self, Error> {
        let refused = |why: &'static str| Error::usage("check", &spec.dev, why);
        let Entry::Address(server) = *spec.server.entry() else {
            return Err(refused("names are not resolved").with_advice("give its server by IPv4 address"));
        };
        let Some(mapped) = mapped else {
            let error = refused("how its NAT shows it is known only while it runs");
            return Err(error.with_advice("use --link teredo --local V4:PORT --server V4 instead of the file"));
        };
        let config = spec.config(mapped.port());
        let mut of_server = ServerConfig::new(server);
        of_server.secondary = spec.secondary.unwrap_or(of_server.secondary);
        of_server.accept_bogons = spec.accept_bogons;
        let mut client = Box::new(Client::new(config, LinkId(0)));
        let mut server = Server::new(of_server, LinkId(0));
        let mut entropy = |out: &mut [u8]| out.fill(0x5a);
        let mut now = Instant::from_secs(1);
        client.set_locator(now, Some((*mapped.ip()).into()));
        server.handle_timeout(now, &mut entropy);
        for _ in 0..ROUNDS {
            if let Some(own) = client.address().as_ref().and_then(Address::from_ipv6) {
                return Ok(Self { client, own, mapped, now });
            }
            client.handle_timeout(now, &mut entropy);
            while client.poll_event().is_some() {}
            exchange(now, &mut client, &mut server);
            match client.poll_timeout() {
                Some(next) => now = now.max(next),
                None => break,
            }
        }
        let error = Error::usage("make a Teredo client at", mapped, "it and its server need global IPv4 addresses");
        Err(error.with_advice("add --accept-bogons in a lab with documentation addresses"))
    }

    pub(super) fn mapped(&self) -> SocketAddrV4 {
        self.mapped
    }

    /// Judges a packet; `None`: it is not for this client.
    pub(super) fn judge(&self, packet: &[u8]) -> Option<Judgement> {
        let header = ipv4::Header::parse_quoted(packet).ok()?;
        if header.destination() != *self.mapped.ip() {
            return None;
        }
        let mut buffer = [vec![0; HEADROOM], packet.to_vec()].concat();
        let end = buffer.len();
        let mut payload = PacketMut::new(&mut buffer, HEADROOM..end).ok()?;
        let taken = Outer::pull(&mut payload).and_then(|outer| Ok((outer, Path::of(&outer)?)));
        if matches!(taken, Ok((_, path)) if path.to != self.mapped) {
            return None;
        }
        // TUN-10: no link is asked about a fragment, as with protocol 41. The first one has the port.
        if matches!(taken, Err(DropReason::OuterFragment)) {
            let is_for = |(_, port): (u16, u16)| port == self.mapped.port();
            return whole::ports(packet, &header)
                .is_none_or(is_for)
                .then(|| Judgement::dropped(DropReason::OuterFragment));
        }
        let outcome = taken.and_then(|(outer, path)| self.admit(&outer, &path, &mut payload));
        let trial = outcome.map_or_else(Trial::Refused, Trial::Admitted);
        let decision = if outcome.is_ok() { Decision::Accept } else { Decision::Drop };
        Some(Judgement {
            admitted: outcome.ok().map(|from| (Mechanism::Teredo, from)),
            reason: outcome.err(),
            trials: vec![(Mechanism::Teredo, trial)],
            ..Judgement::new(decision)
        })
    }

    fn admit(&self, outer: &Outer, path: &Path, payload: &mut PacketMut<'_>) -> Result<Admitted, DropReason> {
        // TER-2: twelve bits of an address are drawn, and nobody knows which a running
        // client has drawn.
        if let Ok((datagram, header)) = ingress::parse(payload.as_slice())
            && let Some(to) = Address::from_ipv6(&header.destination())
            && (Address { flags: self.own.flags, ..to }) == self.own
        {
            let at = datagram.inner_range().start + DESTINATION;
            if let Some(bytes) = payload.as_mut_slice().get_mut(at..at + 16) {
                bytes.copy_from_slice(&self.own.to_ipv6().octets());
            }
        }
        let servers = self.client.config().qualify.servers();
        let from_server = path.from.port() == SERVER_PORT && servers.contains(path.from.ip());
        match self.client.clone().decapsulate(self.now, outer, payload) {
            // Nor which nonce it has sent to its server.
            Verdict::Drop(DropReason::TeredoNonce) if from_server => Ok(Admitted::Router),
            Verdict::Drop(reason) => Err(reason),
            // Its source embeds where it came from.
            Verdict::Deliver { .. } if !from_server => Ok(Admitted::Host),
            // It would be asked for a proof first.
            Verdict::Hold { .. } => Ok(Admitted::UnverifiedRelay),
            _ if from_server => Ok(Admitted::Router),
            _ => Ok(Admitted::Host),
        }
    }
}

/// Where an IPv6 header has its destination.
const DESTINATION: usize = 24;

/// Carries what the client asks to the server, and the answers back.
fn exchange(now: Instant, client: &mut Client, server: &mut Server) {
    let mut buffer = vec![0; HEADROOM + ROOM];
    let mut packet = PacketMut::empty(&mut buffer);
    while let Ok(Some(Transmit { outer: Some(asked), .. })) = client.poll_transmit(&mut packet) {
        let verdict = server.decapsulate(now, &asked, &mut packet);
        if let Verdict::Answer { via: Via::Tunnel { outer, .. }, .. } | Verdict::Tunnel { outer, .. } = verdict {
            client.decapsulate(now, &outer, &mut packet);
        }
    }
}
