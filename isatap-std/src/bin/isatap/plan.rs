//! `isatap plan`: the commands for the other ends.

use std::io::{self, Write};

use clap::Subcommand;
use isatap_core::prefix::Ipv6Prefix;
use isatap_std::config::Config;
use isatap_std::plan::recipe::{ManageOut, NativeManageOut, RECIPES};
use isatap_std::plan::{Given, Platform, Step, interface, of_device, of_links, script, without_link, wrong_local};
use isatap_std::resolve::Entry;
use isatap_std::spec::{AddressWithLength, LinkSpec};
use serde::Serialize;
use std::net::Ipv4Addr;

use crate::exit::{Failure, Status};
use crate::{output, toml_file};

/// Print the commands that set up the other ends of the links of a file, each with its undo.
///
/// FILE is a file of isatap run; it stays at this end. What it does not say of the other end, such as
/// its IPv4 address, is an option. What nobody says is named, not guessed: exit status 3 then.
/// Needs no privilege and sends nothing.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true, after_help = AFTER)]
pub(crate) struct Args {
    #[command(subcommand)]
    guide: Option<Guide>,
    #[command(flatten)]
    how: How,
    /// The TOML file of this end.
    #[arg(required_unless_present = "list")]
    file: Option<String>,
    /// List the platforms and recipes.
    #[arg(long, conflicts_with = "file")]
    list: bool,
    /// The link of this device alone.
    #[arg(long, value_name = "DEV")]
    link: Option<String>,
    /// The other end's IPv4 address, where the file does not say it.
    #[arg(long, value_name = "V4")]
    local: Option<Ipv4Addr>,
    /// The other end's address on a configured tunnel. May be repeated.
    #[arg(long, value_name = "V6/LEN")]
    address: Vec<AddressWithLength>,
    /// A prefix that the other end advertises where it is an ISATAP router. May be repeated.
    #[arg(long, value_name = "PREFIX/64")]
    prefix: Vec<Ipv6Prefix>,
    /// The name by which hosts find the ISATAP router, instead of its address.
    #[arg(long, value_name = "NAME")]
    router_name: Option<Entry>,
    /// Windows: the other end's ISATAP interface.
    #[arg(long, value_name = "NAME|INDEX", value_parser = interface)]
    isatap_interface: Option<String>,
    /// Windows: the other end's interface toward the IPv6 network.
    #[arg(long, value_name = "NAME|INDEX", value_parser = interface)]
    lan_interface: Option<String>,
}

const AFTER: &str = "\
Exit status: 0 done; 1 wrong options or a mistake in the file; 3 something is not known, or the platform cannot \
do it: the plan says what.

isatap plan node.toml --for iproute2 --local 10.0.0.2 | ssh root@other sh";

// How a plan is written; documentation here would be that of the recipes.
#[derive(clap::Args, Debug)]
struct How {
    /// What runs at the other end.
    #[arg(long = "for", value_name = "PLATFORM", value_enum, default_value = "isatap")]
    platform: Platform,
    /// Print what takes the plan back instead, the last step first.
    #[arg(long)]
    undo: bool,
    /// Print JSON, one object a step.
    #[arg(short, long)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Guide {
    /// Print what to do on each machine of a set-up, in order, with the checks at the end.
    #[command(subcommand)]
    Recipe(Recipe),
}

// The documentation of the structs is that of the commands.
#[derive(Subcommand, Debug)]
enum Recipe {
    DirectAccessManageOut(WithHow<ManageOut>),
    DirectAccessNative(WithHow<NativeManageOut>),
}

#[derive(clap::Args, Debug)]
struct WithHow<R: clap::Args> {
    #[command(flatten)]
    recipe: R,
    #[command(flatten)]
    how: How,
}

#[derive(Serialize)]
struct Listed {
    kind: &'static str,
    name: &'static str,
    description: &'static str,
}

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    match &args.guide {
        Some(Guide::Recipe(Recipe::DirectAccessManageOut(with))) => {
            return print(&with.recipe.steps(with.how.platform)?, &with.how);
        }
        Some(Guide::Recipe(Recipe::DirectAccessNative(with))) => {
            return print(&with.recipe.steps(with.how.platform)?, &with.how);
        }
        None => {}
    }
    let Some(file) = args.file.as_deref().filter(|_| !args.list) else {
        return list(args.how.json);
    };
    let text = toml_file::read(file)?;
    let config = Config::parse(file, &text).map_err(Failure::Mistakes)?;
    if config.links.is_empty() {
        return Err(Failure::Usage(format!(
            "{file} has no link, so nothing has another end: rules of the port proxy need nothing elsewhere; give a file \
             with a link"
        )));
    }
    let chosen = chosen(&config.links, args.link.as_deref(), file)?;
    let mut given = Given::default();
    given.local = args.local;
    given.address.clone_from(&args.address);
    given.prefix.clone_from(&args.prefix);
    given.router_name.clone_from(&args.router_name);
    given.isatap_interface.clone_from(&args.isatap_interface);
    given.lan_interface.clone_from(&args.lan_interface);
    if let Some(AddressWithLength(other)) = without_link(&chosen, &given).first() {
        return Err(Failure::Usage(format!(
            "cannot give the other end the address {}: no tunnel of {file} has its prefix; give one beside this end's",
            other.address
        )));
    }
    if let (Some(local), Some(why)) = (args.local, wrong_local(&chosen, &config.links, &given)) {
        return Err(Failure::Usage(format!("cannot plan the other end at {local}: {why}")));
    }
    let steps = match &args.link {
        Some(device) => of_device(device, &config.links, args.how.platform, &given),
        None => of_links(&config.links, args.how.platform, &given),
    };
    print(&steps, &args.how)
}

fn chosen<'c>(links: &'c [LinkSpec], device: Option<&str>, file: &str) -> Result<Vec<&'c LinkSpec>, Failure> {
    let is_chosen = |link: &&LinkSpec| device.is_none_or(|device| link.device() == device);
    let chosen: Vec<&LinkSpec> = links.iter().filter(is_chosen).collect();
    if let (Some(device), []) = (device, &*chosen) {
        let names: Vec<&str> = links.iter().map(LinkSpec::device).collect();
        return Err(Failure::Usage(format!("{file} has no link {device}: it has {}", names.join(", "))));
    }
    Ok(chosen)
}

fn list(json: bool) -> Result<Status, Failure> {
    let platforms = Platform::ALL.map(|platform| ("platform", platform.as_str(), platform.describe()));
    let recipes = RECIPES.map(|(name, description)| ("recipe", name, description));
    let mut out = output::answer();
    for (kind, name, description) in platforms.into_iter().chain(recipes) {
        if json {
            serde_json::to_writer(&mut out, &Listed { kind, name, description }).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{kind:<8}  {name:<24}  {description}")?;
        }
    }
    Ok(Status::Done)
}

fn print(steps: &[Step], how: &How) -> Result<Status, Failure> {
    let mut out = output::answer();
    if how.json {
        for step in steps {
            serde_json::to_writer(&mut out, step).map_err(io::Error::from)?;
            writeln!(out)?;
        }
    } else {
        let text = if how.undo { script::undo(steps) } else { script::text(steps) };
        out.write_all(text.as_bytes())?;
    }
    Ok(if steps.iter().any(Step::is_open) { Status::Problems } else { Status::Done })
}
