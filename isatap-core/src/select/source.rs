//! The source address for a destination. [RFC 6724 §5]

use core::fmt;
use core::net::{IpAddr, Ipv6Addr};

use super::{Destination, Policy, Scope, common_prefix_length, mapped, table};

/// An address of this node that packets can come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The address.
    pub address: IpAddr,
    /// Length of its prefix, in bits of its own family; the whole address where
    /// it is not known.
    pub prefix_length: u8,
    /// The interface that has it; 0: not known, so that any will do.
    pub interface: u32,
    /// Its preferred lifetime has ended. [RFC 4862 §5.5.4]
    pub deprecated: bool,
    /// It changes often, to be hard to follow. [RFC 8981]
    pub temporary: bool,
    /// A home address of a mobile node. [RFC 6275]
    pub home: bool,
    /// A home address of a node that is at home, so that it is a care-of
    /// address too.
    pub at_home: bool,
    /// Its prefix was advertised by the next hop to the destination; only
    /// who keeps track of that can say so.
    pub by_next_hop: bool,
}

impl Source {
    /// A preferred, public address without an interface.
    #[must_use]
    pub const fn new(address: IpAddr, prefix_length: u8) -> Self {
        Source {
            address,
            prefix_length,
            interface: 0,
            deprecated: false,
            temporary: false,
            home: false,
            at_home: false,
            by_next_hop: false,
        }
    }

    /// The more, the better: rule 4 of sources and of destinations.
    pub(super) fn mobility(&self) -> u8 {
        u8::from(self.home).saturating_add(u8::from(self.home && self.at_home))
    }

    /// Whether packets to `to` can come from it at all. `SEL-4 [RFC 6724 §4]`
    fn is_candidate(&self, to: &Destination) -> bool {
        let (own, destination) = (self.address.to_canonical(), to.address.to_canonical());
        let unicast = !own.is_multicast() && !own.is_unspecified();
        let bound = destination.is_multicast() || Scope::of(&mapped(destination), false) <= Scope::LINK_LOCAL;
        unicast && own.is_ipv4() == destination.is_ipv4() && (!bound || self.is_of_interface(to))
    }

    /// Whether it is of the outgoing interface; 0 is one that nobody named.
    const fn is_of_interface(&self, to: &Destination) -> bool {
        self.interface == to.interface || self.interface == 0 || to.interface == 0
    }
}

/// The source address that a policy chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The address.
    pub source: Source,
    /// Its place among those that were given.
    pub index: usize,
    /// The rule that set it apart from the best of the others.
    pub rule: SourceRule,
}

/// The rules for source addresses, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceRule {
    /// 1: it is the destination's own address.
    SameAddress,
    /// 2: its scope fits the destination's.
    Scope,
    /// 3: it is not deprecated.
    Deprecated,
    /// 4: it is a home address.
    Home,
    /// 5: it is of the outgoing interface.
    Interface,
    /// 5.5: the next hop advertised its prefix.
    NextHop,
    /// 6: it has the destination's label.
    Label,
    /// 7: it is temporary, or public where those are preferred.
    Temporary,
    /// 8: more of its leading bits are the destination's.
    LongestPrefix,
    /// None: it came first, and all rules are undecided.
    Order,
    /// None: there was no other candidate.
    Only,
}

impl SourceRule {
    pub(super) const RULES: [SourceRule; 9] = [
        SourceRule::SameAddress,
        SourceRule::Scope,
        SourceRule::Deprecated,
        SourceRule::Home,
        SourceRule::Interface,
        SourceRule::NextHop,
        SourceRule::Label,
        SourceRule::Temporary,
        SourceRule::LongestPrefix,
    ];

    /// The number in RFC 6724 §5, `5.5` for one; `order` and `only` where no
    /// rule decided. Stable.
    #[must_use]
    pub const fn number(self) -> &'static str {
        match self {
            SourceRule::SameAddress => "1",
            SourceRule::Scope => "2",
            SourceRule::Deprecated => "3",
            SourceRule::Home => "4",
            SourceRule::Interface => "5",
            SourceRule::NextHop => "5.5",
            SourceRule::Label => "6",
            SourceRule::Temporary => "7",
            SourceRule::LongestPrefix => "8",
            SourceRule::Order => "order",
            SourceRule::Only => "only",
        }
    }

    /// Why this address and not the others, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            SourceRule::SameAddress => "it is the destination itself",
            SourceRule::Scope => "its scope fits better",
            SourceRule::Deprecated => "the others are deprecated",
            SourceRule::Home => "it is a home address",
            SourceRule::Interface => "it is of the outgoing interface",
            SourceRule::NextHop => "the next hop advertised its prefix",
            SourceRule::Label => "it has the label of the destination",
            SourceRule::Temporary => "temporary or public addresses are preferred",
            SourceRule::LongestPrefix => "more of its leading bits are the destination's",
            SourceRule::Order => "it comes first, and no rule decides",
            SourceRule::Only => "there is no other candidate",
        }
    }
}

