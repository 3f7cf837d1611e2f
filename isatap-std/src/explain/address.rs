//! What an address is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use isatap_core::embedded::{Embedded, Form, Known, LOCAL_USE, Role, WELL_KNOWN, embedded_ipv4s};
use isatap_core::isatap::addr::{Dotted, is_globally_unique, is_locator, link_local};
use isatap_core::prefix::special::block_of;
use isatap_core::prefix::{Ipv4Prefix, Ipv6Prefix, is_public};
use isatap_core::sixrd::addr::Domain;
use isatap_core::{sixtofour, teredo};
use serde::Serialize;

use super::{RefusedAnswer, reverse, shares};

/// What an address is, and everything that is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AddressAnswer {
    /// The address; of a prefix its first.
    pub address: IpAddr,
    /// The form that decides forwarding: `isatap`, `6to4`, `6rd`, `teredo`,
    /// `ipv4-mapped`, `ipv4-compatible`, `nat64` or `native`.
    pub kind: &'static str,
    /// The other forms that it has.
    pub also: Vec<&'static str>,
    /// How far it reaches: `global`, `link-local` and so on. [RFC 6724 §3.1]
    pub scope: &'static str,
    /// The prefix that the form gives it; of IPv4 addresses the special block.
    pub prefix: Option<String>,
    /// Its name in the DNS of the way back; of a prefix the zones that together are its own.
    pub reverse: Vec<String>,
    /// Every IPv4 address in it, the outermost first.
    pub ipv4: Vec<Ipv4Answer>,
    /// Of a prefix: the IPv4 blocks whose addresses its addresses embed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ipv4_blocks: Vec<Ipv4BlockAnswer>,
    /// The port that was asked about with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The text that was asked about, where it had to be read as an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// Whether a filter lets it in, where [one was asked](super::Explainer::judge).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permitted: Option<bool>,
    /// Why the filter does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedAnswer>,
    /// The flags of a Teredo or ISATAP address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<FlagsAnswer>,
    /// Where the form, or the block, is defined.
    pub rfc: &'static str,
    /// What a node does with it, and what is remarkable: sentences.
    pub notes: Vec<String>,
    /// What was asked about, as text shows it.
    #[serde(skip)]
    title: String,
}

/// An IPv4 address in an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Ipv4Answer {
    /// `embedded`, or of Teredo `server` or `client`.
    pub role: &'static str,
    /// The address.
    pub address: Ipv4Addr,
    /// The UDP port, where one stands with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The form that it is part of.
    pub form: &'static str,
}

/// The IPv4 addresses in the addresses of a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Ipv4BlockAnswer {
    /// `embedded`, or of Teredo `server` or `client`.
    pub role: &'static str,
    /// The block, `0.0.0.0/0` where it can be any address.
    pub prefix: String,
    /// The form that they are part of.
    pub form: &'static str,
}

/// Flag bits in an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum FlagsAnswer {
    /// Of a Teredo address.
    Teredo {
        /// All 16 bits, in hexadecimal.
        bits: String,
        /// C.
        cone: bool,
        /// z, which is zero in new addresses.
        reserved: bool,
        /// U.
        universal: bool,
        /// G.
        group: bool,
        /// The 12 random bits, in hexadecimal.
        random: String,
    },
    /// Of an ISATAP identifier.
    Isatap {
        /// u: the IPv4 address is said to be globally unique.
        universal: bool,
    },
}

pub(super) fn explain(address: IpAddr, known: &Known<'_>) -> AddressAnswer {
    match address {
        IpAddr::V4(ipv4) => explain_ipv4(ipv4),
        IpAddr::V6(ipv6) => explain_ipv6(ipv6, known),
    }
}

