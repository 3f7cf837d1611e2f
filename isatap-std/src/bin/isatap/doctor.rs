//! `isatap doctor`: the first thing that keeps a link from working, and the fix.

mod arrivals;
mod probe;
mod system;

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use isatap_core::teredo::addr::PREFIX;
use isatap_std::control::{self, Request};
use isatap_std::doctor::{Facts, Finding, Step, TeredoAnswer, Unsent, diagnose, is_heard_again};
use isatap_std::runtime_dir::RuntimeDir;
use isatap_std::service::evidence::Evidence;
use isatap_std::service::status::Status as Link;
use isatap_std::spec::ISATAP_DEVICE;

use crate::exit::{Failure, Status};
use crate::output;
use arrivals::Arrivals;
use probe::Target;

/// Find out why a link does not work: reports the first failing step, the reason and the fix.
///
/// A host comes to life in steps: name, prl, rs-sent, ra-seen, address, route, mtu, peer; a
/// Teredo client in name, socket, rs-sent, answered, nat, address, route, mtu, peer. Beside them: broker,
/// responder, dns-update, hooks. Has the daemon ask its routers, though no tunnel broker, looks at the
/// kernel, and sends a few pings; takes about 10 seconds a device. What is ok was seen meanwhile; a ?
/// stands where nothing could be. Ends with status 3 when something is not as it should be.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Print JSON, one object a step.
    #[arg(short, long)]
    json: bool,
    /// One device; all of this network namespace if it is left out.
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
    if !listed && args.dev.is_none() && !control::ask_port_proxies(&runtime)?.is_empty() {
        output::say("only rules of the port proxy run here, and no link to examine; see isatap portproxy show");
        return Ok(Status::Done);
    }
    let one = || vec![args.dev.clone().unwrap_or_else(|| ISATAP_DEVICE.to_owned())];
    let devices = if listed { running } else { one() };
    let mut out = output::answer();
    let colour = output::colour(args.json);
    let mut status = Status::Done;
    let last = devices.len().saturating_sub(1);
    let mut is_any = false;
    for (at, device) in devices.into_iter().enumerate() {
        let examined = examine(&runtime, &device, Instant::now() + PROBING)?;
        // One that ends while its neighbours are looked at is no fault of the link. With none
        // left nothing was seen to work.
        if listed && examined.role.is_empty() && !runtime.socket(&device).exists() && (is_any || at < last) {
            output::say(format_args!("the daemon of {device} has just ended"));
            continue;
        }
        is_any = true;
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
    let no_daemon = || {
        let holder = system::holder(device);
        let finding = Finding::no_daemon(device, runtime, holder.as_ref());
        Examined { role: String::new(), steps: &[], findings: vec![finding] }
    };
    let Some(before) = evidence(runtime, device)? else { return Ok(no_daemon()) };
    let others = others(runtime, device);
    let arrivals = Arrivals::listen();
    let began = Instant::now();
    // Whoever has nobody to ask says so; that the answer comes is seen below.
    let _ = control::ask(runtime, device, Request::Examine);
    let index = system::kernel(device, |_| false)?.1;
    let mut rows = before.status.prl.clone();
    rows.sort_by_key(|row| !row.alive);
    let targets = rows
        .iter()
        .take(ROUTERS)
        .map(|row| Target::router(row.address, &before.status))
        .chain(Target::of(&before.status));
    let probed = targets.filter_map(|target| Some((target, (device, index?))));
    let probes =
        probed.map(|(target, device)| probe::other_end(&target, device, before.status.mtu, deadline)).collect();
    let is_client = before.status.role == "teredo-client";
    // One that rests sends nothing, and needs no answer.
    let teredo = before.status.teredo.as_ref().filter(|_| is_client && !before.status.resting);
    let teredo = teredo.and_then(|teredo| teredo.server).map(|server| probe::teredo(server, deadline));
    // Afterwards: what the pings have called for is told with the rest.
    let (after, answered) = loop {
        let elapsed = began.elapsed();
        let Some(after) = evidence(runtime, device)? else { return Ok(no_daemon()) };
        let answered = answered(&before.status, &after.status, elapsed.as_secs());
        if is_settled(&before.status, &after.status, &answered, elapsed) {
            break (after, answered);
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let elapsed = began.elapsed().as_secs();
    let mut arrived = arrivals.and_then(Arrivals::end);
    if let Some(arrived) = arrived.as_mut().filter(|arrived| !arrived.is_empty()) {
        let elsewhere = heard_elsewhere(&others, &self::others(runtime, device));
        arrived.retain(|arrived| !elsewhere.contains(&arrived.from));
    }
    let addresses: Vec<_> = after.status.addresses.iter().map(|address| address.address).collect();
    // Two Teredo clients of one machine take each other's packets.
    let is_rival = |address: &Ipv6Addr| addresses.contains(address) || (is_client && PREFIX.contains(address));
    let (mut kernel, _) = system::kernel(device, is_rival)?;
    let count = |evidence: &Evidence, name: &str| evidence.status.io.get(name).copied().unwrap_or_default();
    let during = |name: &str| count(&after, name).saturating_sub(count(&before, name));
    let unsent = Unsent { not_permitted: during("send-not-permitted"), unreachable: during("send-unreachable") };
    let is_forbidden = teredo.is_some_and(|probe| probe.answer == TeredoAnswer::NotPermitted);
    if unsent.not_permitted > 0 || is_forbidden {
        kernel.output_chains = system::chains_at(&["output"]);
    }
    if arrived.as_ref().is_some_and(|arrived| !arrived.is_empty()) {
        kernel.input_chains = system::chains_at(&["prerouting", "input"]);
    }
    let (role, steps) = (after.status.role.clone(), Step::of(&after.status));
    let command = system::command(after.pid);
    let before = before.status.packets;
    let facts = Facts { command, evidence: after, unsent, elapsed, answered, before, arrived, kernel, probes, teredo };
    Ok(Examined { role, steps, findings: diagnose(&facts) })
}

/// What the other links here say of themselves.
fn others(runtime: &RuntimeDir, device: &str) -> Vec<Link> {
    let others = runtime.devices().into_iter().filter(|other| other != device);
    let status = others.filter_map(|other| control::ask(runtime, &other, Request::Status).ok());
    status.filter_map(|status| serde_json::from_value(status).ok()).collect()
}

/// The peers of links that have taken something between two looks: what they sent is no other link's.
fn heard_elsewhere(before: &[Link], after: &[Link]) -> Vec<Ipv4Addr> {
    let taken = |link: &Link| link.packets.delivered.saturating_add(link.packets.consumed);
    let has_taken = |link: &&Link| {
        let known = before.iter().find(|known| known.dev == link.dev);
        known.is_none_or(|known| taken(link) != taken(known))
    };
    let peers = |link: &Link| link.remote.into_iter().chain(link.prl.iter().map(|row| row.address)).collect::<Vec<_>>();
    after.iter().filter(has_taken).flat_map(peers).collect()
}

/// The routers and the Teredo server that were heard between two looks.
fn answered(before: &Link, after: &Link, elapsed: u64) -> Vec<Ipv4Addr> {
    let routers = after.prl.iter().filter(|row| {
        let known = before.prl.iter().find(|known| known.address == row.address);
        is_heard_again(known.and_then(|known| known.heard), row.heard, elapsed)
    });
    let server = after.teredo.as_ref().filter(|teredo| {
        let known = before.teredo.as_ref().and_then(|known| known.server_heard);
        is_heard_again(known, teredo.server_heard, elapsed)
    });
    routers.map(|row| row.address).chain(server.and_then(|teredo| teredo.server)).collect()
}

/// Whether all that was asked has been answered, or had its time. Solicitations are 4 s apart:
/// where one was sent a moment before, the next one waits.
fn is_settled(before: &Link, after: &Link, answered: &[Ipv4Addr], elapsed: Duration) -> bool {
    const ANSWER: Duration = Duration::from_millis(5500);
    const STRANGERS: Duration = Duration::from_secs(3);
    match after.role.as_str() {
        "isatap-host" => {
            let was_alive = |address| before.prl.iter().any(|row| row.address == address && row.alive);
            let is_answered = !answered.is_empty()
                && after.prl.iter().all(|row| answered.contains(&row.address) || !was_alive(row.address));
            is_answered || after.prl.is_empty() || after.locators.is_empty() || elapsed >= ANSWER
        }
        "6rd-ce" => after.relay_answers.is_some() || after.remote.is_none() || elapsed >= ANSWER,
        // Its hosts come by themselves, if at all.
        "isatap-router" => {
            let is_known = after.answered.is_some_and(|age| age < 60) || after.packets.entered > before.packets.entered;
            is_known || elapsed >= STRANGERS
        }
        "teredo-client" => {
            !answered.is_empty() || before.teredo.as_ref().is_none_or(|t| t.state != "qualified") || elapsed >= ANSWER
        }
        _ => true,
    }
}

/// What the daemon can tell; none where no daemon runs, or none any more.
fn evidence(runtime: &RuntimeDir, device: &str) -> Result<Option<Evidence>, Failure> {
    const LAST_BREATH: Duration = Duration::from_millis(200);
    let ask = || control::ask(runtime, device, Request::Evidence);
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
            Some(ErrorKind::NotFound) => Ok(None),
            _ => Err(error.into()),
        },
    }
}

