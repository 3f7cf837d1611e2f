//! `isatap check`: which packets of a capture a node would let in, and why
//! not the others.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use isatap_core::drop_reason::DropReason;
use isatap_core::isatap::addr::Dotted;
use isatap_std::capture::{Frame, NotIp, Reader};
use isatap_std::check::{Checker, Decision, Judgement, Subject};
use serde::Serialize;

use crate::captures;
use crate::exit::{Failure, Status};
use crate::links::Links;
use crate::output::{self, Unread};

/// Show which packets of a capture a node with these links would accept.
///
/// Each packet is judged on its own. Packets of the node's own are `sent`,
/// frames without an IP packet `not-ip`; of a packet that the capture holds in
/// part, the rest counts as right, and it is `cut` where too little is there to
/// say. Exit status 3: at least one packet would be dropped that is for a tunnel
/// of the node. Other protocols and packets to others are counted apart. By which device a packet
/// came is not asked: of links of the same ends that are bound to devices of their own, the first
/// one judges.
///
/// Options behind a --link are that link's: `--link isatap --local 10.0.0.2
/// --router 10.0.0.1 --prefix 2001:db8:0:7::/64`. Beside those below they are all options of the
/// link's own command that packets are judged by: --client of isatap 6to4, --strict-siblings of
/// isatap 6rd, --trust-router of isatap router, and so on.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    links: Links,
    /// A configuration file, instead of --link: the links that it describes. What a running
    /// node learns, such as the prefixes of an ISATAP host, is not known then.
    #[cfg(target_os = "linux")]
    #[arg(long, value_name = "FILE", conflicts_with = "link")]
    config: Option<PathBuf>,
    /// Count IPv4 addresses as global that are not, such as documentation ones, for labs.
    /// Only 6to4 and Teredo ask whether they are.
    #[arg(long)]
    accept_bogons: bool,
    /// The capture: pcap or pcapng, also compressed by gzip or zstd; `-`: standard input. A
    /// CONFIG.toml may stand here too, instead of --config.
    #[arg(value_name = "CAPTURE", num_args = 0..=2)]
    files: Vec<PathBuf>,
    /// The capture, as a positional CAPTURE.
    #[arg(long, value_name = "CAPTURE")]
    pcap: Option<PathBuf>,
    /// Print JSON, one object a packet.
    #[arg(short, long)]
    json: bool,
    /// List every reason with its requirement, and end.
    #[arg(long)]
    reasons: bool,
}

/// What the files of the command line are.
#[derive(Debug, Default, PartialEq, Eq)]
struct Files {
    config: Option<PathBuf>,
    capture: Option<PathBuf>,
}

impl Args {
    fn files(&self) -> Result<Files, Failure> {
        let mut files = Files { capture: self.pcap.clone(), ..Files::default() };
        #[cfg(target_os = "linux")]
        files.config.clone_from(&self.config);
        let has_links = self.links.are_given();
        for file in &self.files {
            // What is given already, a positional is not.
            let is_config = match (files.config.is_some() || has_links, files.capture.is_some()) {
                (false, true) => true,
                (true, false) => false,
                (true, true) => {
                    let file = file.display();
                    let what = if has_links { "links and a capture" } else { "a file of links and a capture" };
                    return Err(Failure::Usage(format!("check has {what} already: leave out {file}")));
                }
                (false, false) => !is_capture(file),
            };
            let place = if is_config { &mut files.config } else { &mut files.capture };
            *place = Some(file.clone());
        }
        Ok(files)
    }

