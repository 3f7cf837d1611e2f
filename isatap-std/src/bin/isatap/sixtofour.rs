//! `isatap 6to4`: a 6to4 router, host/router or relay on this machine.

use std::net::Ipv4Addr;

use clap::ValueEnum;
use isatap_core::prefix::Ipv4Prefix;
use isatap_std::lan::LanOptions;
use isatap_std::resolve::Entry;
use isatap_std::sixtofour::{self, DEFAULT_DEVICE, SixToFour, SixToFourOptions};

use crate::daemon::{self, LinkArgs};
use crate::exit::{Failure, Status};
use crate::output::warn;

/// Run 6to4 on public IPv4: a host that is its own router, a site's router, or a relay.
///
/// Without --relay other 6to4 sites are reached, and the native Internet is not. A relay of
/// your own or of your provider's is meant: public ones are rare today. Needs CAP_NET_ADMIN
/// and CAP_NET_RAW; ends on SIGINT or SIGTERM, and leaves nothing behind.
///
/// A router with --lan: the kernel forwards, if it is told to: sysctl
/// net.ipv6.conf.all.forwarding=1 (devices that learn their own addresses from a router need
/// accept_ra=2 then). Hosts get a default router only with --relay. When the IPv4 address
/// changes, and at the end, they hear that the old prefix is not to be used any more; the end
/// takes up to 4 seconds then.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// host-router serves this machine alone, and rests while it has native IPv6.
    #[arg(long, value_enum, default_value_t = Role::HostRouter)]
    role: Role,
    /// A public IPv4 address of this machine. May be repeated; all of them if left out.
    #[arg(long, value_name = "V4")]
    local: Vec<Ipv4Addr>,
    /// The way to the native Internet; 192.88.99.1 is deprecated.
    #[arg(long, value_name = "V4|NAME")]
    relay: Option<Entry>,
    /// Rely on the relay only while it answers.
    #[arg(long)]
    probe_relay: bool,
    /// host-router: work beside native IPv6 too.
    #[arg(long)]
    beside_native: bool,
    /// Accept packets with native sources only from this relay, from others so named and
    /// from 192.88.99.1. May be repeated.
    #[arg(long = "accept-relay", value_name = "V4")]
    accepted_relays: Vec<Ipv4Addr>,
    /// relay: work only for 6to4 routers with these IPv4 addresses. May be repeated.
    #[arg(long = "client", value_name = "V4/LEN")]
    clients: Vec<Ipv4Prefix>,
    /// relay: answer at 192.88.99.1 too, where this machine has that address; deprecated.
    #[arg(long)]
    anycast: bool,
    /// router: give the LAN of this device a /64 of the site's prefix: put an address there,
    /// and advertise the prefix to its hosts. SUBNET is hexadecimal, as it stands in the
    /// address; left out, it is the number of the interface. May be repeated.
    #[arg(long = "lan", value_name = "DEV[:SUBNET]")]
    lans: Vec<LanOptions>,
    #[command(flatten)]
    link: LinkArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    HostRouter,
    Router,
    Relay,
}

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    let role = match args.role {
        Role::HostRouter => sixtofour::Role::HostRouter,
        Role::Router => sixtofour::Role::Router,
        Role::Relay => sixtofour::Role::Relay,
    };
    if role == sixtofour::Role::Relay && args.clients.is_empty() {
        warn("without --client this relay works for every 6to4 site that can reach it");
    }
    if !args.lans.is_empty() && args.relay.is_none() {
        warn("without --relay the hosts of the LANs hear of no default router");
    }
    let mut options = SixToFourOptions::new(role);
    options.link = args.link.options(DEFAULT_DEVICE);
    options.local.clone_from(&args.local);
    options.relay.clone_from(&args.relay);
    options.probe_relay = args.probe_relay;
    options.beside_native |= args.beside_native;
    options.accepted_relays.clone_from(&args.accepted_relays);
    options.clients.clone_from(&args.clients);
    options.anycast = args.anycast;
    options.lans.clone_from(&args.lans);
    options.accept_bogons = args.link.accept_bogons;
    let verbose = args.link.verbose;
    daemon::run(&args.link.privileges, || options.open(daemon::observer(verbose)), SixToFour::run_until)
}
