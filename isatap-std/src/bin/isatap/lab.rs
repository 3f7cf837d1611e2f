//! `isatap lab`: runs a scenario in the in-process world and prints the
//! journey of each packet.

mod teredo;

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use isatap_std::explain::LayerAnswer;
use isatap_std::lab::scenario::{self, Scenario};
use isatap_std::lab::{Action, Diagram, Hop, InnerHeader, OuterHeader, World, seconds, shown};
use serde::Serialize;

use crate::exit::{Failure, Status};
use crate::{output, toml_file};

/// Run a scenario on a simulated IPv4 network inside this process; needs no privilege.
///
/// All packets are real: hosts and routers are those of the library, only
/// the network between them is made up. Prints both headers of each packet
/// at each hop, and whether each expectation was met: exit status 3
/// if not. Among the scenarios: teredo, how clients behind NATs qualify and reach each
/// other; direct-access, how an intranet reaches the clients of DirectAccess servers; loops,
/// packets that go round between tunnel routers (RFC 6324), with the checks and without;
/// selection, which addresses a host with native IPv6, ISATAP, 6to4 and Teredo uses (RFC 6724);
/// portproxy, how IPv4 and IPv6 clients and servers reach each other by TCP.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// A scenario's name, see --list, or a TOML file with one.
    #[arg(default_value = "intranet")]
    scenario: String,
    /// List the scenarios.
    #[arg(long)]
    list: bool,
    /// Print a scenario to begin with: isatap lab --example > mine.toml
    #[arg(long, conflicts_with_all = ["list", "reference"])]
    example: bool,
    /// Print every table and key of a scenario, with default and documentation.
    #[arg(long, conflicts_with = "list")]
    reference: bool,
    /// Print JSON, one object a hop.
    #[arg(short, long)]
    json: bool,
    /// Record the IPv4 packets into this file, for Wireshark or tcpdump.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Draw the journey as a sequence diagram into this SVG file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Random seed (default: the scenario's).
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    teredo: teredo::TeredoArgs,
}

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    let mut out = io::BufWriter::new(output::answer());
    if args.list {
        list(&mut out, args.json)?;
        return Ok(Status::Done);
    }
    if args.example || args.reference {
        out.write_all(if args.example { scenario::EXAMPLE.to_owned() } else { scenario::reference() }.as_bytes())?;
        out.flush()?;
        return Ok(Status::Done);
    }
    if args.teredo.is_asked_for(&args.scenario)? {
        return teredo::run(args, &mut out);
    }
    let scenario = load(&args.scenario)?;
    let seed = args.seed.unwrap_or(scenario.seed);
    let mut run = scenario.start(seed).map_err(|error| Failure::Usage(error.to_string()))?;
    if let Some(path) = &args.pcap {
        run.world_mut().capture_to(path).map_err(|error| cannot_record(path, &error))?;
    }
    let mut printer = Printer { json: args.json, colour: output::colour(args.json) };
    printer.start(&mut out, &scenario, seed)?;
    let mut hops = Vec::new();
    loop {
        let goes_on = run.advance();
        for hop in run.world_mut().take_journey() {
            printer.hop(&mut out, &hop)?;
            hops.extend(args.svg.as_ref().map(|_| hop));
        }
        out.flush()?;
        if !goes_on {
            break;
        }
    }
    printer.end(&mut out, &run)?;
    out.flush()?;
    if let Some(path) = &args.pcap {
        run.world_mut().finish_capture().map_err(|error| cannot_record(path, &error))?;
    }
    if let Some(path) = &args.svg {
        let name = Path::new(&scenario.name).file_name().unwrap_or_default().to_string_lossy();
        let (title, description) = (format!("isatap lab {name}"), &scenario.description);
        draw(path, &Diagram { title: &title, description, nodes: &scenario.columns(), hops: &hops })?;
    }
    if run.failures() == 0 { Ok(Status::Done) } else { Ok(Status::Problems) }
}

fn load(name: &str) -> Result<Scenario, Failure> {
    if let Some(scenario) = Scenario::builtin(name) {
        return Ok(scenario);
    }
    let path = Path::new(name);
    if path.extension().is_none_or(|extension| extension != "toml") && !path.exists() {
        let known: Vec<&str> = scenario::names().collect();
        return Err(Failure::Usage(format!(
            "no scenario is called {name}: choose one of {} or give a TOML file",
            known.join(", ")
        )));
    }
    Scenario::parse(name, &toml_file::read(name)?).map_err(Failure::Mistakes)
}

fn cannot_record(path: &Path, error: &io::Error) -> Failure {
    Failure::Usage(format!("recording packets into {}: {error}; choose a file that can be written", path.display()))
}

fn draw(path: &Path, diagram: &Diagram<'_>) -> Result<(), Failure> {
    std::fs::write(path, diagram.to_string()).map_err(|error| {
        Failure::Usage(format!(
            "drawing the journey into {}: {error}; choose a file that can be written",
            path.display()
        ))
    })
}

fn list(out: &mut impl Write, json: bool) -> io::Result<()> {
    let builtin = scenario::names().filter_map(|name| Some((name, Scenario::builtin(name)?.description)));
    for (name, description) in builtin {
        if json {
            json_line(out, &ListLine { scenario: name, description: &description })?;
        } else {
            writeln!(out, "{name:<13} {description}")?;
        }
    }
    out.flush()
}

/// Prints a run, for people or for machines.
struct Printer {
    json: bool,
    colour: bool,
}

