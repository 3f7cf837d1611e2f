//! The order of destinations. [RFC 6724 §6]

use core::cmp::Ordering;
use core::fmt;
use core::net::IpAddr;

use super::{Policy, Scope, Source, common_prefix_length, is_mapped, mapped, table};

/// A destination, and how it would be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The address.
    pub address: IpAddr,
    /// The outgoing interface; 0: not known.
    pub interface: u32,
    /// The route to it is a tunnel that carries IPv6 in IPv4. Only who knows
    /// the route can say so: addresses of ISATAP, 6rd and configured tunnels
    /// look like native ones. `SEL-10 [RFC 6724 §6]`
    pub encapsulated: bool,
    /// It is known that nothing arrives there.
    pub unreachable: bool,
    /// Where packets to it would come from: what [`Policy::choose_source`] or
    /// the system says.
    pub source: Option<Source>,
}

impl Destination {
    /// An address without source or interface, reached natively as far as is known.
    #[must_use]
    pub const fn new(address: IpAddr) -> Self {
        Destination { address, interface: 0, encapsulated: false, unreachable: false, source: None }
    }
}

/// The rules for destinations, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DestinationRule {
    /// 1: it can be used: it has a source, and is not known to be unreachable.
    Usable,
    /// 2: its scope is that of its source.
    Scope,
    /// 3: its source is not deprecated.
    Deprecated,
    /// 4: its source is a home address.
    Home,
    /// 5: it has the label of its source.
    Label,
    /// 6: it has the higher precedence.
    Precedence,
    /// 7: no tunnel leads there.
    Native,
    /// 8: its scope is smaller.
    SmallerScope,
    /// 9: more of its leading bits are its source's.
    LongestPrefix,
    /// 10: it came first, and all rules are undecided.
    Order,
}

impl DestinationRule {
    pub(super) const RULES: [DestinationRule; 8] = [
        DestinationRule::Usable,
        DestinationRule::Scope,
        DestinationRule::Deprecated,
        DestinationRule::Home,
        DestinationRule::Label,
        DestinationRule::Precedence,
        DestinationRule::Native,
        DestinationRule::SmallerScope,
    ];

    /// The number in RFC 6724 §6. Stable.
    #[must_use]
    pub const fn number(self) -> &'static str {
        match self {
            DestinationRule::Usable => "1",
            DestinationRule::Scope => "2",
            DestinationRule::Deprecated => "3",
            DestinationRule::Home => "4",
            DestinationRule::Label => "5",
            DestinationRule::Precedence => "6",
            DestinationRule::Native => "7",
            DestinationRule::SmallerScope => "8",
            DestinationRule::LongestPrefix => "9",
            DestinationRule::Order => "10",
        }
    }

    /// Why the earlier of two destinations comes first, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            DestinationRule::Usable => "the next one cannot be used",
            DestinationRule::Scope => "its scope is that of its source",
            DestinationRule::Deprecated => "the source of the next one is deprecated",
            DestinationRule::Home => "its source is a home address",
            DestinationRule::Label => "it has the label of its source",
            DestinationRule::Precedence => "its precedence is higher",
            DestinationRule::Native => "the next one is reached through a tunnel",
            DestinationRule::SmallerScope => "its scope is smaller",
            DestinationRule::LongestPrefix => "more of its leading bits are its source's",
            DestinationRule::Order => "it came first, and no rule decides",
        }
    }
}

impl fmt::Display for DestinationRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.number())
    }
}

impl Policy<'_> {
    /// Which of two destinations comes first, and by which rule:
    /// [`Less`](Ordering::Less) for `a`, [`Equal`](Ordering::Equal) where the
    /// order in which they came decides. [RFC 6724 §6]
    #[must_use]
    pub fn compare(&self, a: &Destination, b: &Destination) -> (Ordering, DestinationRule) {
        self.ranks(a).order(&self.ranks(b))
    }

    /// Sorts destinations, the one to be tried first in front; equal ones keep
    /// their order.
    ///
    /// For the few addresses that a name has: the time grows with the square of
    /// their number. Rule 9 compares within a family only, so where a table
    /// gives both families the same precedence, three destinations may lack an
    /// order that fits each pair; then each fits its neighbours.
    pub fn sort(&self, destinations: &mut [Destination]) {
        // Insertion sort, since those of the standard library can panic.
        for end in 1..destinations.len() {
            let Some(ranks) = destinations.get(end).map(|inserted| self.ranks(inserted)) else { break };
            for at in (0..end).rev() {
                let Some([left, right]) = destinations.get_mut(at..).and_then(<[_]>::first_chunk_mut) else { break };
                if self.ranks(left).order(&ranks).0 != Ordering::Greater {
                    break;
                }
                core::mem::swap(left, right);
            }
        }
    }

    fn ranks(&self, destination: &Destination) -> Ranks {
        let address = mapped(destination.address);
        let scope = Scope::of(&address, self.private_is_site_local);
        let row = table::find(self.rows, &address);
        // SEL-12: without a source, or with none of an address, it comes last.
        let source = destination.source.filter(|source| !source.address.to_canonical().is_unspecified());
        let Scope(reach) = scope;
        let mut ranks = Ranks { rules: [0; 8], is_ipv4: is_mapped(&address), common_prefix: 0 };
        let [usable, same_scope, preferred, home, same_label, precedence, native, near] = &mut ranks.rules;
        *precedence = row.precedence;
        *native = u32::from(!destination.encapsulated);
        *near = u32::from(16_u8.saturating_sub(reach));
        if let Some(source) = &source {
            let own = mapped(source.address);
            *usable = u32::from(!destination.unreachable);
            *same_scope = u32::from(Scope::of(&own, self.private_is_site_local) == scope);
            *preferred = u32::from(!source.deprecated);
            *home = u32::from(source.mobility());
            *same_label = u32::from(table::find(self.rows, &own).label == row.label);
            ranks.common_prefix = common_prefix_length(source, &address);
        }
        ranks
    }
}

/// What each rule says of a destination: the more, the better, the first difference decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ranks {
    rules: [u32; 8],
    /// Rule 9 compares within a family.
    is_ipv4: bool,
    common_prefix: u8,
}

impl Ranks {
    fn order(&self, other: &Ranks) -> (Ordering, DestinationRule) {
        for ((own, other), rule) in self.rules.iter().zip(&other.rules).zip(DestinationRule::RULES) {
            if own != other {
                return (other.cmp(own), rule);
            }
        }
        if self.is_ipv4 == other.is_ipv4 && self.common_prefix != other.common_prefix {
            return (other.common_prefix.cmp(&self.common_prefix), DestinationRule::LongestPrefix);
        }
        (Ordering::Equal, DestinationRule::Order)
    }
}
