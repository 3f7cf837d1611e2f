//! One GET over HTTP/1.1, encrypted or not. [RFC 9110, RFC 9112]
//!
//! The answer is short, and of it a word counts: no redirect is followed, nothing is kept open, and
//! what is longer than 16 KiB is cut.

use super::calls::Call;
use super::login::Authorities;
use crate::device::route_options;
use crate::error::Error;
use crate::resolve::{self, Entry, Lookup, Settings, Step, remaining};
use crate::spec::UpdateUrl;
use crate::told::Failure;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// More of an answer is not read.
const LONGEST: usize = 16 << 10;
const MOST_HEADERS: usize = 64;
/// Answers in front of the answer.
const MOST_INTERIM: usize = 8;
/// Of a name: each more would leave less time for the others.
const MOST_ADDRESSES: usize = 4;

/// What is asked for.
pub(super) struct Request<'a> {
    pub(super) url: &'a UpdateUrl,
    /// Path and query.
    pub(super) path: &'a str,
    /// The value of that header.
    pub(super) authorization: Option<&'a str>,
    /// Where the call comes from.
    pub(super) from: Ipv4Addr,
    /// The device that it leaves by; `None`: the one that the routes say.
    pub(super) device: Option<&'a str>,
    /// By what others can end it.
    pub(super) call: &'a Call<'a>,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    pub(super) body: String,
}

/// Why nothing came back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unanswered {
    pub(super) failure: Failure,
    /// Whether we believe nobody who has signed the certificate.
    pub(super) is_unknown_issuer: bool,
}

