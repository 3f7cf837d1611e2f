//! A rule of the port proxy: TCP between IPv4 and IPv6, as `netsh interface portproxy` has it.

mod beside;

pub(crate) use beside::rule_loops;
pub use beside::{rule_conflicts, rules_at_answerers};

use super::field::spec;
use super::{Direction, Family, Listen, Refusal, Refusals, Target, TargetHost, ZonedAddress};
use crate::error::Error;
use std::fmt;
use std::str::FromStr;

/// Seconds that a target may be waited for.
pub(super) const CONNECT_TIMEOUTS: (u16, u16) = (1, 600);

spec! {
    /// Carry TCP connections on to another address: from IPv4 to IPv6, from IPv6 to IPv4, or within one.
    ///
    /// Each accepted connection opens one to the target. A target that cannot be reached is told to the
    /// client by a reset. What is carried is not changed, so a protocol that writes addresses into its
    /// data (FTP, SIP) does not work across IP versions. The target sees this machine's address unless
    /// proxy-protocol tells it the client's. Needs no privilege but for ports below 1024.
    PortProxy {
        /// Where it listens: PORT or *:PORT for all addresses of an IP version, or ADDR:PORT. An IPv6
        /// address stands in brackets, a link-local one with its device: fe80::1%eth1.
        listen: Listen ["[ADDR:]PORT"], new(listen);
        /// The target: ADDR:PORT or NAME:PORT. Without a port the one that it listens on; a port alone, or
        /// nothing, is this machine. A name is looked up again after a minute at most.
        connect: Option<Target> ["HOST[:PORT]"];
        /// The IP versions of clients and target: v4tov4, v4tov6, v6tov4 or v6tov6. Needed only where
        /// listen has no address, or connect none.
        direction: Option<Direction> ["DIRECTION"];
        /// What is carried: tcp alone.
        protocol: Protocol ["PROTOCOL"] = Protocol::Tcp;
        /// How many connections there may be at once; more are reset.
        max_connections: u32 ["N"] = 1024;
        /// How many of them one client may have: an IPv4 address, or an IPv6 /64.
        max_per_source: u32 ["N"] = 256;
        /// How long the target may take to accept a connection, 1 to 600 seconds; of a name with several
        /// addresses all together.
        connect_timeout: u16 ["SECONDS"] = 20;
        /// End connections on which nothing was sent, and nothing that was sent before arrived, for so long.
        /// Without it they may be idle for ever.
        idle_timeout: Option<u32> ["SECONDS"];
        /// Tell the target the client's address in front of the data, by version v1 or v2 of HAProxy's
        /// PROXY protocol. The target must expect it.
        proxy_protocol: Option<ProxyProtocol> ["VERSION"];
    }
}

/// `PPX-2`: there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// TCP.
    Tcp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tcp")
    }
}

impl FromStr for Protocol {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_tcp = text.eq_ignore_ascii_case("tcp");
        is_tcp.then_some(Protocol::Tcp).ok_or("a port proxy carries TCP alone: write tcp, or leave it out")
    }
}

/// A version of the PROXY protocol. `PPX-8`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl fmt::Display for ProxyProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProxyProtocol::V1 => "v1",
            ProxyProtocol::V2 => "v2",
        })
    }
}

impl FromStr for ProxyProtocol {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "v1" | "1" => Ok(ProxyProtocol::V1),
            "v2" | "2" => Ok(ProxyProtocol::V2),
            _ => Err("expected v1 or v2"),
        }
    }
}

impl PortProxy {
    /// The IP versions of clients and target; `None` where the fields do not say both.
    #[must_use]
    pub fn direction(&self) -> Option<Direction> {
        let of_listen = self.listen.address.as_ref().map(|address| Family::of(address.address));
        let of_target = match self.connect.as_ref().and_then(|target| target.host.as_ref()) {
            Some(TargetHost::Address(address)) => Some(Family::of(address.address)),
            Some(TargetHost::Name(_)) | None => None,
        };
        Some(Direction {
            from: of_listen.or(self.direction.map(|direction| direction.from))?,
            to: of_target.or(self.direction.map(|direction| direction.to))?,
        })
    }