impl fmt::Display for SourceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.number())
    }
}

/// The address that the application asks for is none that packets to this
/// destination can come from. `SEL-19`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NotACandidate;

impl fmt::Display for NotACandidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("packets to this destination cannot come from that address")
    }
}

impl core::error::Error for NotACandidate {}

impl Policy<'_> {
    /// The best of `sources` for packets to `to`; `None` when none can be used.
    /// Of equals, the first. [RFC 6724 §5]
    pub fn choose_source(&self, to: &Destination, sources: impl IntoIterator<Item = Source>) -> Option<Choice> {
        let mut judge = Judge::new(self, to);
        for (index, source) in sources.into_iter().enumerate() {
            judge.hear(index, source);
        }
        judge.choice()
    }

    /// The source that the application gave: used as it is, or refused; never
    /// another one instead. `SEL-19 [RFC 6724 §4]`
    ///
    /// # Errors
    /// None of `sources` that packets to `to` can come from has this address.
    pub fn given_source(
        &self,
        to: &Destination,
        sources: impl IntoIterator<Item = Source>,
        given: IpAddr,
    ) -> Result<Source, NotACandidate> {
        let mut candidates = sources.into_iter().filter(|source| source.is_candidate(to));
        candidates.find(|source| mapped(source.address) == mapped(given)).ok_or(NotACandidate)
    }
}

/// What each rule says of a source: the more, the better, the first difference decides.
type Ranks = [u8; 9];

/// What the rules compare sources with, and the best ones so far. It knows no iterator,
/// so that there is one of it in an image of firmware.
struct Judge<'a> {
    policy: &'a Policy<'a>,
    to: &'a Destination,
    destination: Ipv6Addr,
    scope: Scope,
    label: u32,
    best: Option<(Choice, Ranks)>,
    /// What the best one is to be set apart from: the best of the others.
    second: Option<Ranks>,
}

impl<'a> Judge<'a> {
    fn new(policy: &'a Policy<'a>, to: &'a Destination) -> Self {
        let destination = mapped(to.address);
        let scope = Scope::of(&destination, policy.private_is_site_local);
        let label = table::find(policy.rows, &destination).label;
        Judge { policy, to, destination, scope, label, best: None, second: None }
    }

    fn hear(&mut self, index: usize, source: Source) {
        if !source.is_candidate(self.to) {
            return;
        }
        let ranks = self.ranks(&source);
        match &self.best {
            Some((_, best)) if ranks <= *best => self.second = self.second.max(Some(ranks)),
            _ => {
                self.second = self.best.map(|(_, ranks)| ranks);
                self.best = Some((Choice { source, index, rule: SourceRule::Only }, ranks));
            }
        }
    }

    fn choice(&self) -> Option<Choice> {
        let (choice, ranks) = self.best?;
        let Some(second) = self.second else { return Some(choice) };
        let decided = ranks.iter().zip(second).zip(SourceRule::RULES).find(|((a, b), _)| **a != *b);
        Some(Choice { rule: decided.map_or(SourceRule::Order, |(_, rule)| rule), ..choice })
    }

    fn ranks(&self, source: &Source) -> Ranks {
        let address = mapped(source.address);
        let scope = Scope::of(&address, self.policy.private_is_site_local);
        // Scopes are at most 15. The smallest that reaches is best; of those that
        // do not, the largest.
        let Scope(reach) = scope;
        let fits = if scope >= self.scope { 32_u8.saturating_sub(reach) } else { reach };
        [
            u8::from(address == self.destination),
            fits,
            u8::from(!source.deprecated),
            source.mobility(),
            u8::from(source.is_of_interface(self.to)),
            u8::from(source.by_next_hop),
            u8::from(table::find(self.policy.rows, &address).label == self.label),
            u8::from(source.temporary == self.policy.prefers_temporary),
            common_prefix_length(source, &self.destination),
        ]
    }
}