fn print(out: &mut impl Write, colour: bool, device: &str, examined: &Examined) -> io::Result<()> {
    let paint = |code: &str, text: &str| if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
    let (findings, role) = (&examined.findings, &examined.role);
    let colon = if role.is_empty() { String::new() } else { format!(": {role}") };
    writeln!(out, "{}{colon}", paint("1", device))?;
    let mut before = None;
    for finding in findings {
        // Of a link that rests the same is unknown of each step.
        let said = finding.seen.as_ref().filter(|_| finding.unknown && finding.warning.is_none());
        if said.is_some() && std::mem::replace(&mut before, said) == said {
            continue;
        }
        before = said;
        let step = format!("{:<8}", finding.step.as_str());
        if finding.ok {
            let mark = if finding.unknown { paint("33", "?   ") } else { paint("32", "ok  ") };
            writeln!(out, "  {mark} {step} {}", finding.seen.as_deref().unwrap_or_default())?;
        } else {
            writeln!(out, "  {} {step} {}", paint("1;31", "FAIL"), finding.cause.as_deref().unwrap_or_default())?;
            writeln!(out, "       {} {}", paint("1", "fix:    "), finding.fix.as_deref().unwrap_or_default())?;
        }
        if let Some(warning) = &finding.warning {
            writeln!(out, "       {} {warning}", paint("33", "warning:"))?;
        }
    }
    let is_judged = |step: &&Step| findings.iter().any(|finding| finding.step == **step);
    let rest: Vec<&str> = examined.steps.iter().filter(|step| !is_judged(step)).map(|step| step.as_str()).collect();
    if !rest.is_empty() {
        writeln!(out, "       skipped until this is fixed: {}", rest.join(", "))?;
    }
    Ok(())
}