    /// The same rule with what it leaves open written out (`PPX-4`): two rules that are written
    /// differently and are the same are equal then. One that [`check`](Self::check) refuses may
    /// stay as it is.
    #[must_use]
    pub fn resolved(&self) -> Self {
        let mut rule = self.clone();
        let Some(direction) = self.direction() else { return rule };
        rule.direction = Some(direction);
        rule.listen.address.get_or_insert_with(|| ZonedAddress::plain(direction.from.any()));
        let target = rule.connect.get_or_insert(Target { host: None, port: None });
        target.port.get_or_insert(rule.listen.port);
        target.host.get_or_insert_with(|| TargetHost::Address(ZonedAddress::plain(direction.to.loopback())));
        rule
    }

    /// What names the rule among those of a machine (`PPX-5`): where it listens, as
    /// `0.0.0.0:8080` or `[2001:db8::1]:80`.
    #[must_use]
    pub fn key(&self) -> String {
        self.resolved().listen.to_string()
    }

    /// What its fields cannot be on any machine; nothing where it is well.
    #[must_use]
    pub fn check(&self) -> Vec<Refusal> {
        let mut refusals = Refusals::default();
        self.refuse(&mut refusals);
        refusals.0
    }

    /// The first of [`check`](Self::check), for who does one thing at a time.
    ///
    /// # Errors
    ///
    /// A usage error.
    pub fn check_first(&self) -> Result<(), Error> {
        self.check().into_iter().next().map_or(Ok(()), |refusal| Err(refusal.error))
    }

    fn refuse(&self, refusals: &mut Refusals) {
        match (self.direction(), self.direction) {
            (Some(found), Some(given)) if found != given => {
                let why = format!("listen and connect say {found}");
                let advice = format!("write {found}, or leave it out");
                refusals.add("direction", Error::usage("carry", given, why).with_advice(advice));
            }
            (Some(_), _) => self.refuse_loop(refusals),
            (None, _) => self.refuse_unclear(refusals),
        }
        let (least, most) = CONNECT_TIMEOUTS;
        if !(least..=most).contains(&self.connect_timeout) {
            let error =
                Error::usage("wait for a target", format!("{} s", self.connect_timeout), "too short or too long");
            refusals.add("connect-timeout", error.with_advice(format!("write {least} to {most}")));
        }
        for (key, number) in [
            ("max-connections", Some(self.max_connections)),
            ("max-per-source", Some(self.max_per_source)),
            ("idle-timeout", self.idle_timeout),
        ] {
            if number == Some(0) {
                let error = Error::usage(format!("set {key} to"), 0, "no connection would live");
                refusals.add(key, error.with_advice("write 1 or more"));
            }
        }
    }

    /// `PPX-1`: which IP version is meant is not guessed.
    fn refuse_unclear(&self, refusals: &mut Refusals) {
        let (listen, port) = (&self.listen, self.listen.port);
        let to = self.connect.as_ref().map_or_else(|| "this machine".to_owned(), ToString::to_string);
        let (on, why, advice) = if listen.address.is_none() {
            let advice = format!("write 0.0.0.0:{port} or [::]:{port} for listen, or a direction such as v4tov6");
            (listen.to_string(), "listen does not say of which IP version", advice)
        } else {
            let from = listen.address.as_ref().map_or(Family::V4, |address| Family::of(address.address));
            let [one, other] = [Family::V4, Family::V6].map(|to| Direction { from, to });
            (to, "connect does not say of which IP version", format!("write the direction: {one} or {other}"))
        };
        refusals.add("", Error::usage("carry connections of", on, why).with_advice(advice));
    }

