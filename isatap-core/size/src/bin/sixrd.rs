//! A 6rd customer edge by option 212 of DHCP, `MinimalRouter`, below a stack that forwards and has the LAN
#![no_std]
#![no_main]

use isatap_core::capacity::MinimalRouter;
use isatap_core::datapath::Switches;
use isatap_core::engine::Machine as _;
use isatap_core::node::{Node, NodeConfig};
use isatap_core::packet::LinkId;
use isatap_core::sixrd::{EdgeConfig, EdgeInterface, SixRdOption};
use isatap_core::time::Expiry;
use size::{board, turn};

type Edge = Node<EdgeInterface<MinimalRouter>, MinimalRouter, 1>;

size::image!(Edge = Node::new(NodeConfig::DEFAULT), run);

fn run(node: &'static mut Edge) -> ! {
    let tunnel = node.add(EdgeInterface::new(EdgeConfig::DEFAULT), Switches::FORWARDING).unwrap_or(LinkId::NULL);
    let mut packet = board::buffer();
    loop {
        // A lease of the IPv4 address, with the option.
        if let Ok(option) = SixRdOption::parse(board::setting(&[])) {
            node.with_interface(board::now(), tunnel, |edge, cx| {
                let _ = edge.set_locators(cx, &board::locators(), board::setting(Expiry::NEVER));
                let _ = edge.configure_by_dhcp(cx, &option);
            });
        }
        turn::serve(node, &mut packet, |_, _, _| {});
        turn::host(node, &mut packet);
        board::sleep_until(node.poll_timeout());
    }
}