/// Whom to believe: those that are given, or whom this system believes now.
///
/// # Errors
///
/// A usage error: there is no certificate.
pub(super) fn trust(authorities: Option<&Authorities>) -> Result<Arc<ClientConfig>, Error> {
    let refused = |on: &str, why: String| Error::usage("use the certificates in", on, why);
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(Authorities { file: name, text }) => {
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

/// Asks within a time; `tls` for `https`. Of several addresses the one at `turn` is asked first, and each gets
/// its share of the time.
pub(super) fn get(
    request: &Request<'_>,
    tls: Option<&Arc<ClientConfig>>,
    until: Instant,
    turn: usize,
) -> Result<Response, Unanswered> {
    let addresses = match request.url.host() {
        Entry::Address(address) => vec![*address],
        name => look_up(name, until)?,
    };
    ask_each(&addresses, turn, until, |address, until| {
        let to = SocketAddr::new(address.into(), request.url.port());
        let asked = connect(request, to, until).and_then(|stream| exchange(Timed { stream, until }, request, tls));
        asked.map_err(|error| unanswered(to, request.device, &error))
    })
}

/// The addresses of the broker's server.
fn look_up(name: &Entry, until: Instant) -> Result<Vec<Ipv4Addr>, Unanswered> {
    let settings = Settings {
        routers: vec![name.clone()],
        steps: vec![Step::Hosts, Step::Dns],
        deadline: remaining(until).unwrap_or_default(),
        // A broker for this machine may run on it.
        own_addresses: true,
        ..Settings::default()
    };
    let found = Lookup::new(settings).resolve(&[]);
    found.map(|answer| answer.addresses).map_err(|failure| {
        let fix = match failure {
            resolve::Failure::NoSuchName | resolve::Failure::NoUsableAddress => {
                "correct the name in update-url, and reload"
            }
            resolve::Failure::File(..) => "make /etc/hosts and /etc/resolv.conf readable for the daemon",
            _ => "name a DNS server that answers in /etc/resolv.conf: nameserver V4",
        };
        let failure = Failure::new(format!("no IPv4 address of {name}: {failure}"), fix);
        Unanswered { failure, is_unknown_issuer: false }
    })
}

/// The first answer; what each of them said instead, in an order that is the same at each turn.
fn ask_each(
    addresses: &[Ipv4Addr],
    turn: usize,
    until: Instant,
    mut ask: impl FnMut(Ipv4Addr, Instant) -> Result<Response, Unanswered>,
) -> Result<Response, Unanswered> {
    let first = turn.checked_rem(addresses.len()).unwrap_or_default();
    let in_turn = addresses.iter().cycle().skip(first).take(addresses.len().min(MOST_ADDRESSES));
    let mut all = Vec::new();
    for (address, left) in in_turn.zip((1..=MOST_ADDRESSES.min(addresses.len())).rev()) {
        let share = until.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(u32::MAX);
        match ask(*address, Instant::now() + share) {
            Ok(response) => return Ok(response),
            Err(why) => all.push(why),
        }
    }
    all.sort_unstable_by(|one, other| one.failure.cause.cmp(&other.failure.cause));
    let causes: Vec<&str> = all.iter().map(|one| one.failure.cause.as_str()).collect();
    let mut fixes: Vec<&str> = all.iter().map(|one| one.failure.fix.as_str()).collect();
    fixes.dedup();
    let is_unknown_issuer = all.iter().any(|one| one.is_unknown_issuer);
    Err(Unanswered { failure: Failure::new(causes.join("; "), fixes.join("; ")), is_unknown_issuer })
}

fn unanswered(to: SocketAddr, device: Option<&str>, error: &io::Error) -> Unanswered {
    let port = to.port();
    let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let is_unknown_issuer = matches!(of_tls, Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)));
    let fix = match (of_tls, error.kind()) {
        _ if is_unknown_issuer => {
            "name the file with its CA's certificate in update-ca; without one, install ca-certificates".to_owned()
        }
        (Some(rustls::Error::InvalidCertificate(_)), _) => format!(
            "see for whom and how long it is, and this machine's clock: openssl s_client -connect {to} </dev/null"
        ),
        (Some(_), _) => format!("see whether it speaks TLS: openssl s_client -connect {to} </dev/null"),
        (None, io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
            format!("let TCP to its port {port} through on the way")
        }
        (None, io::ErrorKind::AddrNotAvailable) => "see: ip -4 address".to_owned(),
        (None, io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            format!("see: ip -4 route get {}{}", to.ip(), route_options(device, None))
        }
        (None, io::ErrorKind::PermissionDenied) => "let it through this machine's firewall".to_owned(),
        (None, io::ErrorKind::Unsupported) => "use Linux 5.7 or later, or leave bind-device out".to_owned(),
        (None, _) => format!("see whether the broker listens at TCP port {port}"),
    };
    let cause = match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => format!("{to} does not answer"),
        io::ErrorKind::AddrNotAvailable => format!("calling {to}: this machine does not have the tunnel's address"),
        _ => format!("calling {to}: {error}"),
    };
    Unanswered { failure: Failure::new(cause, fix), is_unknown_issuer }
}

fn connect(request: &Request<'_>, to: SocketAddr, until: Instant) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    request.call.hold(&socket)?;
    if let Some(device) = request.device {
        socket.bind_device(Some(device.as_bytes())).map_err(|error| {
            // Before Linux 5.7 that needs a capability, which this thread has not.
            let kind = match error.kind() {
                io::ErrorKind::PermissionDenied => io::ErrorKind::Unsupported,
                _ => io::ErrorKind::NetworkUnreachable,
            };
            io::Error::new(kind, format!("leaving by {device}: {error}"))
        })?;
    }
    socket.bind(&SocketAddr::from((request.from, 0)).into())?;
    socket.connect_timeout(&to.into(), remaining(until)?.max(Duration::from_millis(1)))?;
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

fn exchange(mut stream: Timed, request: &Request<'_>, tls: Option<&Arc<ClientConfig>>) -> io::Result<Response> {
    let Some(config) = tls else { return speak(stream, request) };
    let name = match request.url.host() {
        Entry::Address(address) => ServerName::from(IpAddr::V4(*address)),
        name => ServerName::try_from(name.to_string().trim_end_matches('.').to_owned()).map_err(io::Error::other)?,
    };
    let mut connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    // Until it is done the broker has heard nothing of the tunnel.
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => hung_up(&[]),
            _ => error,
        })?;
    }
    speak(StreamOwned::new(connection, stream), request)
}

