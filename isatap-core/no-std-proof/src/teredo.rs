//! Teredo: packets, ingress, peers, qualification; client, server and relay.

use core::net::SocketAddrV4;

use isatap_core::capacity::Row;
use isatap_core::engine::{Carried, Machine, Verdict};
use isatap_core::link::Locator;
use isatap_core::proto41::Outer;
use isatap_core::teredo::addr::{Address, SERVER_PORT};
use isatap_core::teredo::authentication::{self, Authenticator, Open, VALUE_LEN};
use isatap_core::teredo::client::{Client, ClientConfig};
use isatap_core::teredo::ingress::{self, ClientView, Path, Reach, ServerView};
use isatap_core::teredo::packet::{self, Authentication, Bubble, Datagram, KnownTrailers, Trailer, Trailers};
use isatap_core::teredo::peer::{Peer, PeerTable};
use isatap_core::teredo::qualify::{self, NatKind, OfflineReason, Qualification, QualifyConfig};
use isatap_core::teredo::relay::{Relay, RelayConfig, Wait};
use isatap_core::teredo::server::{Server, ServerConfig};
use isatap_core::wire::field::Writer;
use isatap_core::wire::ipv6;

use crate::machines::{drive, locators};
use crate::packets::outer;
use crate::{Unknown, any, keep};

type AnyClient = Client<[Peer; 64], Anybody, 16>;
type AnyRelay = Relay<[Peer; 64], [Wait; 16]>;

/// Secrets and hashes of which nothing is known.
struct Anybody;

impl Authenticator for Anybody {
    fn client_id(&self) -> Option<&[u8]> {
        any(Some(&[]))
    }

    fn hmac_sha1(&self, client_id: &[u8], parts: &[&[u8]]) -> Option<[u8; VALUE_LEN]> {
        keep((client_id, parts));
        any(None)
    }
}

fn entropy(out: &mut [u8]) {
    out.fill(any(0));
}

fn endpoint(u: &Unknown) -> SocketAddrV4 {
    any(SocketAddrV4::new(u.ipv4(), u.value()))
}

fn path(u: &Unknown) -> Path {
    any(Path { from: endpoint(u), to: endpoint(u) })
}

fn locator(u: &Unknown) -> Locator {
    any(Locator { address: u.ipv4(), subnet_length: u.value() })
}

fn reach(u: &Unknown) -> Reach<'static> {
    any(Reach { own: locators(), accept_bogons: u.value() })
}

fn address(u: &Unknown) -> Option<Address> {
    any(Address::from_ipv6(&u.ipv6()))
}

fn qualify_config(u: &Unknown) -> QualifyConfig {
    any(QualifyConfig::new(u.ipv4()))
}

fn peers() -> PeerTable<[Peer; 64]> {
    any(PeerTable::new())
}

/// What is asked of a machine whose packets somebody else carries.
fn shorten(machine: &mut impl Machine, u: &Unknown) {
    keep((machine.generation(), machine.last_sends(), machine.last_admits()));
    let (link, destination, peer) = (u.link(), any(Some(u.ipv4())), u.ipv6());
    keep(machine.poll_void());
    machine.carried(u.now(), &Carried { link, device: link, destination, peer, since: u.now(), packets: u.value() });
}

fn client(u: &Unknown) -> AnyClient {
    any(Client::with_parts(any(ClientConfig::new(u.ipv4(), u.value())), u.link(), Anybody, peers()))
}

fn server(u: &Unknown) -> Server<Anybody> {
    any(Server::with_authenticator(any(ServerConfig::new(u.ipv4())), u.link(), Anybody))
}

fn relay(u: &Unknown) -> AnyRelay {
    any(Relay::with_tables(any(RelayConfig::new(locator(u), u.value())), u.link(), peers(), any([Wait::EMPTY; 16])))
}

