//! An ISATAP router between its link and a native one, `MinimalRouter`
#![no_std]
#![no_main]

use isatap_core::capacity::MinimalRouter;
use isatap_core::datapath::Switches;
use isatap_core::engine::Machine as _;
use isatap_core::isatap::{OfferDefault, PublishedPrefix, RouterConfig, RouterInterface};
use isatap_core::link::{InterfaceAddress, NativeLink};
use isatap_core::node::{Node, NodeConfig};
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv6Prefix;
use size::{Two, board, turn};

type Router = Node<Two<RouterInterface<MinimalRouter>, NativeLink<MinimalRouter>>, MinimalRouter, 2>;

size::image!(Router = Node::new(NodeConfig::DEFAULT), run);

fn run(node: &'static mut Router) -> ! {
    let mut config = RouterConfig::DEFAULT;
    config.default_route = OfferDefault::Always;
    let mut lan = NativeLink::new(1500);
    let _ = lan.add_address(InterfaceAddress { address: board::ipv6(), prefix_length: 64 });
    lan.set_gateway(Some(board::ipv6()));
    let isatap = node.add(Two::Tunnel(RouterInterface::new(config)), Switches::FORWARDING);
    let lan = node.add(Two::Lan(lan), Switches::FORWARDING);
    let (isatap, lan) = (isatap.unwrap_or(LinkId::NULL), lan.unwrap_or(LinkId::NULL));
    node.with_interface(board::now(), isatap, |interface, cx| {
        if let Two::Tunnel(router) = interface {
            let _ = router.set_locators(cx, &board::locators());
            let _ = router.publish(cx, PublishedPrefix::new(board::setting(Ipv6Prefix::DEFAULT)));
        }
    });
    let mut packet = board::buffer();
    loop {
        turn::serve(node, &mut packet, |_, _, _| {});
        turn::router(node, lan, &mut packet);
        board::sleep_until(node.poll_timeout());
    }
}