    /// `PPX-12`: a rule to itself.
    fn refuse_loop(&self, refusals: &mut Refusals) {
        if self.leads_to(self, &|_| false) {
            let target = self.target_address().map_or_else(String::new, |(address, port)| format!("{address}:{port}"));
            let error = Error::usage("connect to", target, "the rule listens there itself");
            refusals.add("connect", error.with_advice("choose another port, or listen at another address"));
        }
    }

    /// The address and port that it connects to, where that is no name.
    fn target_address(&self) -> Option<(ZonedAddress, u16)> {
        let target = self.resolved().connect?;
        match target.host? {
            TargetHost::Address(address) => Some((address, target.port?)),
            TargetHost::Name(_) => None,
        }
    }

    /// Whether what it connects to is where `other` listens, as far as addresses show and those show that
    /// are this machine's `own`.
    fn leads_to(&self, other: &Self, own: &dyn Fn(&ZonedAddress) -> bool) -> bool {
        let Some((target, port)) = self.target_address() else { return false };
        let Some(listen) = other.resolved().listen.address else { return false };
        if port != other.listen.port {
            return false;
        }
        let is_any = listen.address.is_unspecified() && Family::of(listen.address) == Family::of(target.address);
        listen == target || (is_any && (target.address.is_loopback() || own(&target)))
    }

