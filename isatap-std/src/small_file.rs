//! Small files that somebody else writes, read in one go, whatever they are.

use crate::error::Error;
use crate::text_file;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// No file that is meant to be read here is longer.
const LONGEST: u64 = 1 << 20;

/// All that is in a file, and what the system knows of it. It waits for nobody, as a FIFO would.
///
/// # Errors
///
/// It cannot be read, is no regular file, or is longer than 1 MiB.
pub(crate) fn read(path: &Path) -> io::Result<(Vec<u8>, Metadata)> {
    let file: File = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let about = file.metadata()?;
    let refused = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    if !about.is_file() {
        return refused("it is no regular file");
    }
    let mut bytes = Vec::new();
    if file.take(LONGEST + 1).read_to_end(&mut bytes)? as u64 > LONGEST {
        return refused("it is longer than 1 MiB");
    }
    Ok((bytes, about))
}

/// The text of a file with a secret, `what` ("the key"), which nobody but its owner and group may read.
///
/// # Errors
///
/// It cannot be [read], everybody may read it, or it is not UTF-8.
pub(crate) fn read_secret(what: &str, path: &Path) -> Result<String, Error> {
    let name = path.display();
    let (bytes, about) = read(path)
        .map_err(|error| Error::refused(format!("read {what} in"), &name, error).with_advice("give a readable file"))?;
    if about.permissions().mode() & 0o007 != 0 {
        let error = Error::usage(format!("use {what} in"), &name, "everybody may read the file");
        return Err(error.with_advice(format!("chmod 640 {name}")));
    }
    let text = text_file::decode(&bytes).map_err(|wrong| wrong.error(format!("read {what} in"), path))?;
    Ok(text.to_owned())
}
