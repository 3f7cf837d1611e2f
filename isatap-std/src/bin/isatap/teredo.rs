//! `isatap teredo`: client, server and relay, and what a server sees of this machine's NAT.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use isatap_std::spec::{ServerName, TeredoClient, TeredoRelay, TeredoServer};
use isatap_std::teredo::qualify::{QualifyOptions, Report, qualify};
use isatap_std::teredo::secrets::Secrets;

use crate::exit::{Failure, Status};
use crate::{link, output};

/// Teredo: IPv6 in UDP, through NATs.
#[derive(clap::Args, Debug)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    #[command(after_help = link::AFTER)]
    Client(Box<link::Args<TeredoClient>>),
    #[command(after_help = link::AFTER)]
    Server(Box<link::Args<TeredoServer>>),
    #[command(after_help = link::AFTER)]
    Relay(Box<link::Args<TeredoRelay>>),
    Qualify(QualifyArgs),
}

/// Show what Teredo servers see of this machine: the kind of its NAT, the mapped address,
/// the round trip. All servers at once; exit status 3 if a client would not work with one.
#[derive(clap::Args, Debug)]
struct QualifyArgs {
    /// Print JSON, one object a server.
    #[arg(short, long)]
    json: bool,
    /// Qualify with the secret in this file.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Treat private IPv4 addresses as public (labs only).
    #[arg(long)]
    accept_bogons: bool,
    /// The servers.
    #[arg(value_name = "HOST", required = true)]
    servers: Vec<ServerName>,
}

pub(crate) fn run(args: Args) -> Result<Status, Failure> {
    match args.command {
        Command::Client(args) => link::run(*args),
        Command::Server(args) => link::run(*args),
        Command::Relay(args) => link::run(*args),
        Command::Qualify(args) => qualify_all(&args),
    }
}

/// The secret of a client; without a file none.
fn client_secrets(file: Option<&Path>) -> Result<Secrets, Failure> {
    Ok(file.map(|file| Secrets::load(file)?.of_client()).transpose()?.unwrap_or_default())
}

fn qualify_all(args: &QualifyArgs) -> Result<Status, Failure> {
    let mut options = QualifyOptions::default();
    options.secrets = client_secrets(args.secret_file.as_deref())?;
    options.accept_bogons = args.accept_bogons;
    let options = &options;
    let reports = thread::scope(|scope| {
        let threads: Vec<_> = args.servers.iter().map(|server| scope.spawn(move || qualify(server, options))).collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(report) => report.map_err(Failure::from),
            Err(_) => Err(Failure::Refused("cannot qualify: a thread of it ended early".to_owned())),
        });
        joined.collect::<Result<Vec<Report>, Failure>>()
    })?;
    let mut out = io::BufWriter::new(output::answer());
    for report in &reports {
        if args.json {
            let line = serde_json::to_string(report).map_err(io::Error::from)?;
            writeln!(out, "{line}")?;
        } else {
            print(&mut out, report)?;
        }
    }
    out.flush()?;
    let all = reports.iter().all(|report| report.qualified);
    Ok(if all { Status::Done } else { Status::Problems })
}

fn print(out: &mut impl Write, report: &Report) -> io::Result<()> {
    write!(out, "{}", report.server)?;
    if let Some(address) = report.address.filter(|address| address.to_string() != report.server) {
        write!(out, " ({address})")?;
    }
    match &report.reason {
        None => writeln!(out, ": {}", report.stage)?,
        Some(reason) => writeln!(out, ": not qualified at {}: {reason}", report.stage)?,
    }
    if let (Some(local), Some(mapped)) = (report.local, report.mapped) {
        let keeps = if report.port_preserving == Some(true) { ", keeps ports" } else { "" };
        writeln!(out, "    nat {}{keeps}: {local} is seen as {mapped}", report.nat)?;
    }
    if let Some(address) = report.teredo {
        writeln!(out, "    address {address}")?;
    }
    if let Some(micros) = report.round_trip_us {
        writeln!(out, "    round trip {}.{:03} ms", micros / 1000, micros % 1000)?;
    }
    Ok(())
}