    /// `PPX-14`: what it opens to others, one line each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let listen = self.resolved().listen;
        let is_open = listen.address.as_ref().is_some_and(|address| !address.address.is_loopback());
        let is_any = listen.address.as_ref().is_some_and(|address| address.address.is_unspecified());
        let is_inside = self.target_address().is_some_and(|(target, _)| target.address.is_loopback());
        match (is_any, is_open && is_inside) {
            (true, true) => vec![format!(
                "{listen} is open to everyone who reaches this machine, and leads to a service that only this machine \
                 reached; listen at one address, or filter the port"
            )],
            (false, true) => vec![format!("{listen} leads to a service that only this machine reached")],
            _ => Vec::new(),
        }
    }

    /// For a log: `v4tov6 to [2001:db8::1]:80`.
    pub(crate) fn leads(&self) -> String {
        let rule = self.resolved();
        let direction = rule.direction.map_or("", Direction::as_str);
        format!("{direction} to {}", rule.connect.map(|target| target.to_string()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn rule(listen: &str, connect: &str, direction: &str) -> PortProxy {
        let mut rule = PortProxy::new(listen.parse().unwrap());
        rule.connect = Some(connect).filter(|text| !text.is_empty()).map(|text| text.parse().unwrap());
        rule.direction = Some(direction).filter(|text| !text.is_empty()).map(|text| text.parse().unwrap());
        rule
    }

    fn refused(rule: &PortProxy) -> String {
        rule.check().iter().map(|refusal| format!("{}: {}\n", refusal.key, refusal.error)).collect()
    }

    #[test]
    fn ppx_1_the_direction_is_that_of_the_addresses_and_is_asked_for_where_there_is_none() {
        for (listen, connect, direction, same) in [
            ("0.0.0.0:80", "192.0.2.1", "", "v4tov4"),
            ("192.0.2.1:80", "[2001:db8::1]:8080", "", "v4tov6"),
            ("[::]:80", "192.0.2.1:80", "", "v6tov4"),
            ("[2001:db8::1]:80", "[2001:db8::2]", "v6tov6", "v6tov6"),
            ("80", "www.example.net", "v4tov6", "v4tov6"),
            ("80", "", "v6tov4", "v6tov4"),
            ("[::]:80", "8080", "v6tov4", "v6tov4"),
        ] {
            let rule = rule(listen, connect, direction);
            assert_eq!(rule.direction().map(Direction::as_str), Some(same), "{listen} {connect}");
            assert_eq!(refused(&rule), "", "{listen} {connect}");
        }
        for (listen, connect, direction, key, advice) in [
            ("80", "[2001:db8::1]:80", "", "", "0.0.0.0:80 or [::]:80"),
            ("0.0.0.0:80", "www.example.net", "", "", "v4tov4 or v4tov6"),
            ("[::]:80", "", "", "", "v6tov4 or v6tov6"),
            ("0.0.0.0:80", "192.0.2.1", "v4tov6", "direction", "write v4tov4"),
            ("[::]:80", "www.example.net", "v4tov6", "direction", "write v6tov6"),
        ] {
            let told = refused(&rule(listen, connect, direction));
            assert!(told.starts_with(&format!("{key}: ")) && told.contains(advice), "{listen} {connect}: {told}");
        }
    }

    #[test]
    fn ppx_2_tcp_alone_is_carried() {
        assert_eq!("TCP".parse(), Ok(Protocol::Tcp));
        for wrong in ["udp", "sctp", ""] {
            assert!(wrong.parse::<Protocol>().unwrap_err().contains("TCP alone"));
        }
    }

    #[test]
    fn ppx_4_what_is_left_open_is_this_machine_and_the_same_port() {
        let written = |listen: &str, connect: &str, direction: &str| {
            let rule = rule(listen, connect, direction).resolved();
            format!("{} {}", rule.listen, rule.connect.unwrap())
        };
        assert_eq!(written("80", "", "v6tov4"), "[::]:80 127.0.0.1:80");
        assert_eq!(written("80", "8080", "v4tov6"), "0.0.0.0:80 [::1]:8080");
        assert_eq!(written("*:80", "192.0.2.1", "v6tov4"), "[::]:80 192.0.2.1:80");
        assert_eq!(written("192.0.2.1:80", "www.example.net", "v4tov6"), "192.0.2.1:80 www.example.net:80");
        assert_eq!(rule("80", "", "v6tov4").resolved(), rule("[::]:80", "127.0.0.1:80", "").resolved());
    }

    #[test]
    fn ppx_12_a_rule_to_itself_is_refused() {
        for (listen, connect, direction) in [
            ("192.0.2.1:80", "192.0.2.1:80", ""),
            ("192.0.2.1:80", "192.0.2.1", ""),
            ("0.0.0.0:80", "127.0.0.1:80", ""),
            ("0.0.0.0:80", "127.9.9.9:80", ""),
            ("80", "", "v6tov6"),
            ("[fe80::1%eth1]:80", "[fe80::1%eth1]:80", ""),
        ] {
            let told = refused(&rule(listen, connect, direction));
            assert!(told.starts_with("connect: ") && told.contains("listens there itself"), "{listen}: {told}");
        }
        for (listen, connect) in [
            ("192.0.2.1:80", "192.0.2.1:81"),
            ("0.0.0.0:80", "[::1]:80"),
            ("192.0.2.1:80", "127.0.0.1:80"),
            ("[fe80::1%eth1]:80", "[fe80::1%eth2]:80"),
        ] {
            assert_eq!(refused(&rule(listen, connect, "")), "", "{listen}");
        }
    }

    #[test]
    fn ppx_14_an_inside_service_that_is_opened_is_warned_of() {
        let told = |listen: &str, connect: &str| rule(listen, connect, "").warnings().concat();
        assert!(told("0.0.0.0:80", "127.0.0.1:8080").contains("open to everyone"));
        assert!(told("[::]:80", "127.0.0.1:80").contains("open to everyone"));
        assert!(told("192.0.2.1:80", "[::1]:80").contains("only this machine"));
        assert_eq!(told("127.0.0.1:80", "[::1]:80"), "");
        assert_eq!(told("0.0.0.0:80", "[2001:db8::1]:80"), "");
    }

    #[test]
    fn numbers_have_limits() {
        let mut rule = rule("0.0.0.0:80", "192.0.2.1", "");
        (rule.max_connections, rule.max_per_source, rule.connect_timeout, rule.idle_timeout) = (0, 0, 601, Some(0));
        let told = refused(&rule);
        for key in ["max-connections", "max-per-source", "connect-timeout", "idle-timeout"] {
            assert!(told.contains(key), "{told}");
        }
    }
}
