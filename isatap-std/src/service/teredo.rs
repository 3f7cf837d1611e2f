//! A Teredo client, server or relay: one link, with UDP sockets of its own.

mod client;
mod open;
mod relay;
mod server;

#[cfg(feature = "file")]
pub(crate) use open::check_ports;
#[cfg(all(feature = "file", feature = "control"))]
pub(crate) use open::ports;
pub(crate) use open::{Surroundings, missing, open, secrets};

use isatap_core::engine::{Change, Event};
use isatap_core::packet::LinkId;
use isatap_core::route::{Origin, Route};
use isatap_core::teredo::addr::PREFIX;

/// The only link of the machine.
const LINK: LinkId = LinkId(0);

/// Every Teredo address is a neighbour on the device, or no longer.
fn to_all_clients(change: Change) -> Event {
    Event::Route { change, route: Route::on_link(PREFIX, LINK, Origin::Automatic) }
}