fn explain_ipv4(address: Ipv4Addr) -> AddressAnswer {
    let block = block_of(IpAddr::V4(address));
    let mut notes: Vec<String> = block.map(|(_, block)| block.what.to_owned()).into_iter().collect();
    if is_locator(address) {
        notes.push(format!("An ISATAP interface at it is {} [ISA-1, ISA-2].", Dotted(link_local(address))));
    } else {
        notes.push("No tunnel can start or end here [TUN-4, TUN-15].".to_owned());
    }
    if is_public(IpAddr::V4(address)) {
        notes.push(format!("The 6to4 prefix of its site is {} [S64-3].", sixtofour::addr::site(address)));
    }
    AddressAnswer {
        address: IpAddr::V4(address),
        kind: "native",
        also: Vec::new(),
        scope: scope_ipv4(address),
        prefix: block.and_then(|(length, _)| Ipv4Prefix::new(address, length)).map(|prefix| prefix.to_string()),
        reverse: reverse::names(IpAddr::V4(address), 32),
        ipv4: Vec::new(),
        ipv4_blocks: Vec::new(),
        port: None,
        asked: None,
        permitted: None,
        refused: None,
        flags: None,
        rfc: block.map_or("RFC 791", |(_, block)| block.rfc),
        notes,
        title: address.to_string(),
    }
}

fn explain_ipv6(address: Ipv6Addr, known: &Known<'_>) -> AddressAnswer {
    let found: Vec<Embedded> = embedded_ipv4s(address, known).collect();
    let block = block_of(IpAddr::V6(address)).map(|(_, block)| block);
    let is_client = is_teredo_client_link_local(&address);
    let form = if is_client { Some(Form::Teredo) } else { found.first().map(|embedded| embedded.form) };
    // Of what lies in a form's own prefix the form says more.
    let told = block.filter(|_| {
        matches!(form, None | Some(Form::SixRd)) || form == Some(Form::Isatap) && !address.is_unicast_link_local()
    });
    let kind = form.map_or("native", kind_of);
    let mut also: Vec<&'static str> = Vec::new();
    for other in found.iter().map(|embedded| kind_of(embedded.form)) {
        if other != kind && other != "native" && !also.contains(&other) {
            also.push(other);
        }
    }
    let mut notes: Vec<String> = told.map(|block| block.what.to_owned()).into_iter().collect();
    if is_client {
        notes.push("The source from which a Teredo client solicits a server [TER-5].".to_owned());
    }
    let is_stated = |embedded: &&Embedded| embedded.form != Form::SixRd || !is_open(embedded, &address, known);
    for embedded in found.iter().filter(is_stated) {
        note(&mut notes, &address, embedded);
    }
    open_note(&mut notes, &address, known);
    notes.extend(reverse::note(IpAddr::V6(address), 128));
    let rfc = match (form, block) {
        (Some(form), _) => form.rfc(),
        (None, Some(block)) => block.rfc,
        (None, None) => "RFC 4291 §2.5.4",
    };
    AddressAnswer {
        address: IpAddr::V6(address),
        kind,
        also,
        scope: scope_ipv6(&address),
        prefix: prefix_of(&address, form, known).map(|prefix| text_of(&prefix)),
        reverse: reverse::names(IpAddr::V6(address), 128),
        ipv4: found.iter().filter(is_stated).map(Ipv4Answer::of).collect(),
        ipv4_blocks: Vec::new(),
        port: None,
        asked: None,
        permitted: None,
        refused: None,
        flags: flags_of(&address, &found),
        rfc,
        notes,
        title: Dotted(address).to_string(),
    }
}

