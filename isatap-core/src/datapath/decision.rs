//! What was decided of packets, remembered.
//!
//! A decision is a pure function of a few addresses and of links, routes and
//! neighbours. So it holds for the next packet with the same addresses, until
//! one of these changes:
//!
//! | packet | key | remembered |
//! |---|---|---|
//! | out | link that it is bound to, inner source and destination | the way out |
//! | in | link that it is bound to, outer and inner addresses | link, who speaks, for whom; of what is forwarded the way out |
//! | native | link that it came by, inner source and destination | the way out |
//!
//! What reads other bytes of a packet (lengths, ECN, extension headers, hop
//! limit, Neighbor Discovery) is done for each packet, by the code that does it
//! without a table. A table that is off and one that is on differ in nothing but
//! time.
//!
//! # Validity
//! A row counts for one generation of links and routes, and where neighbours are asked whether they are there (`SEC-1`) as long
//! as the last answer is good. Refusals, held packets, ways around an unreachable
//! next hop (`NDP-37`) and packets that a control machine awaits are decided each
//! time.
//!
//! # Room
//! Two rows may hold a key: those of the set that a hash names, whose key is
//! drawn, so that nobody can aim at another's. Who is new takes, of these:
//!
//! 1. one that no longer holds, such as its own former one;
//! 2. one that was not used since it was written, or spared.
//!
//! Where both were used, they are spared, and the new one is not remembered this
//! time. So a flood of new flows costs a miss each, and takes no row of a flow that
//! has a packet between two of the flood's in the same set.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::pipeline::Kept;
use super::plan::Way;
use crate::capacity::{Row, Storage};
use crate::engine::{Admits, Admitted, Entropy, Sends, draw_key};
use crate::link::Resolution;
use crate::packet::{LinkId, PacketMut};
use crate::proto41::Outer;
use crate::proto41::identification::siphash;
use crate::time::{Expiry, Instant};
use crate::wire::field::{bytes_at, word_at};

/// Rows of a set.
const WAYS: usize = 2;
/// A place that no table has.
pub(crate) const NOWHERE: usize = usize::MAX;
/// 32-bit words of a key: two IPv6 addresses, two of IPv4, where it came from.
const WORDS: usize = 11;

/// Where a packet comes from.
#[derive(Clone, Copy)]
pub(crate) enum Entrance<'a> {
    /// The inside; it may be bound to a link.
    Out,
    /// A tunnel, behind this outer header.
    In(&'a Outer),
    /// A native link, to be forwarded.
    Native(LinkId),
}

/// The fields that a decision is made from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    /// Inner source and destination.
    inner: [u64; 4],
    /// Outer source and destination.
    outer: u64,
    /// Which way the packet goes, and the link that it came by or is bound to.
    entrance: u32,
}

const OUT: u32 = 0x1000;
const NATIVE: u32 = 0x2000;
/// The only one with outer addresses.
const IN: u32 = 0x4000;
/// Bound to no link.
const UNBOUND: u32 = 0x100;

impl Key {
    pub(super) const NONE: Key = Key { inner: [0; 4], outer: 0, entrance: 0 };

    /// Whether it is that of a packet from a tunnel.
    pub(super) const fn is_in(&self) -> bool {
        self.entrance & IN == IN
    }

    fn source(&self) -> Ipv6Addr {
        let [high, low, ..] = self.inner.map(u64::from_be);
        Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low))
    }

    fn destination(&self) -> Ipv6Addr {
        let [.., high, low] = self.inner.map(u64::from_be);
        Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low))
    }
}

/// The same fields where they stand in a packet.
pub(crate) struct Question<'a> {
    header: &'a [u8; 40],
    outer: u64,
    entrance: u32,
}

