//! `isatap teredo`: client, server and relay, and what a server sees of this machine's NAT.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use isatap_core::prefix::Ipv6Prefix;
use isatap_std::config::Bind;
use isatap_std::runtime_dir::RuntimeDir;
use isatap_std::teredo::port_mapping::PortMapping;
use isatap_std::teredo::qualify::{QualifyOptions, Report, qualify};
use isatap_std::teredo::secrets::Secrets;
use isatap_std::teredo::{Client, ClientOptions, LinkOptions, Relay, RelayOptions, Server, ServerName, ServerOptions};

use crate::daemon::{self, PrivilegeArgs};
use crate::exit::{Failure, Status};
use crate::output;

/// Teredo: IPv6 in UDP, through NATs.
#[derive(clap::Args, Debug)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Client(ClientArgs),
    Server(ServerArgs),
    Relay(RelayArgs),
    Qualify(QualifyArgs),
}

/// Options of every Teredo link.
#[derive(clap::Args, Debug)]
struct LinkArgs {
    /// The device to make; its MTU is 1280.
    #[arg(long, value_name = "DEV", default_value = isatap_std::teredo::DEFAULT_DEVICE)]
    dev: String,
    /// Record outer packets into this file, for Wireshark or tcpdump.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Treat private IPv4 addresses as public (labs only).
    #[arg(long)]
    accept_bogons: bool,
    /// Log events to standard error.
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    privileges: PrivilegeArgs,
}

impl LinkArgs {
    fn options(&self) -> LinkOptions {
        let mut options = LinkOptions::default();
        options.device.clone_from(&self.dev);
        options.pcap.clone_from(&self.pcap);
        options.runtime = Some(RuntimeDir::new());
        options.accept_bogons = self.accept_bogons;
        options
    }
}

/// Run a Teredo client: an IPv6 address behind a NAT, and a default route of the lowest
/// priority.
///
/// Needs CAP_NET_ADMIN; ends on SIGINT or SIGTERM, and leaves nothing behind.
#[derive(clap::Args, Debug)]
struct ClientArgs {
    /// The server.
    #[arg(long, value_name = "HOST[:PORT]")]
    server: ServerName,
    /// The server's other address; the one behind the first if it is left out.
    #[arg(long, value_name = "V4")]
    secondary: Option<Ipv4Addr>,
    /// Send from this IPv4 address and UDP port. Without an address from the one that the
    /// kernel would use toward the server; without a port from any.
    #[arg(long, value_name = "[V4]:PORT")]
    bind: Option<Bind>,
    /// Seconds that the server may be silent at most: less than the NAT's time-out.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    refresh_interval: u64,
    /// Find out with a second port for how long the NAT keeps a mapping, up to 120 s, and
    /// refresh no more often than that takes.
    #[arg(long)]
    determine_interval: bool,
    /// Seconds until a server that did not answer is asked again, at first; twice as long
    /// each time.
    #[arg(long, value_name = "SECONDS", default_value_t = 100)]
    retry_interval: u64,
    /// Qualify with the secret in this file, as its server demands. See --help of teredo
    /// server for what is in it: here one line.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Ask the NAT to open the port: auto, pcp or upnp. Reaches peers behind more kinds of NAT,
    /// and opens this host to everyone.
    #[arg(long, value_name = "HOW", default_value = "off")]
    port_mapping: PortMapping,
    /// Do not work behind a symmetric NAT, as before RFC 6081.
    #[arg(long)]
    no_symmetric_nat: bool,
    /// Ask for a cone NAT first, as before RFC 5991.
    #[arg(long)]
    cone_phase: bool,
    /// Look for peers on the local network, which shows this host to its neighbours.
    #[arg(long)]
    local_discovery: bool,
    /// Run although this machine has native IPv6.
    #[arg(long)]
    beside_native: bool,
    #[command(flatten)]
    link: LinkArgs,
}

/// Run a Teredo server: tells clients how their NATs show them, and carries their first
/// packets.
///
/// It needs two public IPv4 addresses of this machine, and IPv6 forwarding for clients that
/// want to reach native hosts. Needs CAP_NET_ADMIN; ends on SIGINT or SIGTERM.
#[derive(clap::Args, Debug)]
struct ServerArgs {
    /// The address that is in its clients' addresses.
    #[arg(long, value_name = "V4")]
    primary: Ipv4Addr,
    /// The other one; the address behind the first if it is left out.
    #[arg(long, value_name = "V4")]
    secondary: Option<Ipv4Addr>,
    /// Another server, to which nothing is sent and from which nothing is taken. May be
    /// repeated, up to eight times.
    #[arg(long = "known-server", value_name = "V4")]
    known_servers: Vec<Ipv4Addr>,
    /// Accept bubbles of symmetric clients of other servers, against the letter of RFC 4380.
    #[arg(long)]
    accept_symmetric_bubbles: bool,
    /// Carry for clients of Windows XP, whose addresses are in 3ffe:831f::/32; they are told
    /// of 2001::/32 all the same.
    #[arg(long)]
    accept_obsolete_prefix: bool,
    /// Answer only clients with a secret in this file. It has one client on a line: an
    /// identifier, white space, the secret, as text or as 0x and hexadecimal digits, 16 bytes
    /// at least. Only its owner and group may read it.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    link: LinkArgs,
}

