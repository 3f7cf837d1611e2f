//! `isatap host`, `router`, `tunnel`, `compatible`, `6rd`, `6to4`, `teredo client`, `server` and `relay`: one link
//! in a process. Their options are the structs of [`isatap_std::spec`].

use isatap_std::config::Config;
use isatap_std::spec::LinkSpec;

use crate::daemon::{self, DaemonArgs};
use crate::exit::{Failure, Status};

/// How the commands end that run links.
pub(crate) const AFTER: &str = "\
SIGHUP, or isatap solicit DEV, asks the routers, relay or server at once, where there are any. Ends on SIGINT or \
SIGTERM, and leaves nothing behind. Needs CAP_NET_ADMIN and, but for Teredo, CAP_NET_RAW.

Exit status: 0 ended by a signal; 1 an option is wrong; 2 the kernel refused something.";

// No documentation here: that of the struct is the command's.
#[derive(clap::Args, Debug)]
pub(crate) struct Args<S: clap::Args> {
    #[command(flatten)]
    link: S,
    #[command(flatten)]
    daemon: DaemonArgs,
}

// Of the links that take private IPv4 addresses anyway.
#[derive(clap::Args, Debug)]
pub(crate) struct TakesAny<S: clap::Args> {
    #[command(flatten)]
    args: Args<S>,
    // Scripts give it to every command.
    #[arg(long, hide = true)]
    accept_bogons: bool,
}

pub(crate) fn run<S: clap::Args + Into<LinkSpec>>(args: Args<S>) -> Result<Status, Failure> {
    daemon::run(&Config::of(args.link.into()), &args.daemon)
}

pub(crate) fn run_any<S: clap::Args + Into<LinkSpec>>(args: TakesAny<S>) -> Result<Status, Failure> {
    run(args.args)
}
