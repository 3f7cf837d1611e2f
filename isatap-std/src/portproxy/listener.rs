//! Where a rule listens. Opened by who has the privileges for it.

use super::here::socket_address;
use crate::error::{Error, LOW_PORTS};
use crate::spec::{Listen, PortProxy};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;

/// Connections that wait to be accepted, as far as net.core.somaxconn lets it.
const BACKLOG: i32 = 4096;

/// A listener, and whether its address is still to come to this machine.
pub(super) struct Opened {
    pub(super) listener: Arc<TcpListener>,
    pub(super) is_ahead: bool,
}

/// The device of the zone that a rule listens in, by name; its number changes when it is made again.
pub(super) fn device(rule: &PortProxy) -> Option<&str> {
    let zone = rule.listen.address.as_ref()?.zone.as_deref()?;
    zone.parse::<u32>().is_err().then_some(zone)
}

/// Its number, if it is there.
pub(super) fn device_index(rule: &PortProxy) -> Option<u32> {
    nix::net::if_::if_nametoindex(device(rule)?).ok()
}

/// The number of the device that a listener is bound to.
pub(super) fn bound_index(listener: &TcpListener) -> Option<u32> {
    match listener.local_addr().ok()? {
        SocketAddr::V6(address) => Some(address.scope_id()),
        SocketAddr::V4(_) => None,
    }
}

/// What this machine lacks of the place where a rule listens, for people.
pub(crate) fn missing(rule: &PortProxy) -> Option<String> {
    if let Some(device) = device(rule).filter(|_| device_index(rule).is_none()) {
        return Some(format!("the device {device}"));
    }
    let listen = &rule.resolved().listen;
    let zoned = listen.address.as_ref()?;
    let place = socket_address(zoned.address, zoned.zone.as_deref(), 0).ok()?;
    // Any port will do: the kernel refuses an address that is not this machine's, or not usable yet.
    let tried =
        Socket::new(Domain::for_address(place), Type::DGRAM, None).and_then(|socket| socket.bind(&place.into()));
    let is_missing = tried.is_err_and(|error| matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)));
    is_missing.then(|| format!("the address {zoned}"))
}

/// Opens the listener of a rule. `others`: those of this process, which may have the same port at
/// other addresses.
///
/// # Errors
///
/// The device of a zone that is not there; the kernel's refusal: mostly another program listens there.
pub(super) fn open(rule: &PortProxy, others: &[Arc<TcpListener>]) -> Result<Opened, Error> {
    let (listen, place) = place(rule)?;
    let mut attempt = listen_at(place, false, false);
    let is_in_use =
        |attempt: &io::Result<TcpListener>| attempt.as_ref().is_err_and(|error| error.kind() == ErrorKind::AddrInUse);
    if is_in_use(&attempt) {
        attempt = beside(others, place, attempt);
    }
    let is_ahead = attempt.as_ref().is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable);
    if is_ahead {
        // Addresses of tunnels come when a router has answered.
        attempt = listen_at(place, true, false);
    }
    Ok(Opened { listener: Arc::new(attempt.map_err(|error| refused(&listen, error))?), is_ahead })
}

/// Where a rule listens, in its words and as the kernel takes it.
fn place(rule: &PortProxy) -> Result<(Listen, SocketAddr), Error> {
    let listen = rule.resolved().listen;
    let place = match &listen.address {
        Some(zoned) => {
            socket_address(zoned.address, zoned.zone.as_deref(), listen.port).map_err(|_| no_device(&listen))?
        }
        None => return Err(Error::usage("listen at", listen, "its IP version is not known")),
    };
    Ok((listen, place))
}

/// Whether a rule could listen, beside programs that are none of ours. No client sees it tried.
///
/// # Errors
///
/// As [`open`].
#[cfg(feature = "file")]
pub(super) fn check_place(rule: &PortProxy) -> Result<(), Error> {
    let (listen, place) = place(rule)?;
    bind(place, true, false).map(drop).map_err(|error| refused(&listen, error))
}

/// Whether this process may have the port of a rule, whose device is not there to try it at.
///
/// # Errors
///
/// It lacks the privilege.
pub(super) fn check_port(rule: &PortProxy) -> Result<(), Error> {
    let place = SocketAddr::from((Ipv6Addr::LOCALHOST, rule.listen.port));
    let attempt = Socket::new(Domain::IPV6, Type::STREAM, None).and_then(|socket| socket.bind(&place.into()));
    match attempt {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(refused(&rule.listen, error)),
        _ => Ok(()),
    }
}

fn no_device(listen: &Listen) -> Error {
    Error::refused("listen at", listen, io::Error::from_raw_os_error(libc::ENODEV)).with_advice("see: ip link")
}

fn refused(listen: &Listen, error: io::Error) -> Error {
    let advice = match error.kind() {
        ErrorKind::AddrInUse => format!("another program listens there: see ss -ltnp 'sport = :{}'", listen.port),
        ErrorKind::PermissionDenied => format!("{LOW_PORTS}: choose another port, or start as root"),
        ErrorKind::AddrNotAvailable => "see: ip address".to_owned(),
        _ => String::new(),
    };
    Error::refused("listen at", listen, error).with_advice(advice)
}

/// `PPX-9`: beside a listener of ours with the same port, where one of the two has any address. The
/// kernel prefers the specific one, and lets in both only if both say that they share: so they say
/// it for this moment, and nobody else can join.
fn beside(others: &[Arc<TcpListener>], place: SocketAddr, refused: io::Result<TcpListener>) -> io::Result<TcpListener> {
    let is_rival = |other: &&Arc<TcpListener>| {
        other
            .local_addr()
            .is_ok_and(|own| own.port() == place.port() && own.is_ipv4() == place.is_ipv4() && own != place)
    };
    let rivals: Vec<_> = others.iter().filter(is_rival).collect();
    if rivals.is_empty() {
        return refused;
    }
    let share = |does: bool| rivals.iter().try_for_each(|rival| SockRef::from(&***rival).set_reuse_port(does));
    let bound = share(true).and_then(|()| listen_at(place, false, true));
    share(false)?;
    let bound = bound?;
    SockRef::from(&bound).set_reuse_port(false)?;
    Ok(bound)
}

fn bind(place: SocketAddr, ahead: bool, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(place), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if place.is_ipv6() {
        // PPX-9: IPv4 is another rule's.
        socket.set_only_v6(true)?;
    }
    if ahead {
        match place {
            SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
            SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
        }
    }
    // Accepted sockets have them from here.
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    socket.bind(&place.into())?;
    Ok(socket)
}

fn listen_at(place: SocketAddr, ahead: bool, shared: bool) -> io::Result<TcpListener> {
    let socket = bind(place, ahead, shared)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Lets this process have as many descriptors as the system allows: each connection has two. What
/// is missing for `wanted`, for people.
pub(super) fn raise_descriptors(wanted: u64) -> Option<String> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    if soft < hard {
        // Who has given up its privileges may not: then it has done this before.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    (soft < wanted).then(|| {
        format!(
            "{wanted} open files are needed for max-connections of all rules, and {soft} are allowed: raise the limit \
             (ulimit -n, LimitNOFILE=), or lower max-connections"
        )
    })
}

/// `TCP_NODELAY` and `SO_KEEPALIVE`, as accepted sockets have them.
pub(super) fn prepare(socket: &Socket) -> io::Result<()> {
    setsockopt(socket, sockopt::TcpNoDelay, &true)?;
    setsockopt(socket, sockopt::KeepAlive, &true)?;
    Ok(())
}
