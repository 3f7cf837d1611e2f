//! Small files that somebody else writes, read in one go, whatever they are.

use crate::error::Error;
use crate::runtime_dir::{author, trusted};
use crate::text_file::{self, NotUtf8};
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

/// The same of a file that is believed: `what` is in it ("the certificates"). `owner`: a user, beside root and this
/// process' own, whose file it may be.
///
/// # Errors
///
/// It cannot be [read], or somebody else may have written it.
pub(crate) fn read_believed(what: &str, path: &Path, owner: Option<u32>) -> Result<(Vec<u8>, Metadata), Error> {
    let name = path.display();
    let (bytes, about) = read(path)
        .map_err(|error| Error::refused(format!("read {what} in"), &name, error).with_advice("give a readable file"))?;
    author(&about, &trusted(owner)).map_err(|(why, command)| {
        Error::usage(format!("use {what} in"), &name, why).with_advice(format!("{command} {name}"))
    })?;
    Ok((bytes, about))
}

/// The text of a file with a secret, which besides nobody but its owner and group may read.
///
/// # Errors
///
/// As [`read_believed`]; everybody may read it, or it is not UTF-8.
pub(crate) fn read_secret(what: &str, path: &Path, owner: Option<u32>) -> Result<String, Error> {
    let name = path.display();
    let (bytes, about) = read_believed(what, path, owner)?;
    if about.permissions().mode() & 0o007 != 0 {
        let error = Error::usage(format!("use {what} in"), &name, "everybody may read the file");
        return Err(error.with_advice(format!("chmod 640 {name}")));
    }
    let text = text_file::decode(&bytes).map_err(|wrong| match wrong {
        // The byte may be one of the secret.
        NotUtf8::Byte { line, .. } => {
            Error::usage(format!("read {what} in"), format!("{name}:{line}"), "it is not UTF-8: save the file as UTF-8")
        }
        wrong => wrong.error(format!("read {what} in"), path),
    })?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, remove_file, set_permissions, write};
    use std::os::unix::fs::chown;

    /// Each way in which a file is not to be believed, and what to do then.
    #[test]
    fn a_secret_is_refused_that_another_may_read_or_have_written() {
        let path = std::env::temp_dir().join(format!("isatap-secret-{}", std::process::id()));
        let name = path.display();
        let with = |mode, text: &[u8]| {
            write(&path, text).unwrap();
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            read_secret("the password", &path, None).map_err(|error| error.to_string())
        };
        assert_eq!(with(0o640, "ä".as_bytes()), Ok("ä".to_owned()));
        for (mode, text, told) in [
            (
                0o644,
                &b"x"[..],
                format!("cannot use the password in {name}: everybody may read the file; chmod 640 {name}"),
            ),
            (0o660, b"x", format!("others may write to it; chmod go-w {name}")),
            (0o602, b"x", format!("others may write to it; chmod go-w {name}")),
            (
                0o600,
                b"p\xe4ss",
                format!("cannot read the password in {name}:1: it is not UTF-8: save the file as UTF-8"),
            ),
        ] {
            let error = with(mode, text).unwrap_err();
            assert!(error.ends_with(&told), "{error}");
        }
        assert!(with(0o600, b"x").is_ok());
        // Only root gives a file away.
        if nix::unistd::Uid::effective().is_root() {
            chown(&path, Some(4711), None).unwrap();
            let error = read_secret("the password", &path, None).unwrap_err().to_string();
            assert!(error.ends_with(&format!("it belongs to another user; chown root {name}")), "{error}");
            assert!(read_believed("the certificates", &path, None).is_err());
            assert!(read_secret("the password", &path, Some(4711)).is_ok());
        }
        remove_file(&path).unwrap();
        assert!(read_secret("the password", &path, None).unwrap_err().to_string().ends_with("give a readable file"));
    }
}