pub(super) fn explain_prefix(address: IpAddr, length: u8, known: &Known<'_>) -> AddressAnswer {
    let (first, shown, is_exact) = match address {
        IpAddr::V4(address) => {
            let prefix = Ipv4Prefix::new(address, length).unwrap_or(Ipv4Prefix::DEFAULT);
            (IpAddr::V4(prefix.address()), prefix.to_string(), prefix.address() == address)
        }
        IpAddr::V6(address) => {
            let prefix = Ipv6Prefix::new(address, length).unwrap_or(Ipv6Prefix::DEFAULT);
            (IpAddr::V6(prefix.address()), text_of(&prefix), prefix.address() == address)
        }
    };
    let mut answer = explain(first, known);
    // What lies behind the length is every value, not zero.
    let is_whole = |length: u8| if first.is_ipv4() { length == 32 } else { length == 128 };
    if !is_whole(length) {
        let shares = match first {
            IpAddr::V6(first) => shares::of(first, length, known),
            IpAddr::V4(_) => Vec::new(),
        };
        let form = shares.first().map(|share| share.form);
        answer.kind = form.map_or("native", kind_of);
        answer.also.clear();
        for other in shares.iter().map(|share| kind_of(share.form)) {
            if other != answer.kind && other != "native" && !answer.also.contains(&other) {
                answer.also.push(other);
            }
        }
        answer.flags = None;
        answer.scope = shares::scope_of(first, length);
        answer.ipv4 = shares.iter().filter_map(shares::Share::address).collect();
        answer.ipv4_blocks = shares.iter().filter_map(shares::Share::block).collect();
        let block = block_of(first).filter(|(whole, _)| *whole <= length).map(|(_, block)| block);
        answer.rfc = match (form, block) {
            (Some(form), _) => form.rfc(),
            (None, Some(block)) => block.rfc,
            (None, None) if first.is_ipv4() => "RFC 4632 §3.1",
            (None, None) => "RFC 4291 §2.3",
        };
        answer.notes = block.map(|block| block.what.to_owned()).into_iter().collect();
        if let (IpAddr::V6(first), Some(Form::SixToFour)) = (first, form) {
            answer.notes.push(sites_of(first, length));
        }
        answer
            .notes
            .extend(shares.iter().filter(|share| share.form != Form::SixToFour).filter_map(shares::Share::note));
        if let IpAddr::V6(first) = first {
            open_note(&mut answer.notes, &first, known);
            answer.notes.extend(shares::held(first, length));
        }
        answer.reverse = reverse::names(first, length);
        answer.notes.extend(reverse::note(first, length));
    }
    if !is_exact {
        answer.notes.push(format!("{address} is an address of this prefix, with bits behind its length."));
    }
    answer.title.clone_from(&shown);
    answer.prefix = Some(shown);
    answer
}

/// The IPv4 addresses whose 6to4 sites a prefix covers.
fn sites_of(first: Ipv6Addr, length: u8) -> String {
    let ipv4 = sixtofour::addr::embedded_ipv4(&first).unwrap_or(Ipv4Addr::UNSPECIFIED);
    match length {
        16..=47 => match Ipv4Prefix::new(ipv4, length - 16) {
            Some(prefix) => format!("The 6to4 sites of {prefix}."),
            None => String::new(),
        },
        48 => format!("The 6to4 site of {ipv4}."),
        _ => format!("A subnet of the 6to4 site of {ipv4}."),
    }
}

/// Whether the IPv4 address is of a 6rd domain whose common bits are not known.
/// [RFC 5969 §4]
fn is_open(embedded: &Embedded, address: &Ipv6Addr, known: &Known<'_>) -> bool {
    known.sixrd.iter().any(|domain| {
        has_open_bits(domain)
            && domain.prefix().contains(address)
            && domain.embedded_ipv4(address) == Some(embedded.address)
    })
}

/// Whether only the length of the common bits was given.
pub(super) fn has_open_bits(domain: &Domain) -> bool {
    domain.common().length() > 0 && domain.common().address().is_unspecified()
}

/// S6R-15: what an address in such a domain does not say.
fn open_note(notes: &mut Vec<String>, address: &Ipv6Addr, known: &Known<'_>) {
    let of_address = |domain: &&Domain| has_open_bits(domain) && domain.prefix().contains(address);
    if let Some(domain) = known.sixrd.iter().find(of_address) {
        let length = domain.common().length();
        notes.push(format!(
            "The first {length} bits of its IPv4 address are its 6rd domain's and not in it: give the block, as in \
             --6rd {},10.0.0.0/{length} [S6R-15].",
            domain.prefix()
        ));
    }
}

fn nat64_length(address: &Ipv6Addr, known: &Known<'_>) -> u8 {
    let is_of = |prefix: &&isatap_core::embedded::Nat64Prefix| prefix.prefix().contains(address);
    known.nat64.iter().chain([&WELL_KNOWN]).find(is_of).map_or(128, |prefix| prefix.prefix().length())
}

impl Ipv4Answer {
    fn of(embedded: &Embedded) -> Self {
        Ipv4Answer {
            role: embedded.role.as_str(),
            address: embedded.address,
            port: embedded.port,
            form: embedded.form.as_str(),
        }
    }
}

