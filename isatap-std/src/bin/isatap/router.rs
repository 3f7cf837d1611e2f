//! `isatap router`: an ISATAP router on this machine.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::isatap::{CheckNeighbors, PublishedPrefix};
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::route::Preference;
use isatap_core::time::Lifetime;
use isatap_std::isatap::{DEFAULT_DEVICE, Router, RouterOptions};

use crate::daemon::{self, LinkArgs};
use crate::exit::{Failure, Status};

/// Run an ISATAP router: answers the solicitations of the site's hosts; the kernel forwards.
///
/// The kernel's own switch has to be on: sysctl net.ipv6.conf.all.forwarding=1. While it is
/// off, prefixes are advertised and no default route is. Needs CAP_NET_ADMIN and
/// CAP_NET_RAW; ends on SIGINT or SIGTERM, and leaves nothing behind.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Answer at this IPv4 address. May be repeated.
    #[arg(long, value_name = "V4", required = true)]
    local: Vec<Ipv4Addr>,
    /// A prefix of 64 bits that hosts make addresses of. May be repeated.
    #[arg(long = "prefix", value_name = "PREFIX/64", required = true)]
    prefixes: Vec<Ipv6Prefix>,
    /// A more specific route to advertise. May be repeated.
    #[arg(long = "advertise-route", value_name = "PREFIX")]
    routes: Vec<Ipv6Prefix>,
    /// Do not offer a default route.
    #[arg(long)]
    no_default: bool,
    /// Seconds that hosts may use this router for, 0 to 65535.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    router_lifetime: u16,
    /// Seconds that addresses are valid.
    #[arg(long, value_name = "SECONDS", default_value_t = 2_592_000)]
    valid_lifetime: u32,
    /// Seconds that addresses are preferred.
    #[arg(long, value_name = "SECONDS", default_value_t = 604_800)]
    preferred_lifetime: u32,
    /// The preference among default routers: low, medium or high.
    #[arg(long, value_name = "PREFERENCE", default_value = "medium", value_parser = preference)]
    preference: Preference,
    /// A DNS server to advertise. May be repeated.
    #[arg(long = "dns", value_name = "V6")]
    dns_servers: Vec<Ipv6Addr>,
    /// A search domain to advertise. May be repeated.
    #[arg(long = "search", value_name = "DOMAIN")]
    search_domains: Vec<String>,
    /// Another tunnel router of the IPv4 network, ISATAP, 6to4, 6rd or other: nothing is taken from
    /// it, or sent to it, as if it were a host (SEC-4). May be repeated.
    #[arg(long = "known-router", value_name = "V4")]
    known_routers: Vec<Ipv4Addr>,
    /// Another router of this very link: what it sends is let in whatever its source. May be
    /// repeated.
    #[arg(long = "trust-router", value_name = "V4")]
    trusted_routers: Vec<Ipv4Addr>,
    /// Ask hosts whether they are there before forwarding for them, against routing loops (SEC-1):
    /// on, off, or where-blind: where an IPv4 address is private, which the other checks cannot
    /// judge. Hosts notice nothing: they are asked when they solicit.
    #[arg(long, value_name = "WHEN", default_value = "where-blind", value_parser = check_neighbors)]
    check_neighbors: CheckNeighbors,
    #[command(flatten)]
    link: LinkArgs,
}

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    let mut options = RouterOptions::default();
    options.link = args.link.options(DEFAULT_DEVICE);
    options.local.clone_from(&args.local);
    options.prefixes = args
        .prefixes
        .iter()
        .map(|prefix| PublishedPrefix {
            prefix: *prefix,
            valid_lifetime: Lifetime::from_secs(args.valid_lifetime),
            preferred_lifetime: Lifetime::from_secs(args.preferred_lifetime),
        })
        .collect();
    options.routes.clone_from(&args.routes);
    options.dns_servers.clone_from(&args.dns_servers);
    options.search_domains.clone_from(&args.search_domains);
    options.known_routers.clone_from(&args.known_routers);
    options.trusted_routers.clone_from(&args.trusted_routers);
    options.config.advertise_default_route = !args.no_default;
    options.config.router_lifetime = args.router_lifetime;
    options.config.preference = args.preference;
    options.config.check_neighbors = args.check_neighbors;
    let verbose = args.link.verbose;
    daemon::run(&args.link.privileges, || options.open(daemon::observer(verbose)), Router::run_until)
}

fn check_neighbors(text: &str) -> Result<CheckNeighbors, String> {
    CheckNeighbors::ALL
        .into_iter()
        .find(|choice| choice.as_str() == text)
        .ok_or_else(|| "expected off, where-blind or on".to_owned())
}

fn preference(text: &str) -> Result<Preference, String> {
    [Preference::Low, Preference::Medium, Preference::High]
        .into_iter()
        .find(|preference| preference.as_str() == text)
        .ok_or_else(|| "expected low, medium or high".to_owned())
}