/// Run a Teredo relay: takes the packets of native hosts to Teredo clients, and back.
///
/// Without IPv6 forwarding it serves this machine alone (a host-specific relay). Needs
/// CAP_NET_ADMIN; ends on SIGINT or SIGTERM.
#[derive(clap::Args, Debug)]
struct RelayArgs {
    /// The IPv4 address that it sends from.
    #[arg(long, value_name = "V4")]
    local: Ipv4Addr,
    /// The UDP port that it sends from; any if it is left out.
    #[arg(long, value_name = "[V4]:PORT")]
    bind: Option<Bind>,
    /// A native prefix that it serves. May be repeated, up to eight times; all if it is left
    /// out.
    #[arg(long = "serve", value_name = "PREFIX")]
    served: Vec<Ipv6Prefix>,
    /// It sits behind a NAT itself.
    #[arg(long)]
    behind_nat: bool,
    #[command(flatten)]
    link: LinkArgs,
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

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    match &args.command {
        Command::Client(args) => client(args),
        Command::Server(args) => server(args),
        Command::Relay(args) => relay(args),
        Command::Qualify(args) => qualify_all(args),
    }
}

fn client(args: &ClientArgs) -> Result<Status, Failure> {
    let mut options = ClientOptions::default();
    options.link = args.link.options();
    options.server = Some(args.server.clone());
    options.secondary = args.secondary;
    options.bind = args.bind.map_or(options.bind, |bind| bind.0);
    options.beside_native = args.beside_native;
    options.config.qualify.refresh_interval = Duration::from_secs(args.refresh_interval);
    options.config.qualify.first_pause = Duration::from_secs(args.retry_interval);
    options.config.qualify.symmetric_nat = !args.no_symmetric_nat;
    options.config.qualify.cone_phase = args.cone_phase;
    options.secrets = client_secrets(args.secret_file.as_deref())?;
    options.port_mapping = args.port_mapping;
    options.config.local_discovery = args.local_discovery;
    options.config.interval_determination = args.determine_interval;
    let verbose = args.link.verbose;
    daemon::run(&args.link.privileges, || options.open(daemon::observer(verbose)), Client::run_until)
}

/// The secret of a client; without a file none.
fn client_secrets(file: Option<&Path>) -> Result<Secrets, Failure> {
    Ok(file.map(|file| Secrets::load(file)?.of_client()).transpose()?.unwrap_or_default())
}

fn server(args: &ServerArgs) -> Result<Status, Failure> {
    let mut options = ServerOptions::new(args.primary);
    options.link = args.link.options();
    options.config.secondary = args.secondary.unwrap_or(options.config.secondary);
    options.config.accept_symmetric_bubbles = args.accept_symmetric_bubbles;
    options.config.accept_obsolete_prefix = args.accept_obsolete_prefix;
    if let Some(file) = &args.secret_file {
        options.secrets = Secrets::load(file)?.of_server()?;
    }
    if args.known_servers.len() > options.config.known_servers.len() {
        return Err(Failure::Usage("a server knows eight others at most; see --help".to_owned()));
    }
    for (place, known) in options.config.known_servers.iter_mut().zip(&args.known_servers) {
        *place = *known;
    }
    let verbose = args.link.verbose;
    daemon::run(&args.link.privileges, || options.open(daemon::observer(verbose)), Server::run_until)
}

fn relay(args: &RelayArgs) -> Result<Status, Failure> {
    let bind = args.bind.map_or(SocketAddrV4::new(args.local, 0), |bind| bind.0);
    if !bind.ip().is_unspecified() && *bind.ip() != args.local {
        return Err(Failure::Usage(format!("--bind {bind} and --local {} differ: name one address", args.local)));
    }
    let mut options = RelayOptions::new(SocketAddrV4::new(args.local, bind.port()));
    options.link = args.link.options();
    options.served.clone_from(&args.served);
    options.behind_nat = args.behind_nat;
    let verbose = args.link.verbose;
    daemon::run(&args.link.privileges, || options.open(daemon::observer(verbose)), Relay::run_until)
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
