//! What the commands that run a link have in common.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use isatap_std::Error;
use isatap_std::config::Config;
use isatap_std::privileges::Privileges;
use isatap_std::resolve::Name;
use isatap_std::run::{LoadedKernelPath, Run};
use isatap_std::runtime_dir::RuntimeDir;
use isatap_std::service::Notice;
use isatap_std::signal::Signals;
use isatap_std::spec::{DnsServer, DnsUpdate, KernelPath, LinkSpec, PortProxy};

use crate::exit::{Failure, Status};
use crate::hook::{Feed, Setup};
use crate::output::{self, say, warn};

// Options of every daemon.
#[derive(clap::Args, Debug)]
pub(crate) struct DaemonArgs {
    /// Log events to standard error.
    #[arg(short, long)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    kernel_path: KernelPathArgs,
    #[command(flatten)]
    dns: DnsArgs,
    #[command(flatten)]
    hook: HookArgs,
    #[command(flatten)]
    pub(crate) privileges: PrivilegeArgs,
}

// How packets go of flows that are known.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct KernelPathArgs {
    /// Whether the kernel encapsulates and decapsulates packets of known flows itself, by programs that the
    /// daemon loads: auto by default (where it can: Linux 6.6, CAP_BPF and CAP_PERFMON, no firewall rules of IPv4; isatap
    /// status says why not), off, or require (or do not start). With require such outer packets pass no rules of
    /// the IPv4 firewall, but for one in ten seconds. Teredo's TCP stays with the daemon.
    #[arg(long, value_enum, value_name = "WHEN")]
    pub(crate) kernel_path: Option<KernelPath>,
}

impl KernelPathArgs {
    /// What is wanted, by these flags or a file, before there is any device.
    pub(crate) fn load(self, config: &Config) -> Result<LoadedKernelPath, Error> {
        LoadedKernelPath::load(self.mode(config), &config.links)
    }

    /// The same of a file, which may say something else later.
    pub(crate) fn load_for_any(self, config: &Config) -> Result<LoadedKernelPath, Error> {
        LoadedKernelPath::load_for_any(self.mode(config))
    }

    fn mode(self, config: &Config) -> KernelPath {
        self.kernel_path.unwrap_or(config.kernel_path)
    }
}

// A name in the DNS: what more can be said of it, a table [[dns-update]] says.
#[derive(clap::Args, Debug)]
struct DnsArgs {
    /// Keep the link's global addresses in the DNS, as AAAA records of this machine's name in this zone
    /// (RFC 2136), until the daemon ends. A file's [[dns-update]] takes more: isatap config reference.
    #[arg(long, value_name = "ZONE")]
    dns_update: Option<Name>,
    /// The name, within the zone unless it ends in a dot.
    #[arg(long, value_name = "NAME", requires = "dns_update")]
    dns_name: Option<Name>,
    /// The zone's primary server; without it the one that the zone's SOA record names.
    #[arg(long, value_name = "HOST[:PORT]", requires = "dns_update")]
    dns_server: Option<DnsServer>,
    /// The TSIG key, as tsig-keygen writes it.
    #[arg(long, value_name = "FILE", requires = "dns_update")]
    dns_key: Option<PathBuf>,
}

impl DnsArgs {
    fn spec(&self) -> Option<DnsUpdate> {
        let mut spec = DnsUpdate::new(self.dns_update.clone()?);
        (spec.name, spec.server, spec.key_file) =
            (self.dns_name.clone(), self.dns_server.clone(), self.dns_key.clone());
        Some(spec)
    }
}

// What every daemon runs when something changes.
#[derive(clap::Args, Clone, Debug)]
struct HookArgs {
    /// Run this command when an address, a prefix, a route or a router changes: without arguments, with
    /// ISATAP_EVENT, ISATAP_DEV, ISATAP_ADDRESS, … (the keys of isatap monitor -j) in its environment.
    /// One run at a time, of at most 30 seconds; what it prints is logged.
    #[arg(long, value_name = "PATH")]
    hook: Option<String>,
    /// Run the hook as this user, not as the one who starts the daemon.
    #[arg(long, value_name = "NAME", requires = "hook")]
    hook_user: Option<String>,
}

// What every daemon gives up.
#[derive(clap::Args, Debug)]
pub(crate) struct PrivilegeArgs {
    /// Become this user once everything is open. With or without it, the daemon keeps only the
    /// system calls and files that it needs, and for links CAP_NET_ADMIN and CAP_NET_RAW.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Keep all privileges, to find out whether something fails for lack of them.
    #[arg(long, conflicts_with = "user")]
    pub(crate) keep_privileges: bool,
}

impl PrivilegeArgs {
    /// Who the daemon becomes. `user` is the one of a file.
    pub(crate) fn user_of<'a>(&'a self, user: Option<&'a str>) -> Option<&'a str> {
        if self.keep_privileges { None } else { self.user.as_deref().or(user) }
    }

