//! Automatic tunnelling to IPv4-compatible addresses, `::192.0.2.1`: history.
//!
//! The first transition mechanism: each IPv4 host has the IPv6 address of 96
//! zero bits and its IPv4 address. RFC 4291 §2.5.5.1 gave the addresses up,
//! RFC 4213 dropped the mechanism. It is here to talk to what is left, off
//! unless a node is given such an interface (`TUN-70`), and nothing is ever
//! forwarded from it (`TUN-71`). [RFC 2893 §5]

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::capacity::Capacity;
use crate::drop_reason::DropReason;
use crate::engine::{Event, LearnedAddress};
use crate::error::{Table, TableFull};
use crate::interface::{Context, Control, Told, Tracked, interface};
use crate::link::{Admitted, Denied, Link, LinkKind, Locator, OuterPolicy, Resolution, Traits};
use crate::prefix::{Ipv6Prefix, halves};
use crate::proto41::underlay::Underlay;
use crate::proto41::{Flow, Marks};
use crate::route::{Origin, Route};
use crate::time::Expiry;

/// The IPv4-compatible address of `ipv4`.
#[must_use]
pub const fn address(ipv4: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = ipv4.octets();
    Ipv6Addr::from_octets([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d])
}

/// The IPv4 address in an IPv4-compatible address. `TUN-72`: `::` and `::1`
/// are none, though they look so.
#[must_use]
pub const fn embedded_ipv4(address: &Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = halves(address);
    if high != 0 || low >> 32 != 0 || low <= 1 {
        return None;
    }
    let [.., a, b, c, d] = address.octets();
    Some(Ipv4Addr::new(a, b, c, d))
}

/// Whether `address` is the IPv4-compatible address of `ipv4`, and that is
/// neither of those in `::` and `::1`.
#[inline(always)]
fn embeds(address: &Ipv6Addr, ipv4: Ipv4Addr) -> bool {
    let bits = ipv4.to_bits();
    bits > 1 && halves(address) == (0, u64::from(bits))
}

/// The link's data.
#[derive(Clone)]
pub struct CompatibleLink<C: Capacity> {
    underlay: Underlay<C>,
}

impl<C: Capacity> CompatibleLink<C> {
    /// Whether a packet is clearly in order; `false` says only that
    /// [`judge`](Self::judge) must look. That both agree is a property test.
    #[inline(always)]
    fn is_plain(&self, flow: &Flow) -> bool {
        self.underlay.is_plain(flow.outer_source, flow.outer_destination)
            && embeds(&flow.inner_source, flow.outer_source)
            && embeds(&flow.inner_destination, flow.outer_destination)
    }

    /// `TUN-71 [RFC 2893 §5.3, §5.6]`: between two hosts, each with the IPv4
    /// address of its IPv6 address; for nobody behind them.
    #[inline(never)]
    fn judge(&self, flow: &Flow) -> Result<Admitted, Denied> {
        if !self.owns_ipv4(flow.outer_destination) {
            return Err(Denied::NotAddressed);
        }
        if self.underlay.excludes(flow.outer_source) {
            return Err(Denied::Refused(DropReason::OuterSourceRefused));
        }
        if embedded_ipv4(&flow.inner_source) != Some(flow.outer_source)
            || embedded_ipv4(&flow.inner_destination) != Some(flow.outer_destination)
        {
            return Err(Denied::Refused(DropReason::CompatibleMismatch));
        }
        Ok(Admitted::Host)
    }
}

impl<C: Capacity> Link for CompatibleLink<C> {
    type Capacity = C;

    fn kind(&self) -> LinkKind {
        LinkKind::Compatible
    }

    fn traits(&self) -> Traits {
        Traits { compatible_sources: true, ..Traits::AUTOMATIC }
    }

    fn underlay(&self) -> &Underlay<C> {
        &self.underlay
    }

    fn underlay_mut(&mut self) -> &mut Underlay<C> {
        &mut self.underlay
    }

    fn resolve(&self, inner_source: &Ipv6Addr, next_hop: &Ipv6Addr) -> Result<Resolution, DropReason> {
        // TUN-70
        let destination = embedded_ipv4(next_hop).ok_or(DropReason::NextHopUnresolvable)?;
        // TUN-4, TUN-71
        if !self.underlay.may_send_to(destination) {
            return Err(DropReason::DestinationRefused);
        }
        match embedded_ipv4(inner_source) {
            Some(source) if self.owns_ipv4(source) => Ok(Resolution::To { source, destination }),
            _ => Err(DropReason::SourceUnusable),
        }
    }

    #[inline(always)]
    fn admit(&self, flow: &Flow) -> Result<Admitted, Denied> {
        // A copy, so that the flow of a plain packet need not be in memory.
        if self.is_plain(flow) { Ok(Admitted::Host) } else { self.judge(&{ *flow }) }
    }

    fn is_on_link(&self, address: &Ipv6Addr) -> bool {
        embedded_ipv4(address).is_some()
    }

    fn is_local(&self, address: &Ipv6Addr) -> bool {
        embedded_ipv4(address).is_some_and(|ipv4| self.owns_ipv4(ipv4))
    }