/// The form under the names that the tool promises.
fn kind_of(form: Form) -> &'static str {
    match form {
        Form::Isatap => "isatap",
        Form::SixToFour => "6to4",
        Form::SixRd => "6rd",
        Form::Teredo => "teredo",
        Form::Mapped => "ipv4-mapped",
        Form::Compatible => "ipv4-compatible",
        // The translator of RFC 2765, of which NAT64 is the heir.
        Form::Nat64 | Form::Translated => "nat64",
        // A configured tunnel's ends are not taken from addresses.
        _ => "native",
    }
}

fn prefix_of(address: &Ipv6Addr, form: Option<Form>, known: &Known<'_>) -> Option<Ipv6Prefix> {
    match form {
        Some(Form::SixToFour) => Ipv6Prefix::new(*address, 48),
        Some(Form::SixRd) => {
            let domain = known.sixrd.iter().find(|domain| domain.prefix().contains(address))?;
            Ipv6Prefix::new(*address, domain.delegated_length())
        }
        Some(Form::Mapped | Form::Compatible | Form::Translated) => Ipv6Prefix::new(*address, 96),
        Some(Form::Nat64) if LOCAL_USE.contains(address) && nat64_length(address, known) == 128 => Some(LOCAL_USE),
        Some(Form::Nat64) => Ipv6Prefix::new(*address, nat64_length(address, known)),
        None if address.is_multicast() || address.is_unspecified() || address.is_loopback() => None,
        _ => Some(Ipv6Prefix::subnet_of(address)),
    }
}

/// `::ffff:0:0/96`, which would be shown dotted.
pub(super) fn text_of(prefix: &Ipv6Prefix) -> String {
    match prefix.address().segments() {
        [0, 0, 0, 0, 0, 0xffff, 0, 0] => format!("::ffff:0:0/{}", prefix.length()),
        _ => prefix.to_string(),
    }
}

fn flags_of(address: &Ipv6Addr, found: &[Embedded]) -> Option<FlagsAnswer> {
    use teredo::addr::Flags;
    if found.iter().any(|embedded| embedded.form == Form::Teredo) || is_teredo_client_link_local(address) {
        let (flags, ..) = teredo::addr::read_identifier(address);
        return Some(FlagsAnswer::Teredo {
            bits: format!("{:#06x}", flags.bits()),
            cone: flags.contains(Flags::CONE),
            reserved: flags.contains(Flags::RESERVED),
            universal: flags.contains(Flags::UNIVERSAL),
            group: flags.contains(Flags::GROUP),
            random: format!("{:#05x}", (flags.random() & 0x3c00) >> 2 | flags.random() & 0xff),
        });
    }
    let is_isatap = found.iter().any(|embedded| embedded.form == Form::Isatap);
    is_isatap.then(|| FlagsAnswer::Isatap { universal: address.octets()[8] & 2 != 0 })
}

/// Whether a Teredo client has this address before it has one of its own:
/// port and IPv4 address all ones (Windows counts down), or `TEREDO`.
fn is_teredo_client_link_local(address: &Ipv6Addr) -> bool {
    let [head, _, _, _, flags, tail @ ..] = address.segments();
    head == 0xfe80
        && flags & !0x8000 == 0
        && (tail == [0x5445, 0x5245, 0x444f] || tail[..2] == [0xffff, 0xffff] && tail[2] >= 0xfff0)
}

/// Whether nothing is sent to a Teredo address, whoever its client is.
fn is_unreachable(address: &Ipv6Addr) -> bool {
    let of_rfc = teredo::addr::Address::from_ipv6(address);
    let is_obsolete = teredo::addr::OBSOLETE_PREFIX.contains(address);
    is_obsolete || of_rfc.is_some_and(|read| !is_public(IpAddr::V4(read.server)))
}

