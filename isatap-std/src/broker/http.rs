//! One GET over HTTP/1.1, encrypted or not. [RFC 9110, RFC 9112]
//!
//! The answer is short, and of it a word counts: no redirect is followed, nothing is kept open, and
//! what is longer than 16 KiB is cut.

use super::Credentials;
use crate::error::Error;
use crate::resolve::{Lookup, Settings, Step, remaining};
use crate::spec::UpdateUrl;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// More of an answer is not read.
const LONGEST: usize = 16 << 10;
const MOST_HEADERS: usize = 64;

/// What is asked for.
pub(super) struct Request<'a> {
    pub(super) url: &'a UpdateUrl,
    /// Path and query.
    pub(super) path: &'a str,
    /// The value of that header.
    pub(super) authorization: Option<&'a str>,
    /// Where the call comes from.
    pub(super) from: Ipv4Addr,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    pub(super) body: String,
}

/// Whom to believe: those that are given, or whom this system believes.
///
/// # Errors
///
/// A usage error: there is no certificate.
pub(super) fn trust(credentials: &Credentials) -> Result<Arc<ClientConfig>, Error> {
    let refused = |on: &str, why: String| Error::usage("use the certificates in", on, why);
    let mut roots = RootCertStore::empty();
    match &credentials.authorities {
        Some((name, text)) => {
            for certificate in CertificateDer::pem_slice_iter(text) {
                let certificate = certificate.map_err(|error| refused(name, error.to_string()))?;
                roots.add(certificate).map_err(|error| refused(name, error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(refused(name, "there is none".to_owned()).with_advice("give them as PEM"));
            }
        }
        None => {
            // Some that nobody can use do not matter.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                let error = refused("/etc/ssl/certs", "there is none".to_owned());
                return Err(error.with_advice("install the package ca-certificates, or give update-ca"));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.map_err(|error| Error::usage("use", "TLS", error.to_string()))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// Asks within a time; `tls` for `https`. An error is for people.
pub(super) fn get(request: &Request<'_>, tls: Option<&Arc<ClientConfig>>, until: Instant) -> Result<Response, String> {
    let url = request.url;
    let settings = Settings {
        routers: vec![url.host().clone()],
        steps: vec![Step::Hosts, Step::Dns],
        deadline: remaining(until).unwrap_or_default(),
        // A broker for this machine may run on it.
        own_addresses: true,
        ..Settings::default()
    };
    let found = Lookup::new(settings).resolve(&[]);
    let addresses = found.map_err(|failure| format!("no IPv4 address of {}: {failure}", url.host()))?.addresses;
    let mut outcome = Err("it has no IPv4 address".to_owned());
    for (address, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let to = SocketAddr::new((*address).into(), url.port());
        // Each of them gets its share of the time.
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        let asked = remaining(until)
            .and_then(|all| connect(request.from, to, all / left))
            .and_then(|stream| exchange(Timed { stream, until }, request, tls));
        match asked {
            Ok(response) => return Ok(response),
            Err(error) => outcome = Err(failure(to, &error)),
        }
    }
    outcome
}

fn failure(to: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => format!("{to} does not answer"),
        io::ErrorKind::AddrNotAvailable => format!("calling {to}: this machine does not have the tunnel's address"),
        _ => format!("calling {to}: {error}"),
    }
}

fn connect(from: Ipv4Addr, to: SocketAddr, within: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&to.into(), within.max(Duration::from_millis(1)))?;
    Ok(socket.into())
}

/// A connection that ends in time, however slowly the other end goes on.
struct Timed {
    stream: TcpStream,
    until: Instant,
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(remaining(self.until)?.max(Duration::from_millis(1))))?;
        self.stream.read(into)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(remaining(self.until)?.max(Duration::from_millis(1))))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn exchange(stream: Timed, request: &Request<'_>, tls: Option<&Arc<ClientConfig>>) -> io::Result<Response> {
    let Some(config) = tls else { return speak(stream, request) };
    let name = match request.url.host() {
        crate::resolve::Entry::Address(address) => ServerName::from(std::net::IpAddr::V4(*address)),
        name => ServerName::try_from(name.to_string().trim_end_matches('.').to_owned()).map_err(io::Error::other)?,
    };
    let connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    speak(StreamOwned::new(connection, stream), request)
}

fn speak(mut stream: impl Read + Write, request: &Request<'_>) -> io::Result<Response> {
    let authorization = request.authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    let text = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: isatap/{}\r\nAccept: */*\r\nConnection: close\r\n{authorization}\r\n",
        request.path,
        request.url.authority(),
        env!("CARGO_PKG_VERSION"),
    );
    stream.write_all(text.as_bytes())?;
    stream.flush()?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        let end = match stream.read(&mut buffer) {
            Ok(count) => {
                answer.extend_from_slice(buffer.get(..count).unwrap_or_default());
                count == 0 || answer.len() >= LONGEST
            }
            // TLS that was cut: what has come may be all.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => false,
            Err(error) => return Err(error),
        };
        if let Some(response) = parse(&answer, end)? {
            return Ok(response);
        }
        if end {
            return Err(io::Error::other("it hung up before it answered"));
        }
    }
}

/// `None`: there is more to come, unless it is the `end`.
fn parse(bytes: &[u8], end: bool) -> io::Result<Option<Response>> {
    let wrong = |error: httparse::Error| io::Error::other(format!("that is no HTTP: {error}"));
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes).map_err(wrong)? else { return Ok(None) };
    let status = response.code.unwrap_or_default();
    let rest = bytes.get(length..).unwrap_or_default();
    if status < 200 {
        // The answer itself comes behind.
        return parse(rest, end);
    }
    let header = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value).trim().to_owned())
    };
    let is_chunked = header("Transfer-Encoding").is_some_and(|value| value.to_ascii_lowercase().ends_with("chunked"));
    let (body, is_whole) = if is_chunked {
        chunks(rest).map_err(|_| io::Error::other("that is no HTTP: a chunk is broken"))?
    } else {
        let wanted = header("Content-Length").and_then(|value| value.parse().ok());
        let wanted = if matches!(status, 204 | 304) { Some(0) } else { wanted };
        let body = wanted.and_then(|wanted: usize| rest.get(..wanted)).unwrap_or(rest);
        (body.to_vec(), wanted.is_some_and(|wanted| rest.len() >= wanted))
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok((is_whole || end).then(|| Response { status, location: header("Location"), body }))
}

/// What the chunks hold that are there, and whether the last one is. [RFC 9112 §7.1]
fn chunks(mut rest: &[u8]) -> Result<(Vec<u8>, bool), httparse::InvalidChunkSize> {
    let mut body = Vec::new();
    while let httparse::Status::Complete((begin, size)) = httparse::parse_chunk_size(rest)? {
        if size == 0 {
            return Ok((body, true));
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let chunk = rest.get(begin..).unwrap_or_default();
        body.extend_from_slice(chunk.get(..size).unwrap_or(chunk));
        // Behind the chunk stands the end of a line.
        rest = chunk.get(size.saturating_add(2)..).unwrap_or_default();
    }
    Ok((body, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &str) -> Response {
        Response { status, location: None, body: body.to_owned() }
    }

    /// Each answer byte by byte: it is complete at its last byte and no sooner, whatever its form.
    #[test]
    fn an_answer_is_complete_at_its_last_byte() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood", response(200, "good")),
            ("HTTP/1.0 204 No\r\n\r\n", response(204, "")),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 No\r\ncontent-length: 7\r\n\r\nbadauth",
                response(401, "badauth"),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\ngo\r\n5;x\r\nod 19\r\n0\r\n",
                response(200, "good 19"),
            ),
            (
                "HTTP/1.1 301 Moved\r\nLocation: https://b.example/\r\nContent-Length: 0\r\n\r\n",
                Response { status: 301, location: Some("https://b.example/".to_owned()), body: String::new() },
            ),
        ] {
            for length in 0..text.len() {
                assert_eq!(parse(&text.as_bytes()[..length], false).unwrap(), None, "{length} of {text}");
            }
            assert_eq!(parse(text.as_bytes(), false).unwrap(), Some(expected), "{text}");
        }
    }

    #[test]
    fn the_end_of_the_connection_ends_an_answer_and_what_is_none_is_told() {
        let text = b"HTTP/1.1 200 OK\r\n\r\ngood";
        assert_eq!(parse(text, false).unwrap(), None);
        assert_eq!(parse(text, true).unwrap(), Some(response(200, "good")));
        assert_eq!(
            parse(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ngood", true).unwrap(),
            Some(response(200, "good"))
        );
        assert_eq!(parse(b"HTTP/1.1 200", true).unwrap(), None);
        assert!(parse(b"SSH-2.0-x\r\n", false).is_err());
        let endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\ngood";
        assert_eq!(parse(endless, true).unwrap(), Some(response(200, "good")));
        assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", false).is_err());
    }
}
