//! An ISATAP router between its link and a native one
#![no_std]
#![no_main]

use isatap_core::capacity::Small;
use isatap_core::datapath::Switches;
use isatap_core::engine::Machine as _;
use isatap_core::isatap::{PublishedPrefix, RouterConfig, RouterInterface};
use isatap_core::link::NativeLink;
use isatap_core::node::{Node, NodeConfig};
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::route::{Origin, Route};
use size::{Two, board, turn};

type Router = Node<Two<RouterInterface<Small>, NativeLink<Small>>, Small, 2>;

size::image!(Router = Node::new(NodeConfig::DEFAULT), run);

fn run(node: &'static mut Router) -> ! {
    let isatap = node.add(Two::Tunnel(RouterInterface::new(RouterConfig::DEFAULT)), Switches::FORWARDING);
    let lan = node.add(Two::Lan(NativeLink::new(1500)), Switches::FORWARDING);
    let (isatap, lan) = (isatap.unwrap_or(LinkId::NULL), lan.unwrap_or(LinkId::NULL));
    node.with_interface(board::now(), isatap, |interface, cx| {
        if let Two::Tunnel(router) = interface {
            let _ = router.set_locators(cx, &board::locators());
            let _ = router.publish(cx, PublishedPrefix::new(board::setting(Ipv6Prefix::DEFAULT)));
        }
    });
    let gateway = board::setting(core::net::Ipv6Addr::LOCALHOST);
    let _ = node.insert_route(Route::via(Ipv6Prefix::DEFAULT, lan, gateway, Origin::Manual));
    let mut packet = board::buffer();
    loop {
        turn::serve(node, &mut packet, |_, _, _| {});
        turn::router(node, lan, &mut packet);
        board::sleep_until(node.poll_timeout());
    }
}
