//! `isatap portproxy`: one rule of the port proxy in a process, and what running rules have counted.

use std::io::{self, Write};

use isatap_std::control;
use isatap_std::portproxy::RuleStatus;
use isatap_std::runtime_dir::RuntimeDir;
use isatap_std::spec::{Direction, PortProxy};
use serde_json::Value;

use crate::daemon::{self, PrivilegeArgs};
use crate::exit::{Failure, Status};
use crate::output;

/// How the command ends that runs a rule.
pub(crate) const AFTER: &str = "\
Several rules, and rules beside links, are tables [[portproxy]] of a file: see isatap run. For add, set and delete of \
netsh interface portproxy, change that file and send SIGHUP: connections go on.

isatap portproxy --listen 0.0.0.0:8080 --connect '[2001:db8::80]:80'
                                                             IPv4 clients of an IPv6 server
isatap portproxy --listen 80 --direction v6tov4              IPv6 clients of a server at 127.0.0.1:80
isatap portproxy --listen 443 --direction v6tov4 --connect www.example.net

Ends on SIGINT or SIGTERM, which resets its connections.

Exit status: 0 ended by a signal; 1 an option is wrong; 2 the kernel refused something.";

// No documentation here: that of the struct is the command's.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    rule: Option<PortProxy>,
    /// Log events to standard error.
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    privileges: PrivilegeArgs,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Show(ShowArgs),
}

/// Show the running rules of this network namespace, and what they have counted.
#[derive(clap::Args, Debug)]
struct ShowArgs {
    /// Print JSON, one object a rule.
    #[arg(short, long)]
    json: bool,
    /// Those of one direction: v4tov4, v4tov6, v6tov4 or v6tov6; all if it is left out.
    direction: Option<Direction>,
}

pub(crate) fn run(args: Args) -> Result<Status, Failure> {
    match (args.command, args.rule) {
        (Some(Command::Show(args)), _) => show(&args),
        (None, Some(rule)) => daemon::run_rule(&rule, args.verbose, &args.privileges),
        (None, None) => Err(Failure::Usage("nothing to run: add --listen; see --help".to_owned())),
    }
}

fn show(args: &ShowArgs) -> Result<Status, Failure> {
    let runtime = RuntimeDir::new();
    let mut rules = control::ask_port_proxies(&runtime)?;
    if rules.is_empty() {
        let folder = runtime.path().display();
        return Err(Failure::Refused(format!(
            "no rule of the port proxy runs here, by {folder}; start one, as isatap portproxy --listen 8080"
        )));
    }
    if let Some(direction) = args.direction {
        rules.retain(|rule| rule["direction"] == direction.as_str());
    }
    let mut out = io::BufWriter::new(output::answer());
    print_all(&mut out, rules, args.json)?;
    out.flush()?;
    Ok(Status::Done)
}

/// Rules as running processes have told them.
pub(crate) fn print_all(out: &mut impl Write, rules: Vec<Value>, json: bool) -> Result<(), Failure> {
    for rule in rules {
        if json {
            writeln!(out, "{rule}")?;
            continue;
        }
        let rule = serde_json::from_value(rule)
            .map_err(|error| Failure::Refused(format!("cannot read the status of a rule: {error}")))?;
        print(out, &rule)?;
    }
    Ok(())
}

fn print(out: &mut impl Write, rule: &RuleStatus) -> io::Result<()> {
    writeln!(out, "{}: portproxy {} to {}", rule.listen, rule.direction, rule.connect)?;
    if let Some(what) = &rule.waiting {
        writeln!(out, "    waits for {what}, which this machine lacks; see: ip address")?;
    }
    writeln!(out, "    connections: {} now, {} in all", rule.connections, rule.total)?;
    writeln!(out, "    bytes: {} to the target, {} to clients", rule.bytes_to_target, rule.bytes_to_client)?;
    let ended = [("reset", rule.reset), ("idle", rule.idle)];
    let counted = |counts: &mut dyn Iterator<Item = (&str, u64)>| {
        counts
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| format!("{what} {count}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let cut = counted(&mut ended.into_iter());
    let refused = counted(&mut rule.refused.iter().map(|(reason, count)| (reason.as_str(), *count)));
    for (what, counts) in [("cut", cut), ("refused", refused)] {
        if !counts.is_empty() {
            writeln!(out, "    {what}: {counts}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rule_is_told_with_what_was_refused() {
        let rule = json!({"direction": "v4tov6", "listen": "0.0.0.0:80", "connect": "[2001:db8::1]:8080",
            "connections": 2, "total": 7, "bytes_to_target": 10, "bytes_to_client": 20,
            "refused": {"target-refused": 3, "too-many": 1}, "reset": 0, "idle": 4});
        let told = |rule: &Value| {
            let mut text = Vec::new();
            print(&mut text, &serde_json::from_value(rule.clone()).unwrap()).unwrap();
            String::from_utf8(text).unwrap()
        };
        assert_eq!(
            told(&rule),
            "0.0.0.0:80: portproxy v4tov6 to [2001:db8::1]:8080\n    connections: 2 now, 7 in all\n    \
             bytes: 10 to the target, 20 to clients\n    cut: idle 4\n    refused: target-refused 3, too-many 1\n"
        );
        let mut waiting = rule;
        waiting["waiting"] = "the device t1".into();
        assert!(told(&waiting).contains(":8080\n    waits for the device t1, which this machine lacks"));
    }
}
