//! `isatap tunnel`: a configured tunnel on this machine.

use std::net::Ipv4Addr;

use isatap_std::check::AddressWithLength;
use isatap_std::tunnel::{DEFAULT_DEVICE, Tunnel, TunnelOptions};

use crate::daemon::{self, LinkArgs};
use crate::exit::{Failure, Status};

/// Run a configured tunnel (6in4): both IPv4 ends are given, as those of a tunnel broker or
/// of Linux's `mode sit`.
///
/// Routes are yours: ip -6 route add default dev tun6in4. Needs CAP_NET_ADMIN and
/// CAP_NET_RAW; ends on SIGINT or SIGTERM, and leaves nothing behind.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// This end's IPv4 address.
    #[arg(long, value_name = "V4")]
    local: Ipv4Addr,
    /// The other end's IPv4 address.
    #[arg(long, value_name = "V4")]
    remote: Ipv4Addr,
    /// An address of this node on the tunnel; its prefix is on-link there. May be repeated.
    #[arg(long = "address", value_name = "P/LEN")]
    addresses: Vec<AddressWithLength>,
    /// Do not ask the other end whether it is still there.
    #[arg(long)]
    no_neighbor_probes: bool,
    #[command(flatten)]
    link: LinkArgs,
}

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    let mut options = TunnelOptions::new(args.local, args.remote);
    options.link = args.link.options(DEFAULT_DEVICE);
    options.addresses = args.addresses.iter().map(|address| address.0).collect();
    options.probe_remote = !args.no_neighbor_probes;
    let verbose = args.link.verbose;
    daemon::run(&args.link.privileges, || options.open(daemon::observer(verbose)), Tunnel::run_until)
}
