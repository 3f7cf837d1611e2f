//! The files that a call needs: who we are for the broker, and by whom its certificate is signed.

use crate::error::Error;
use crate::small_file;
use crate::spec::LinkSpec;
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
    /// Those of a link; none of one that calls nobody.
    ///
    /// # Errors
    ///
    /// A file cannot be read, everybody may read the password, or it is none.
    pub(crate) fn load(link: &LinkSpec) -> Result<Self, Error> {
        let LinkSpec::Tunnel(tunnel) = link else { return Ok(Self::default()) };
        let login = tunnel.update_login.as_deref().map(Login::load).transpose()?;
        let read = |path: &Path| {
            let name = path.display().to_string();
            let refused = |error| {
                Error::refused("read the certificates in", &name, error).with_advice("give a readable file (PEM)")
            };
            let (text, _) = small_file::read(path).map_err(refused)?;
            Ok::<_, Error>(Authorities { file: name, text })
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
    fn load(path: &Path) -> Result<Self, Error> {
        let text = small_file::read_secret("the password", path)?;
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
    fn a_file_with_a_password_that_everybody_may_read_is_refused() {
        let path = std::env::temp_dir().join(format!("isatap-login-{}", std::process::id()));
        fs::write(&path, "me:secret\n").unwrap();
        let mut tunnel = Tunnel::new(Ipv4Addr::new(192, 0, 2, 2).into());
        tunnel.update_login = Some(path.clone());
        let link = LinkSpec::from(tunnel);
        let with_mode = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Credentials::load(&link)
        };
        let told = with_mode(0o644).unwrap_err().to_string();
        assert!(told.ends_with(&format!("chmod 640 {}", path.display())), "{told}");
        assert_eq!(with_mode(0o600).unwrap().login.unwrap().user, "me");
        fs::write(&path, b"me:\n# f\xfcr\n").unwrap();
        let told = Credentials::load(&link).unwrap_err().to_string();
        assert!(
            told.starts_with(&format!("cannot read the password in {}:2: the byte 0xfc is ü", path.display())),
            "{told}"
        );
        fs::write(&path, "\u{feff}me:secret\n").unwrap();
        assert_eq!(Credentials::load(&link).unwrap().login.unwrap().user, "me");
        fs::write(&path, "secret\n").unwrap();
        let told = Credentials::load(&link).unwrap_err().to_string();
        assert!(told.contains("USER:PASSWORD") && !told.contains("secret"), "{told}");
        fs::remove_file(&path).unwrap();
        assert!(Credentials::load(&link).is_err());
    }
}
