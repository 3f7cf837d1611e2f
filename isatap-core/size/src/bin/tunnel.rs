//! A configured tunnel, `Minimal`, the default route of this host
#![no_std]
#![no_main]

use isatap_core::capacity::Minimal;
use isatap_core::configured::{Config, ConfiguredInterface};
use isatap_core::datapath::Switches;
use isatap_core::engine::Machine as _;
use isatap_core::node::{Node, NodeConfig};
use size::{board, turn};

type Tunnel = Node<ConfiguredInterface<Minimal>, Minimal, 1>;

size::image!(Tunnel = Node::new(NodeConfig::DEFAULT), run);

fn run(node: &'static mut Tunnel) -> ! {
    let tunnel = ConfiguredInterface::new(Config::new(board::ipv4(), board::ipv4()));
    if let Ok(link) = node.add(tunnel, Switches::DEFAULT) {
        let _ = node.with_interface(board::now(), link, |tunnel, cx| tunnel.set_default_route(cx, true));
    }
    let mut packet = board::buffer();
    loop {
        turn::serve(node, &mut packet, |_, _, _| {});
        turn::host(node, &mut packet);
        board::sleep_until(node.poll_timeout());
    }
}
