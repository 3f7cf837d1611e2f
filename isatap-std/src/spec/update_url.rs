//! The URL by which a tunnel broker hears of this end's IPv4 address.

use crate::resolve::{Entry, EntryError};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::str::FromStr;

/// An `http` or `https` URL in which `{address}`, `{user}` and `{password}` stand for what they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateUrl {
    is_https: bool,
    host: Entry,
    /// With the port, where one is given.
    authority: String,
    port: u16,
    /// Path and query, from the slash on.
    path: String,
}

const ADDRESS: &str = "{address}";
const USER: &str = "{user}";
const PASSWORD: &str = "{password}";

impl UpdateUrl {
    /// Whether the call is encrypted.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// The broker's server.
    #[must_use]
    pub fn host(&self) -> &Entry {
        &self.host
    }

    /// Its TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as they are written.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether it names the address; otherwise the broker takes the one that the call comes from.
    #[must_use]
    pub fn has_address(&self) -> bool {
        self.path.contains(ADDRESS)
    }

    /// Whether it has a place for the user name or the password, which are no header then.
    #[must_use]
    pub fn has_login(&self) -> bool {
        self.path.contains(USER) || self.path.contains(PASSWORD)
    }

    /// Path and query with what they stand for.
    #[must_use]
    pub fn path_for(&self, address: Ipv4Addr, user: &str, password: &str) -> String {
        // The password comes last: it may look like another of them.
        let path = self.path.replace(ADDRESS, &address.to_string()).replace(USER, &escaped(user));
        path.replace(PASSWORD, &escaped(password))
    }
}

/// As one value of a query. [RFC 3986 §2.1]
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// Each byte that a text with `%XX` stands for, and where that is written.
pub(crate) fn unescaped(text: &str) -> impl Iterator<Item = (u8, Range<usize>)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.as_bytes().get(at..)?;
        let digit = |index: usize| rest.get(index).and_then(|byte| char::from(*byte).to_digit(16));
        let (byte, length) = match (*rest.first()?, digit(1), digit(2)) {
            (b'%', Some(high), Some(low)) => (u8::try_from(high * 16 + low).ok()?, 3),
            (byte, ..) => (byte, 1),
        };
        at += length;
        Some((byte, at - length..at))
    })
}

/// A URL without what may be secret: who is in front of the host, and all that comes behind the path.
pub(crate) fn without_secrets(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let scheme = if scheme.contains(|sign: char| !sign.is_ascii_alphanumeric()) { "" } else { scheme };
    let head = rest.split(['?', '#']).next().unwrap_or_default();
    let head = head.rsplit('@').next().unwrap_or_default();
    let authority = head.split('/').next().unwrap_or_default();
    // A user and the beginning of a password.
    let is_host = authority.starts_with('[')
        || authority.parse::<Ipv6Addr>().is_ok()
        || authority.split_once(':').is_none_or(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let slashes = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{slashes}{}", if is_host { head } else { "…" })
}

impl FromStr for UpdateUrl {
    type Err = String;

    /// An error shows neither passwords nor the query.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|why| format!("cannot call {}: {why}", without_secrets(text)))
    }
}

impl UpdateUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let advice = "write https://HOST/PATH?QUERY";
        let (scheme, rest) = text.split_once("://").ok_or(advice)?;
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(format!("it is neither https nor http: {advice}")),
        };
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let in_front = rest.split(['?', '#']).next().unwrap_or_default();
        if in_front.contains('@') {
            return Err("a password in a URL is seen by everybody: write USER:PASSWORD into the file of \
                        update-login, and leave it out here"
                .to_owned());
        }
        let (host, port) = match authority.rsplit_once(':') {
            _ if authority.starts_with('[') || authority.parse::<Ipv6Addr>().is_ok() => {
                return Err("the broker is called by IPv4, where it sees the address: name it by its name or an \
                            IPv4 address"
                    .to_owned());
            }
            Some((host, port)) => (host, port.parse().map_err(|_| "behind the colon stands no port: write HOST:443")?),
            None => (authority, if is_https { 443 } else { 80 }),
        };
        let host: Entry = host.parse().map_err(|error: EntryError| error.to_string())?;
        check_path(&path)?;
        Ok(Self { is_https, host, authority: authority.to_owned(), port, path })
    }
}

/// What a request has in its first line as it stands.
fn check_path(path: &str) -> Result<(), String> {
    if let Some(wrong) = path.chars().find(|sign| !sign.is_ascii_graphic() || matches!(sign, '"' | '<' | '>' | '#')) {
        return Err(format!("{wrong:?} cannot stand in it: write it as %XX, or leave it out"));
    }
    let rest = [ADDRESS, USER, PASSWORD].iter().fold(path.to_owned(), |rest, known| rest.replace(known, ""));
    if rest.contains(['{', '}']) {
        return Err(format!("braces stand for {ADDRESS}, {USER} and {PASSWORD} only"));
    }
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let is_shown = |pair: &(&str, &str)| names_secret(pair.0) && pair.1 != PASSWORD;
    match query.split(['&', ';']).filter_map(|pair| pair.split_once('=')).find(is_shown) {
        Some((key, _)) => Err(format!(
            "a password in a URL is seen by everybody: write {key}={PASSWORD}, and it into the file of update-login"
        )),
        None => Ok(()),
    }
}

