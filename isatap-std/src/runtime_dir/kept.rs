//! Files of the [state folder](super::RuntimeDir::state).

use super::state::believe;
use super::trusted;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Writes a file, which no cut of power leaves half written. Without text it goes.
///
/// # Errors
///
/// The folder is not there, or not to be written to; the disk is full.
pub(crate) fn keep(file: &Path, text: &str) -> io::Result<()> {
    if text.is_empty() {
        return match fs::remove_file(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
    }
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    // Through no link that another user has put there.
    let _ = fs::remove_file(&new);
    let mut written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(&new)?;
    let replaced = written.write_all(text.as_bytes()).and_then(|()| written.sync_all());
    replaced.and_then(|()| fs::rename(&new, file)).inspect_err(|_| drop(fs::remove_file(&new)))?;
    file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// What was kept; nothing where nothing was. No link is followed.
///
/// # Errors
///
/// It is not to be read, somebody else may have written it, or it is no text.
pub(crate) fn kept(file: &Path) -> io::Result<String> {
    /// Of a few lines.
    const LONGEST: u64 = 64 << 10;
    let opened = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        opened => opened?,
    };
    believe(&opened.metadata()?, &trusted(None))?;
    let mut text = String::new();
    opened.take(LONGEST).read_to_string(&mut text).map(|_| text)
}