impl<'a> Question<'a> {
    /// That of a packet. `None`: it is too short to be one.
    #[inline(always)]
    pub(crate) fn of(entrance: Entrance<'_>, packet: &'a PacketMut<'_>) -> Option<Question<'a>> {
        let header = packet.as_slice().first_chunk::<40>()?;
        let word = |address: Ipv4Addr| u64::from(u32::from_ne_bytes(address.octets()));
        let (way, outer, link) = match entrance {
            Entrance::Out => (OUT, 0, packet.link()),
            Entrance::In(outer) => (IN, word(outer.source) << 32 | word(outer.destination), packet.link()),
            Entrance::Native(link) => (NATIVE, 0, Some(link)),
        };
        Some(Question { header, outer, entrance: way | link.map_or(UNBOUND, |link| link.0.into()) })
    }

    /// What is compared with it.
    #[inline(always)]
    pub(crate) fn key(&self) -> Key {
        let header = self.header;
        let (source, destination) = (
            (word_at::<8, 40>(header), word_at::<16, 40>(header)),
            (word_at::<24, 40>(header), word_at::<32, 40>(header)),
        );
        let inner = [source.0, source.1, destination.0, destination.1];
        Key { inner, outer: self.outer, entrance: self.entrance }
    }

    /// A hash of which, whatever two keys are, the upper 32 bits agree with a
    /// chance of 2^-32 over the draws of `secret`: pair-multiply-shift
    /// [Thorup, High Speed Hashing for Integers and Strings, §3.5].
    #[inline(always)]
    fn hash(&self, secret: &[u64; WORDS]) -> u64 {
        let [a, b, c, d, e, f, g, h, i, j, k] = secret;
        // Not from the words of the key: those would be kept for the comparison.
        let half = |bytes: [u8; 4]| u64::from(u32::from_ne_bytes(bytes));
        let pair = |one: &u64, other: &u64, first: u64, second: u64| {
            one.wrapping_add(first).wrapping_mul(other.wrapping_add(second))
        };
        let header = self.header;
        let inner = pair(a, b, half(bytes_at::<8, 4, 40>(header)), half(bytes_at::<12, 4, 40>(header)))
            .wrapping_add(pair(c, d, half(bytes_at::<16, 4, 40>(header)), half(bytes_at::<20, 4, 40>(header))))
            .wrapping_add(pair(e, f, half(bytes_at::<24, 4, 40>(header)), half(bytes_at::<28, 4, 40>(header))))
            .wrapping_add(pair(g, h, half(bytes_at::<32, 4, 40>(header)), half(bytes_at::<36, 4, 40>(header))));
        let is_in = self.entrance & IN == IN;
        let outer = if is_in { pair(i, j, self.outer & 0xffff_ffff, self.outer >> 32) } else { 0 };
        inner.wrapping_add(outer).wrapping_add(k.wrapping_mul(self.entrance.into()))
    }
}

/// That a packet may come in, and what becomes of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(super) link: LinkId,
    pub(super) from: Admitted,
    pub(super) ends_here: bool,
}

/// One row of [`Decisions`]: what packets with the same addresses have in
/// common.
#[derive(Clone, Copy)]
pub struct Decision {
    key: Key,
    generation: u32,
    until: Expiry,
    pub(super) entry: Option<Entry>,
    pub(super) way: Option<Way>,
    /// Whether it served a packet since it was written, or spared.
    is_used: bool,
}

/// The address that lies so in a packet.
fn ipv4(word: u64) -> Ipv4Addr {
    Ipv4Addr::from(u32::try_from(word & 0xffff_ffff).unwrap_or_default().to_ne_bytes())
}

impl Decision {
    #[inline(always)]
    fn holds(&self, generation: u32, now: Instant) -> bool {
        self.generation == generation && Expiry::at(now) < self.until
    }

    /// Whether it is what is asked for, and holds.
    #[inline(always)]
    fn is(&self, question: &Question<'_>, generation: u32, now: Instant) -> bool {
        let ([a, b, c, d], header) = (self.key.inner, question.header);
        // What tells most flows apart first: the last bits of both addresses. Read from the packet each time: kept in
        // registers, they would be in the way of the hash.
        (b ^ word_at::<16, 40>(header)) | (d ^ word_at::<32, 40>(header)) == 0
            && self.key.outer == question.outer
            && self.key.entrance == question.entrance
            && (a ^ word_at::<8, 40>(header)) | (c ^ word_at::<24, 40>(header)) == 0
            && self.holds(generation, now)
    }

    /// Until when it holds.
    pub(super) const fn until(&self) -> Expiry {
        self.until
    }

    /// Of a packet from the inside, for who carries such packets elsewhere.
    pub(crate) fn sends(&self) -> Option<Sends> {
        let way = self.way.filter(|way| self.entry.is_none() && way.dont_fragment)?;
        let Resolution::To { source, destination } = way.resolution else { return None };
        Some(Sends {
            source: self.key.source(),
            destination: self.key.destination(),
            link: way.link,
            outer_source: source,
            outer_destination: destination,
            ports: None,
            mtu: way.limit,
            tos: way.stamp.tos,
            tos_mask: way.stamp.copied,
            ttl: way.stamp.ttl,
            until: self.until,
            again: self.is_used,
        })
    }

