//! The secrets of secure qualification. [RFC 4380 §5.2.2]
//!
//! A file has one client on a line: its identifier, white space, its secret. The secret is
//! the rest of the line as it stands, or `0x` and hexadecimal digits:
//!
//! ```text
//! # teredo clients of example.net
//! laptop-7    0x8f3c62aa10b94d27ce5517e06b8bd041
//! gateway     correct horse battery staple
//! ```
//!
//! A client's file has one such line, a server's as many as it has clients.
//!
//! # Security limits
//!
//! The value in the header is HMAC-SHA1. Who sees one solicitation can try secrets off-line,
//! so a short one is refused; sixteen random bytes are a good one
//! (`echo "laptop-7 0x$(openssl rand -hex 16)"`). It proves who asked and that the answer is
//! the server's; it does not hide or protect anything else, and whoever may read the file can
//! speak as its clients.

use crate::error::Error;
use crate::small_file;
use isatap_core::teredo::authentication::{Authenticator, LONGEST_CLIENT_ID, VALUE_LEN};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Fewer bytes can be guessed.
const SHORTEST: usize = 16;

/// Who qualifies with which secret; empty: there is no secure qualification.
///
/// Without the feature `secure-qualification` any secret is an error.
///
/// ```
/// # #[cfg(feature = "secure-qualification")] {
/// use isatap_std::teredo::secrets::Secrets;
///
/// let secrets = Secrets::parse("clients", "laptop-7 0x8f3c62aa10b94d27ce5517e06b8bd041\n")?;
/// let client = secrets.clone().of_client()?;
/// let server = secrets.of_server()?;
/// # }
/// # Ok::<(), isatap_std::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    clients: BTreeMap<Vec<u8>, Vec<u8>>,
    own: Option<Vec<u8>>,
    file: String,
}

impl Secrets {
    /// Reads a file, which nobody but its owner and group may read and nobody but its owner write: root, or the user
    /// of this process.
    ///
    /// # Errors
    ///
    /// It cannot be read, others may read it or have written it, or what [`parse`](Self::parse) says.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::load_of(path, None)
    }

    /// The same of a file that may be another user's, too.
    pub(crate) fn load_of(path: &Path, owner: Option<u32>) -> Result<Self, Error> {
        let text = small_file::read_secret("the secrets", path, owner)?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads the text of a file; `file` is its name, for errors.
    ///
    /// # Errors
    ///
    /// The first line that is not understood, or a program without the feature
    /// `secure-qualification`.
    pub fn parse(file: &str, text: &str) -> Result<Self, Error> {
        if cfg!(not(feature = "secure-qualification")) {
            let error = Error::usage("use the secrets in", file, "this program was built without secure qualification");
            return Err(error.with_advice("build it with the feature secure-qualification"));
        }
        let mut secrets = Self { file: file.to_owned(), ..Self::default() };
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: String| Error::usage("use the secrets in", format!("{file}:{number}"), why);
            let (id, secret) = line
                .split_once(char::is_whitespace)
                .ok_or_else(|| wrong("expected a client's identifier, white space, its secret".to_owned()))?;
            if id.len() > LONGEST_CLIENT_ID {
                return Err(wrong(format!("an identifier has {LONGEST_CLIENT_ID} bytes at most")));
            }
            let secret = secret.trim();
            let secret = match secret.strip_prefix("0x") {
                Some(digits) => hex(digits).ok_or_else(|| wrong("an even number of hexadecimal digits".to_owned()))?,
                None => secret.as_bytes().to_vec(),
            };
            if secret.len() < SHORTEST {
                let why = format!("a secret of less than {SHORTEST} bytes can be guessed by who sees one packet");
                return Err(wrong(why).with_advice("openssl rand -hex 16, with 0x in front"));
            }
            if secrets.clients.insert(id.as_bytes().to_vec(), secret).is_some() {
                return Err(wrong(format!("{id} has a secret already")));
            }
        }
        Ok(secrets)
    }

    /// As the secret of a client, which qualifies with no server that does not know it.
    ///
    /// # Errors
    ///
    /// There is not exactly one.
    pub fn of_client(mut self) -> Result<Self, Error> {
        let count = self.clients.len();
        match self.clients.first_key_value() {
            Some((id, _)) if count == 1 => {
                self.own = Some(id.clone());
                Ok(self)
            }
            _ => {
                let why = format!("a client has one identifier and secret, and here are {count}");
                Err(Error::usage("use the secrets in", self.file, why))
            }
        }
    }

    /// As the secrets of a server's clients, which answers nobody else.
    ///
    /// # Errors
    ///
    /// There is none: that is a file that was emptied by mistake.
    pub fn of_server(self) -> Result<Self, Error> {
        if self.clients.is_empty() {
            let error = Error::usage("use the secrets in", &self.file, "there is none");
            return Err(error.with_advice("a server for everybody is one without a file of secrets"));
        }
        Ok(self)
    }

    /// Identifiers of the clients; what is no text as `?`.
    pub fn ids(&self) -> impl Iterator<Item = String> + '_ {
        self.clients.keys().map(|id| String::from_utf8_lossy(id).into_owned())
    }
}

