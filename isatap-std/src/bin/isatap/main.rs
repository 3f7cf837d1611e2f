//! The command-line tool `isatap`: one file a subcommand.

use std::process::ExitCode;

use clap::{ArgAction, CommandFactory as _, FromArgMatches as _, Parser};
#[cfg(target_os = "linux")]
use isatap_std::spec;

mod captures;
#[cfg(feature = "check")]
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
mod hook;
#[cfg(feature = "lab")]
mod lab;
#[cfg(target_os = "linux")]
mod link;
#[cfg(feature = "check")]
mod links;
#[cfg(feature = "cli")]
mod manual;
#[cfg(target_os = "linux")]
mod monitor;
mod output;
#[cfg(all(target_os = "linux", feature = "plan"))]
mod plan;
#[cfg(target_os = "linux")]
mod policy;
#[cfg(target_os = "linux")]
mod portproxy;
#[cfg(target_os = "linux")]
mod reference;
#[cfg(target_os = "linux")]
mod run;
mod select;
#[cfg(target_os = "linux")]
mod solicit;
#[cfg(target_os = "linux")]
mod status;
#[cfg(target_os = "linux")]
mod teredo;
mod toml_file;

/// IPv6 across IPv4: ISATAP, 6to4, 6rd, Teredo and configured tunnels, a port proxy between the two, and
/// a lab to try them in.
#[derive(Parser, Debug)]
#[command(name = "isatap", version, arg_required_else_help = true, after_help = AFTER)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Colours: auto, where there is a terminal and NO_COLOR is not set; always; never.
    #[arg(long, value_name = "WHEN", global = true, default_value = "auto", value_parser = output::COLOURS)]
    color: String,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    #[cfg(feature = "check")]
    Check(check::Args),
    #[cfg(target_os = "linux")]
    Config(config::Args),
    #[cfg(target_os = "linux")]
    Doctor(doctor::Args),
    Explain(explain::Args),
    #[cfg(feature = "lab")]
    Lab(lab::Args),
    #[cfg(target_os = "linux")]
    #[command(after_help = link::AFTER)]
    Host(Box<link::TakesAny<spec::IsatapHost>>),
    #[cfg(target_os = "linux")]
    Monitor(monitor::Args),
    #[cfg(target_os = "linux")]
    #[command(name = "portproxy", after_help = portproxy::AFTER)]
    PortProxy(Box<portproxy::Args>),
    #[cfg(target_os = "linux")]
    #[command(after_help = link::AFTER)]
    Router(Box<link::TakesAny<spec::IsatapRouter>>),
    #[cfg(all(target_os = "linux", feature = "plan"))]
    Plan(Box<plan::Args>),
    #[cfg(target_os = "linux")]
    Policy(policy::Args),
    #[cfg(target_os = "linux")]
    Run(run::Args),
    Select(select::Args),
    #[cfg(target_os = "linux")]
    #[command(after_help = link::AFTER)]
    Compatible(Box<link::TakesAny<spec::Compatible>>),
    #[cfg(target_os = "linux")]
    #[command(name = "6rd", after_help = link::AFTER)]
    SixRd(Box<link::TakesAny<spec::SixRd>>),
    #[cfg(target_os = "linux")]
    #[command(name = "6to4", after_help = link::AFTER)]
    SixToFour(Box<link::Args<spec::SixToFour>>),
    #[cfg(target_os = "linux")]
    Solicit(solicit::Args),
    #[cfg(target_os = "linux")]
    Status(status::Args),
    #[cfg(target_os = "linux")]
    Teredo(teredo::Args),
    #[cfg(target_os = "linux")]
    #[command(after_help = link::AFTER)]
    Tunnel(Box<link::TakesAny<spec::Tunnel>>),
    #[cfg(feature = "cli")]
    Man(manual::ManArgs),
    #[cfg(feature = "cli")]
    Completions(manual::CompletionArgs),
}