/// What follows from one IPv4 address in an address.
fn note(notes: &mut Vec<String>, address: &Ipv6Addr, embedded: &Embedded) {
    let ipv4 = embedded.address;
    let public = is_public(IpAddr::V4(ipv4));
    match (embedded.form, embedded.role) {
        (Form::Isatap, _) => isatap_notes(notes, address, ipv4),
        (Form::SixToFour, _) => {
            if ipv4 == sixtofour::addr::ANYCAST_RELAY {
                notes.push("The anycast relay of 6to4, which nobody should use any more [S64-31].".to_owned());
            } else if public {
                notes.push(format!("A 6to4 router sends it to {ipv4} in protocol 41 [S64-10]."));
            } else {
                notes.push(format!("6to4 routers drop it: {ipv4} is no global address [S64-14]."));
            }
            match address.segments() {
                [_, a, b, 0, 0, 0, c, d] if (a, b) == (c, d) => {
                    notes.push("The address that Windows gives a 6to4 host or router.".to_owned());
                }
                [_, _, _, 0x3333, ..] => {
                    notes.push("Where a DirectAccess server has its intranet [S64-40].".to_owned())
                }
                [_, _, _, 0x1000, ..] => {
                    notes.push("Where a DirectAccess server has its IP-HTTPS clients [S64-40].".to_owned());
                }
                _ => {}
            }
        }
        (Form::SixRd, _) => {
            notes.push(format!("Inside of its 6rd domain it is sent to {ipv4} in protocol 41 [S6R-21]."))
        }
        (Form::Teredo, role) if address.is_unicast_link_local() => {
            let (who, port) = (role.as_str(), embedded.port.unwrap_or(teredo::addr::SERVER_PORT));
            notes.push(format!(
                "The link-local address of a Teredo {who} at {ipv4} port {port}; nothing is sent there for it [TER-5]."
            ));
        }
        (Form::Teredo, Role::Server) => {
            if teredo::addr::OBSOLETE_PREFIX.contains(address) {
                notes.push("The prefix of Windows XP, before the RFC: nothing is sent to it [TER-7].".to_owned());
            }
            if !public {
                notes.push(format!("The server {ipv4} is no global address: nothing is sent there [TER-40]."));
            }
        }
        (Form::Teredo, _) => {
            match embedded.port {
                Some(0) => notes.push("Port 0: nobody can be reached there [TER-4].".to_owned()),
                // Not where a note on the server or the prefix says that nothing is sent.
                Some(_) if public && is_unreachable(address) => {}
                Some(port) if public => {
                    notes.push(format!("Clients and relays send UDP to {ipv4} port {port} [TER-44]."));
                }
                _ => notes.push(format!("{ipv4} is no global address: nothing is sent there [TER-40].")),
            }
            if teredo::addr::read_identifier(address).0.has_reserved() {
                notes.push("Flag bits are set that new clients leave zero [TER-1].".to_owned());
            }
        }
        (Form::Mapped, _) => {
            notes.push(format!("How IPv6 sockets write {ipv4}; never in a packet, refused out of a tunnel [TUN-16]."));
        }
        (Form::Compatible, _) => {
            notes.push(format!(
                "Automatic tunnelling to {ipv4}, deprecated and off by default; refused as a source [TUN-70, TUN-16]."
            ));
        }
        (Form::Translated, _) => {
            notes.push(format!("A stateless translator (SIIT) takes it for {ipv4}."));
        }
        (Form::Nat64, _) => {
            if WELL_KNOWN.prefix().contains(address) && !public {
                notes.push(format!("Translators drop it: {ipv4} is not global [N64-2]."));
            } else if LOCAL_USE.contains(address) {
                notes.push(format!(
                    "A translator sends IPv4 to {ipv4}, if its prefix has the length that this is read by [N64-1]."
                ));
            } else {
                notes.push(format!("A translator sends IPv4 to {ipv4} [N64-1]."));
            }
        }
        (Form::Configured, _) => {
            notes.push(format!("A configured tunnel from {ipv4} gives itself this address [TUN-61]."));
        }
        _ => {}
    }
}

fn isatap_notes(notes: &mut Vec<String>, address: &Ipv6Addr, ipv4: Ipv4Addr) {
    if !is_locator(ipv4) {
        notes.push(format!("{ipv4} can be no host of a site: nothing is sent there [TUN-4]."));
    } else if address.is_unicast_link_local() {
        notes.push(format!("On an ISATAP interface it is sent to {ipv4} in protocol 41 [ISA-82]."));
    } else {
        notes.push(format!(
            "Where {} is on-link on an ISATAP interface it is sent to {ipv4} in protocol 41, elsewhere as the \
             route says [ISA-80, ISA-81].",
            Ipv6Prefix::subnet_of(address)
        ));
    }
    let universal = address.octets()[8] & 2 != 0;
    if universal != is_globally_unique(ipv4) {
        notes.push(format!(
            "This project would write {ipv4} with u = {}; both are the same host [ISA-2, ISA-3].",
            u8::from(!universal)
        ));
    }
}

