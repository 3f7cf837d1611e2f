//! The same, `MinimalRouter`, and forwards itself between its tunnel and a LAN on which others advertise
#![no_std]
#![no_main]

use isatap_core::capacity::MinimalRouter;
use isatap_core::datapath::Switches;
use isatap_core::engine::Machine as _;
use isatap_core::link::NativeLink;
use isatap_core::node::{Node, NodeConfig};
use isatap_core::packet::LinkId;
use isatap_core::sixrd::{EdgeConfig, EdgeInterface, SixRdOption};
use isatap_core::time::Expiry;
use size::{Two, board, turn};

type Edge = Node<Two<EdgeInterface<MinimalRouter>, NativeLink<MinimalRouter>>, MinimalRouter, 2>;

size::image!(Edge = Node::new(NodeConfig::DEFAULT), run);

fn run(node: &'static mut Edge) -> ! {
    let tunnel = node.add(Two::Tunnel(EdgeInterface::new(EdgeConfig::DEFAULT)), Switches::FORWARDING);
    let lan = node.add(Two::Lan(NativeLink::new(1500)), Switches::FORWARDING);
    let (tunnel, lan) = (tunnel.unwrap_or(LinkId::NULL), lan.unwrap_or(LinkId::NULL));
    let mut packet = board::buffer();
    loop {
        // A lease of the IPv4 address, with the option.
        if let Ok(option) = SixRdOption::parse(board::setting(&[])) {
            node.with_interface(board::now(), tunnel, |interface, cx| {
                if let Two::Tunnel(edge) = interface {
                    let _ = edge.set_locators(cx, &board::locators(), board::setting(Expiry::NEVER));
                    let _ = edge.configure_by_dhcp(cx, &option);
                }
            });
        }
        turn::serve(node, &mut packet, |_, _, _| {});
        turn::router(node, lan, &mut packet);
        board::sleep_until(node.poll_timeout());
    }
}