    fn own_marks(&self) -> Marks {
        self.underlay.locators().iter().fold(Marks::NONE, |marks, own| marks.with_address(own.address))
    }

    fn source_for(&self, _destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        self.underlay.locators().first().map(|locator| address(locator.address))
    }
}

/// The interface.
#[derive(Clone)]
pub struct CompatibleInterface<C: Capacity> {
    link: Tracked<CompatibleLink<C>>,
    told: Told<C>,
}

impl<C: Capacity> CompatibleInterface<C> {
    /// An interface without IPv4 addresses.
    #[must_use]
    pub const fn new(policy: OuterPolicy) -> Self {
        CompatibleInterface {
            link: Tracked::new(CompatibleLink { underlay: Underlay::new(policy) }),
            told: Told::NOTHING,
        }
    }

    /// This node's addresses on the link.
    pub fn addresses(&self) -> impl Iterator<Item = LearnedAddress> + '_ {
        self.told.addresses.iter()
    }

    /// Replaces the IPv4 addresses by those that can be unicast addresses.
    ///
    /// # Errors
    /// More than the table of locators or of routes holds.
    pub fn set_locators(&mut self, cx: &mut Context<'_, C>, locators: &[Locator]) -> Result<(), TableFull> {
        let known = self.link.underlay.replace(locators.iter().copied());
        self.told.full.set(Table::Locators, known);
        known.and(self.sync(cx))
    }

    /// Brings addresses and routes to what is known.
    fn sync(&mut self, cx: &mut Context<'_, C>) -> Result<(), TableFull> {
        let locators = self.link.underlay.locators();
        self.told.sync_automatic(locators.iter().map(|own| address(own.address)), Expiry::NEVER);
        let on_link = (!locators.is_empty()).then(|| Route::on_link(Ipv6Prefix::COMPATIBLE, cx.id, Origin::Automatic));
        self.told.sync_routes(cx, on_link.into_iter())
    }
}

impl<C: Capacity> Control<C> for CompatibleInterface<C> {
    fn poll_event(&mut self, cx: &mut Context<'_, C>) -> Option<Event> {
        self.told.poll_event(cx.id, &self.link.underlay.policy)
    }

    fn retry(&mut self, cx: &mut Context<'_, C>) {
        if self.told.full.is_any() {
            let _ = self.sync(cx);
        }
    }
}

interface!(CompatibleInterface, CompatibleLink);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::Standard;
    use crate::prefix::special;
    use proptest::prelude::*;

    /// Our locators, their neighbours and broadcast addresses, what stands at
    /// the borders of special blocks, and any.
    fn ipv4() -> impl Strategy<Value = Ipv4Addr> {
        let near = prop_oneof![Just(1_u8), Just(2), Just(3), Just(66), Just(255)];
        prop_oneof![
            4 => near.prop_map(|last| Ipv4Addr::new(10, 0, 0, last)),
            1 => prop::sample::select(special::borders()),
            1 => (0_u32..4).prop_map(Ipv4Addr::from_bits),
            1 => any::<u32>().prop_map(Ipv4Addr::from_bits),
        ]
    }

    fn inner(outer: Ipv4Addr) -> impl Strategy<Value = Ipv6Addr> {
        let flip = prop_oneof![6 => Just(0_u128), 1 => (0_u32..128).prop_map(|bit| 1_u128.wrapping_shl(bit))];
        (prop_oneof![4 => Just(outer), 1 => ipv4()], flip)
            .prop_map(|(ipv4, flip)| Ipv6Addr::from_bits(u128::from(ipv4.to_bits()) ^ flip))
    }

    fn flow() -> impl Strategy<Value = Flow> {
        (ipv4(), ipv4()).prop_flat_map(|(source, destination)| {
            (inner(source), inner(destination)).prop_map(move |(from, to)| Flow::between(source, destination, from, to))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn tun_71_tun_72_what_is_plain_is_what_the_checks_one_by_one_let_in(
            locators in prop::collection::vec((ipv4(), 24_u8..=32), 0..3),
            flows in prop::collection::vec(flow(), 24),
        ) {
            let mut link = CompatibleLink::<Standard> { underlay: Underlay::new(OuterPolicy::DEFAULT) };
            let locators = locators.into_iter().map(|(address, subnet_length)| Locator { address, subnet_length });
            link.underlay.replace(locators).unwrap();
            for flow in flows {
                let judged = link.judge(&flow);
                prop_assert!(!link.is_plain(&flow) || judged == Ok(Admitted::Host), "{:?}", flow);
                prop_assert_eq!(link.admit(&flow), judged, "{:?}", flow);
            }
        }
    }

    /// The short way is no short way when nobody goes it.
    #[test]
    fn a_neighbour_is_plain() {
        let ipv4 = |last| Ipv4Addr::new(10, 0, 0, last);
        let mut link = CompatibleLink::<Standard> { underlay: Underlay::new(OuterPolicy::DEFAULT) };
        let flow = Flow::between(ipv4(3), ipv4(2), address(ipv4(3)), address(ipv4(2)));
        assert!(!link.is_plain(&flow));
        link.underlay.replace([Locator { address: ipv4(2), subnet_length: 24 }]).unwrap();
        assert!(link.is_plain(&flow));
    }
}
