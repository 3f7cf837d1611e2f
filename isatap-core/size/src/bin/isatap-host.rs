//! An ISATAP host, `Minimal`: the router by DNS, addresses, routes and MTU by its advertisements
#![no_std]
#![no_main]

use isatap_core::capacity::Minimal;
use isatap_core::engine::{Event, Machine as _};
use isatap_core::isatap::{HostConfig, Resolved};
use isatap_core::node::IsatapHost;
use size::{board, turn};

type Host = IsatapHost<Minimal>;

size::image!(Host = IsatapHost::host(HostConfig::DEFAULT), run);

fn run(host: &'static mut Host) -> ! {
    let _ = host.set_locators(board::now(), &board::locators());
    let mut packet = board::buffer();
    loop {
        turn::serve(host, &mut packet, |host, now, event| {
            if let Event::ResolveRouters { .. } = event {
                let answer = Resolved { addresses: &[board::ipv4()], ttl: None };
                let _ = host.routers_resolved(now, Ok(answer));
            }
        });
        turn::host(host, &mut packet);
        board::sleep_until(host.poll_timeout());
    }
}