/// Without the secrets: logs are read by others.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("ids", &self.ids().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

/// `TER-34 [RFC 4380 §5.2.2]`
impl Authenticator for Secrets {
    fn client_id(&self) -> Option<&[u8]> {
        self.own.as_deref()
    }

    fn hmac_sha1(&self, client_id: &[u8], parts: &[&[u8]]) -> Option<[u8; VALUE_LEN]> {
        hmac_sha1(self.clients.get(client_id)?, parts)
    }

    fn is_required(&self) -> bool {
        !self.clients.is_empty()
    }
}

/// `TER-35`: the whole secret is the key, whatever its length.
#[cfg(feature = "secure-qualification")]
fn hmac_sha1(secret: &[u8], parts: &[&[u8]]) -> Option<[u8; VALUE_LEN]> {
    use hmac::{Hmac, Mac};
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(secret).ok()?;
    parts.iter().for_each(|part| mac.update(part));
    Some(mac.finalize().into_bytes().into())
}

/// [`Secrets::parse`] gives no secrets then.
#[cfg(not(feature = "secure-qualification"))]
fn hmac_sha1(_: &[u8], _: &[&[u8]]) -> Option<[u8; VALUE_LEN]> {
    None
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?));
    bytes.collect::<Option<Vec<u8>>>().filter(|_| rest.is_empty())
}

#[cfg(all(test, feature = "secure-qualification"))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const FILE: &str =
        "# who\n\nlaptop-7\t0x0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b\n  gateway  correct horse battery staple  \n";

    #[test]
    fn ter_34_rfc_2202_test_case_one() {
        let secrets = Secrets::parse("clients", FILE).unwrap();
        let value = secrets.hmac_sha1(b"laptop-7", &[b"Hi ", b"There"]).unwrap();
        assert_eq!(value[..], hex("b617318655057264e28bc0b6fb378c8ef146be00").unwrap());
        assert_eq!(secrets.hmac_sha1(b"nobody", &[b"Hi There"]), None);
    }

    /// RFC 2202 test case 6: a key longer than a block, which must count whole.
    #[test]
    fn ter_35_a_long_secret_counts_to_its_end() {
        let long = format!("a 0x{}", "aa".repeat(80));
        let secrets = Secrets::parse("clients", &long).unwrap();
        let value = secrets.hmac_sha1(b"a", &[b"Test Using Larger Than Block-Size Key - Hash Key First"]).unwrap();
        assert_eq!(value[..], hex("aa4ae5e15272d00e95705637ce8a3b55ed402112").unwrap());
    }

    #[test]
    fn a_file_is_a_servers_or_one_clients() {
        let secrets = Secrets::parse("clients", FILE).unwrap();
        assert_eq!(secrets.ids().collect::<Vec<_>>(), ["gateway", "laptop-7"]);
        assert!(secrets.clone().of_server().unwrap().is_required());
        assert!(secrets.of_client().unwrap_err().to_string().contains("here are 2"));
        let one = Secrets::parse("mine", "gateway correct horse battery staple").unwrap().of_client().unwrap();
        assert_eq!(one.client_id(), Some(&b"gateway"[..]));
        assert!(!format!("{one:?}").contains("horse"));
        assert!(Secrets::parse("none", "# nobody\n").unwrap().of_server().is_err());
        assert!(!Secrets::default().is_required());
    }

    #[test]
    fn mistakes_are_told_by_their_lines_and_without_the_secret() {
        for (text, expected) in [
            ("a\n", "clients:1: expected a client's identifier"),
            ("\na short\n", "clients:2: a secret of less than 16 bytes"),
            ("a 0x0g0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b\n", "clients:1: an even number of hexadecimal"),
            ("a 0x123\n", "clients:1: an even number of hexadecimal"),
            ("a 0123456789abcdef\na 0123456789abcdef\n", "clients:2: a has a secret already"),
        ] {
            let told = Secrets::parse("clients", text).unwrap_err().to_string();
            assert!(told.contains(expected), "{told}");
            assert!(!told.contains("0b0b") && !told.contains("short\n"), "{told}");
        }
        let long = format!("{} 0123456789abcdef", "i".repeat(65));
        assert!(Secrets::parse("clients", &long).is_err());
    }

    #[test]
    fn a_file_that_everybody_may_read_is_refused() {
        let path = std::env::temp_dir().join(format!("isatap-secrets-{}", std::process::id()));
        std::fs::write(&path, FILE).unwrap();
        let with_mode = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Secrets::load(&path)
        };
        let told = with_mode(0o644).unwrap_err().to_string();
        assert!(told.ends_with(&format!("chmod 640 {}", path.display())), "{told}");
        assert_eq!(with_mode(0o640).unwrap().ids().count(), 2);
        std::fs::remove_file(&path).unwrap();
        assert!(Secrets::load(&path).is_err());
    }
}
