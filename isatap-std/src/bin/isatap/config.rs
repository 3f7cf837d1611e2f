//! `isatap config`: about configuration files.

use std::io::{self, Write};
use std::path::Path;

use isatap_std::config::{Config, Problem};
use isatap_std::spec::{LinkSpec, PortProxy};
use nix::unistd::User;
use serde::Serialize;

use crate::exit::{Failure, Status};
use crate::{hook, output, reference};

/// Check a configuration file, or show what one can say.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Check(CheckArgs),
    /// Print every table and key of a configuration file, with type, default and documentation.
    Reference,
    Example(ExampleArgs),
}

/// Print a configuration file to begin with: isatap config example tunnel > node.toml
#[derive(clap::Args, Debug)]
struct ExampleArgs {
    /// The kind of link.
    #[arg(value_name = "KIND", value_parser = reference::EXAMPLES.map(|(kind, _)| kind))]
    kind: String,
}

/// Report every error in the file, with line, column and what to write instead; exit status 3
/// if there is one. Warns of what a link leaves open, such as a routing loop, and of addresses and
/// devices that this machine does not have now. Needs no privilege.
#[derive(clap::Args, Debug)]
struct CheckArgs {
    /// Print JSON, one object a mistake or warning.
    #[arg(short, long)]
    json: bool,
    /// The TOML file; README.md has one.
    file: String,
}

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    let args = match &args.command {
        Command::Check(args) => args,
        Command::Reference => {
            let mut text = Vec::new();
            reference::print(&mut text)?;
            output::answer().write_all(&text)?;
            return Ok(Status::Done);
        }
        Command::Example(args) => {
            let example = reference::EXAMPLES.iter().find(|(kind, _)| *kind == args.kind);
            output::answer().write_all(example.map_or("", |(_, text)| text).as_bytes())?;
            return Ok(Status::Done);
        }
    };
    let text = std::fs::read_to_string(&args.file)
        .map_err(|error| Failure::Usage(format!("reading {}: {error}; give a readable TOML file", args.file)))?;
    let mut out = output::answer();
    match Config::parse(&args.file, &text) {
        Ok(config) => {
            if !args.json {
                let rules = config.portproxies.iter().map(|rule| format!("{} (portproxy)", rule.key()));
                let links: Vec<String> = config.links.iter().map(describe).chain(rules).collect();
                writeln!(out, "{}: no mistake: {}", args.file, links.join(", "))?;
            }
            let of_links = config.links.iter().flat_map(|link| {
                link.warnings().into_iter().map(|warning| (Some(link.device()), warning)).collect::<Vec<_>>()
            });
            let of_tables = config.warnings().into_iter().map(|(dev, warning)| (Some(dev), warning));
            // The file may be for another machine.
            let unknown = config.user.as_deref().filter(|user| matches!(User::from_name(user), Ok(None)));
            let unknown =
                unknown.map(|user| (None, format!("this machine has no user {user}: useradd --system {user}")));
            let hook_user = config.hook_user.as_deref().map(hook::find_user).transpose();
            let uid = hook_user.as_ref().ok().and_then(|user| user.as_ref().map(|user| user.uid));
            let checked = config.hook.as_deref().map(|path| hook::check(Path::new(path), uid)).transpose();
            let of_hook = [hook_user.err(), checked.err()].into_iter().flatten().map(|error| (None, error.to_string()));
            let keys: Vec<String> = config.portproxies.iter().map(PortProxy::key).collect();
            let of_rules = config.portproxies.iter().zip(&keys).flat_map(|(rule, key)| {
                rule.warnings().into_iter().map(|warning| (Some(key.as_str()), warning)).collect::<Vec<_>>()
            });
            for (dev, warning) in of_links.chain(of_tables).chain(of_rules).chain(unknown).chain(of_hook) {
                let file = args.file.as_str();
                if args.json {
                    let warning = Warning { file, line: None, column: None, dev, warning: &warning };
                    serde_json::to_writer(&mut out, &warning).map_err(io::Error::from)?;
                    writeln!(out)?;
                } else {
                    let of = dev.map(|dev| format!("{dev}: ")).unwrap_or_default();
                    writeln!(out, "{file}: warning: {of}{warning}")?;
                }
            }
            for Problem { file, line, column, text, .. } in &Config::lacks(&args.file, &text) {
                if args.json {
                    let warning = Warning { file, line: Some(*line), column: *column, dev: None, warning: text };
                    serde_json::to_writer(&mut out, &warning).map_err(io::Error::from)?;
                    writeln!(out)?;
                } else {
                    let column = column.map(|column| format!(":{column}")).unwrap_or_default();
                    writeln!(out, "{file}:{line}{column}: warning: {text}")?;
                }
            }
            Ok(Status::Done)
        }
        Err(problems) => {
            for problem in &problems {
                if args.json {
                    serde_json::to_writer(&mut out, &Line::of(problem)).map_err(io::Error::from)?;
                    writeln!(out)?;
                } else {
                    writeln!(out, "{problem}")?;
                }
            }
            Ok(Status::Problems)
        }
    }
}

fn describe(link: &LinkSpec) -> String {
    let lans: Vec<String> = link.lans().iter().map(ToString::to_string).collect();
    let lans = if lans.is_empty() { String::new() } else { format!(" for the LANs {}", lans.join(" and ")) };
    format!("{} ({}{lans})", link.device(), link.kind())
}

#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    text: &'a str,
}

/// Of a link, or of the file as a whole, which is no mistake.
#[derive(Serialize)]
struct Warning<'a> {
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<&'a str>,
    warning: &'a str,
}

impl<'a> Line<'a> {
    fn of(problem: &'a Problem) -> Self {
        Self { file: &problem.file, line: problem.line, column: problem.column, text: &problem.text }
    }
}
