//! What the commands that run a link have in common.

use std::io::Write;
use std::path::PathBuf;

use isatap_core::prefix::Ipv4Prefix;
use isatap_std::Error;
use isatap_std::link::LinkOptions;
use isatap_std::node::Notice;
use isatap_std::privileges::Privileges;
use isatap_std::runtime_dir::RuntimeDir;
use isatap_std::signal::Signals;

use crate::exit::{Failure, Status};
use crate::output::{self, say, warn};

/// Options of every link.
#[derive(clap::Args, Debug)]
pub(crate) struct LinkArgs {
    /// The device to make; without it isatap0, tun6in4, tun6rd or tun6to4, by the command.
    #[arg(long, value_name = "DEV")]
    dev: Option<String>,
    /// The IPv6 MTU in bytes, 1280 to 65515.
    #[arg(long, value_name = "N")]
    mtu: Option<u16>,
    /// Outer time to live.
    #[arg(long, value_name = "N", default_value_t = 64)]
    ttl: u8,
    /// Let outer packets be fragmented instead of finding the path MTU by DF and ICMPv4.
    #[arg(long)]
    no_path_mtu_discovery: bool,
    /// ISATAP: an IPv4 prefix of the site; others' packets are dropped (SEC-2). May be repeated.
    #[arg(long = "member", value_name = "PREFIX")]
    members: Vec<Ipv4Prefix>,
    /// The metric of routes through the device; native ones have 1024.
    #[arg(long, value_name = "N", default_value_t = isatap_std::driver::attachment::DEFAULT_METRIC)]
    metric: u32,
    /// Record outer packets into this file, for Wireshark or tcpdump.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Treat private and documentation IPv4 addresses as global (labs only). Matters to 6to4
    /// and Teredo alone.
    #[arg(long)]
    pub(crate) accept_bogons: bool,
    /// Log events to standard error.
    #[arg(short, long)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) privileges: PrivilegeArgs,
}

/// What every daemon gives up.
#[derive(clap::Args, Debug)]
pub(crate) struct PrivilegeArgs {
    /// Become this user once everything is open. With or without it, the daemon keeps only
    /// CAP_NET_ADMIN, CAP_NET_RAW and the system calls and files that it needs.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Keep all privileges, to find out whether something fails for lack of them.
    #[arg(long, conflicts_with = "user")]
    pub(crate) keep_privileges: bool,
}

impl PrivilegeArgs {
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
        if let Some(user) = self.user.as_deref().or(user) {
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

impl LinkArgs {
    pub(crate) fn options(&self, default_device: &str) -> LinkOptions {
        let mut options = LinkOptions::default();
        options.device = self.dev.clone().unwrap_or_else(|| default_device.to_owned());
        options.mtu = self.mtu;
        options.ttl = self.ttl;
        options.path_mtu_discovery = !self.no_path_mtu_discovery;
        options.members.clone_from(&self.members);
        options.metric = self.metric;
        options.pcap.clone_from(&self.pcap);
        options.runtime = Some(RuntimeDir::new());
        options
    }
}

/// Prints what happens: that a device is up on standard output, anything else on standard
/// error.
pub(crate) fn observer(verbose: bool) -> impl FnMut(&Notice) + Send + 'static {
    move |notice| {
        match notice {
            Notice::Up { .. } => {
                let mut out = output::answer();
                // The link goes on whether or not this can be said.
                let _ = writeln!(out, "{notice}").and_then(|()| out.flush());
            }
            Notice::Warning(text) => warn(text),
            _ if verbose => say(notice),
            _ => {}
        }
    }
}

/// Runs until SIGINT or SIGTERM. The signals are caught before anything is made, so that one
/// that comes early leaves nothing behind either.
pub(crate) fn run<L>(
    privileges: &PrivilegeArgs,
    open: impl FnOnce() -> Result<L, Error>,
    run_until: impl FnOnce(&mut L, &mut Signals) -> Result<(), Error>,
) -> Result<Status, Failure> {
    let mut signals = Signals::catch()?;
    let privileges = privileges.announce(None, |privileges| privileges)?;
    let mut link = open()?;
    give_up(privileges)?;
    run_until(&mut link, &mut signals)?;
    Ok(Status::Done)
}
