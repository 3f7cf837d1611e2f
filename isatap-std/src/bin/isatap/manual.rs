//! `isatap man` and `isatap completions`: files that are generated from the commands themselves.

use std::io::Write;
use std::path::PathBuf;

use crate::exit::{Failure, Status};
use crate::output;

/// Write the manual pages, one a command, into a folder.
#[derive(clap::Args, Debug)]
pub(crate) struct ManArgs {
    /// The folder, such as /usr/local/share/man/man1; it is made where it is missing.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Print the completions of a shell.
///
/// For bash: isatap completions bash > /etc/bash_completion.d/isatap
#[derive(clap::Args, Debug)]
pub(crate) struct CompletionArgs {
    /// The shell.
    shell: clap_complete::Shell,
}

pub(crate) fn man(args: &ManArgs) -> Result<Status, Failure> {
    let folder = args.folder.display();
    std::fs::create_dir_all(&args.folder)
        .and_then(|()| clap_mangen::generate_to(crate::command(), &args.folder))
        .map_err(|error| Failure::Refused(format!("writing manual pages into {folder}: {error}")))?;
    Ok(Status::Done)
}

pub(crate) fn completions(args: &CompletionArgs) -> Result<Status, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut crate::command(), "isatap", &mut text);
    output::answer().write_all(&text)?;
    Ok(Status::Done)
}