    /// What the daemon keeps, before anything is opened; `None`: everything. `user` is the one
    /// of a file; `add` says what the daemon does beside what all do.
    pub(crate) fn announce(
        &self,
        user: Option<&str>,
        add: impl FnOnce(Privileges) -> Privileges,
    ) -> Result<Option<Privileges>, Error> {
        if self.keep_privileges {
            return Ok(None);
        }
        let mut privileges = add(Privileges::new().runtime(&RuntimeDir::new()));
        if let Some(user) = self.user_of(user) {
            privileges = privileges.user(user)?;
        }
        privileges.announce();
        Ok(Some(privileges))
    }
}

/// Gives up what was announced, once everything is open.
pub(crate) fn give_up(privileges: Option<Privileges>) -> Result<(), Error> {
    for missing in privileges.map(Privileges::give_up).transpose()?.unwrap_or_default() {
        warn(missing);
    }
    Ok(())
}

/// Prints what happens: that a device is up, and what becomes of rules, on standard output;
/// anything else on standard error. The hook is told as well.
pub(crate) fn observer(verbose: bool, hook: Option<Arc<Feed>>) -> impl FnMut(&Notice) + Send + 'static {
    move |notice| {
        if let Some(hook) = &hook {
            hook.tell(notice);
        }
        match notice {
            Notice::Up { .. } | Notice::Rule(_) => {
                let mut out = output::answer();
                // The link goes on whether or not this can be said.
                let _ = writeln!(out, "{notice}").and_then(|()| out.flush());
            }
            Notice::Warning(text) => warn(text),
            Notice::Link { event, .. } if event.is_warning() => warn(notice),
            Notice::Mended(text) => say(text),
            _ if verbose => say(notice),
            _ => {}
        }
    }
}

/// Runs until SIGINT or SIGTERM. The signals are caught before anything is made, so that one
/// that comes early leaves nothing behind either.
pub(crate) fn run(config: &Config, args: &DaemonArgs) -> Result<Status, Failure> {
    let refused: Vec<_> = config.links.iter().flat_map(LinkSpec::check).map(|refusal| refusal.error).collect();
    if !refused.is_empty() {
        return Err(Failure::Options(refused.iter().map(ToString::to_string).collect()));
    }
    let mut signals = Signals::catch()?;
    let HookArgs { hook, hook_user: user } = args.hook.clone();
    let hook = hook.map(|hook| Feed::start(&Setup { hook, user, file: None })).transpose()?.map(Arc::new);
    let lmhosts = || config.links.iter().filter_map(LinkSpec::lmhosts);
    let leases = || config.links.iter().filter_map(LinkSpec::dhcp_lease);
    let privileges = args.privileges.announce(None, |privileges| {
        // A device that is deleted is made again, ports and all.
        let low = config.links.iter().any(LinkSpec::binds_low_port);
        let privileges = if low { privileges.bind_low_ports() } else { privileges };
        let remembers = args.dns.dns_update.is_some() || config.links.iter().any(LinkSpec::remembers);
        let privileges = if remembers { privileges.remember() } else { privileges };
        leases().fold(lmhosts().fold(privileges, Privileges::read_names), Privileges::read_lease)
    })?;
    let observer = observer(args.verbose, hook.clone());
    let kernel_path = args.kernel_path.load(config)?;
    let mut links = Run::open_with(&config.links, &[], Some(&RuntimeDir::new()), observer)?;
    hook.map_or(Ok(()), |hook| links.hooks(hook))?;
    links.update_dns(args.dns.spec().as_slice())?;
    links.kernel_path(kernel_path)?;
    give_up(privileges)?;
    links.run_until(&mut signals)?;
    Ok(Status::Done)
}

/// The same of a rule of the port proxy, which needs no capability once it listens.
pub(crate) fn run_rule(rule: &PortProxy, verbose: bool, privileges: &PrivilegeArgs) -> Result<Status, Failure> {
    let refused: Vec<_> = rule.check().into_iter().map(|refusal| refusal.error.to_string()).collect();
    if !refused.is_empty() {
        return Err(Failure::Options(refused));
    }
    let mut signals = Signals::catch()?;
    let privileges = privileges.announce(None, |privileges| {
        let privileges = privileges.without_links().system_names();
        // It listens again when the device of its zone is made again.
        let is_zoned = rule.listen.address.as_ref().is_some_and(|address| address.zone.is_some());
        if is_zoned && rule.listen.port < 1024 { privileges.bind_low_ports() } else { privileges }
    })?;
    let mut run = Run::open_with(&[], &[], Some(&RuntimeDir::new()), observer(verbose, None))?;
    run.proxy(std::slice::from_ref(rule))?;
    give_up(privileges)?;
    run.run_until(&mut signals)?;
    Ok(Status::Done)
}
