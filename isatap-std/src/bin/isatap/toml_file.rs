//! Reading what users write in TOML.

use std::path::Path;

use isatap_std::text_file::{self, Unreadable};

use crate::exit::Failure;

/// The text of a configuration or a scenario.
pub(crate) fn read(file: &str) -> Result<String, Failure> {
    text_file::read(Path::new(file)).map_err(|error| match error {
        Unreadable::NotUtf8(wrong) => Failure::Mistakes(vec![wrong.problem(file)]),
        Unreadable::Io(error) => Failure::Usage(format!("reading {file}: {error}; give a readable TOML file")),
    })
}
