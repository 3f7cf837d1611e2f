//! The route table, the full table, native links.

use isatap_core::capacity::{Array, Row, Standard};
use isatap_core::link::{InterfaceAddress, Link, NativeLink};
use isatap_core::route::{Fib, FibRoute, Node, Origin, Preference, Route, RouteTable, Slot, Sorted};

use crate::{Unknown, any, keep};

type Routes = RouteTable<[Slot; 8]>;

/// A table of any content.
fn table() -> Routes {
    any(Routes::with_storage(any(Array::EMPTY)))
}

fn route(unknown: &Unknown) -> Route {
    let route = Route::via(unknown.prefix(), unknown.link(), unknown.ipv6(), any(Origin::Manual));
    any(Route { expires: unknown.expiry(), metric: unknown.value(), ..route })
}

crate::roots! {
    plain_routes => |u| {
        let route = any(Route::on_link(u.prefix(), u.link(), any(Origin::Manual)));
        keep(Route::null(u.prefix(), any(Origin::Manual)));
        keep((any(Preference::Medium).as_str(), route.origin.as_str(), route.origin.is_told()));
        (route.next_hop_for(&u.ipv6()), route.key())
    };
    lookups => |u| {
        let table = table();
        keep(table.lookup(&u.ipv6()));
        keep(table.lookup_on(any(Some(u.link())), &u.ipv6()).is_some());
        let mut found = any([None; 4]);
        let destinations = any([u.ipv6(); 4]);
        table.lookup_batch(any(&destinations), any(&mut found));
        keep(found.iter().flatten().map(|&id| table.get(id).is_some()).count());
        keep(table.find(&route(u).key()));
        keep((table.iter().count(), table.published().count(), table.is_unreachable(u.link(), &u.ipv6())));
        (table.len(), table.is_empty(), table.capacity(), table.generation())
    };
    changes => |u| {
        let mut table = table();
        let route = route(u);
        keep(table.insert(route));
        keep(table.set_unreachable(u.link(), &u.ipv6(), u.value()));
        keep(table.set_interface_metric(u.link(), u.value()));
        keep(table.rotate(&route.key()));
        keep(table.remove(&route.key()));
        keep((table.remove_link(u.link()), table.remove_next_hop(u.link(), &u.ipv6())));
        keep(table.remove_if(|route| any(route.publish)));
        keep((table.expire(u.now()), table.deadline()));
        keep(table.poll_change());
        any(Routes::new()).is_empty()
    };
    full_table => |u| {
        let mut routes = any([FibRoute { prefix: u.prefix(), value: u.value() }; 64]);
        let sorted = any(Sorted::sort(any(&mut routes)));
        keep((sorted.nodes(), Fib::nodes_for(u.value(), u.value())));
        let mut nodes = any([Node::EMPTY; 32]);
        let Ok(fib) = sorted.build(any(&mut nodes)) else { return None };
        keep((fib.lookup(&u.ipv6()), fib.memory(), fib.levels().1.len()));
        let mut found = any([None; 40]);
        fib.lookup_batch(any(&[u.ipv6(); 40]), any(&mut found));
        keep(found);
        fib.into_nodes().first().map(|node| *node.words())
    };
    native_links => |u| {
        let mut link = any(NativeLink::<Standard>::new(u.value()));
        keep(link.add_address(InterfaceAddress { address: u.ipv6(), prefix_length: u.value() }));
        keep((link.addresses(), link.kind(), link.resolve(&u.ipv6(), &u.ipv6()).is_ok(), link.underlay().policy));
        (link.is_on_link(&u.ipv6()), link.is_local(&u.ipv6()), link.owns_ipv4(u.ipv4()), link.source_for(&u.ipv6()))
    };
}
