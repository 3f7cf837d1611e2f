//! `isatap run`: the links of a configuration file in one process.

use std::env;
use std::fs::File;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::Arc;

use isatap_std::Error;
use isatap_std::config::Config;
use isatap_std::error::Class;
use isatap_std::privileges::Privileges;
use isatap_std::run::Run;
use isatap_std::runtime_dir::RuntimeDir;
use isatap_std::service::Notice;
use isatap_std::signal::{Request, Signals};
use isatap_std::spec::LinkSpec;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::User;

use crate::daemon::{self, KernelPathArgs, PrivilegeArgs};
use crate::exit::{Failure, Status};
use crate::hook::{self, Feed, Setup};
use crate::output::{say, warn};
use crate::toml_file;

/// Run all links of a configuration file in one process, for systemd or by hand.
///
/// Each table of the file is a link: `[[isatap-host]]`, `[[isatap-router]]`, `[[tunnel]]`,
/// `[[6rd]]`, `[[6to4]]`, `[[teredo-client]]`, `[[teredo-server]]` or `[[teredo-relay]]`, or a rule
/// of the port proxy: `[[portproxy]]`. Keys are the options of its command without dashes in front; what an option may repeat is a list; for
/// --no-THING write THING = false. A table `[[native]]` is a device that carries IPv6 itself: with
/// forwarding = true the daemon warns while the kernel does not forward there. In front of the tables
/// can stand user, hook, hook-user and kernel-path, which are --user, --hook, --hook-user and --kernel-path of the
/// other commands.
/// A table `[[dns-update]]` keeps the addresses of all links in the DNS.
///
/// SIGHUP reads the file again. An invalid file changes nothing. Unchanged links keep running,
/// with their devices, counters and what other programs put on them; no connection of the port proxy is
/// cut. The daemon then asks routers,
/// relays and servers at once. It tells systemd when it is ready and while it reloads (Type=notify,
/// or notify-reload from systemd 253 on). Needs CAP_NET_ADMIN and CAP_NET_RAW; ends on SIGINT or
/// SIGTERM, and leaves nothing behind.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The TOML file; check it with: isatap config check FILE.
    file: String,
    /// Log events to standard error.
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    kernel_path: KernelPathArgs,
    #[command(flatten)]
    privileges: PrivilegeArgs,
}

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    // First of all: a signal that comes early leaves nothing behind, and SIGHUP ends nothing.
    let mut signals = Signals::catch()?;
    let (mut config, text) = read_text(&args.file, false)?;
    let at_start = |error| placed(&args.file, &text, error);
    config.warnings().iter().for_each(|(dev, warning)| warn(format_args!("{dev}: {warning}")));
    let user = args.privileges.user_of(config.user.as_deref());
    if let Some(error) = refusals(&config, user).into_iter().next() {
        return Err(at_start(error));
    }
    let setup = config.hook.clone().map(|hook| {
        let file =
            std::path::absolute(&args.file).map_or_else(|_| args.file.clone(), |file| file.display().to_string());
        Setup { hook, user: config.hook_user.clone(), file: Some(file) }
    });
    let hook = setup.as_ref().map(Feed::start).transpose().map_err(at_start)?.map(Arc::new);
    let mut print = daemon::observer(args.verbose, hook.clone());
    let observer = move |notice: &Notice| {
        print(notice);
        // What `systemctl status` shows: the last of what matters.
        if let Notice::Up { .. } | Notice::Warning(_) | Notice::Mended(_) = notice {
            notify(&format!("STATUS={notice}"));
        }
    };
    let privileges =
        args.privileges.announce(config.user.as_deref(), |privileges| keep(privileges, &args.file, &config));
    let privileges = privileges.map_err(at_start)?;
    let kernel_path = args.kernel_path.load_for_any(&config)?;
    let links = Run::open_with(&config.links, &config.natives, Some(&RuntimeDir::new()), observer);
    let mut links = links.map_err(at_start)?;
    hook.clone().map_or(Ok(()), |hook| links.hooks(hook))?;
    links.proxy(&config.portproxies).map_err(at_start)?;
    links.update_dns(&config.dns_updates).map_err(at_start)?;
    links.kernel_path(kernel_path).map_err(at_start)?;
    daemon::give_up(privileges)?;
    if let Err(error) = File::open(&args.file) {
        warn(format_args!(
            "reading {} again: {error}; a reload needs a file that the daemon's user may read",
            args.file
        ));
    }
    notify("READY=1");
    loop {
        if links.run_until_asked(&mut signals)? == Request::Stop {
            notify("STOPPING=1");
            links.finish(&mut signals)?;
            return Ok(Status::Done);
        }
        notify(&reloading());
        match read_text(&args.file, false) {
            Err(failure) => {
                failure.lines().iter().for_each(warn);
                warn("nothing is changed");
                notify("STATUS=the new file was refused, and nothing is changed: see the log");
            }
            Ok((new, text)) => match links.reload(&new.links, &new.natives, &new.portproxies, &mut signals) {
                Ok(reloaded) => {
                    say(format_args!("{} read again: {reloaded}", args.file));
                    if new.user != config.user {
                        warn("user is another: the daemon stays who it is until it is started again");
                    }
                    match &hook {
                        Some(hook) if !hook.reload() => warn(
                            "the hook cannot be changed: its process has ended, or is far behind; start isatap again",
                        ),
                        None if new.hook.is_some() => warn("hook is new: it runs once the daemon is started again"),
                        _ => {}
                    }
                    if new.dns_updates != config.dns_updates {
                        warn("[[dns-update]] is another: names stay as they are until the daemon is started again");
                    }
                    if new.kernel_path != config.kernel_path {
                        warn("kernel-path is another: it stays as it is until the daemon is started again");
                    }
                    if new.hook_user != config.hook_user && hook.is_some() {
                        warn("hook-user is another: hooks run as before until the daemon is started again");
                    }
                    config = new;
                    links.solicit();
                }
                Err(error) if links.is_idle() => return Err(placed(&args.file, &text, error)),
                Err(error) => {
                    placed(&args.file, &text, error).lines().iter().for_each(warn);
                    warn("the new file is not used");
                    notify("STATUS=the new file was refused: see the log");
                }
            },
        }
        notify("READY=1");
    }
}

