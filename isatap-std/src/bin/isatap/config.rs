//! `isatap config`: about configuration files.

use std::io::{self, ErrorKind, Write};

use isatap_std::config::{Config, Problem};
use isatap_std::runtime_dir::RuntimeDir;
use isatap_std::spec::LinkSpec;
use nix::unistd::Uid;
use serde::Serialize;

use crate::exit::{Failure, Status};
use crate::{output, reference, run, toml_file};

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
/// if there is one. What isatap run would refuse on this machine is an error too: a hook, a user, a key
/// or a device that cannot be used, a port that another program has. Warns of what a link leaves open,
/// such as a routing loop, and of addresses, devices and files that it would wait for. Needs no
/// privilege; what only root may look at is a warning then.
#[derive(clap::Args, Debug)]
struct CheckArgs {
    /// Print JSON, one object a mistake or warning.
    #[arg(short, long)]
    json: bool,
    /// The file is for another machine: what this one has and lacks does not matter.
    #[arg(long)]
    elsewhere: bool,
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
    check(args)
}

fn check(args: &CheckArgs) -> Result<Status, Failure> {
    let text = match toml_file::read(&args.file) {
        Ok(text) => text,
        Err(Failure::Mistakes(problems)) => return tell(args, &problems, &[]),
        Err(failure) => return Err(failure),
    };
    let config = match Config::parse(&args.file, &text) {
        Ok(config) => config,
        Err(problems) => return tell(args, &problems, &[]),
    };
    let mut problems = Vec::new();
    let mut warnings: Vec<Told> = Vec::new();
    let links = config.links.iter().map(|link| (link.device().to_owned(), link.warnings()));
    let rules = config.portproxies.iter().map(|rule| (rule.key(), rule.warnings()));
    let tables = config.warnings().into_iter().map(|(dev, text)| (dev.to_owned(), vec![text]));
    for (dev, texts) in links.chain(tables).chain(rules) {
        warnings.extend(texts.into_iter().map(|text| Told::Of(Some(dev.clone()), text)));
    }
    if !args.elsewhere {
        for error in run::refusals(&config, config.user.as_deref()) {
            // Who starts it may be allowed to.
            let is_unknown = !Uid::effective().is_root()
                && error.io_error().is_some_and(|error| error.kind() == ErrorKind::PermissionDenied);
            let is_ours = config.is_of_daemon(&RuntimeDir::new(), &error);
            match Config::place(&args.file, &text, &error) {
                Some(mut problem) if is_ours => {
                    problem.text += "; a running isatap has it, and frees it if it reads this file again without it";
                    warnings.push(Told::At(problem));
                }
                Some(problem) if is_unknown => warnings.push(Told::At(problem)),
                Some(problem) => problems.push(problem),
                None => warnings.push(Told::Of(None, error.to_string())),
            }
        }
        problems.sort_by_key(|problem| (problem.line, problem.column));
        warnings.extend(Config::lacks(&args.file, &text).into_iter().map(Told::At));
    }
    if problems.is_empty() && !args.json {
        let rules = config.portproxies.iter().map(|rule| format!("{} (portproxy)", rule.key()));
        let links: Vec<String> = config.links.iter().map(describe).chain(rules).collect();
        writeln!(output::answer(), "{}: no mistake: {}", args.file, links.join(", "))?;
    }
    tell(args, &problems, &warnings)
}

/// A warning: of a link, a rule or the whole file; or with its place.
enum Told {
    Of(Option<String>, String),
    At(Problem),
}

fn tell(args: &CheckArgs, problems: &[Problem], warnings: &[Told]) -> Result<Status, Failure> {
    let mut out = output::answer();
    let mut print = |json: Line<'_>, text: String| -> io::Result<()> {
        if args.json {
            serde_json::to_writer(&mut out, &json)?;
            return writeln!(out);
        }
        writeln!(out, "{text}")
    };
    for problem in problems {
        print(Line { text: Some(&problem.text), ..Line::at(problem) }, problem.to_string())?;
    }
    for warning in warnings {
        match warning {
            Told::At(problem) => {
                let Problem { file, line, column, text, .. } = problem;
                let column = column.map(|column| format!(":{column}")).unwrap_or_default();
                let line = format!("{file}:{line}{column}: warning: {text}");
                print(Line { warning: Some(text), ..Line::at(problem) }, line)?;
            }
            Told::Of(dev, text) => {
                let of = dev.as_ref().map(|dev| format!("{dev}: ")).unwrap_or_default();
                let json = Line { file: &args.file, dev: dev.as_deref(), warning: Some(text), ..Line::default() };
                print(json, format!("{}: warning: {of}{text}", args.file))?;
            }
        }
    }
    Ok(if problems.is_empty() { Status::Done } else { Status::Problems })
}

fn describe(link: &LinkSpec) -> String {
    let lans: Vec<String> = link.lans().iter().map(ToString::to_string).collect();
    let lans = if lans.is_empty() { String::new() } else { format!(" for the LANs {}", lans.join(" and ")) };
    format!("{} ({}{lans})", link.device(), link.kind())
}

/// An error, which has a text, or a warning.
#[derive(Default, Serialize)]
struct Line<'a> {
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn at(problem: &'a Problem) -> Self {
        Self { file: &problem.file, line: Some(problem.line), column: problem.column, ..Self::default() }
    }
}
