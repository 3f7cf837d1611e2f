//! What is said of a name that has this node's addresses.

use super::field::spec;
use super::value::DnsServer;
use crate::resolve::Name;

spec! {
    /// Keep the global addresses of this node's links in the DNS: the AAAA records of one name change as
    /// the addresses do (RFC 2136), and go when the daemon ends.
    DnsUpdate {
        /// The zone that has the name.
        zone: Name ["ZONE"], new(zone);
        /// The name, within the zone unless it ends in a dot. Without it, the name of this machine.
        name: Option<Name> ["NAME"];
        /// The zone's primary server. Without it, the one that the zone's SOA record names.
        server: Option<DnsServer> ["HOST[:PORT]"];
        /// A file with the TSIG key that signs updates, as tsig-keygen writes it. Without it they are
        /// not signed.
        key_file: Option<std::path::PathBuf> ["FILE"];
        /// The time to live of the records.
        ttl: u32 ["SECONDS"] = 300;
        /// Replace AAAA records that the name has already. Without it, records that this daemon did
        /// not make stay, and nothing is changed.
        replace: bool;
    }
}
