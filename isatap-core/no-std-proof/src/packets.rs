//! Time, prefixes, buffers, wire formats, protocol 41.

use isatap_core::drop_reason::{Counters, DropReason};
use isatap_core::engine::Verdict;
use isatap_core::error::{EmitError, Layer, ParseError, ParseErrorKind, Table, TableFull};
use isatap_core::isatap::{addr, ingress};
use isatap_core::link::{Admitted, InterfaceAddress, LinkKind, OuterPolicy, TtlMode};
use isatap_core::prefix;
use isatap_core::proto41::ecn::{self, Ecn, EcnMode, TosMode};
use isatap_core::proto41::icmp::TunnelError;
use isatap_core::proto41::identification::{Bucket, Identifications};
use isatap_core::proto41::mtu::{self, MtuMode};
use isatap_core::proto41::{self, Flow, Outer, Template};
use isatap_core::time::{Duration, Expiry, Instant, Lifetime};
use isatap_core::wire::checksum::{self, Sum};
use isatap_core::wire::field::{self, Writer};
use isatap_core::wire::{icmpv4, icmpv6, ipv4, ipv6, udp};

use crate::{Unknown, any, keep};

pub(crate) fn outer(unknown: &Unknown) -> Outer {
    Outer {
        source: unknown.ipv4(),
        destination: unknown.ipv4(),
        ports: any(None),
        tos: unknown.value(),
        ttl: unknown.value(),
        dont_fragment: unknown.value(),
        identification: unknown.value(),
    }
}

/// Any flow at all, of which nothing was checked.
fn flow(unknown: &Unknown) -> Option<Flow> {
    any(Flow::parse(unknown.input()).ok())
}