/// What this machine refuses of a file, before anything is made: `isatap config check` tells all of it.
/// `user`: who the daemon becomes.
pub(crate) fn refusals(config: &Config, user: Option<&str>) -> Vec<Error> {
    let owner = user.and_then(|user| User::from_name(user).ok()?).map(|user| user.uid.as_raw());
    let user = user.map(|user| Privileges::new().user(user)).transpose().map(drop);
    let hook_user = config.hook_user.as_deref().map(hook::find_user).transpose();
    let uid = hook_user.as_ref().ok().and_then(|user| Some(user.as_ref()?.uid));
    let hook = config.hook.as_deref().map_or(Ok(()), |path| hook::check(Path::new(path), uid));
    let in_front = [user, hook_user.map(drop), hook].into_iter().filter_map(Result::err);
    in_front.chain(config.refusals(&RuntimeDir::new(), owner)).collect()
}

/// What a reload opens: the file itself, those with secrets, and what packets are recorded into.
fn keep(privileges: Privileges, file: &str, config: &Config) -> Privileges {
    // A reload may add rules of the port proxy.
    let mut privileges = privileges.read(file).system_names();
    if config.links.is_empty() && config.natives.is_empty() {
        privileges = privileges.without_links();
    }
    if config.portproxies.iter().any(|rule| rule.listen.port < 1024) {
        privileges = privileges.bind_low_ports();
    }
    if !config.dns_updates.is_empty() || config.links.iter().any(LinkSpec::remembers) {
        privileges = privileges.remember();
    }
    for link in &config.links {
        privileges = link.pcap().into_iter().fold(privileges, Privileges::write);
        privileges = link.secret_file().into_iter().chain(link.update_files()).fold(privileges, Privileges::read);
        privileges = link.dhcp_lease().into_iter().fold(privileges, Privileges::read_lease);
        privileges = link.lmhosts().into_iter().fold(privileges, Privileges::read_names);
        if link.binds_low_port() {
            privileges = privileges.bind_low_ports();
        }
    }
    privileges
}

/// What this machine refuses, with its place in the file.
fn placed(file: &str, text: &str, error: Error) -> Failure {
    match Config::place(file, text, &error) {
        Some(problem) if error.class() == Class::Usage => Failure::Usage(problem.to_string()),
        Some(problem) => Failure::Refused(problem.to_string()),
        None => error.into(),
    }
}

/// Reads a file, and gives its text too; `accept_bogons` as [`Config::parse_for`].
pub(crate) fn read_text(file: &str, accept_bogons: bool) -> Result<(Config, String), Failure> {
    let text = toml_file::read(file)?;
    let config = Config::parse_for(file, &text, accept_bogons).map_err(Failure::Mistakes)?;
    Ok((config, text))
}

/// Tells systemd, if it has started this process and wants to know: sd_notify(3).
fn notify(state: &str) {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return };
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let told = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = told {
        warn(format_args!("telling {state:?} to {}: {error}", path.display()));
    }
}

/// With the time by which systemd tells an old "ready" from the one to come.
fn reloading() -> String {
    let micros = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| i128::from(now.tv_sec()) * 1_000_000 + i128::from(now.tv_nsec()) / 1000);
    format!("RELOADING=1\nMONOTONIC_USEC={micros}")
}