impl Printer {
    fn start(&mut self, out: &mut impl Write, scenario: &Scenario, seed: u64) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        writeln!(out, "{} (seed {seed})", self.bold(&scenario.name))?;
        writeln!(out, "{}\n", scenario.description)?;
        for line in scenario.cast() {
            writeln!(out, "  {line}")?;
        }
        writeln!(out)
    }

    fn hop(&mut self, out: &mut impl Write, hop: &Hop) -> io::Result<()> {
        if self.json {
            return json_line(out, &HopLine::of(hop));
        }
        if hop.node == scenario::NARRATOR {
            let text = hop.reason.as_deref().unwrap_or_default();
            return match text.split_once(": ") {
                Some(("met", rest)) => {
                    writeln!(out, "{}", self.paint("32", &format!("{:>9}  as expected: {rest}", "")))
                }
                Some(("not met", rest)) => {
                    writeln!(out, "{}", self.paint("1;31", &format!("{:>9}  NOT AS EXPECTED: {rest}", "")))
                }
                _ => match hop.figure_title() {
                    Some(figure) => writeln!(out, "\n{}", self.bold(&format!("{figure}: {text}"))),
                    None => writeln!(out, "\n{}", self.bold(text)),
                },
            };
        }
        let text = hop.to_string();
        match hop.action {
            Action::Drop => writeln!(out, "{}", self.paint("31", &text)),
            Action::Event => writeln!(out, "{}", self.paint("2", &text)),
            _ => writeln!(out, "{text}"),
        }
    }

    fn end(&mut self, out: &mut impl Write, run: &scenario::Run) -> io::Result<()> {
        let world = run.world();
        let time = seconds(world.now());
        if self.json {
            return end_line(out, run.name(), world);
        }
        writeln!(out, "\n{} delivered, {} dropped, {time} of virtual time", world.delivered(), world.dropped())?;
        match run.failures() {
            0 if run.expectations() == 0 => {
                writeln!(out, "Nothing was expected: a step with ping = {{ from = …, to = … }} expects a reply.")
            }
            0 => writeln!(out, "All {} expectations were met.", run.expectations()),
            failed => writeln!(out, "{failed} of {} expectations were NOT met.", run.expectations()),
        }
    }

    fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{style}m{text}\x1b[0m") } else { text.into() }
    }
}

/// The last line of JSON.
fn end_line(out: &mut impl Write, scenario: &str, world: &World) -> io::Result<()> {
    let (delivered, dropped) = (world.delivered(), world.dropped());
    let virtual_time = &seconds(world.now());
    json_line(out, &EndLine { scenario, seed: world.seed(), delivered, dropped, virtual_time })
}

fn json_line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct ListLine<'a> {
    scenario: &'a str,
    description: &'a str,
}

#[derive(Serialize)]
struct HopLine<'a> {
    t: String,
    node: &'a str,
    action: &'static str,
    to: &'a [String],
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    figure: Option<&'a str>,
    outer: Option<OuterLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    udp: Option<UdpLine>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    teredo: Vec<LayerAnswer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<LayerAnswer<'a>>,
    inner: Option<InnerLine<'a>>,
}

#[derive(Serialize)]
struct UdpLine {
    src_port: u16,
    dst_port: u16,
}

#[derive(Serialize)]
struct OuterLine {
    kind: &'static str,
    src: Ipv4Addr,
    dst: Ipv4Addr,
    protocol: u8,
    ttl: u8,
    tos: u8,
    id: u16,
    df: bool,
    length: usize,
}

#[derive(Serialize)]
struct InnerLine<'a> {
    kind: &'static str,
    src: Ipv6Addr,
    dst: Ipv6Addr,
    src_text: String,
    dst_text: String,
    hop_limit: u8,
    traffic_class: u8,
    next_header: u8,
    length: usize,
    packet: &'a str,
    message: &'static str,
}

#[derive(Serialize)]
struct EndLine<'a> {
    scenario: &'a str,
    seed: u64,
    delivered: u64,
    dropped: u64,
    virtual_time: &'a str,
}

impl<'a> HopLine<'a> {
    fn of(hop: &'a Hop) -> Self {
        HopLine {
            t: hop.seconds(),
            node: &hop.node,
            action: hop.action.as_str(),
            to: &hop.to,
            reason: hop.reason.as_deref(),
            figure: hop.figure.as_deref(),
            outer: hop.outer.as_ref().map(OuterLine::of),
            udp: hop.udp.map(|udp| UdpLine { src_port: udp.source, dst_port: udp.destination }),
            teredo: hop.teredo().map(LayerAnswer).collect(),
            tcp: hop.tcp().map(LayerAnswer),
            inner: hop.inner.as_ref().map(InnerLine::of),
        }
    }
}

impl OuterLine {
    fn of(header: &OuterHeader) -> Self {
        OuterLine {
            kind: "ipv4",
            src: header.source,
            dst: header.destination,
            protocol: header.protocol,
            ttl: header.ttl,
            tos: header.tos,
            id: header.identification,
            df: header.dont_fragment,
            length: header.length,
        }
    }
}

impl<'a> InnerLine<'a> {
    fn of(header: &'a InnerHeader) -> Self {
        InnerLine {
            kind: "ipv6",
            src: header.source,
            dst: header.destination,
            src_text: shown(header.source),
            dst_text: shown(header.destination),
            hop_limit: header.hop_limit,
            traffic_class: header.traffic_class,
            next_header: header.next_header,
            length: header.length,
            packet: &header.packet,
            message: header.message,
        }
    }
}
