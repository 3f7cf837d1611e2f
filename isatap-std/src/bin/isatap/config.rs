//! `isatap config`: about configuration files.

use std::io::{self, Write};

use isatap_std::config::{Config, Link, Problem};
use serde::Serialize;

use crate::exit::{Failure, Status};
use crate::output;

/// Check a configuration file.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Check(CheckArgs),
}

/// Report every error in the file, with line, column and what to write instead; exit status 3
/// if there is one. Warns of settings that leave a routing loop open. Needs no privilege.
#[derive(clap::Args, Debug)]
struct CheckArgs {
    /// Print JSON, one object a mistake or warning.
    #[arg(short, long)]
    json: bool,
    /// The TOML file; README.md has one.
    file: String,
}

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    let Command::Check(args) = &args.command;
    let text = std::fs::read_to_string(&args.file)
        .map_err(|error| Failure::Usage(format!("reading {}: {error}; give a readable TOML file", args.file)))?;
    let mut out = output::answer();
    match Config::parse(&args.file, &text) {
        Ok(config) => {
            if !args.json {
                let teredo = config.teredo.iter().map(|link| &link.options);
                let teredo = teredo.map(|options| format!("{} ({})", options.link().device, options.kind()));
                let links: Vec<String> = config.links.iter().map(describe).chain(teredo).collect();
                writeln!(out, "{}: no mistake: {}", args.file, links.join(", "))?;
            }
            for link in &config.links {
                for warning in link.warnings() {
                    let (file, dev) = (args.file.as_str(), link.device());
                    if args.json {
                        serde_json::to_writer(&mut out, &Warning { file, dev, warning }).map_err(io::Error::from)?;
                        writeln!(out)?;
                    } else {
                        writeln!(out, "{file}: warning: {dev}: {warning}")?;
                    }
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

fn describe(link: &Link) -> String {
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

/// Of a link, which is no mistake.
#[derive(Serialize)]
struct Warning<'a> {
    file: &'a str,
    dev: &'a str,
    warning: String,
}

impl<'a> Line<'a> {
    fn of(problem: &'a Problem) -> Self {
        Self { file: &problem.file, line: problem.line, column: problem.column, text: &problem.text }
    }
}