/// [RFC 6724 §3.1, RFC 4007 §4]; of multicast by its nibble.
pub(super) fn scope_ipv6(address: &Ipv6Addr) -> &'static str {
    let [first, ..] = address.segments();
    match first {
        _ if address.is_unspecified() => "unspecified",
        _ if address.is_loopback() => "link-local",
        _ if first >> 8 == 0xff => match first & 0xf {
            1 => "interface-local",
            2 => "link-local",
            3 => "realm-local",
            4 => "admin-local",
            5 => "site-local",
            8 => "organization-local",
            0xe => "global",
            _ => "unassigned",
        },
        _ if first & 0xffc0 == 0xfe80 => "link-local",
        _ if first & 0xffc0 == 0xfec0 => "site-local",
        _ => match address.to_ipv4_mapped() {
            Some(ipv4) => scope_ipv4(ipv4),
            None => "global",
        },
    }
}

pub(super) fn scope_ipv4(address: Ipv4Addr) -> &'static str {
    if address.is_unspecified() {
        "unspecified"
    } else if address.is_loopback() || address.is_link_local() || address.is_broadcast() {
        "link-local"
    } else if address.is_multicast() {
        match address.octets() {
            [224, 0, 0, _] => "link-local",
            [239, 255, ..] => "site-local",
            [239, 192..=195, ..] => "organization-local",
            _ => "global",
        }
    } else {
        "global"
    }
}

impl fmt::Display for AddressAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)?;
        if let Some(port) = self.port {
            write!(f, ", port {port}")?;
        }
        match (&self.refused, self.permitted) {
            (Some(refused), _) => write!(f, "\n  permits no, {refused}")?,
            (None, Some(_)) => write!(f, "\n  permits yes")?,
            (None, None) => {}
        }
        write!(f, "\n  form    {} [{}]", self.kind, self.rfc)?;
        if !self.also.is_empty() {
            write!(f, ", also {}", self.also.join(", "))?;
        }
        write!(f, "\n  scope   {}", self.scope)?;
        if let Some(prefix) = &self.prefix {
            write!(f, "\n  prefix  {prefix}")?;
        }
        match self.reverse.as_slice() {
            [one] => write!(f, "\n  reverse {one}")?,
            [first, .., last] => write!(f, "\n  reverse {first} to {last}")?,
            [] => {}
        }
        for block in &self.ipv4_blocks {
            write!(f, "\n  {:<8}{}", if block.role == "embedded" { "IPv4" } else { block.role }, block.prefix)?;
            if self.ipv4_blocks.len() > 1 && block.form != self.kind {
                write!(f, " ({})", block.form)?;
            }
        }
        for ipv4 in &self.ipv4 {
            write!(f, "\n  {:<8}{}", if ipv4.role == "embedded" { "IPv4" } else { ipv4.role }, ipv4.address)?;
            if let Some(port) = ipv4.port {
                write!(f, " port {port}")?;
            }
            if self.ipv4.len() > 1 && ipv4.form != self.kind {
                write!(f, " ({})", ipv4.form)?;
            }
        }
        if let Some(flags) = &self.flags {
            write!(f, "\n  flags   {flags}")?;
        }
        for note in &self.notes {
            write!(f, "\n  {note}")?;
        }
        Ok(())
    }
}

impl fmt::Display for FlagsAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlagsAnswer::Teredo { bits, cone, reserved, universal, group, random } => {
                write!(f, "{bits}: random {random}")?;
                let names = [(*cone, ", cone"), (*reserved, ", z"), (*universal, ", U"), (*group, ", G")];
                names.iter().filter(|(is_set, _)| *is_set).try_for_each(|(_, name)| f.write_str(name))
            }
            FlagsAnswer::Isatap { universal: true } => f.write_str("u = 1: the IPv4 address is said to be unique"),
            FlagsAnswer::Isatap { universal: false } => f.write_str("u = 0"),
        }
    }
}
