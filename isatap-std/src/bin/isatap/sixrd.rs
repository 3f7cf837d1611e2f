//! `isatap 6rd`: a 6rd customer edge or border relay on this machine.

use std::net::Ipv4Addr;

use clap::ValueEnum;
use isatap_core::prefix::Ipv6Prefix;
use isatap_std::lan::LanOptions;
use isatap_std::sixrd::{self, DEFAULT_DEVICE, SixRd, SixRdOptions};

use crate::daemon::{self, LinkArgs};
use crate::exit::{Failure, Status};
use crate::output::warn;

/// Run a 6rd customer edge, or a border relay: a provider's IPv6 across its IPv4 network.
///
/// The kernel forwards, if it is told to: sysctl net.ipv6.conf.all.forwarding=1 (devices that
/// learn their own addresses from a router need accept_ra=2 then). Hosts of LANs get a default
/// router only with --br; at the end they hear that the prefix is not to be used any more,
/// which takes up to 4 seconds. Needs CAP_NET_ADMIN and CAP_NET_RAW; ends on SIGINT or SIGTERM, and leaves nothing behind.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The 6rd prefix.
    #[arg(long, value_name = "P/LEN")]
    prefix: Ipv6Prefix,
    /// How many upper bits the IPv4 addresses of all customers share, 0 to 32.
    #[arg(long, value_name = "N", default_value_t = 0)]
    v4_mask_len: u8,
    /// This node's IPv4 address.
    #[arg(long, value_name = "V4")]
    local: Ipv4Addr,
    /// ce: a border relay. Packets of all are accepted, the first is used. May be repeated.
    #[arg(long = "br", value_name = "V4")]
    relays: Vec<Ipv4Addr>,
    /// ce: customer edge, br: border relay.
    #[arg(long, value_enum, default_value_t = Role::Ce)]
    role: Role,
    /// br: an address of a customer, where --local is not in the block that customers share.
    #[arg(long, value_name = "V4")]
    customer: Option<Ipv4Addr>,
    /// br: another tunnel router of the network, which is no customer: if it has a tunnel to
    /// this relay, packets may go round between the two otherwise. May be repeated.
    #[arg(long = "known-router", value_name = "V4")]
    known_routers: Vec<Ipv4Addr>,
    /// br: others have the same IPv4 address, so that no outer packet may be fragmented.
    #[arg(long)]
    anycast: bool,
    /// ce: let in packets of other customers only from themselves, not by the border relay.
    #[arg(long)]
    strict_siblings: bool,
    /// ce: give the LAN of this device a /64 of the delegated prefix: put an address there,
    /// and advertise the prefix to its hosts. SUBNET is hexadecimal, as it stands in the
    /// address; left out, it is the number of the interface. May be repeated.
    #[arg(long = "lan", value_name = "DEV[:SUBNET]")]
    lans: Vec<LanOptions>,
    #[command(flatten)]
    link: LinkArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    Ce,
    Br,
}

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    let role = match args.role {
        Role::Ce => sixrd::Role::CustomerEdge,
        Role::Br => sixrd::Role::BorderRelay,
    };
    if !args.lans.is_empty() && args.relays.is_empty() {
        warn("without --br the hosts of the LANs hear of no default router");
    }
    let mut options = SixRdOptions::new(role, args.prefix, args.v4_mask_len, args.local);
    options.link = args.link.options(DEFAULT_DEVICE);
    options.relays.clone_from(&args.relays);
    options.customer = args.customer;
    options.known_routers.clone_from(&args.known_routers);
    options.anycast = args.anycast;
    options.strict_siblings = args.strict_siblings;
    options.lans.clone_from(&args.lans);
    let verbose = args.link.verbose;
    daemon::run(&args.link.privileges, || options.open(daemon::observer(verbose)), SixRd::run_until)
}