/// Whether brokers have secrets under this name.
fn names_secret(key: &str) -> bool {
    let key: Vec<u8> = unescaped(key).map(|(byte, _)| byte.to_ascii_lowercase()).collect();
    let key: String = key.into_iter().map(char::from).filter(char::is_ascii_alphanumeric).collect();
    let parts = ["pass", "pwd", "secret", "token", "apikey", "authkey", "updatekey"];
    parts.iter().any(|part| key.contains(part)) || ["pw", "key", "auth"].contains(&key.as_str())
}

impl fmt::Display for UpdateUrl {
    /// With its braces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}{}", if self.is_https { "s" } else { "" }, self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn url(text: &str) -> Result<UpdateUrl, String> {
        text.parse()
    }

    #[test]
    fn a_url_is_taken_apart_and_its_braces_are_filled_in() {
        let broker = url("https://ipv4.tunnelbroker.net/nic/update?hostname=123").unwrap();
        assert!(broker.is_https() && !broker.has_address() && !broker.has_login());
        assert_eq!((broker.host().to_string().as_str(), broker.port()), ("ipv4.tunnelbroker.net", 443));
        assert_eq!(broker.path_for(ADDRESS, "u", "p"), "/nic/update?hostname=123");
        assert_eq!(broker.to_string(), "https://ipv4.tunnelbroker.net/nic/update?hostname=123");
        let all = url("HTTP://198.51.100.1:8080?u={user}&password={password}&ip={address}").unwrap();
        assert!(!all.is_https() && all.has_address() && all.has_login());
        assert_eq!((all.port(), all.authority()), (8080, "198.51.100.1:8080"));
        let path = all.path_for(ADDRESS, "me@x", "{user}&{address}=ä");
        assert_eq!(path, "/?u=me%40x&password=%7Buser%7D%26%7Baddress%7D%3D%C3%A4&ip=192.0.2.1");
        assert!(url("https://b.example/?keyword=1&spw=2&hostname=key&token={password}&mail=me@x.example").is_ok());
        assert_eq!(url("http://b.example").unwrap().path_for(ADDRESS, "", ""), "/");
    }

    #[test]
    fn what_is_no_url_says_what_to_write_and_never_the_password() {
        for (text, why) in [
            ("b.example/update", "write https://HOST/PATH"),
            ("ftp://b.example/", "ftp://b.example/: it is neither https nor http"),
            ("me:secret@https://b.example/", "cannot call b.example/: it is neither"),
            ("https://me:secret@b.example/", "cannot call https://b.example/: a password"),
            ("https://me:secret@b.example/", "into the file of update-login"),
            ("https://me:secret/x@b.example/?secret", "cannot call https://b.example/: a password"),
            ("https://me:secret?x@b.example/", "cannot call https://…: behind the colon stands no port"),
            ("https://me:secret/", "behind the colon stands no port"),
            ("me:secret", "cannot call …: write https"),
            ("https://b.example/a b?mail=me@x.example&x=secret", "cannot call https://b.example/a b: ' '"),
            ("https://b.example/{x}?secret#secret", "cannot call https://b.example/{x}: '#'"),
            ("https://b.example/?hostname=1&password=secret", "write password={password}"),
            ("https://b.example/?Passwd=secret", "write Passwd={password}"),
            ("https://b.example/?a=1&key=secret", "write key={password}"),
            ("https://b.example/?TOKEN=secret", "write TOKEN={password}"),
            ("https://b.example/?auth-token=secret", "write auth-token={password}"),
            ("https://b.example/?pw=secret", "write pw={password}"),
            ("https://b.example/?client_secret=secret", "={password}"),
            ("https://b.example/?a=1;api_key=secret", "write api_key={password}"),
            ("https://b.example/?%61pikey=secret", "write %61pikey={password}"),
            ("https://b.example:x/", "stands no port"),
            ("https://[2001:db8::1]/", "by IPv4"),
            ("https://2001:db8::1/", "by IPv4"),
            ("https:///x", ""),
            ("https://b..example/", ""),
            ("https://b.example/a b", "' ' cannot stand"),
            ("https://b.example/\r\nX: y", "'\\r' cannot stand"),
            ("https://b.example/#x", "'#' cannot stand"),
            ("https://b.example/{adress}", "braces stand for {address}"),
        ] {
            let told = url(text).unwrap_err();
            let told_of_key = told.replace("client_secret=", "");
            assert!(told.contains(why) && !told_of_key.contains("secret"), "{text}: {told}");
            assert!(told.starts_with("cannot call "), "{told}");
        }
    }
}
