//! `isatap check`: which packets of a capture a node would let in, and why
//! not the others.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use isatap_core::drop_reason::DropReason;
use isatap_core::isatap::addr::Dotted;
use isatap_std::capture::Reader;
use isatap_std::check::{Checker, Judgement, LinkOptions};
use serde::Serialize;

use crate::exit::{Failure, Status};
use crate::links::Links;

/// Judge the packets of a capture as a node with these links would.
///
/// Each packet meets the same node, whatever came before it. Exit status 3:
/// at least one packet would be dropped.
///
/// Options behind a --link are that link's: `--link isatap --local 10.0.0.2
/// --router 10.0.0.1 --prefix 2001:db8:0:7::/64`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    links: Links,
    /// A configuration file, instead of --link: the links that it describes. What a running
    /// node learns, such as the prefixes of an ISATAP host, is not known then.
    #[cfg(target_os = "linux")]
    #[arg(value_name = "CONFIG.toml", conflicts_with = "link")]
    config: Option<String>,
    /// Count IPv4 addresses as global that are not, such as documentation ones, for labs.
    /// Only 6to4 and Teredo ask whether they are.
    #[arg(long)]
    accept_bogons: bool,
    /// The capture, pcap or pcapng; `-`: standard input.
    #[arg(long, value_name = "FILE", required_unless_present = "reasons")]
    pcap: Option<PathBuf>,
    /// Print JSON, one object a packet.
    #[arg(short, long)]
    json: bool,
    /// List every reason with its requirement, and end.
    #[arg(long)]
    reasons: bool,
}

