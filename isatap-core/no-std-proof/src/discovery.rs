//! Neighbor Discovery: messages, options, what is learned, solicitation, reachability.

use core::net::Ipv4Addr;

use isatap_core::capacity::N;
use isatap_core::engine;
use isatap_core::nd::learned::LinkParameters;
use isatap_core::nd::message::{
    self, Message, NeighborAdvertisementRepr, NeighborSolicitationRepr, RedirectRepr, RouterSolicitationRepr,
};
use isatap_core::nd::neighbor::Neighbors;
use isatap_core::nd::option::{DnsSearchList, DomainName, Mtu, NdOption, Options, RecursiveDnsServers};
use isatap_core::nd::solicit::{Config, Solicitation};
use isatap_core::nd::validate::{self, Received};
use isatap_core::route::Preference;
use isatap_core::wire::field::Writer;

use crate::{Unknown, any, keep};

fn received(unknown: &Unknown) -> Received<'static> {
    Received {
        source: unknown.ipv6(),
        destination: unknown.ipv6(),
        hop_limit: unknown.value(),
        fragmented: unknown.value(),
        icmpv6: unknown.input(),
    }
}

fn options(unknown: &Unknown) -> impl Iterator<Item = NdOption<'static>> {
    Options::new(unknown.input(), unknown.value()).flatten()
}

fn entropy(out: &mut [u8]) {
    out.fill(any(0));
}

crate::roots! {
    validation => |u| {
        let received = received(u);
        keep((validate::router_solicitation(&received).is_ok(), validate::router_advertisement(&received).is_ok(),
             validate::neighbor_solicitation(&received).is_ok(), validate::neighbor_advertisement(&received).is_ok(),
             validate::redirect(&received).is_ok(), validate::message(&received).is_ok()));
        (message::is_neighbor_discovery(u.value()), message::verify(&received.source, &received.destination, received.icmpv6))
    };
    messages => |u| {
        let mut space = [0; 256];
        let mut writer = Writer::new(any(&mut space));
        let message = Message::parse(u.input()).ok()?;
        keep(message.options().as_slice());
        match message {
            Message::RouterSolicitation(message) => keep((message.checksum(), message.options().as_slice())),
            Message::RouterAdvertisement(message) => {
                keep((message.cur_hop_limit(), message.flags(), message.preference(), message.router_lifetime(),
                     message.reachable_time(), message.retrans_timer(), message.checksum()));
                any(message.repr()).emit(&mut writer);
            }
            Message::NeighborSolicitation(message) => {
                keep(message.target());
                any(NeighborAdvertisementRepr::answer(&message, u.value())).emit(&mut writer);
            }
            Message::NeighborAdvertisement(message) => keep((message.target(), message.flags())),
            Message::Redirect(message) => keep((message.target(), message.destination())),
        }
        Some(writer.finish())
    };
    preferences => |u| (Preference::from_flags(u.value()), any(Preference::Medium).to_flags());
    emitters => |u| {
        let (source, destination, target) = (u.ipv6(), u.ipv6(), u.ipv6());
        keep(message::router_solicitation_packet(&source, &destination));
        keep(message::write_packet(&mut u.packet(), &source, &destination, |writer| {
            RouterSolicitationRepr.emit(writer);
            NeighborSolicitationRepr { target }.emit(writer);
            RedirectRepr { target, destination }.emit(writer);
        }));
    };
    walks => |u| {
        let mut space = [0; 256];
        let mut writer = Writer::new(any(&mut space));
        for option in options(u) {
            option.emit(&mut writer);
            match option {
                NdOption::PrefixInformation(option) => option.emit(&mut writer),
                NdOption::RouteInformation(option) => option.emit(&mut writer),
                NdOption::RedirectedHeader(option) => option.emit(&mut writer),
                NdOption::Mtu(option) => option.emit(&mut writer),
                NdOption::RecursiveDnsServers(option) => {
                    option.emit(&mut writer);
                    keep((option.lifetime(), option.addresses().count()));
                }
                NdOption::DnsSearchList(option) => {
                    option.emit(&mut writer);
                    keep((option.lifetime(), option.names().count()));
                }
                NdOption::Unknown(option) => keep((option.option_type(), option.as_slice(), option.body())),
                _ => {}
            }
        }
        RecursiveDnsServers::emit_list(u.lifetime(), any(&[u.ipv6()]), &mut writer);
        if let Some(name) = DomainName::from_wire(u.input()) {
            keep((name.as_slice(), name.is_hostname(), name.labels().count(), name.is_same(&any(name))));
            DnsSearchList::emit_list(u.lifetime(), core::iter::once(name), &mut writer);
        }
        writer.finish()
    };
    parameters => |u| {
        let mut parameters = any(LinkParameters::DEFAULT);
        if let Ok(Message::RouterAdvertisement(advertisement)) = Message::parse(u.input()) {
            keep(parameters.learn(u.now(), &advertisement));
        }
        keep(parameters.learn_mtu(Mtu(u.value()), u.value()));
        parameters.handle_timeout(u.now(), &mut entropy);
        (parameters.deadline(), parameters.cur_hop_limit(), parameters.reachable_time(), parameters.retrans_timer(),
         parameters.mtu())
    };
    solicitation => |u| {
        let mut solicitation = any(Solicitation::IDLE);
        let config = any(Config::DEFAULT);
        solicitation.start(u.now(), u.value(), &config);
        keep(solicitation.handle_timeout(u.now(), &config, &mut entropy));
        keep((solicitation.deadline(), solicitation.attempts(), solicitation.phase()));
        solicitation.answered();
        engine::uniform(&mut entropy, u.duration(), u.duration())
    };
    neighbors => |u| {
        let mut neighbors = any(Neighbors::<Ipv4Addr, N<4>>::EMPTY);
        neighbors.set_times(u.duration(), u.duration());
        keep((neighbors.note_sent(u.now(), u.ipv4()), neighbors.probe(u.now(), u.ipv4())));
        neighbors.confirm(u.now(), u.ipv4());
        keep(neighbors.advertised(u.now(), u.ipv4(), u.value(), u.value()));
        neighbors.heard_router(u.ipv4());
        neighbors.doubt(u.now(), u.ipv4());
        neighbors.handle_timeout(u.now());
        keep(neighbors.next_probe(u.now()));
        neighbors.probe_sent(u.now(), u.ipv4());
        keep((neighbors.next_failed(), neighbors.deadline(), neighbors.reachability(u.ipv4())));
        for neighbor in neighbors.iter() {
            keep((neighbor.key(), neighbor.reachability(), neighbor.is_router(), neighbor.probes()));
        }
        neighbors.forget(u.ipv4());
        neighbors.clear();
    };
}
