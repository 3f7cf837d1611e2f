//! `isatap lab teredo`: which clients meet behind which NATs.

use std::io::Write;

use isatap_std::lab::{Connection, Diagram, NatKind, TeredoSite, World};
use serde::Serialize;

use super::{Printer, cannot_record, json_line};
use crate::exit::{Failure, Status};
use crate::output;

/// The name of the scenario.
const NAME: &str = "teredo";

/// What only the scenario `teredo` takes: with one of these it is a site of two clients instead.
#[derive(clap::Args, Debug)]
pub(super) struct TeredoArgs {
    /// teredo: two clients behind NATs of your choice, one of which connects to the other. The NAT of the first: cone, address-restricted,
    /// port-restricted, port-preserving, sequential, port-symmetric or
    /// address-symmetric.
    #[arg(long, value_name = "KIND", value_parser = kind)]
    nat_a: Option<NatKind>,
    /// teredo: the NAT of the second client; without it both are behind the
    /// first.
    #[arg(long, value_name = "KIND", value_parser = kind)]
    nat_b: Option<NatKind>,
    /// teredo: packets to a NAT's own address come back in.
    #[arg(long)]
    hairpin: bool,
    /// teredo: try every pair of NATs, and print one line a pair.
    #[arg(long, conflicts_with_all = ["nat_a", "nat_b", "svg"])]
    matrix: bool,
}

impl TeredoArgs {
    /// Whether NATs are chosen.
    ///
    /// # Errors
    /// For another scenario than `teredo`.
    pub(super) fn is_asked_for(&self, scenario: &str) -> Result<bool, Failure> {
        if self.nat_a.is_none() && self.nat_b.is_none() && !self.hairpin && !self.matrix {
            return Ok(false);
        }
        if scenario == NAME {
            return Ok(true);
        }
        let flags = "--nat-a, --nat-b, --hairpin and --matrix";
        Err(Failure::Usage(format!("{flags} are for `isatap lab teredo`: name that scenario")))
    }
}

fn kind(name: &str) -> Result<NatKind, String> {
    let known = || NatKind::ALL.map(NatKind::as_str).join(", ");
    NatKind::from_name(name).ok_or_else(|| format!("no NAT is called so: choose one of {}", known()))
}

#[derive(Serialize)]
struct PairLine<'a> {
    nat_a: &'a str,
    nat_b: Option<&'a str>,
    hairpin: bool,
    connects: bool,
    microseconds: Option<u128>,
    packets: usize,
}

/// Runs one pair, or all.
pub(super) fn run(args: &super::Args, out: &mut impl Write) -> Result<Status, Failure> {
    let seed = args.seed.unwrap_or(1);
    let options = &args.teredo;
    if options.matrix {
        for nat_a in NatKind::ALL {
            for nat_b in NatKind::ALL {
                let mut site = TeredoSite::new(World::new(seed), nat_a, Some(nat_b), options.hairpin);
                let (a, b) = (site.a, site.b);
                let connection = site.connect(a, b);
                print(out, args.json, (nat_a, Some(nat_b), options.hairpin), connection)?;
            }
        }
        out.flush()?;
        return Ok(Status::Done);
    }
    let nat_a = options.nat_a.unwrap_or(NatKind::PortRestricted);
    let nat_b = if options.nat_a.is_none() { options.nat_b.or(Some(NatKind::PortRestricted)) } else { options.nat_b };
    let mut world = World::new(seed);
    if let Some(path) = &args.pcap {
        world.capture_to(path).map_err(|error| cannot_record(path, &error))?;
    }
    let mut site = TeredoSite::new(world, nat_a, nat_b, options.hairpin);
    let (a, b) = (site.a, site.b);
    let connection = site.connect(a, b);
    let mut printer = Printer { json: args.json, colour: output::colour(args.json) };
    let hops = site.world.take_journey();
    for hop in &hops {
        printer.hop(out, hop)?;
    }
    if let Some(path) = &args.svg {
        let (from, to) = (nat_a.as_str(), nat_b.map_or("the same NAT", NatKind::as_str));
        let (title, description) = ("isatap lab teredo", format!("A client behind {from}, the other behind {to}"));
        super::draw(path, &Diagram { title, description: &description, nodes: &[], hops: &hops })?;
    }
    if !args.json {
        writeln!(out)?;
    }
    print(out, args.json, (nat_a, nat_b, options.hairpin), connection)?;
    if args.json {
        super::end_line(out, NAME, &site.world)?;
    }
    out.flush()?;
    if let Some(path) = &args.pcap {
        site.world.finish_capture().map_err(|error| cannot_record(path, &error))?;
    }
    Ok(if connection.after.is_some() { Status::Done } else { Status::Problems })
}

fn print(
    out: &mut impl Write,
    json: bool,
    (nat_a, nat_b, hairpin): (NatKind, Option<NatKind>, bool),
    connection: Connection,
) -> std::io::Result<()> {
    let (from, to) = (nat_a.as_str(), nat_b.map(NatKind::as_str));
    if json {
        let line = PairLine {
            nat_a: from,
            nat_b: to,
            hairpin,
            connects: connection.after.is_some(),
            microseconds: connection.after.map(|after| after.as_micros()),
            packets: connection.packets,
        };
        return json_line(out, &line);
    }
    let to = to.unwrap_or("the same NAT");
    match connection.after {
        Some(after) => {
            let millis = after.as_millis();
            writeln!(out, "{from:<18} to {to:<18} connects in {millis:>5} ms with {:>3} packets", connection.packets)
        }
        None => writeln!(out, "{from:<18} to {to:<18} does not connect"),
    }
}
