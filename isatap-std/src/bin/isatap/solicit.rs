//! `isatap solicit`: has a running link ask its routers now.

use std::io::Write;

use isatap_std::control::{self, Request};
use isatap_std::runtime_dir::RuntimeDir;

use crate::exit::{Failure, Status};
use crate::output;

/// Ask the routers of a running host now, and look up their names.
///
/// For when something has changed that nobody tells the host: a router forwards now, a filter is
/// gone. A Teredo client asks its server; a 6rd customer edge and a 6to4 router that probes ask
/// their relay. Solicitations stay 4 seconds apart. See the answers with isatap status.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Print JSON: {"dev","asked"}.
    #[arg(short, long)]
    json: bool,
    /// The device.
    dev: String,
}

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    let answer = control::ask(&RuntimeDir::new().socket(&args.dev), Request::Solicit)?;
    let mut out = output::answer();
    if args.json {
        writeln!(out, "{}", serde_json::json!({ "dev": args.dev, "asked": answer["asked"] }))?;
        return Ok(Status::Done);
    }
    let asked = answer["asked"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
    match asked.collect::<Vec<_>>().as_slice() {
        [] => writeln!(out, "{} looks up its routers' names", args.dev)?,
        asked => writeln!(out, "{} asks {}", args.dev, asked.join(", "))?,
    }
    Ok(Status::Done)
}
