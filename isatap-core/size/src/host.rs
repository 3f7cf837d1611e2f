//! An ISATAP host's loop, of any size.

use isatap_core::capacity::Capacity;
use isatap_core::engine::{Event, Machine as _};
use isatap_core::isatap::Resolved;
use isatap_core::node::IsatapHost;

use crate::{board, turn};

/// Runs the host on the board.
pub fn run<C: Capacity>(host: &'static mut IsatapHost<C>) -> ! {
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