    /// Of a packet from a tunnel. What a machine awaits is not known here.
    pub(crate) fn admits(&self) -> Option<Admits> {
        let Entry { link, .. } = self.entry?;
        let [outer_source, outer_destination] = [self.key.outer >> 32, self.key.outer].map(ipv4);
        let (source, destination) = (self.key.source(), self.key.destination());
        let (until, again) = (self.until, self.is_used);
        let (ports, awaited) = (None, false);
        Some(Admits { source, destination, outer_source, outer_destination, ports, link, awaited, until, again })
    }
}

const _: () = assert!(size_of::<Decision>() <= 96);

impl Row for Decision {
    const EMPTY: Self = Decision {
        key: Key::NONE,
        generation: 0,
        until: Expiry::at(Instant::ZERO),
        entry: None,
        way: None,
        is_used: false,
    };
}

impl core::fmt::Debug for Decision {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(if self.key == Key::NONE { "Decision(none)" } else { "Decision" })
    }
}

/// A table of decisions, over an array, a boxed slice or a borrowed one.
///
/// A row holds what is decided of a flow by its addresses, for one generation of
/// links and routes; what depends on other bytes is done for each packet. Two rows
/// may hold a flow, which a keyed hash names. Who is new takes one that no longer
/// holds, or else one that was not used lately, or none: a flood of new flows drives
/// none out that is in use.
#[derive(Clone)]
pub struct Decisions<S> {
    /// `None`: not drawn yet, so nothing is remembered.
    secret: Option<[u64; WORDS]>,
    generation: u32,
    /// The place of the decision about the last packet, where it is kept, or none.
    last: usize,
    hits: u64,
    misses: u64,
    rows: S,
}

impl<const ROWS: usize> Decisions<[Decision; ROWS]> {
    /// An empty table in an array; may be a constant.
    #[must_use]
    pub const fn new() -> Self {
        Decisions { secret: None, generation: 0, last: NOWHERE, hits: 0, misses: 0, rows: [Decision::EMPTY; ROWS] }
    }
}

impl<const ROWS: usize> Default for Decisions<[Decision; ROWS]> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Storage<Decision>> Decisions<S> {
    /// A table in memory of the caller's, every row of which must be
    /// [`Row::EMPTY`]. An odd row is not used.
    #[must_use]
    pub const fn with_storage(rows: S) -> Self {
        Decisions { secret: None, generation: 0, last: NOWHERE, hits: 0, misses: 0, rows }
    }

    /// Packets whose decision stood here.
    #[must_use]
    pub const fn hits(&self) -> u64 {
        self.hits
    }

    /// Packets for which it had to be made.
    #[must_use]
    pub const fn misses(&self) -> u64 {
        self.misses
    }

    /// Rows that there are.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.rows.as_ref().len()
    }

    /// The place of the first row of the set of a key.
    #[inline(always)]
    fn set(&self, question: &Question<'_>) -> Option<usize> {
        let hash = question.hash(self.secret.as_ref()?) >> 32;
        let sets = u64::try_from(self.rows.as_ref().len() / WAYS).ok()?;
        // The upper half of a product instead of a remainder: no division.
        usize::try_from(hash.wrapping_mul(sets) >> 32).ok()?.checked_mul(WAYS)
    }
}

impl<S> core::fmt::Debug for Decisions<S> {
    /// Without the secret.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Decisions({} hits, {} misses)", self.hits, self.misses)
    }
}

/// Nothing is remembered: no memory, no code.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDecisions;

/// Where a node keeps decisions: [`NoDecisions`] or a table of
/// [`Decisions`].
pub trait Remember: Memory {}

impl<T: Memory> Remember for T {}

mod sealed {
    use super::{Decision, Entropy, Expiry, Instant, Kept, Question};

    /// What a packet's way asks of a table.
    #[allow(private_interfaces, reason = "of this crate alone")]
    pub trait Memory {
        /// Whether anything is remembered at all.
        const IS_ON: bool;

        /// Draws the secret if there is none.
        fn draw(&mut self, entropy: &mut dyn Entropy);

        /// Links have changed: nothing holds any more.
        fn make_void(&mut self);

        /// How often that was said.
        fn generation(&self) -> u32;

