//! How the tool ends: exit statuses, and errors of one line on stderr.

use std::fmt;
use std::io;
use std::process::ExitCode;

use clap::error::ErrorKind;

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
    /// The kernel or a peer refused: 2.
    Refused(String),
    /// Standard output could not be written: 2, or 0 when nobody reads it.
    Output(io::Error),
}

impl Failure {
    /// Tells the user, and gives the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("isatap: {self}");
        match self {
            Failure::Usage(_) => ExitCode::from(1),
            Failure::Refused(_) | Failure::Output(_) => ExitCode::from(2),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(text) | Failure::Refused(text) => f.write_str(text),
            Failure::Output(error) => write!(f, "writing to standard output: {error}"),
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
            // Nobody to tell when standard output is closed.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(1)
        }
        _ => {
            eprintln!("isatap: {}", one_line(&error.to_string()));
            ExitCode::from(1)
        }
    }
}

/// What the standard library says of a value, and what to write instead.
const ADVICE: [(&str, &str); 6] = [
    ("invalid IPv4 address syntax", "no IPv4 address: write four numbers of 0 to 255, as 10.0.0.2"),
    ("invalid IPv6 address syntax", "no IPv6 address: write it as 2001:db8::1"),
    ("invalid IPv4 socket address syntax", "no IPv4 address with a port: write it as 10.0.0.2:3544"),
    ("invalid digit found in string", "no whole number: write digits alone, as 1280"),
    ("cannot parse integer from empty string", "a number is missing: write digits, as 1280"),
    ("number too large to fit in target type", "too large a number"),
];

/// clap's message without its label, its usage and its line breaks.
fn one_line(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let message = &ADVICE.iter().fold(message.to_owned(), |message, (theirs, ours)| message.replace(theirs, ours));
    let parts: Vec<&str> = message
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .map(|line| line.strip_prefix("tip: ").unwrap_or(line))
        .collect();
    // A list's heading ends in a colon.
    format!("{}; see --help", parts.join("; ").replace(":; ", ": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the standard library's own errors, so that another text of theirs is noticed.
    #[test]
    fn usage_errors_say_what_to_write_instead() {
        use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
        let of = |error: &dyn fmt::Display| one_line(&format!("error: invalid value 'x' for '--local <V4>': {error}"));
        for (text, advice) in [
            (of(&"10.0.0".parse::<Ipv4Addr>().unwrap_err()), "as 10.0.0.2;"),
            (of(&"fe80".parse::<Ipv6Addr>().unwrap_err()), "as 2001:db8::1;"),
            (of(&"10.0.0.2".parse::<SocketAddrV4>().unwrap_err()), "as 10.0.0.2:3544;"),
            (of(&"5x".parse::<u16>().unwrap_err()), "digits alone, as 1280;"),
            (of(&"".parse::<u16>().unwrap_err()), "a number is missing"),
            (of(&"99999".parse::<u16>().unwrap_err()), "too large a number"),
        ] {
            assert!(text.contains(advice), "{text}");
        }
    }

    #[test]
    fn usage_errors_are_one_line() {
        let message = "error: unexpected argument '--sed' found\n\n  tip: a similar argument exists: '--seed'\n\n\
                       Usage: isatap lab --seed <N>\n\nFor more information, try '--help'.\n";
        assert_eq!(
            one_line(message),
            "unexpected argument '--sed' found; a similar argument exists: '--seed'; see --help"
        );
        let message =
            "error: the following required arguments were not provided:\n  --local <V4>\n  --prefix <P>\n\nUsage: x\n";
        assert_eq!(
            one_line(message),
            "the following required arguments were not provided: --local <V4>; --prefix <P>; see --help"
        );
    }
}
