//! Whether packets can be recorded into a file that only a reload names.

use super::Run;
use crate::driver::check_recording;
use crate::error::Error;
use crate::runtime_dir::new_owner;
use crate::spec::LinkSpec;
use crate::thread::has_given_up;
use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

impl Run {
    /// Sees whether the file can be opened, and leaves it as it is.
    pub(super) fn check_recording(&self, link: &LinkSpec, path: &Path) -> Result<(), Error> {
        let is_open =
            !link.is_teredo() && self.proto41.as_ref().is_some_and(|proto41| proto41.recording() == Some(path));
        if is_open {
            return Ok(());
        }
        check_recording(path, new_owner().map(|(uid, _)| uid)).map_err(|error| match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) if has_given_up() => given_up(path),
            _ => error,
        })?;
        // It cannot be tried: its reader would see an end.
        let is_fifo = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
        let is_new = self.recorded.iter().all(|known| known != path);
        if is_fifo && is_new && has_given_up() { Err(given_up(path)) } else { Ok(()) }
    }
}

fn given_up(path: &Path) -> Error {
    let why = "this daemon has given up the right to open files that it did not begin with";
    Error::usage("record packets into", path.display(), why).with_advice("restart it, as by systemctl restart isatap")
}
