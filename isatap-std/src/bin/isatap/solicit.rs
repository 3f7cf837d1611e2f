//! `isatap solicit`: has running links ask their routers now.

use std::io::Write;

use isatap_std::control::Request;

use crate::exit::{Failure, Status};
use crate::output;
use crate::status::ask_each;

/// Ask the routers of running hosts now, and look up their names.
///
/// For when something has changed that nobody tells the host: a router forwards now, a filter is
/// gone. A Teredo client asks its server; a 6rd customer edge and a 6to4 router that probes ask
/// their relay; a tunnel with an update URL calls it. Solicitations stay 4 seconds apart. See the answers with isatap status.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Print JSON, one object a device: {"dev","asked"}.
    #[arg(short, long)]
    json: bool,
    /// One device; all of this network namespace if it is left out.
    dev: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    let mut out = output::answer();
    ask_each(args.dev.as_deref(), Request::Solicit, |dev, answer| {
        let asked = &answer["asked"];
        if args.json {
            writeln!(out, "{}", serde_json::json!({ "dev": dev, "asked": asked }))?;
            return Ok(());
        }
        let asked: Vec<&str> = asked.as_array().into_iter().flatten().filter_map(serde_json::Value::as_str).collect();
        match asked.as_slice() {
            [] => writeln!(out, "{dev} looks up names, or calls its update URL")?,
            asked => writeln!(out, "{dev} asks {}", asked.join(", "))?,
        }
        Ok(())
    })?;
    Ok(Status::Done)
}