    #[cfg(target_os = "linux")]
    fn node(&self, config: Option<&Path>) -> Result<Vec<Subject>, Failure> {
        match config {
            None => self.links.subjects(self.accept_bogons),
            Some(file) => {
                let (config, _) = crate::run::read_text(&file.to_string_lossy(), self.accept_bogons)?;
                Ok(config.links.into_iter().map(Subject::from).collect())
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn node(&self, _config: Option<&Path>) -> Result<Vec<Subject>, Failure> {
        self.links.subjects(self.accept_bogons)
    }
}

/// Whether a file is a capture, and no file of links: by its name, or by how it begins.
fn is_capture(file: &Path) -> bool {
    if cfg!(not(target_os = "linux")) || file.as_os_str() == "-" {
        return true;
    }
    if file.extension().is_some_and(|extension| extension == "toml") {
        return false;
    }
    let mut start = Vec::new();
    let read = File::open(file).and_then(|file| file.take(8).read_to_end(&mut start));
    read.is_err() || start.is_empty() || Reader::recognises(&start)
}

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    if args.reasons {
        let mut out = io::BufWriter::new(output::answer());
        reasons(&mut out, args.json)?;
        out.flush()?;
        return Ok(Status::Done);
    }
    let files = args.files()?;
    let checker = Checker::new(&args.node(files.config.as_deref())?)?;
    let Some(path) = &files.capture else {
        return Err(Failure::Usage("check needs a capture: add a pcap or pcapng file, or - for standard input".into()));
    };
    // A capture that is still being taken may have no end.
    let unread = if path.as_os_str() == "-" { Unread::Fail } else { Unread::GoOn };
    let mut out = io::BufWriter::new(output::answer_until(unread));
    let mut printer = Printer { json: args.json, colour: output::colour(args.json) };
    let mut summary = Summary::default();
    let result = captures::each(path, |frame, packet| {
        let answer = match packet {
            Ok(packet) => Reading::Packet(checker.judge_captured(packet.bytes, packet.length)),
            // The rest may have been a packet.
            Err(NotIp::Short) if frame.bytes.len() < frame.original_len => Reading::Cut,
            Err(why) => Reading::NotIp(why),
        };
        summary.count(&answer);
        Ok(printer.packet(&mut out, frame, &answer)?)
    });
    // What came before a fault is answered.
    match &result {
        Err(Failure::Output(_)) => {}
        _ if args.json || summary.is_empty() => {}
        _ => summary.print(&mut out)?,
    }
    out.flush()?;
    result?;
    Ok(if summary.dropped.is_empty() { Status::Done } else { Status::Problems })
}

/// What is said about one frame.
enum Reading {
    Packet(Judgement),
    /// Not even the link layer is all there.
    Cut,
    NotIp(NotIp),
}

impl Reading {
    fn judgement(&self) -> Option<&Judgement> {
        match self {
            Reading::Packet(judged) => Some(judged),
            _ => None,
        }
    }

    fn verdict(&self) -> &'static str {
        match self {
            Reading::Packet(judged) => judged.decision.as_str(),
            Reading::Cut => Decision::Cut.as_str(),
            Reading::NotIp(_) => "not-ip",
        }
    }
}

/// One packet, as JSON. The keys are stable.
#[derive(Serialize)]
struct Line {
    n: u64,
    verdict: &'static str,
    captured: usize,
    length: usize,
    link: Option<&'static str>,
    from: Option<&'static str>,
    reason: Option<&'static str>,
    requirement: Option<&'static str>,
    trials: Vec<TrialLine>,
    outer_src: Option<Ipv4Addr>,
    outer_dst: Option<Ipv4Addr>,
    inner_src: Option<Ipv6Addr>,
    inner_dst: Option<Ipv6Addr>,
    /// What was taken for granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<&'static str>,
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
    fn new(frame: &Frame, answer: &Reading) -> Self {
        let judged = answer.judgement();
        let admitted = judged.and_then(|judged| judged.admitted);
        let reason = judged.and_then(|judged| judged.reason);
        let outer = judged.and_then(|judged| judged.outer);
        let trials = judged.into_iter().flat_map(|judged| &judged.trials);
        let notes = judged.into_iter().flat_map(|judged| &judged.notes);
        Line {
            n: frame.number,
            verdict: answer.verdict(),
            captured: frame.bytes.len(),
            length: frame.original_len,
            link: admitted.map(|(link, _)| link.as_str()),
            from: admitted.map(|(_, from)| from.as_str()),
            reason: reason.map(DropReason::as_str),
            requirement: reason.map(DropReason::requirement),
            trials: trials.map(|(link, trial)| TrialLine { link: link.as_str(), result: trial.as_str() }).collect(),
            outer_src: outer.map(|(source, _)| source),
            outer_dst: outer.map(|(_, destination)| destination),
            inner_src: judged.and_then(|judged| judged.inner_source),
            inner_dst: judged.and_then(|judged| judged.inner_destination),
            notes: notes.map(|note| note.as_str()).collect(),
        }
    }
}

struct Printer {
    json: bool,
    colour: bool,
}

impl Printer {
    fn packet(&mut self, out: &mut impl Write, frame: &Frame, answer: &Reading) -> io::Result<()> {
        if self.json {
            serde_json::to_writer(&mut *out, &Line::new(frame, answer))?;
            return writeln!(out);
        }
        let decision = answer.judgement().map(|judged| judged.decision);
        let (on, off) = match (self.colour, decision) {
            (true, Some(Decision::Accept)) => ("\x1b[32m", "\x1b[0m"),
            (true, Some(Decision::Drop)) => ("\x1b[31m", "\x1b[0m"),
            _ => ("", ""),
        };
        write!(out, "{:>6}  {on}{:<6}{off}", frame.number, answer.verdict())?;
        let judged = match answer {
            Reading::Packet(judged) => judged,
            Reading::NotIp(why) => return writeln!(out, "  {}", why.to_string().trim_start_matches("not IP: ")),
            Reading::Cut => return writeln!(out, "  captured {} of {} bytes", frame.bytes.len(), frame.original_len),
        };
        match (judged.admitted, judged.reason) {
            (_, Some(reason)) => write!(out, "  {} ({})", reason.as_str(), reason.requirement())?,
            (Some((link, from)), None) => write!(out, "  {}, from {}", link.as_str(), from.as_str())?,
            (None, None) if judged.decision == Decision::Cut => {
                write!(out, "  captured {} of {} bytes", frame.bytes.len(), frame.original_len)?;
            }
            (None, None) => {}
        }
        writeln!(out)?;
        if let Some((source, destination)) = judged.outer {
            writeln!(out, "                IPv4  {source} -> {destination}")?;
        }
        if let Some(source) = judged.inner_source {
            write!(out, "                IPv6  {} -> ", Dotted(source))?;
            match judged.inner_destination {
                Some(destination) => writeln!(out, "{}", Dotted(destination))?,
                None => writeln!(out, "(not captured)")?,
            }
        }
        // With one link its answer is the reason.
        if judged.trials.len() > 1 {
            let trials: Vec<_> =
                judged.trials.iter().map(|(link, trial)| format!("{} {}", link.as_str(), trial.as_str())).collect();
            writeln!(out, "                asked {}", trials.join(", "))?;
        }
        for note in &judged.notes {
            writeln!(out, "                note: {note}")?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Summary {
    accepted: u64,
    dropped: BTreeMap<DropReason, u64>,
    /// Dropped as nothing that concerns a tunnel of the node.
    elsewhere: u64,
    sent: u64,
    not_ip: u64,
    cut: u64,
}

impl Summary {
    fn count(&mut self, answer: &Reading) {
        let place = match answer {
            Reading::NotIp(_) => &mut self.not_ip,
            Reading::Cut => &mut self.cut,
            Reading::Packet(judged) => match (judged.decision, judged.reason) {
                (Decision::Sent, _) => &mut self.sent,
                (Decision::Cut, _) => &mut self.cut,
                _ if judged.is_elsewhere => &mut self.elsewhere,
                (_, Some(reason)) => self.dropped.entry(reason).or_default(),
                (_, None) => &mut self.accepted,
            },
        };
        *place += 1;
    }

    fn is_empty(&self) -> bool {
        self.accepted + self.elsewhere + self.sent + self.not_ip + self.cut == 0 && self.dropped.is_empty()
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let dropped: u64 = self.dropped.values().sum();
        write!(out, "\n{} let in, {dropped} dropped", self.accepted)?;
        for (count, what) in [
            (self.elsewhere, "not for its tunnels"),
            (self.sent, "sent by the node"),
            (self.not_ip, "not IP"),
            (self.cut, "captured too short to say"),
        ] {
            if count > 0 {
                write!(out, ", {count} {what}")?;
            }
        }
        writeln!(out)?;
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