crate::roots! {
    instants => |u| {
        let (one, other) = (u.now(), u.now());
        (one.saturating_add(u.duration()), one.saturating_duration_since(other), one.micros(),
         Instant::from_millis(u.value()), Instant::from_secs(u.value()))
    };
    durations => |u| {
        let (one, other) = (u.duration(), u.duration());
        keep((one.as_micros(), one.as_millis(), one.as_secs(), one.is_zero(), one + other, u.now() + one, u.now() - u.now()));
        keep((Duration::from_micros(u.value()), Duration::from_millis(u.value()), Duration::from_secs(u.value())));
        keep((core::time::Duration::from(one), Duration::from(any(core::time::Duration::ZERO))));
        (one.saturating_add(other), one.saturating_sub(other), one.saturating_mul(u.value()), one.cmp(&other), u.expiry().cmp(&u.expiry()))
    };
    expiries => |u| {
        let (expiry, now) = (u.expiry(), u.now());
        (Expiry::at(now), Expiry::after(now, u.lifetime()), expiry.instant(), expiry.is_due(now), expiry.remaining(now))
    };
    lifetimes => |u| {
        let lifetime = u.lifetime();
        (Lifetime::from_duration(u.duration()), lifetime.secs(), lifetime.duration(), lifetime.is_zero(), lifetime.is_infinite())
    };
    reasons => |u| {
        let reason = any(DropReason::ALL).get(u.value::<usize>()).copied()?;
        let mut counters = any(Counters::<u64>::ZERO);
        counters.count(reason);
        counters.count_verdict(any(&Verdict::Drop(reason)));
        let other = any(Counters::<u64>::ZERO);
        counters.merge(&other);
        keep((reason.as_str(), reason.requirement(), reason.describe(), reason.index(), counters.get(reason),
             counters.total_dropped()));
        counters.dropped().for_each(|row| keep(row));
        Some(counters)
    };
    errors => |u| {
        let error = ParseError::new(any(Layer::Ipv4), any(ParseErrorKind::Truncated), u.value()).shifted(u.value());
        (error, any(Layer::Ipv4).as_str(), any(ParseErrorKind::Truncated).as_str(),
         EmitError::new(u.value(), u.value()), TableFull::new(any(Table::Routes)), any(Table::Routes).as_str(),
         any(LinkKind::Isatap).as_str(), any(Admitted::Host).as_str())
    };
    packets => |u| {
        let (count, length, segment, link) = (u.value(), u.value(), any(None), any(Some(u.link())));
        let input = u.input();
        let mut packet = u.packet();
        packet.set_segment_size(segment);
        packet.set_link(link);
        keep((packet.len(), packet.is_empty(), packet.headroom(), packet.range(), packet.segment_size(), packet.link()));
        keep(packet.push_front::<40>().is_ok());
        packet.pull_front(count);
        packet.truncate(length);
        keep((packet.as_slice(), link.map(isatap_core::packet::LinkId::index)));
        keep(packet.as_mut_slice());
        keep(packet.copy_from(input));
        keep(packet.write_with(|writer| writer.bytes(input)));
        packet.clear();
    };
    ipv6_prefixes => |u| {
        let (one, other, address) = (u.prefix(), u.prefix(), u.ipv6());
        keep((one.length(), one.is_default(), one.address(), one.contains(&address), one.covers(&other)));
        (prefix::Ipv6Prefix::subnet_of(&address), one.with_identifier(u.array()))
    };
    ipv4_prefixes => |u| {
        let (one, address) = (u.ipv4_prefix(), u.ipv4());
        (one.length(), one.is_default(), one.address(), one.contains(address), one.broadcast())
    };
    address_classes => |u| {
        (prefix::is_never_unicast(u.ipv4()), prefix::is_private(u.ipv4()), prefix::is_refused_inner_source(&u.ipv6()))
    };
    interface_addresses => |u| {
        let address = any(InterfaceAddress { address: u.ipv6(), prefix_length: u.value() });
        (address.is(&u.ipv6()), address.prefix())
    };
    isatap_addresses => |u| {
        (addr::identifier(u.ipv4()), addr::link_local(u.ipv4()), addr::other_link_local(u.ipv4()),
         addr::address(&u.prefix(), u.ipv4()), addr::embedded_ipv4(&u.ipv6()), addr::is_globally_unique(u.ipv4()),
         addr::is_locator(u.ipv4()))
    };
    isatap_ingress => |u| {
        keep(ingress::source(&u.ipv6(), u.ipv4(), u.value(), u.value()));
        keep(ingress::source_is_specified(&u.ipv6()));
        keep(ingress::destination(&u.ipv6(), u.value()));
        keep(ingress::member(u.ipv4(), any(&[u.ipv4_prefix()])));
        ingress::advertisement(&u.ipv6(), u.ipv4(), any(Admitted::Router))
    };
    checksums => |u| {
        let sum = any(Sum::ZERO).bytes(u.bytes()).u16(u.value()).u32(u.value()).ipv4(u.ipv4()).ipv6(&u.ipv6());
        keep((sum.fold(), sum.checksum(), sum.is_valid(), checksum::checksum(u.bytes())));
        keep(checksum::pseudo_header_ipv4(u.ipv4(), u.ipv4(), u.value(), u.value()));
        keep(checksum::pseudo_header_ipv6(&u.ipv6(), &u.ipv6(), u.value(), u.value()));
        (checksum::update(u.value(), u.value(), u.value()), checksum::is_header_valid(&u.array()))
    };
    fields => |u| {
        let bytes = u.array::<40>();
        (field::bytes_at::<3, 5, 40>(&bytes), field::u8_at::<39, 40>(&bytes), field::u16_at::<38, 40>(&bytes),
         field::word_at::<32, 40>(&bytes), field::u32_at::<36, 40>(&bytes), field::ipv4_at::<36, 40>(&bytes), field::ipv6_at::<24, 40>(&bytes))
    };
    writers => |u| {
        let (ipv4, ipv6, count, input) = (u.ipv4(), u.ipv6(), u.value(), u.input());
        let (short, word, long) = (u.value(), u.value(), u.value());
        let write = |writer: &mut Writer<'_>| {
            writer.bytes(input);
            writer.array([short; 3]);
            writer.zeros(count);
            writer.u8(short);
            writer.u16(word);
            writer.u32(long);
            writer.ipv4(ipv4);
            writer.ipv6(&ipv6);
        };
        let mut writer = Writer::new(u.bytes());
        write(&mut writer);
        keep(writer.written());
        keep(writer.finish());
        let mut counting = Writer::counting();
        write(&mut counting);
        counting.written()
    };
    ipv4_headers => |u| {
        for header in [ipv4::Header::parse(u.input()), ipv4::Header::parse_quoted(u.input())].into_iter().flatten() {
            keep((header.header_len(), header.tos(), header.total_length(), header.identification(),
                 header.dont_fragment(), header.more_fragments(), header.fragment_offset(), header.is_fragment()));
            keep((header.ttl(), header.protocol(), header.checksum(), header.source(), header.destination(),
                 header.options(), header.is_source_routed(), header.payload(), header.is_checksum_valid(), any(header.fields()).to_bytes()));
        }
    };
    ipv6_headers => |u| {
        for header in [ipv6::Header::parse(u.input()), ipv6::Header::parse_quoted(u.input())].into_iter().flatten() {
            keep((header.traffic_class(), header.flow_label(), header.payload_length(), header.packet_len()));
            keep((header.next_header(), header.hop_limit(), header.source(), header.destination(), header.payload(),
                 header.is_jumbogram(), any(header.fields()).to_bytes()));
        }
        let mut header = u.array();
        ipv6::set_ecn(&mut header, u.value());
        ipv6::set_hop_limit(&mut header, u.value());
        keep((ipv6::traffic_class(&header), header));
    };
    extension_headers => |u| {
        (ipv6::upper_layer(u.input()), ipv6::nesting(u.input()))
    };
    udp_headers => |u| {
        let header = udp::Header::parse(u.input()).ok()?;
        keep((header.source(), header.destination(), header.length(), header.checksum(), header.payload()));
        keep(header.is_valid_ipv4(u.ipv4(), u.ipv4()));
        let fields = any(header.fields());
        Some(fields.to_bytes_ipv4(u.ipv4(), u.ipv4(), u.input()))
    };
    icmpv4_messages => |u| {
        keep(icmpv4::echo_reply_in_place(u.bytes()));
        keep(icmpv4::header(u.value(), u.value(), u.array(), u.input()));
        let message = icmpv4::Message::parse(u.input()).ok()?;
        Some((message.message_type(), message.code(), message.checksum(), message.next_hop_mtu(), message.echo(),
              message.body(), message.quote()))
    };
    icmpv6_messages => |u| {
        let message = icmpv6::Message::parse(u.input(), &u.ipv6(), &u.ipv6()).ok()?;
        Some((message.message_type(), message.code(), message.checksum(), message.header_data(), message.body(),
              message.as_bytes(), message.is_error(), message.kind()))
    };
    icmpv6_answers => |u| {
        let (source, destination, input, hop_limit) = (u.ipv6(), u.ipv6(), u.input(), u.value());
        let unreachable = any(icmpv6::Unreachable::from_code(u.value()));
        let kind = any(icmpv6::ErrorKind::Unreachable(unreachable?));
        keep((kind.to_wire(), unreachable?.code()));
        keep(icmpv6::error_in_place(&mut u.packet(), source, kind));
        keep(icmpv6::echo_reply_in_place(&mut u.packet()));
        keep(icmpv6::enclose(&mut u.packet(), source, destination, hop_limit));
        icmpv6::fill_checksum(u.bytes(), &source, &destination);
        let echo = icmpv6::Echo { identifier: u.value(), sequence: u.value() };
        Some(echo.request(&mut u.packet(), source, destination, input))
    };
    flows => |u| {
        let flow = flow(u)?;
        keep(Flow::from_headers(&u.array(), &u.array(), u.value(), u.value()));
        keep((Flow::of(&outer(u), u.input()), Flow::of_compatible(&outer(u), u.input())));
        keep((flow.inner(u.input()), flow.padding()));
        Some(proto41::decapsulate(&mut u.packet(), &flow))
    };
    encapsulation => |u| {
        let outer = outer(u);
        keep((outer.header_len(), outer.push(&mut u.packet()), Outer::pull(&mut u.packet())));
        keep(any(Outer::new(u.ipv4(), u.ipv4())));
        let template = any(Template::new(u.ipv4(), u.value(), u.value(), u.value()));
        let (destination, identification) = (u.ipv4(), u.value());
        template.encapsulate(&mut u.packet(), destination, identification)
    };
    congestion => |u| {
        let (inner, outer) = (Ecn::of(u.value()), Ecn::of(u.value()));
        (ecn::outer_tos(any(TosMode::default()), any(EcnMode::Normal), u.value()), inner.bits(),
         ecn::enter(any(EcnMode::Normal), inner), ecn::exit(inner, outer))
    };
    tunnel_errors => |u| {
        let error = any(TunnelError::parse(u.input())).ok()?;
        let (input, source, mtu) = (u.input(), u.ipv6(), u.value());
        keep((error.inner(input), error.too_big()));
        Some(error.answer(&mut u.packet(), source, mtu, any(TtlMode::CopyHopLimit)))
    };
    mtus => |u| {
        let mode = any(MtuMode::default());
        let policy = OuterPolicy::DEFAULT.with_link_mtu(any(Some(u.value())));
        keep((policy.ipv6_mtu(), policy.without_path_mtu().ipv6_mtu()));
        (mode.interface_mtu(), mtu::decide(mode, u.value(), u.value()), mtu::length_on_the_wire(u.input(), any(None)))
    };
    identifications => |u| {
        let mut table = any(Identifications::<[Bucket; 4]>::new(any([0; 2])));
        table.reseed(any([0; 2]));
        let storage: [Bucket; 4] = isatap_core::capacity::Array::EMPTY;
        keep(Identifications::with_storage(any([0; 2]), storage).next(u.now(), u.ipv4(), u.ipv4()));
        keep(table.repeated());
        table.next(u.now(), u.ipv4(), u.ipv4())
    };
}
