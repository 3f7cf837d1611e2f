//! How the tool ends: exit statuses, and errors of one line on standard error.

use std::error::Error;
use std::io::{self, Write};
use std::net::{AddrParseError, Ipv4Addr};
use std::num::ParseIntError;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use isatap_std::advice;
use isatap_std::error::Problem;
use isatap_std::spec::RANGES;

use crate::{explain, output};

/// How a subcommand ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Done: 0.
    Done,
    /// A check found problems: 3.
    Problems,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        match status {
            Status::Done => ExitCode::SUCCESS,
            Status::Problems => ExitCode::from(3),
        }
    }
}

/// Why a subcommand failed. The text is one line: what was tried, what went
/// wrong, what to do.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Usage or configuration: 1.
    Usage(String),
    /// Options that cannot be, a line each: 1.
    Options(Vec<String>),
    /// Mistakes in a file, a line each: 1.
    Mistakes(Vec<Problem>),
    /// The kernel or a peer refused: 2.
    Refused(String),
    /// Standard output could not be written: 2, or 0 where [`Unread::End`](output::Unread) says so.
    Output(io::Error),
}

impl Failure {
    /// What to print: a line, or one for each mistake.
    pub(crate) fn lines(&self) -> Vec<String> {
        match self {
            Failure::Usage(text) | Failure::Refused(text) => vec![text.clone()],
            Failure::Options(texts) => texts.clone(),
            Failure::Mistakes(problems) => problems.iter().map(ToString::to_string).collect(),
            Failure::Output(error) => vec![format!("cannot write the answer to standard output: {error}")],
        }
    }

    /// Whether nobody reads the answer any more.
    pub(crate) fn is_unread(&self) -> bool {
        matches!(self, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Tells the user, and gives the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        if self.is_unread() {
            // Whoever reads the answer has seen enough: `isatap monitor | head`.
            return Status::Done.into();
        }
        self.lines().iter().for_each(output::say);
        match self {
            Failure::Usage(_) | Failure::Options(_) | Failure::Mistakes(_) => ExitCode::from(1),
            Failure::Refused(_) | Failure::Output(_) => ExitCode::from(2),
        }
    }
}

impl From<isatap_std::Error> for Failure {
    fn from(error: isatap_std::Error) -> Self {
        match error.class() {
            isatap_std::error::Class::Usage => Failure::Usage(error.to_string()),
            _ => Failure::Refused(error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

/// Ends after arguments that are not understood (1), or with the help that
/// was asked for (0).
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let mut out = output::answer();
            let text = error.render();
            let text = if output::colour(false) { text.ansi().to_string() } else { text.to_string() };
            match write!(out, "{text}").and_then(|()| out.flush()) {
                // A user's text may have asked for this.
                Ok(()) if explain::asks_a_filter() => {
                    Failure::Usage("no address was judged: write -- in front of the addresses".to_owned()).report()
                }
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => Failure::Output(error).report(),
            }
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // To standard error, where nobody need read it.
            let _ = error.print();
            ExitCode::from(1)
        }
        _ => Failure::Usage(one_line(error)).report(),
    }
}

/// clap's message without its label, its usage and its line breaks; and with what to write
/// where a value is no address or number.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let message = error.to_string();
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    let text_of = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    if error.kind() == ErrorKind::ValueValidation
        && let Some((value, option)) = text_of(ContextKind::InvalidValue).zip(text_of(ContextKind::InvalidArg))
        && let Some(advice) = error.source().and_then(|why| advice_on(value, option, why))
    {
        return format!("invalid value {} for '{option}': {advice}; see --help", shown(value));
    }
    // Our own error that names the value, and has left out what may be secret.
    if error.kind() == ErrorKind::ValueValidation
        && let Some((value, option)) = text_of(ContextKind::InvalidValue).zip(text_of(ContextKind::InvalidArg))
        && let Some(why) = error.source().map(ToString::to_string)
        && why.starts_with("cannot ")
        && !why.contains(value)
    {
        return format!("invalid value for '{option}': {why}; see --help");
    }
    if let (Some(value), Some(option), Some(ContextValue::Strings(possible))) =
        (text_of(ContextKind::InvalidValue), text_of(ContextKind::InvalidArg), error.get(ContextKind::ValidValue))
        && let Some((last, before)) = possible.split_last()
    {
        let possible = if before.is_empty() { last.clone() } else { format!("{} or {last}", before.join(", ")) };
        return format!("invalid value {} for '{option}': write {possible}; see --help", shown(value));
    }
    let parts: Vec<&str> = message
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .map(|line| line.strip_prefix("tip: ").unwrap_or(line))
        .collect();
    // A list's heading ends in a colon.
    format!("{}; see --help", parts.join("; ").replace(":; ", ": "))
}

/// A value in a message of one line.
fn shown(value: &str) -> String {
    if value.contains(char::is_control) { format!("{value:?}") } else { format!("'{value}'") }
}

/// What to write instead of the value of an option (`--local <V4>`), where the standard
/// library or clap said `why` it is none; `None`: it was our own error, which says so itself.
pub(crate) fn advice_on(value: &str, option: &str, why: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = why.downcast_ref::<AddrParseError>() {
        let is_ipv4 = Err(error) == "".parse::<Ipv4Addr>().as_ref();
        return Some(if is_ipv4 { advice::not_ipv4(value) } else { advice::not_ipv6(value) });
    }
    let unit = if option.ends_with("<SECONDS>") { "seconds" } else { "" };
    let name = option.trim_start_matches('-').split(' ').next().unwrap_or_default();
    let range =
        RANGES.iter().find(|(field, ..)| *field == name).map(|(_, least, most)| (u64::from(*least), u64::from(*most)));
    if why.is::<ParseIntError>() {
        return Some(advice::not_number(value, range, unit));
    }
    // clap's own: "70000 is not in 0..=65535".
    let why = why.to_string();
    let most = why.rsplit_once(" is not in 0..=").and_then(|(_, most)| most.parse().ok());
    most.map(|most| advice::not_number(value, range.or(Some((0, most))), unit))
}