impl Args {
    #[cfg(target_os = "linux")]
    fn node(&self) -> Result<Vec<LinkOptions>, Failure> {
        match &self.config {
            None => self.links.options(self.accept_bogons),
            Some(file) => {
                let config = crate::run::read(file)?;
                if let Some(teredo) = config.teredo.first() {
                    let device = &teredo.options.link().device;
                    return Err(Failure::Usage(format!(
                        "cannot check {device}: how its NAT shows it is known only while it runs; \
                         use --link teredo --local V4:PORT --server V4 instead of the file"
                    )));
                }
                config.links.iter().map(|link| LinkOptions::try_from(link).map_err(Failure::from)).collect()
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn node(&self) -> Result<Vec<LinkOptions>, Failure> {
        self.links.options(self.accept_bogons)
    }
}

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.reasons {
        reasons(&mut out, args.json)?;
        out.flush()?;
        return Ok(Status::Done);
    }
    let checker = Checker::new(&args.node()?)?;
    let Some(path) = &args.pcap else { return Err(Failure::Usage("check needs --pcap FILE".into())) };
    let mut printer = Printer { json: args.json, colour: !args.json && io::stdout().is_terminal() };
    let mut summary = Summary::default();
    let mut result = Ok(());
    for frame in Reader::open(path)? {
        let frame = match frame {
            Ok(frame) => frame,
            // What came before the fault is answered first.
            Err(error) => {
                result = Err(error);
                break;
            }
        };
        summary.cut_short += u64::from(frame.original_len > frame.bytes.len());
        // What is no IP packet is no outer packet either, and says so.
        let judged = checker.judge(frame.ip().unwrap_or_default());
        summary.count(&judged);
        printer.packet(&mut out, frame.number, &judged)?;
    }
    if !args.json {
        summary.print(&mut out)?;
    }
    out.flush()?;
    if summary.cut_short > 0 {
        let count = summary.cut_short;
        eprintln!("isatap: {count} packets are in the capture in part only and were judged as they are there");
    }
    result?;
    Ok(if summary.dropped.is_empty() { Status::Done } else { Status::Problems })
}

/// One packet, as JSON. The keys are stable.
#[derive(Serialize)]
struct Line {
    n: u64,
    verdict: &'static str,
    link: Option<&'static str>,
    from: Option<&'static str>,
    reason: Option<&'static str>,
    requirement: Option<&'static str>,
    trials: Vec<TrialLine>,
    outer_src: Option<Ipv4Addr>,
    outer_dst: Option<Ipv4Addr>,
    inner_src: Option<Ipv6Addr>,
    inner_dst: Option<Ipv6Addr>,
}

#[derive(Serialize)]
struct TrialLine {
    link: &'static str,
    result: &'static str,
}

#[derive(Serialize)]
struct ReasonLine {
    reason: &'static str,
    requirement: &'static str,
    text: &'static str,
}

impl Line {
    fn new(n: u64, judged: &Judgement) -> Self {
        let trials = judged.trials.iter();
        Line {
            n,
            verdict: if judged.is_accepted() { "accept" } else { "drop" },
            link: judged.admitted.map(|(link, _)| link.as_str()),
            from: judged.admitted.map(|(_, from)| from.as_str()),
            reason: judged.reason.map(DropReason::as_str),
            requirement: judged.reason.map(DropReason::requirement),
            trials: trials.map(|(link, trial)| TrialLine { link: link.as_str(), result: trial.as_str() }).collect(),
            outer_src: judged.outer.map(|(source, _)| source),
            outer_dst: judged.outer.map(|(_, destination)| destination),
            inner_src: judged.inner.map(|(source, _)| source),
            inner_dst: judged.inner.map(|(_, destination)| destination),
        }
    }
}

struct Printer {
    json: bool,
    colour: bool,
}

impl Printer {
    fn packet(&mut self, out: &mut impl Write, number: u64, judged: &Judgement) -> io::Result<()> {
        if self.json {
            serde_json::to_writer(&mut *out, &Line::new(number, judged))?;
            return writeln!(out);
        }
        let (on, off) = match (self.colour, judged.is_accepted()) {
            (false, _) => ("", ""),
            (true, true) => ("\x1b[32m", "\x1b[0m"),
            (true, false) => ("\x1b[31m", "\x1b[0m"),
        };
        let verdict = if judged.is_accepted() { "accept" } else { "drop" };
        write!(out, "{number:>6}  {on}{verdict:<6}{off}  ")?;
        match (judged.admitted, judged.reason) {
            (Some((link, from)), None) => write!(out, "{}, from {}", link.as_str(), from.as_str())?,
            (_, Some(reason)) => write!(out, "{} ({})", reason.as_str(), reason.requirement())?,
            (None, None) => {}
        }
        writeln!(out)?;
        if let Some((source, destination)) = judged.outer {
            writeln!(out, "                IPv4  {source} -> {destination}")?;
        }
        if let Some((source, destination)) = judged.inner {
            writeln!(out, "                IPv6  {} -> {}", Dotted(source), Dotted(destination))?;
        }
        // With one link its answer is the reason.
        if judged.trials.len() > 1 {
            let trials: Vec<_> =
                judged.trials.iter().map(|(link, trial)| format!("{} {}", link.as_str(), trial.as_str())).collect();
            writeln!(out, "                asked {}", trials.join(", "))?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Summary {
    accepted: u64,
    dropped: BTreeMap<DropReason, u64>,
    cut_short: u64,
}

impl Summary {
    fn count(&mut self, judged: &Judgement) {
        match judged.reason {
            None => self.accepted += 1,
            Some(reason) => *self.dropped.entry(reason).or_default() += 1,
        }
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let dropped: u64 = self.dropped.values().sum();
        writeln!(out, "\n{} let in, {dropped} dropped", self.accepted)?;
        for (reason, count) in &self.dropped {
            writeln!(out, "{count:>8}  {:<28} {:<8} {}", reason.as_str(), reason.requirement(), reason.describe())?;
        }
        Ok(())
    }
}

fn reasons(out: &mut impl Write, json: bool) -> io::Result<()> {
    for reason in DropReason::ALL {
        let (name, requirement, text) = (reason.as_str(), reason.requirement(), reason.describe());
        if json {
            serde_json::to_writer(&mut *out, &ReasonLine { reason: name, requirement, text })?;
            writeln!(out)?;
        } else {
            writeln!(out, "{name:<28} {requirement:<8} {text}")?;
        }
    }
    Ok(())
}
