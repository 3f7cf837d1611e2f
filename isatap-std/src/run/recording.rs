//! Whether packets can be recorded into a file that only a reload names.

use super::Run;
use crate::error::Error;
use crate::spec::LinkSpec;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

impl Run {
    /// Sees whether the file can be opened, and leaves it as it is.
    pub(super) fn check_recording(&self, link: &LinkSpec, path: &Path) -> Result<(), Error> {
        let is_open =
            !link.is_teredo() && self.proto41.as_ref().is_some_and(|proto41| proto41.recording() == Some(path));
        if is_open {
            return Ok(());
        }
        try_to_write(path).map_err(|error| {
            const DOING: &str = "record packets into";
            if error.kind() == io::ErrorKind::PermissionDenied && has_given_up() {
                let why = "this daemon has given up the right to open files that it did not begin with";
                return Error::usage(DOING, path.display(), why)
                    .with_advice("restart it, as by systemctl restart isatap");
            }
            Error::refused(DOING, path.display(), error)
                .with_advice("choose a file that can be written, in a folder of your own")
        })
    }
}

fn try_to_write(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => options.open(path).map(drop),
        // The reader of a FIFO would see an end. What else it is, is told when it is opened.
        Ok(_) => Ok(()),
        Err(_) => {
            options.create_new(true).open(path)?;
            fs::remove_file(path)
        }
    }
}

#[cfg(feature = "privileges")]
fn has_given_up() -> bool {
    crate::privileges::are_given_up()
}

#[cfg(not(feature = "privileges"))]
fn has_given_up() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_tried_and_left_as_it_is() {
        let folder = std::env::temp_dir().join(format!("isatap-recording-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (new, old) = (folder.join("new.pcap"), folder.join("old.pcap"));
        fs::write(&old, "packets").unwrap();
        assert!(try_to_write(&new).is_ok() && !new.exists());
        assert!(try_to_write(&old).is_ok() && fs::read_to_string(&old).unwrap() == "packets");
        assert!(try_to_write(&folder.join("none/new.pcap")).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
