//! The bodies of all fuzz targets, as plain functions of bytes.
//!
//! A new target is a function here with a line in [`TARGETS`], a `[[bin]]` in
//! Cargo.toml, two lines in `fuzz_targets/` and at least one seed in `corpus/`.
//! The test below replays every seed, and fails when one of the four is missing.
//!
//! A body asserts what has to hold; it does not only wait for a panic. Its
//! oracle is written independently of the code that it judges.
//!
//! # Which public functions a target runs
//!
//! | target | what of isatap-core | what it asserts |
//! |---|---|---|
//! | `outer_packet` | `proto41::Flow`, `proto41::Outer`, `link::Link::admit` of `isatap` and `configured`, `isatap::ingress`, `isatap::prl`, `node` `decapsulate` and `decapsulate_ipv4`, `wire::checksum::is_header_valid`, `prefix::is_never_unicast`, `prefix::is_refused_inner_source` | the same answer as a second reading of the RFCs, whole or with the header beside the bytes; refusals change no byte |
//! | `tunnel_packet` | `admit`, `permit` and `resolve` of every link: `configured`, `isatap`, `sixtofour`, `sixrd` of any domain, `compatible`; `sixtofour::ingress`, `sixrd::ingress`, `sixrd::Domain`, `proto41::Flow::of_compatible` | the same answer as a second reading of the RFCs; what is sent passes the check of a peer |
//! | `link_pairs` | `datapath::Datapath::admit` of nodes of two to four links, `lan` among them | the same answer as all links' rules together: what one refuses does not enter by another (`TUN-23`), `SEC-3`, `SEC-10` |
//! | `address_selection` | `select` | the same source, order and rule as a second reading of RFC 6724; the order is one |
//! | `nd_message` | `nd::message`, `nd::option`, `nd::validate`, `wire::field`, `route::Preference` | what is read is written the same; what is valid keeps RFC 4861 |
//! | `fib` | `route::Fib`, `route::Sorted` | the same answers as asking each prefix, one at a time and in a batch; no more memory than was foretold |
//! | `route_operations` | `route`, `prefix::Ipv6Prefix` | the same answers as a naive table |
//! | `host_operations` | `node::IsatapHost`, `isatap::host`, `isatap::link`, `nd::learned`, `nd::neighbor`, `nd::solicit`, `proto41::icmp`, `proto41::identification`, `proto41::mtu`, `proto41::ecn`, `interface`, `engine`, `packet`, `time`, `timer`, `capacity`, `drop_reason` | the contract of a machine: packets leave for other nodes only, deadlines move, whatever entered has one end |
//! | `router_operations` | `isatap::router`, and the above | the same |
//! | `node_operations` | `node::AnyNode` of any links, `sixtofour::RouterInterface`, `sixtofour::RelayInterface`, `sixrd::EdgeInterface`, `sixrd::RelayInterface`, `compatible::CompatibleInterface`, `lan::LanInterface`, `configured::ConfiguredInterface`, `link::NativeLink`, `datapath`, and the above | the same, and nothing enters that the rules of no link let in |
//! | `decisions` | `datapath::Decisions` in nodes of any links | two nodes of which one remembers decisions agree in verdicts, bytes, counters and events |
//! | `wire_views` | `wire::ipv4`, `ipv6`, `udp`, `icmpv4`, `icmpv6`, `proto41::icmp` | lengths and sums; headers are written as they were read |
//! | `embedded` | `embedded`, `isatap::addr`, `sixtofour::addr`, `teredo::addr`, `sixrd::addr` | nothing hidden is missed; a yes is never empty; what is public hides nothing else |
//! | `explain` | `pretty` | any bytes are explained, in bounded room; layers lie inside the packet |
//! | `teredo_datagram` | `teredo::packet`, `teredo::ingress` | the same answer as a second reading of RFC 4380 and 6081, typed errors included; what is read is written the same |
//! | `teredo_client_operations` | `teredo::client`, `teredo::qualify`, `teredo::peer`, `teredo::authentication` | the contract of a machine; a peer is believed only where it has shown itself, the mapping only by who was asked |
//! | `teredo_server_operations` | `teredo::server` | the contract; one packet out of one, unchanged inside, never for a server |
//! | `teredo_relay_operations` | `teredo::relay`, `teredo::peer` | the contract; as for the client, and no more bubbles than were asked for |
//! | `prefix_text` | `prefix` parsers | what is read is written the same |
//! | `endpoint_text` | none of it: `spec::{Listen, Target, PortProxy}` of isatap-std | what is read is written the same; no rule that is let through connects to where it listens |
//! | `address_text` | none of it: `explain::Reading` of isatap-std | an address that is plain text stands in it, and is read as itself |
//! | `pasted_text` | none of it: `explain::pasted` of isatap-std | what is taken for a packet stands in the text; what is written is read the same |
//! | `captures` | none of it: `capture` and `check` of isatap-std | frames are parts of the file, packets of the frame; a plain pcap file has the frames of a second reading; a refusal has a reason |
//! | `name_answers` | none of it: `resolve` of isatap-std | an answer by LLMNR or NetBIOS has the identification, flags and addresses of a second reading; lines of lmhosts have the name |
//! | `joined_datagrams` | `packet::HEADROOM`; `proto41_socket::ReceiveBatch` of isatap-std | what the kernel has joined comes as the datagrams that it was, each with room of its own; more than it joins is refused |
//! | `ipv6_text` | `core::net` | the harness itself |
//!
//! The rules that `tunnel_packet`, `link_pairs` and `node_operations` judge by
//! are in `isatap-core/tests/node/oracle`, whose `ingress_oracle.rs` runs the first two
//! under `cargo test` of the core.
//!
//! The test `every_module_has_a_target` fails when a module of the core is in
//! no row of this table.

