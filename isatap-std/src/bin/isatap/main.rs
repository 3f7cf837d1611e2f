//! The command-line tool `isatap`: one file a subcommand.

use std::process::ExitCode;

use clap::Parser;

mod captures;
mod check;
#[cfg(target_os = "linux")]
mod config;
#[cfg(target_os = "linux")]
mod daemon;
#[cfg(target_os = "linux")]
mod doctor;
mod exit;
mod explain;
#[cfg(target_os = "linux")]
mod host;
mod lab;
mod links;
mod output;
#[cfg(target_os = "linux")]
mod router;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod sixrd;
#[cfg(target_os = "linux")]
mod sixtofour;
#[cfg(target_os = "linux")]
mod solicit;
#[cfg(target_os = "linux")]
mod status;
#[cfg(target_os = "linux")]
mod teredo;
#[cfg(target_os = "linux")]
mod tunnel;

/// IPv6 across IPv4: ISATAP, 6to4, 6rd, Teredo and configured tunnels, and a lab to try them in.
#[derive(Parser, Debug)]
#[command(name = "isatap", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Check(check::Args),
    #[cfg(target_os = "linux")]
    Config(config::Args),
    #[cfg(target_os = "linux")]
    Doctor(doctor::Args),
    Explain(explain::Args),
    Lab(lab::Args),
    #[cfg(target_os = "linux")]
    Host(Box<host::Args>),
    #[cfg(target_os = "linux")]
    Router(Box<router::Args>),
    #[cfg(target_os = "linux")]
    Run(run::Args),
    #[cfg(target_os = "linux")]
    #[command(name = "6rd")]
    SixRd(Box<sixrd::Args>),
    #[cfg(target_os = "linux")]
    #[command(name = "6to4")]
    SixToFour(Box<sixtofour::Args>),
    #[cfg(target_os = "linux")]
    Solicit(solicit::Args),
    #[cfg(target_os = "linux")]
    Status(status::Args),
    #[cfg(target_os = "linux")]
    Teredo(teredo::Args),
    #[cfg(target_os = "linux")]
    Tunnel(Box<tunnel::Args>),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    let result = match cli.command {
        Command::Check(args) => check::run(&args),
        #[cfg(target_os = "linux")]
        Command::Config(args) => config::run(&args),
        #[cfg(target_os = "linux")]
        Command::Doctor(args) => doctor::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Lab(args) => lab::run(&args),
        #[cfg(target_os = "linux")]
        Command::Host(args) => host::run(&args),
        #[cfg(target_os = "linux")]
        Command::Router(args) => router::run(&args),
        #[cfg(target_os = "linux")]
        Command::Run(args) => run::run(&args),
        #[cfg(target_os = "linux")]
        Command::SixRd(args) => sixrd::run(&args),
        #[cfg(target_os = "linux")]
        Command::SixToFour(args) => sixtofour::run(&args),
        #[cfg(target_os = "linux")]
        Command::Solicit(args) => solicit::run(&args),
        #[cfg(target_os = "linux")]
        Command::Status(args) => status::run(&args),
        #[cfg(target_os = "linux")]
        Command::Teredo(args) => teredo::run(&args),
        #[cfg(target_os = "linux")]
        Command::Tunnel(args) => tunnel::run(&args),
    };
    match result {
        Ok(status) => status.into(),
        Err(failure) => failure.report(),
    }
}
