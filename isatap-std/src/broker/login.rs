//! The files that a call needs: who we are for the broker, and by whom its certificate is signed.

use crate::error::Error;
use crate::small_file;
use crate::spec::LinkSpec;
use crate::text_file::{self, NotUtf8};
use std::fmt;
use std::path::Path;

/// Read when the link begins. With other ones the link is another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(super) login: Option<Login>,
    pub(super) authorities: Option<Authorities>,
}

/// Certificates of CAs (PEM), and where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authorities {
    pub(super) file: String,
    pub(super) text: Vec<u8>,
}

impl Credentials {
    /// Those of a link; none of one that calls nobody. `owner`: another user whose files they may be.
    ///
    /// # Errors
    ///
    /// A file cannot be read, others may have written it, everybody may read the password, or it is none.
    pub(crate) fn load(link: &LinkSpec, owner: Option<u32>) -> Result<Self, Error> {
        let LinkSpec::Tunnel(tunnel) = link else { return Ok(Self::default()) };
        let login = tunnel.update_login.as_deref().map(|path| Login::load(path, owner)).transpose()?;
        let read = |path: &Path| {
            let (bytes, _) = small_file::read_believed("the certificates", path, owner)?;
            // PEM has room for comments in any encoding, which nobody reads; zeros are of DER.
            if let Err(wrong @ (NotUtf8::Wide(_) | NotUtf8::Binary { .. })) = text_file::decode(&bytes) {
                let error = wrong.error("read the certificates in".to_owned(), path);
                return Err(error.with_advice("give a PEM file"));
            }
            let text = bytes.strip_prefix(text_file::MARK.as_bytes()).unwrap_or(&bytes).to_vec();
            Ok(Authorities { file: path.display().to_string(), text })
        };
        let authorities = tunnel.update_ca.as_deref().map(read).transpose()?;
        Ok(Self { login, authorities })
    }
}

/// A user name and a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

impl Login {
    fn load(path: &Path, owner: Option<u32>) -> Result<Self, Error> {
        let text = small_file::read_secret("the password", path, owner)?;
        Self::parse(&text).ok_or_else(|| {
            let error = Error::usage("use the password in", path.display(), "it is not one line USER:PASSWORD");
            error.with_advice("write the user name, a colon and the password")
        })
    }

    /// A colon may stand in the password, not in the user name. [RFC 7617 §2]
    fn parse(text: &str) -> Option<Self> {
        let (user, password) = text.trim_end_matches(['\r', '\n']).split_once(':')?;
        let is_line = !text.trim_end_matches(['\r', '\n']).contains(char::is_control);
        let login = Self { user: user.to_owned(), password: password.to_owned() };
        (is_line && !user.is_empty() && !password.is_empty()).then_some(login)
    }
}

/// Without the password: logs are read by others.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Tunnel;
    use std::fs;
    use std::net::Ipv4Addr;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_login_is_one_line_and_its_password_is_not_shown() {
        let login = Login::parse("me:pass:word é\r\n").unwrap();
        assert_eq!((login.user.as_str(), login.password.as_str()), ("me", "pass:word é"));
        assert!(!format!("{login:?}").contains("word"));
        for wrong in ["", "me", "me:", ":secret", "me:secret\nother:secret\n", "me:sec\tret"] {
            assert_eq!(Login::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn certificates_in_another_encoding_or_in_der_are_told_at_the_start() {
        const PEM: &str = "-----BEGIN CERTIFICATE-----\n";
        let path = std::env::temp_dir().join(format!("isatap-authorities-{}", std::process::id()));
        let mut tunnel = Tunnel::new(Ipv4Addr::new(192, 0, 2, 2).into());
        tunnel.update_ca = Some(path.clone());
        let link = LinkSpec::from(tunnel);
        let load = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            Credentials::load(&link, None).map(|read| read.authorities.unwrap().text).map_err(|error| error.to_string())
        };
        assert_eq!(load(format!("\u{feff}{PEM}").as_bytes()), Ok(PEM.into()));
        let utf16: Vec<u8> = format!("\u{feff}{PEM}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        let place = format!("cannot read the certificates in {}:1: ", path.display());
        let told = load(&utf16).unwrap_err();
        assert_eq!(told, format!("{place}the file is UTF-16: save it as UTF-8; give a PEM file"));
        let told = load(b"\x30\x82\x03\x00\x02").unwrap_err();
        assert!(told.starts_with(&place) && told.ends_with("; give a PEM file"), "{told}");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_of_another_form_is_refused_and_its_text_is_not_shown() {
        let path = std::env::temp_dir().join(format!("isatap-login-{}", std::process::id()));
        let mut tunnel = Tunnel::new(Ipv4Addr::new(192, 0, 2, 2).into());
        tunnel.update_login = Some(path.clone());
        let link = LinkSpec::from(tunnel);
        let load = |text: &str| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            Credentials::load(&link, None)
        };
        for text in ["me:secret\n", "\u{feff}me:secret\n"] {
            assert_eq!(load(text).unwrap().login.unwrap().user, "me");
        }
        let told = load("secret\n").unwrap_err().to_string();
        assert!(told.contains("USER:PASSWORD") && !told.contains("secret"), "{told}");
        fs::remove_file(&path).unwrap();
    }
}