#[cfg(fuzzing)]
pub use libfuzzer_sys;

pub mod addresses;
pub mod captures;
pub mod doors;
pub mod endpoints;
pub mod explain;
pub mod joined;
pub mod machines;
pub mod mixed;
pub mod names;
pub mod neighbor_discovery;
#[path = "../../isatap-core/tests/node/oracle/mod.rs"]
pub mod oracle;
pub mod outer;
pub mod pasted_text;
pub mod routes;
pub mod teredo;
pub mod teredo_machines;
pub mod wire;

pub use addresses::{embedded, ipv6_text, prefix_text};
pub use captures::captures;
pub use endpoints::endpoint_text;
pub use explain::explain;
pub use joined::joined_datagrams;
pub use machines::{host_operations, router_operations};
pub use mixed::node_operations;
pub use names::name_answers;
pub use neighbor_discovery::nd_message;
pub use oracle::input;
pub use oracle::selection::address_selection;
pub use oracle::tunnels::{link_pairs, tunnel_packet};
pub use oracle::twins::decisions;
pub use outer::outer_packet;
pub use pasted_text::{address_text, pasted_text};
pub use routes::{fib, route_operations};
pub use teredo::teredo_datagram;
pub use teredo_machines::{teredo_client_operations, teredo_relay_operations, teredo_server_operations};
pub use wire::wire_views;

/// What a target does with its input: nothing, or panic.
pub type Body = fn(&[u8]);

/// Name and body of each target.
pub const TARGETS: &[(&str, Body)] = &[
    ("address_selection", address_selection),
    ("address_text", address_text),
    ("captures", captures),
    ("decisions", decisions),
    ("embedded", embedded),
    ("explain", explain),
    ("fib", fib),
    ("host_operations", host_operations),
    ("ipv6_text", ipv6_text),
    ("joined_datagrams", joined_datagrams),
    ("link_pairs", link_pairs),
    ("name_answers", name_answers),
    ("nd_message", nd_message),
    ("node_operations", node_operations),
    ("outer_packet", outer_packet),
    ("pasted_text", pasted_text),
    ("prefix_text", prefix_text),
    ("endpoint_text", endpoint_text),
    ("route_operations", route_operations),
    ("router_operations", router_operations),
    ("teredo_client_operations", teredo_client_operations),
    ("teredo_datagram", teredo_datagram),
    ("teredo_relay_operations", teredo_relay_operations),
    ("teredo_server_operations", teredo_server_operations),
    ("tunnel_packet", tunnel_packet),
    ("wire_views", wire_views),
];

/// The entry point of a target: libFuzzer's when cargo-fuzz builds it; otherwise
/// a program that runs the body once on each file that it is given, which is how
/// a crash is looked at with a plain toolchain and a debugger.
#[macro_export]
macro_rules! target {
    ($body:ident) => {
        #[cfg(fuzzing)]
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::$body(data));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            for path in std::env::args_os().skip(1) {
                $crate::$body(&std::fs::read(path)?);
            }
            Ok(())
        }
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::TARGETS;

    fn names_in(directory: &str) -> BTreeSet<String> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn every_target_has_a_program_and_seeds() {
        let bodies: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names_in("fuzz_targets"), bodies);
        assert_eq!(names_in("corpus"), bodies);
        let manifest = include_str!("../Cargo.toml");
        for name in &bodies {
            assert!(manifest.contains(&format!("\nname = \"{name}\"\n")), "no [[bin]] for {name}");
        }
    }

    /// Modules of the core whose work is done by those named in the table.
    const HELPERS: &[&str] = &["error"];

    #[test]
    fn every_module_has_a_target() {
        let table: String =
            include_str!("lib.rs").lines().filter(|line| line.starts_with("//! |")).collect::<Vec<_>>().join("\n");
        for (name, _) in TARGETS {
            assert!(table.contains(&format!("| `{name}` |")), "{name} is not in the table");
        }
        let core = include_str!("../../isatap-core/src/lib.rs");
        let modules = core.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
        for module in modules.filter(|module| !HELPERS.contains(module)) {
            assert!(
                table.contains(&format!("`{module}`")) || table.contains(&format!("`{module}::")),
                "no target runs {module}"
            );
        }
    }

    #[test]
    fn every_seed_passes() {
        for (name, body) in TARGETS {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
            let seeds: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(!seeds.is_empty(), "no seed for {name}");
            for seed in seeds {
                // A failing body says what failed; the name of the seed is all it cannot know.
                eprintln!("{}", seed.display());
                body(&fs::read(seed).unwrap());
            }
        }
    }
}