crate::roots! {
    datagrams => |u| {
        let datagram = any(Datagram::parse(u.input()).ok()?);
        keep((datagram.authentication(), datagram.origin(), datagram.ipv6(), datagram.inner_range(), datagram.trailer_bytes()));
        keep(ipv6::Header::parse(datagram.ipv6()).is_ok_and(|header| packet::is_bubble(&header)));
        let mut space = [0; 600];
        let mut writer = Writer::new(any(&mut space));
        for trailer in datagram.trailers() {
            trailer.emit(&mut writer);
            if let Trailer::AlternateAddress(alternates) = trailer {
                for alternate in alternates.addresses().into_iter().flatten() {
                    keep(alternate);
                }
            }
        }
        keep(Trailers::new(u.input()).collect_known());
        Some(writer.finish())
    };
    headers => |u| {
        let (header, len) = Authentication::parse(u.input()).ok()?;
        keep((len, header.encoded_len(), authentication::is_valid(&Anybody, &header, u.input(), u.input())));
        keep((Open.client_id().is_none(), Open.is_required(), Open.hmac_sha1(u.input(), any(&[u.input()]))));
        let mut space = [0; 600];
        let mut writer = Writer::new(any(&mut space));
        any(header).emit(&mut writer);
        any(Bubble::new(u.ipv6(), u.ipv6())).emit(&mut writer);
        any(Bubble::discovery(u.ipv6())).emit(&mut writer);
        packet::emit_alternates(&mut writer, any(&[endpoint(u)]));
        writer.bytes(&packet::origin_bytes(endpoint(u)));
        let origin = endpoint(u);
        keep(packet::push_origin(&mut u.packet(), origin));
        Some(writer.finish())
    };
    classes => |u| {
        keep((ingress::is_global_unicast(u.ipv4()), ingress::is_usable(u.ipv4(), u.value()), ingress::is_native_global(&u.ipv6())));
        let reach = reach(u);
        keep((reach.may_send_to(endpoint(u)), reach.may_ask(u.ipv4()), reach.may_send_to_alternate(endpoint(u))));
        keep(address(u).as_ref().map(|address| reach.may_reach(address)));
        keep(address(u).as_ref().map(ingress::embedded_mapping));
        keep((Path::of(&outer(u)), Outer::udp(endpoint(u), endpoint(u))));
    };
    ingresses => |u| {
        let (datagram, header) = any(ingress::parse(u.input()).ok()?);
        let peers = peers();
        let peer = any(peers.find(&u.ipv6()));
        let view = any(ClientView {
            servers: [u.ipv4(), u.ipv4()],
            address: any(Some(u.ipv6())),
            peer,
            secret_source: any(Some(u.ipv6())),
            testing: u.value(),
            local: any(Some(endpoint(u))),
            discovery: u.value(),
            reach: reach(u),
        });
        let trailers = any(KnownTrailers::default());
        keep(ingress::client(&view, path(u), &datagram, &header, &trailers));
        keep(ingress::data(u.input()).map(|header| ingress::is_trusted(&view, path(u), &header)));
        let view = any(ServerView { addresses: [u.ipv4(), u.ipv4()], known_servers: any(&[]), accept_symmetric_bubbles: u.value(), reach: reach(u), accept_obsolete_prefix: u.value() });
        keep((view.client(&u.ipv6()), view.is_server(endpoint(u)), ingress::server(&view, endpoint(u), &header)));
        Some(ingress::relay(peer, any(Some(&u.ipv6())), endpoint(u), &header, reach(u)))
    };
    one_peer => |u| {
        let mut peers = peers();
        let peer = any(peers.find_or_insert(u.now(), &u.ipv6()).ok()?);
        peer.trust(u.now(), endpoint(u), u.value());
        peer.note_received(u.now());
        peer.note_sent(u.now());
        peer.ask();
        peer.note_bubble(u.now());
        peer.set_test_nonce(u.array());
        peer.set_nonce_sent(u.array());
        peer.set_nonce_received(u.array());
        peer.set_symmetric();
        keep((peer.address(), peer.mapping(), peer.is_trusted(), peer.is_verified(), peer.is_reachable(u.now()),
             peer.is_trusted_at(endpoint(u))));
        keep((peer.was_heard_within(u.now(), u.duration()), peer.was_sent_within(u.now(), u.duration()),
             peer.may_get_bubble(u.now()), peer.may_get_answer(u.now())));
        keep((peer.test_nonce(), peer.nonce_sent(), peer.nonce_received(), peer.is_symmetric()));
        peer.begin_test(u.array());
        peer.distrust();
        Some(())
    };
    peer_tables => |u| {
        let mut table = any(PeerTable::with_storage(any([Peer::EMPTY; 8])));
        table.rekey([u.value(), u.value()]);
        keep(table.find_or_insert_asked(u.now(), &u.ipv6()).is_ok());
        keep((table.capacity(), table.iter().count(), table.find(&u.ipv6()).map(Peer::address)));
        keep(table.find_mut(&u.ipv6()).map(|peer| peer.mapping()));
        table.remove(&u.ipv6());
        table.clear();
        // A slice of unknown length, as of who allocates.
        let mut rows = [Peer::EMPTY; 8];
        let len: usize = u.value();
        let mut slice = any(PeerTable::with_storage(rows.get_mut(..len)?));
        keep(slice.find_or_insert(u.now(), &u.ipv6()).is_ok());
        Some(())
    };
    qualification => |u| {
        let config = qualify_config(u);
        let mut machine = any(Qualification::new());
        machine.start(u.now(), &config);
        keep(machine.handle_timeout(u.now(), &config, &mut entropy));
        keep((machine.stage(), machine.mapping(), machine.nat(), machine.last_heard()));
        machine.note_heard(u.now());
        keep((machine.wanted(&config), machine.deadline(), config.servers()));
        machine.sent();
        keep((any(NatKind::Cone).as_str(), any(OfflineReason::NotStarted).as_str()));
        let datagram = any(Datagram::parse(u.input()).ok()?);
        if let Ok(advertisement) = qualify::judge(&config, path(u), &datagram) {
            keep(machine.on_advertisement(u.now(), &config, &any(advertisement)));
        }
        machine.stop();
        Some(())
    };
    clients => |u| {
        keep(any(Client::<[Peer; 4]>::new(any(ClientConfig::new(u.ipv4(), u.value())), u.link())).config());
        let mut client = client(u);
        client.set_locator(u.now(), any(Some(locator(u))));
        client.set_servers(u.now(), u.ipv4(), any(Some(u.ipv4())));
        client.ask_server(u.now());
        client.restart(u.now());
        client.port_mapped(any(Some(endpoint(u))));
        client.port_failed(u.now(), u.value());
        keep((client.address(), client.status(), client.peers().capacity(), client.counters().total_dropped()));
        let now = u.now();
        let verdict = client.decapsulate(now, &outer(u), &mut u.packet());
        keep(matches!(verdict, Verdict::Hold { .. }));
        let mut counters = *client.counters();
        counters.count_verdict(&any(verdict));
        keep(counters.total_dropped());
    };
    client_machines => |u| {
        let mut client = client(u);
        drive(&mut client, u);
        shorten(&mut client, u);
    };
    servers => |u| {
        keep(any(Server::new(any(ServerConfig::new(u.ipv4())), u.link())).config());
        let server = server(u);
        keep((server.link_local(), server.counters().total_dropped(), SERVER_PORT));
    };
    server_machines => |u| drive(&mut server(u), u);
    relays => |u| {
        keep(any(Relay::<[Peer; 4], [Wait; 4]>::new(any(RelayConfig::host_specific(locator(u), u.value(), any(&[]))), u.link())).config());
        let relay = relay(u);
        keep((relay.peers().capacity(), relay.counters().total_dropped()));
    };
    relay_machines => |u| {
        let mut relay = relay(u);
        drive(&mut relay, u);
        shorten(&mut relay, u);
    };
}
