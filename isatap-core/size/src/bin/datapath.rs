//! A configured tunnel's `Datapath` with real links, `Minimal`: encapsulate and decapsulate
#![no_std]
#![no_main]

use isatap_core::capacity::Minimal;
use isatap_core::configured::ConfiguredInterface;
use isatap_core::datapath::Datapath;
use isatap_core::proto41::Outer;
use size::{board, turn};

type Links = Datapath<ConfiguredInterface<Minimal>, Minimal, 1>;

size::image!(Links = Datapath::new(), run);

fn run(links: &'static mut Links) -> ! {
    let mut packet = board::buffer();
    let mut identification: u16 = 0;
    loop {
        packet.clear();
        if board::receive(&mut packet)
            && let Ok(outer) = Outer::pull(&mut packet)
        {
            let verdict = links.decapsulate(&outer, &mut packet);
            turn::act(&verdict, &mut packet);
        }
        packet.clear();
        if board::receive(&mut packet) {
            identification = identification.wrapping_add(1);
            let verdict = links.encapsulate(&mut packet, identification);
            turn::act(&verdict, &mut packet);
        }
    }
}