fn speak(mut stream: impl Read + Write, request: &Request<'_>) -> io::Result<Response> {
    request.call.tell()?;
    let authorization = request.authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    let text = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: isatap/{}\r\nAccept: */*\r\nConnection: close\r\n{authorization}\r\n",
        request.path,
        request.url.authority(),
        env!("CARGO_PKG_VERSION"),
    );
    stream.write_all(text.as_bytes())?;
    stream.flush()?;
    read_answer(stream)
}

fn read_answer(mut stream: impl Read) -> io::Result<Response> {
    let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        let end = match stream.read(&mut buffer) {
            Ok(0) => End::Closed,
            Ok(count) => {
                answer.extend_from_slice(buffer.get(..count).unwrap_or_default());
                if answer.len() >= LONGEST { End::Full } else { End::Open }
            }
            // TLS without its farewell: anybody on the way can do that. What was whole without it has been taken.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(hung_up(&answer)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => End::Open,
            Err(error) => return Err(error),
        };
        match (parse(&answer, end)?, end) {
            (Some(response), _) => return Ok(response),
            (None, End::Open) => {}
            (None, End::Closed) => return Err(hung_up(&answer)),
            (None, End::Full) => return Err(not_http("its headers are too long")),
        }
    }
}

fn hung_up(answer: &[u8]) -> io::Error {
    let when = if answer.is_empty() { "before it answered" } else { "in the middle of its answer" };
    io::Error::other(format!("it hung up {when}"))
}

fn not_http(why: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("that is no HTTP: {why}"))
}

/// Whether there is more to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    /// The other end has said that this is all.
    Closed,
    /// No more is wanted.
    Full,
}

/// `None`: it is not whole, by what it says of its length. [RFC 9112 §6.3]
fn parse(bytes: &[u8], end: End) -> io::Result<Option<Response>> {
    let mut rest = bytes;
    for _ in 0..=MOST_INTERIM {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = response.parse(rest).map_err(not_http)? else { return Ok(None) };
        rest = rest.get(length..).unwrap_or_default();
        match response.code.unwrap_or_default() {
            // The answer itself comes behind.
            100 | 102..=199 => {}
            status @ (..100 | 101) => return Err(not_http(format!("nobody asked for status {status}"))),
            status => return answer(status, response.headers, rest, end),
        }
    }
    Err(not_http("it goes on and on before it answers"))
}

fn answer(status: u16, headers: &[httparse::Header<'_>], rest: &[u8], end: End) -> io::Result<Option<Response>> {
    let values = |name: &'static str| {
        let of_name = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        of_name.map(|header| String::from_utf8_lossy(header.value).trim().to_owned())
    };
    let (body, is_whole) = if matches!(status, 204 | 304) {
        (Vec::new(), true)
    } else if let Some(coding) = values("Transfer-Encoding").next_back() {
        match coding.to_ascii_lowercase().ends_with("chunked") {
            true => chunks(rest).map_err(|_| not_http("a chunk is broken"))?,
            false => (rest.to_vec(), end == End::Closed),
        }
    } else if let Some(first) = values("Content-Length").next() {
        let is_one =
            first.bytes().all(|byte| byte.is_ascii_digit()) && values("Content-Length").all(|next| next == first);
        let wanted = first.parse().ok().filter(|_| is_one);
        let wanted: usize = wanted.ok_or_else(|| not_http(format_args!("Content-Length is {first:?}")))?;
        (rest.get(..wanted).unwrap_or(rest).to_vec(), rest.len() >= wanted)
    } else {
        (rest.to_vec(), end == End::Closed)
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    let response = Response { status, location: values("Location").next(), body };
    Ok((is_whole || end == End::Full).then_some(response))
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
mod tests;
