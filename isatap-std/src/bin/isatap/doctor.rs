//! `isatap doctor`: the first thing that keeps a link from working, and what mends it.

mod probe;
mod system;

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::net::Ipv6Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use isatap_core::teredo::addr::PREFIX;
use isatap_std::control::{self, Request};
use isatap_std::doctor::{Facts, Finding, Step, TeredoAnswer, Unsent, diagnose};
use isatap_std::isatap::DEFAULT_DEVICE;
use isatap_std::node::evidence::Evidence;
use isatap_std::runtime_dir::RuntimeDir;

use crate::exit::{Failure, Status};

/// Find out why a link does not work: names the first step that fails, why, and what mends it.
///
/// A host comes to life in steps: name, prl, rs-sent, ra-seen, address, route, mtu, peer; a
/// Teredo client in name, socket, rs-sent, answered, nat, address, route, mtu, peer. Asks the
/// daemon, looks at the kernel, and sends a few pings; takes about 10 seconds a device. Ends
/// with status 3 when something is not as it should be.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Print JSON, one object a step.
    #[arg(short, long)]
    json: bool,
    /// One device; all of them if it is left out.
    dev: Option<String>,
}

/// The time for the probes of a device, each of which ends soon after.
const PROBING: Duration = Duration::from_secs(8);
/// Routers that are probed.
const ROUTERS: usize = 3;

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    let runtime = RuntimeDir::new();
    let running = if args.dev.is_none() { runtime.devices() } else { Vec::new() };
    let listed = !running.is_empty();
    let one = || vec![args.dev.clone().unwrap_or_else(|| DEFAULT_DEVICE.to_owned())];
    let devices = if listed { running } else { one() };
    let mut out = io::stdout().lock();
    let colour = !args.json && out.is_terminal();
    let mut status = Status::Done;
    for device in devices {
        let examined = examine(&runtime, &device, Instant::now() + PROBING)?;
        // One that ends while its neighbours are looked at is no fault of the link.
        if listed && examined.role.is_empty() && !runtime.socket(&device).exists() {
            eprintln!("isatap: the daemon of {device} has just ended");
            continue;
        }
        if examined.findings.iter().any(|finding| !finding.ok) {
            status = Status::Problems;
        }
        if args.json {
            for finding in &examined.findings {
                writeln!(out, "{}", serde_json::to_string(&Line { dev: &device, finding }).unwrap_or_default())?;
            }
        } else {
            print(&mut out, colour, &device, &examined)?;
        }
    }
    Ok(status)
}

#[derive(serde::Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    dev: &'a str,
}

/// What was found out about a device.
struct Examined {
    /// Its role; empty without a daemon.
    role: String,
    /// What it goes through.
    steps: &'static [Step],
    findings: Vec<Finding>,
}

fn examine(runtime: &RuntimeDir, device: &str, deadline: Instant) -> Result<Examined, Failure> {
    let socket = runtime.socket(device);
    let no_daemon = || {
        let holder = system::holder(device);
        let finding = Finding::no_daemon(device, &socket.display().to_string(), holder.as_ref());
        Examined { role: String::new(), steps: &[], findings: vec![finding] }
    };
    let Some(before) = evidence(device, &socket)? else { return Ok(no_daemon()) };
    let index = system::kernel(device, |_| false)?.1;
    let mut rows = before.status.prl.clone();
    rows.sort_by_key(|row| !row.alive);
    let probed = rows.iter().take(ROUTERS).filter_map(|row| Some((row.address, index?)));
    let probes = probed.map(|(router, index)| probe::router(router, index, before.status.mtu, deadline)).collect();
    let is_client = before.status.role == "teredo-client";
    let teredo = before.status.teredo.as_ref().filter(|teredo| is_client && teredo.state != "qualified");
    let teredo = teredo.and_then(|teredo| teredo.server).map(|server| probe::teredo(server, deadline));
    // Afterwards: what the pings have called for is told with the rest.
    let Some(after) = evidence(device, &socket)? else { return Ok(no_daemon()) };
    let addresses: Vec<_> = after.status.addresses.iter().map(|address| address.address).collect();
    // Two Teredo clients of one machine take each other's packets.
    let is_rival = |address: &Ipv6Addr| addresses.contains(address) || (is_client && PREFIX.contains(address));
    let (mut kernel, _) = system::kernel(device, is_rival)?;
    let count = |evidence: &Evidence, name: &str| evidence.status.io.get(name).copied().unwrap_or_default();
    let during = |name: &str| count(&after, name).saturating_sub(count(&before, name));
    let unsent = Unsent { not_permitted: during("send-not-permitted"), unreachable: during("send-unreachable") };
    let is_forbidden = teredo.is_some_and(|probe| probe.answer == TeredoAnswer::NotPermitted);
    if unsent.not_permitted > 0 || is_forbidden {
        kernel.output_chains = system::output_chains();
    }
    let (role, steps) = (after.status.role.clone(), Step::of(&after.status));
    let facts = Facts { command: system::command(after.pid), evidence: after, unsent, kernel, probes, teredo };
    Ok(Examined { role, steps, findings: diagnose(&facts) })
}

/// What the daemon can tell; none where no daemon runs, or none any more.
fn evidence(device: &str, socket: &Path) -> Result<Option<Evidence>, Failure> {
    const LAST_BREATH: Duration = Duration::from_millis(200);
    let ask = || control::ask(socket, Request::Evidence);
    let answer = ask().or_else(|error| match control::ended(&error) {
        true => {
            std::thread::sleep(LAST_BREATH);
            ask()
        }
        false => Err(error),
    });
    match answer {
        Ok(answer) => serde_json::from_value(answer).map(Some).map_err(|error| {
            Failure::Refused(format!("cannot read the evidence of {device}: {error}; restart its daemon"))
        }),
        Err(error) => match error.io_error().map(io::Error::kind) {
            Some(ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
            _ => Err(error.into()),
        },
    }
}

fn print(out: &mut impl Write, colour: bool, device: &str, examined: &Examined) -> io::Result<()> {
    let paint = |code: &str, text: &str| if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
    let (findings, role) = (&examined.findings, &examined.role);
    let colon = if role.is_empty() { String::new() } else { format!(": {role}") };
    writeln!(out, "{}{colon}", paint("1", device))?;
    for finding in findings {
        let step = format!("{:<8}", finding.step.as_str());
        if finding.ok {
            writeln!(out, "  {} {step} {}", paint("32", "ok  "), finding.seen.as_deref().unwrap_or_default())?;
        } else {
            writeln!(out, "  {} {step} {}", paint("1;31", "FAIL"), finding.cause.as_deref().unwrap_or_default())?;
            writeln!(out, "       {} {}", paint("1", "fix:    "), finding.fix.as_deref().unwrap_or_default())?;
        }
        if let Some(warning) = &finding.warning {
            writeln!(out, "       {} {warning}", paint("33", "warning:"))?;
        }
    }
    let rest: Vec<&str> = examined.steps.iter().skip(findings.len()).map(|step| step.as_str()).collect();
    if !rest.is_empty() {
        writeln!(out, "       not looked at before that is mended: {}", rest.join(", "))?;
    }
    Ok(())
}