        /// The place of a decision that holds, or else of the set that a new one
        /// goes into; counts a hit or a miss.
        fn recall(&mut self, question: &Question<'_>, generation: u32, now: Instant) -> Result<usize, usize>;

        /// A decision that was found.
        fn known(&self, place: usize) -> Option<&Decision>;

        /// The decision about the last packet; `None`: there is none, or there was no room for it.
        fn last(&self) -> Option<&Decision>;

        /// The row for a new decision, where `recall` said, which is to be filled.
        /// `None`: it is not kept.
        fn remember(&mut self, kept: &Kept, until: Expiry, now: Instant) -> Option<&mut Decision>;
    }
}

pub(crate) use sealed::Memory;

#[allow(private_interfaces, reason = "of this crate alone")]
impl Memory for NoDecisions {
    const IS_ON: bool = false;

    #[inline(always)]
    fn draw(&mut self, _: &mut dyn Entropy) {}

    #[inline(always)]
    fn make_void(&mut self) {}

    #[inline(always)]
    fn generation(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn recall(&mut self, _: &Question<'_>, _: u32, _: Instant) -> Result<usize, usize> {
        Err(NOWHERE)
    }

    #[inline(always)]
    fn known(&self, _: usize) -> Option<&Decision> {
        None
    }

    #[inline(always)]
    fn last(&self) -> Option<&Decision> {
        None
    }

    #[inline(always)]
    fn remember(&mut self, _: &Kept, _: Expiry, _: Instant) -> Option<&mut Decision> {
        None
    }
}

#[allow(private_interfaces, reason = "of this crate alone")]
impl<S: Storage<Decision>> Memory for Decisions<S> {
    const IS_ON: bool = true;

    fn draw(&mut self, entropy: &mut dyn Entropy) {
        if self.secret.is_none() && self.capacity() >= WAYS {
            let key = draw_key(entropy);
            let mut count = 0_u64;
            self.secret = Some(core::array::from_fn(|_| {
                count = count.wrapping_add(1);
                siphash(key, count)
            }));
        }
    }

    fn make_void(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    #[inline(always)]
    fn generation(&self) -> u32 {
        self.generation
    }

    #[inline(always)]
    fn recall(&mut self, question: &Question<'_>, generation: u32, now: Instant) -> Result<usize, usize> {
        let last = self.last;
        // Packets of a flow come in trains: most are of the last one's, whose place needs no hash.
        if let Some(row) = self.rows.as_mut().get_mut(last).filter(|row| row.is(question, generation, now)) {
            row.is_used = true;
            self.hits = self.hits.wrapping_add(1);
            return Ok(last);
        }
        let set = self.set(question).unwrap_or(NOWHERE);
        let rows = self.rows.as_mut().get_mut(set..).and_then(|rows| rows.first_chunk_mut::<WAYS>());
        let (row, place) = match rows {
            Some([first, _]) if first.is(question, generation, now) => (first, set),
            Some([_, second]) if second.is(question, generation, now) => (second, set.wrapping_add(1)),
            _ => {
                self.misses = self.misses.wrapping_add(1);
                self.last = NOWHERE;
                return Err(set);
            }
        };
        row.is_used = true;
        self.hits = self.hits.wrapping_add(1);
        self.last = place;
        Ok(place)
    }

    #[inline(always)]
    fn known(&self, place: usize) -> Option<&Decision> {
        self.rows.as_ref().get(place)
    }

    fn last(&self) -> Option<&Decision> {
        self.known(self.last)
    }

    #[inline(always)]
    fn remember(&mut self, kept: &Kept, until: Expiry, now: Instant) -> Option<&mut Decision> {
        let Kept { key, place, generation } = *kept;
        if Expiry::at(now) >= until {
            return None;
        }
        let place = match place {
            Ok(place) => place,
            Err(set) => {
                let [first, second] = self.rows.as_mut().get_mut(set..)?.first_chunk_mut::<WAYS>()?;
                if !first.holds(generation, now) {
                    set
                } else if !second.holds(generation, now) || !second.is_used {
                    set.saturating_add(1)
                } else if !first.is_used {
                    set
                } else {
                    (first.is_used, second.is_used) = (false, false);
                    return None;
                }
            }
        };
        let row = self.rows.as_mut().get_mut(place)?;
        self.last = place;
        (row.key, row.generation, row.until, row.is_used) = (key, generation, until, false);
        Some(row)
    }
}
