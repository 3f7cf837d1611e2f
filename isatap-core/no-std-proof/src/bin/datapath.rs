//! Parse, route, encapsulate and decapsulate alone, without a control machine.
#![no_std]
#![no_main]

no_std_proof::image!(forwarding);

mod forwarding {
    use isatap_core::capacity::Array;
    use isatap_core::isatap::addr;
    use isatap_core::proto41::{self, Flow, Outer, Template};
    use isatap_core::route::{RouteTable, Slot};
    use no_std_proof::any;

    type Routes = RouteTable<[Slot; 8]>;

    no_std_proof::roots! {
        receive => |unknown| {
            let mut packet = unknown.packet();
            Flow::parse(packet.as_slice()).and_then(|flow| {
                let admitted = addr::embedded_ipv4(&flow.inner_source) == Some(flow.outer_source);
                proto41::decapsulate(&mut packet, &flow).map(|exit| (admitted, exit))
            })
        };
        send => |unknown| {
            let routes: Routes = any(Routes::with_storage(Array::EMPTY));
            let template = Template::new(unknown.ipv4(), unknown.value(), Outer::DEFAULT_TTL, unknown.value());
            let (destination, identification) = (unknown.ipv6(), unknown.value());
            let next_hop = routes.lookup(&destination).map(|route| route.next_hop_for(&destination));
            next_hop.as_ref().and_then(addr::embedded_ipv4).map(|destination| {
                template.encapsulate(&mut unknown.packet(), destination, identification)
            })
        };
    }
}