/// What the commands are for.
const GROUPS: [(&str, &[&str]); 4] = [
    ("See", &["explain", "check", "select", "status", "monitor", "doctor", "solicit"]),
    ("Try", &["lab"]),
    ("Run (Linux)", &["host", "router", "tunnel", "compatible", "6rd", "6to4", "teredo", "portproxy", "run"]),
    ("Set up", &["config", "plan", "policy", "man", "completions"]),
];

/// How the tool ends.
const AFTER: &str = "\
Exit status: 0 done; 1 wrong options or a mistake in a file; 2 refused by the kernel or a peer, or \
no daemon runs; 3 a check found something (check, doctor, config check, lab, plan, teredo qualify),
or a filter refused an address (explain --permits).

isatap COMMAND --help says more. JSON is one object a line; isatap-std/docs/json.md lists the keys.";

/// The tool, with its commands and their options.
fn command() -> clap::Command {
    let command = switches(Cli::command());
    let about = |name: &&str| {
        let command = command.find_subcommand(name)?;
        Some(format!("  {name:<12} {}\n", command.get_about().map(ToString::to_string).unwrap_or_default()))
    };
    let group =
        |(title, names): &(&str, &[&str])| format!("{title}:\n{}", names.iter().filter_map(about).collect::<String>());
    let groups = GROUPS.iter().map(group).collect::<Vec<_>>().join("\n");
    let template =
        format!("{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}\nOptions:\n{{options}}{{after-help}}");
    command.help_template(template).color(output::choice())
}

/// The documentation of a switch that is on says what it does; its flag switches it off.
fn switches(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|argument| match (argument.get_action(), argument.get_help()) {
        (ArgAction::SetFalse, Some(help)) => {
            let help = help.to_string();
            let (first, rest) = help.split_at_checked(1).unwrap_or_default();
            let help = format!("Do not {}{rest}", first.to_lowercase());
            argument.long_help(help.clone()).help(help)
        }
        _ => argument,
    });
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, switches))
}

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Some(status) = hook::main_of_helper() {
        return status;
    }
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    let result = match cli.command {
        #[cfg(feature = "check")]
        Command::Check(args) => check::run(&args),
        #[cfg(target_os = "linux")]
        Command::Config(args) => config::run(&args),
        #[cfg(target_os = "linux")]
        Command::Doctor(args) => doctor::run(&args),
        #[cfg(feature = "cli")]
        Command::Completions(args) => manual::completions(&args),
        #[cfg(feature = "cli")]
        Command::Man(args) => manual::man(&args),
        Command::Explain(args) => explain::run(&args),
        #[cfg(feature = "lab")]
        Command::Lab(args) => lab::run(&args),
        #[cfg(target_os = "linux")]
        Command::Host(args) => link::run_any(*args),
        #[cfg(target_os = "linux")]
        Command::Monitor(args) => monitor::run(&args),
        #[cfg(target_os = "linux")]
        Command::PortProxy(args) => portproxy::run(*args),
        #[cfg(target_os = "linux")]
        Command::Router(args) => link::run_any(*args),
        #[cfg(all(target_os = "linux", feature = "plan"))]
        Command::Plan(args) => plan::run(&args),
        #[cfg(target_os = "linux")]
        Command::Policy(args) => policy::run(&args),
        #[cfg(target_os = "linux")]
        Command::Run(args) => run::run(&args),
        Command::Select(args) => select::run(&args),
        #[cfg(target_os = "linux")]
        Command::Compatible(args) => link::run_any(*args),
        Command::SixRd(args) => link::run_any(*args),
        #[cfg(target_os = "linux")]
        Command::SixToFour(args) => link::run(*args),
        #[cfg(target_os = "linux")]
        Command::Solicit(args) => solicit::run(&args),
        #[cfg(target_os = "linux")]
        Command::Status(args) => status::run(&args),
        #[cfg(target_os = "linux")]
        Command::Teredo(args) => teredo::run(args),
        #[cfg(target_os = "linux")]
        Command::Tunnel(args) => link::run_any(*args),
    };
    match result {
        Ok(status) => status.into(),
        Err(failure) => failure.report(),
    }
}
