//! `isatap host`: an ISATAP host on this machine.

use std::net::Ipv4Addr;
use std::time::Duration;

use isatap_core::isatap::{LinkLocal, SolicitDestination};
use isatap_std::isatap::{DEFAULT_DEVICE, Host, HostOptions, LocatorSource};
use isatap_std::resolve::Entry;

use crate::daemon::{self, LinkArgs};
use crate::exit::{Failure, Status};
use crate::output::warn;

/// Run an ISATAP host: a device with IPv6 addresses and a default route across the IPv4 site.
///
/// Without --local and --via it sends from the IPv4 address that the kernel would use
/// toward the first router, and follows it when it changes. It forwards for nobody: packets
/// for other machines are dropped, even where the kernel forwards. SIGHUP, or isatap solicit
/// DEV, asks the routers at once. Needs CAP_NET_ADMIN and CAP_NET_RAW; ends on SIGINT or
/// SIGTERM, and leaves nothing behind.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Send from this IPv4 address. May be repeated.
    #[arg(long, value_name = "V4", conflicts_with = "via")]
    local: Vec<Ipv4Addr>,
    /// Send from the IPv4 addresses of this device.
    #[arg(long, value_name = "DEV")]
    via: Option<String>,
    /// A potential router. May be repeated. Without it the name `isatap` is looked up in
    /// this host's search domains.
    #[arg(long = "router", value_name = "V4|NAME")]
    routers: Vec<Entry>,
    /// Seconds between two rounds of solicitations of one router, at least
    /// (MinRouterSolicitInterval). Shorter lifetimes than this lapse.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    min_router_solicit_interval: u64,
    /// Seconds until names are looked up again, at most (PrlRefreshInterval).
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    prl_refresh_interval: u64,
    /// Solicit ff02::2 first, instead of the router's link-local address, as Windows XP does.
    #[arg(long)]
    solicit_all_routers: bool,
    /// Disable neighbour unreachability probes.
    #[arg(long)]
    no_neighbor_probes: bool,
    /// Assign no link-local address until a router is found, as Windows does by default.
    #[arg(long)]
    link_local_with_router: bool,
    #[command(flatten)]
    link: LinkArgs,
}

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    let mut options = HostOptions::default();
    options.link = args.link.options(DEFAULT_DEVICE);
    options.locators = match &args.via {
        Some(device) => LocatorSource::Device(device.clone()),
        None if args.local.is_empty() => LocatorSource::TowardRouter,
        None => LocatorSource::Fixed(args.local.clone()),
    };
    options.routers.clone_from(&args.routers);
    let config = &mut options.config;
    config.solicitation.min_round_interval = Duration::from_secs(args.min_router_solicit_interval);
    config.refresh_interval = Duration::from_secs(args.prl_refresh_interval);
    config.probe_neighbors = !args.no_neighbor_probes;
    if args.solicit_all_routers {
        config.solicit = SolicitDestination::AllRouters;
    }
    if args.link_local_with_router {
        config.link_local = LinkLocal::WhenRouterKnown;
    }
    if args.routers.is_empty() {
        warn(
            "without --router, whoever answers for the name isatap in this host's search domains \
             becomes its router and is believed in everything; a site that does not run ISATAP should own that name",
        );
    }
    let verbose = args.link.verbose;
    daemon::run(&args.link.privileges, || options.open(daemon::observer(verbose)), Host::run_until)
}
