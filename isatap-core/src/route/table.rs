//! The table: rows in the order in which they are to be found.

use core::fmt;
use core::net::Ipv6Addr;

use crate::capacity::{Array, Row, Storage};
use crate::error::{Table, TableFull};
use crate::packet::LinkId;
use crate::prefix::halves;
use crate::route::index::Index;
use crate::route::shares;
use crate::route::slot::{Goodness, METRICS, Slot, swap_if_disordered, swap_rows};
use crate::route::{Change, Route, RouteKey};
use crate::time::{Expiry, Instant};

/// Routes, found by the longest prefix.
///
/// `RTE-1, NDP-37, RTE-15 [RFC 4191 §3.2]`: of the routes that match a
/// destination, those whose next hop is not known to be unreachable come
/// first, also before longer prefixes; then the longer prefix, the higher
/// [`Preference`](crate::route::Preference), the lower metric (the route's plus the interface's), and
/// the one that was added first. If every matching next hop is unreachable,
/// the best of them is used.
///
/// Inserting, removing and marking cost time in proportion to the rows that
/// there are; a lookup is one scan.
///
/// # Shares
/// Routes that routers advertise, default routes apart, have a third of the
/// rows, and so have mirrored ones; manual, automatic, on-link and default
/// routes find a row as long as those have any. Where a third is full,
/// links share it equally, and the routers of each link share what that has:
/// whoever has less than others takes a row from who has most. So no router
/// keeps out another one, or another link. Redirected destinations yield to
/// all, the oldest first.
///
/// # Output
/// A row that the operating system must know of ([`Origin::is_told`](crate::route::Origin::is_told))
/// remembers what was told. [`poll_change`](Self::poll_change) compares and
/// tells the difference, so nothing queues up, and what is added and removed
/// between two polls makes no noise. A removed row that was told keeps its
/// place, out of sight of lookups, until its removal has been polled: a table
/// full of such rows refuses new ones.
#[derive(Clone)]
pub struct RouteTable<S> {
    /// Reachable rows, unreachable rows, removed rows that are still to be
    /// told, each part in lookup order; rows that are not in use.
    storage: S,
    index: Index,
    reachable: usize,
    live: usize,
    used: usize,
    next_rank: u64,
    deadline: Expiry,
    /// Between [`hold_index`](Self::hold_index) and
    /// [`release_index`](Self::release_index).
    is_index_held: bool,
    generation: u32,
    interface_metrics: [u32; METRICS],
}

impl<S: Array<Slot>> RouteTable<S> {
    /// No routes.
    pub const EMPTY: Self = Self::empty(S::EMPTY);

    /// No routes; for statics.
    #[must_use]
    pub const fn new() -> Self {
        Self::EMPTY
    }
}

impl<S: Array<Slot>> Default for RouteTable<S> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<S> RouteTable<S> {
    const fn empty(storage: S) -> Self {
        RouteTable {
            storage,
            index: Index::EMPTY,
            reachable: 0,
            live: 0,
            used: 0,
            next_rank: 0,
            deadline: Expiry::NEVER,
            is_index_held: false,
            generation: 0,
            interface_metrics: [0; METRICS],
        }
    }
}

/// Lookups.
impl<S: Storage<Slot>> RouteTable<S> {
    /// The route to `destination`, whatever its link.
    ///
    /// Without a zone a link-local destination is looked up like any other:
    /// the `fe80::/64` that was added first answers, as the default zone.
    /// [RFC 4007 §6]
    #[inline]
    #[must_use]
    pub fn lookup(&self, destination: &Ipv6Addr) -> Option<&Route> {
        self.first_match(destination, None).map(|(_, slot)| &slot.route)
    }

    /// The route to `destination` by `link`, the zone of a link-local
    /// destination or the device that the packet came by; `None`: by any
    /// link. Also says which better route was avoided.
    #[inline]
    #[must_use]
    pub fn lookup_on(&self, link: Option<LinkId>, destination: &Ipv6Addr) -> Option<Lookup<'_>> {
        let (at, slot) = self.first_match(destination, link)?;
        let mut avoided = None;
        if at < self.reachable && self.reachable < self.live {
            let unreachable = self.live_rows().get(self.reachable..).unwrap_or(&[]);
            avoided = unreachable
                .iter()
                .find(|other| other.is_match(halves(destination), link))
                .filter(|other| self.goodness(other) < self.goodness(slot))
                .map(|other| &other.route);
        }
        Some(Lookup { route: &slot.route, avoided })
    }

    /// The routes to several destinations: writes as many answers as the
    /// shorter of the two slices has places.
    pub fn lookup_batch(&self, destinations: &[Ipv6Addr], routes: &mut [Option<RouteId>]) {
        for (destination, route) in destinations.iter().zip(routes) {
            *route = self.first_match(destination, None).map(|(at, _)| RouteId::new(at));
        }
    }

    /// The route that a lookup or an insertion named, before the table
    /// changed again.
    #[inline]
    #[must_use]
    pub fn get(&self, id: RouteId) -> Option<&Route> {
        self.live_rows().get(usize::from(id.0)).map(|slot| &slot.route)
    }

    /// The route with this key.
    #[must_use]
    pub fn find(&self, key: &RouteKey) -> Option<&Route> {
        self.live_rows().iter().find(|slot| slot.has_key(key)).map(|slot| &slot.route)
    }

    /// Every route, in lookup order.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.live_rows().iter().map(|slot| &slot.route)
    }

    /// The routes that may be advertised, in lookup order. `RTE-6`
    pub fn published(&self) -> impl Iterator<Item = &Route> {
        self.iter().filter(|route| route.publish)
    }

    /// Whether the neighbour was marked by
    /// [`set_unreachable`](Self::set_unreachable).
    #[must_use]
    pub fn is_unreachable(&self, link: LinkId, next_hop: &Ipv6Addr) -> bool {
        let rows = self.live_rows().get(self.reachable..).unwrap_or(&[]);
        rows.iter().any(|slot| slot.is_via(link, next_hop))
    }

    /// Routes that there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether there is no route.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Rows that there are.
    #[must_use]
    pub fn capacity(&self) -> usize {
        // A `RouteId` counts no further.
        self.storage.as_ref().len().min(usize::from(u16::MAX))
    }

    /// A number that changes whenever a lookup may have another answer: what
    /// was remembered from earlier lookups is void then. `NDP-36`
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    #[inline]
    fn first_match(&self, destination: &Ipv6Addr, link: Option<LinkId>) -> Option<(usize, &Slot)> {
        let slots = self.storage.as_ref();
        if slots.len() > FEW {
            return self.index.first_match(slots, self.live, destination, link);
        }
        let halves = halves(destination);
        slots.iter().take(self.live).enumerate().find(|(_, slot)| slot.is_match(halves, link))
    }

    fn live_rows(&self) -> &[Slot] {
        self.storage.as_ref().get(..self.live).unwrap_or(&[])
    }

    fn rows(&self) -> &[Slot] {
        self.storage.as_ref().get(..self.used).unwrap_or(&[])
    }

    fn rows_mut(&mut self) -> &mut [Slot] {
        self.storage.as_mut().get_mut(..self.used).unwrap_or(&mut [])
    }
}

/// Changes.
impl<S: Storage<Slot>> RouteTable<S> {
    /// No routes, in memory of the caller's; at most 65,535 rows are used.
    pub fn with_storage(storage: S) -> Self {
        Self::empty(storage)
    }

    /// Adds a route, or replaces the one with the same [`RouteKey`].
    ///
    /// A replaced route keeps its place among equals. A next hop that is
    /// marked unreachable stays so. The [`RouteId`] holds until the next
    /// change.
    ///
    /// # Errors
    /// No free row, and none that the route may take from another: see
    /// [shares](Self#shares); nothing changed. Rows whose removal waits to be
    /// polled are not free, but one of the same key is used again.
    pub fn insert(&mut self, route: Route) -> Result<RouteId, TableFull> {
        self.insert_displacing(route, true).map(|(id, _)| id)
    }

    /// The same; also gives the route that had to go for it. `shares`: whether
    /// one may.
    pub(crate) fn insert_displacing(
        &mut self,
        route: Route,
        shares: bool,
    ) -> Result<(RouteId, Option<Route>), TableFull> {
        let key = route.key();
        let old = self.rows().iter().position(|slot| slot.has_key(&key));
        let mut displaced = None;
        if shares
            && old.is_none_or(|old| old >= self.live)
            && let Some(at) = shares::make_room(self.rows(), self.capacity(), old.is_some(), &route)?
        {
            let key = self.rows().get(at).map(|slot| slot.route.key());
            displaced = key.and_then(|key| self.remove(&key));
        }
        // Rows move when one of them goes.
        let old = self.rows().iter().position(|slot| slot.has_key(&key));
        let unreachable = route.next_hop.is_some_and(|next_hop| self.is_unreachable(route.link, &next_hop));
        let at = match old {
            Some(at) => at,
            None => {
                let at = self.used;
                *self.storage.as_mut().get_mut(at).ok_or(TableFull::new(Table::Routes))? = Slot::EMPTY;
                self.used = at.saturating_add(1);
                at
            }
        };
        let rank = self.next_rank;
        let Some(slot) = self.storage.as_mut().get_mut(at) else { return Err(TableFull::new(Table::Routes)) };
        // A longer life alone neither moves rows nor voids earlier lookups.
        if slot.is_live && (Route { expires: slot.route.expires, ..route }) == slot.route {
            slot.route = route;
            let live = self.rows().iter().filter(|slot| slot.is_live);
            self.deadline = live.map(|slot| slot.route.expires).min().unwrap_or(Expiry::NEVER);
            return Ok((RouteId::new(at), displaced));
        }
        if !slot.is_live {
            slot.rank = rank;
            self.next_rank = rank.wrapping_add(1);
        }
        slot.route = route;
        slot.is_live = true;
        slot.is_unreachable = unreachable;
        let at = self.move_to_place(at);
        self.note_change();
        Ok((RouteId::new(at), displaced))
    }

    /// Removes the route with this key.
    pub fn remove(&mut self, key: &RouteKey) -> Option<Route> {
        let removed = self.find(key).copied()?;
        self.remove_if(|route| route.prefix == key.prefix && route.key() == *key);
        Some(removed)
    }

    /// Removes all routes by a link that is gone. Returns how many.
    pub fn remove_link(&mut self, link: LinkId) -> usize {
        // RTE-8: no route outlives its interface.
        self.remove_if(|route| route.link == link)
    }

    /// Whether a removed route by this link is still to be told.
    pub(crate) fn is_leaving(&self, link: LinkId) -> bool {
        self.rows().iter().any(|slot| !slot.is_live && slot.route.link == link)
    }

    /// Removes all routes by a neighbour that is gone or no router any more.
    /// Returns how many.
    pub fn remove_next_hop(&mut self, link: LinkId, next_hop: &Ipv6Addr) -> usize {
        self.remove_if(|route| route.link == link && route.next_hop.as_ref() == Some(next_hop))
    }

    /// Removes the routes that `doomed` says yes to. Returns how many.
    pub fn remove_if(&mut self, mut doomed: impl FnMut(&Route) -> bool) -> usize {
        if self.storage.as_ref().is_empty() {
            return 0;
        }
        let mut removed = 0_usize;
        let mut stays = false;
        for slot in self.rows_mut().iter_mut().filter(|slot| slot.is_live) {
            if doomed(&slot.route) {
                slot.is_live = false;
                stays |= slot.told().is_some();
                removed = removed.saturating_add(1);
            }
        }
        if removed > 0 {
            self.drop_silent();
            // The others are in order without those that are gone.
            if stays {
                self.sort();
            }
            self.note_change();
        }
        removed
    }

    /// Removes the routes whose time is over at `now`. Returns how many.
    pub fn expire(&mut self, now: Instant) -> usize {
        // RTE-8: lifetimes count down.
        if !self.deadline.is_due(now) {
            return 0;
        }
        self.remove_if(|route| route.expires.is_due(now))
    }

    /// When [`expire`](Self::expire) has something to do.
    #[must_use]
    pub fn deadline(&self) -> Expiry {
        self.deadline
    }

    /// Marks a neighbour as unreachable, or takes the mark away: its routes
    /// are used only where no other matches. Returns whether a route was
    /// marked otherwise before.
    ///
    /// The mark lives in the neighbour's routes: it is gone with the last one.
    pub fn set_unreachable(&mut self, link: LinkId, next_hop: &Ipv6Addr, unreachable: bool) -> bool {
        // NDP-37 [RFC 4191 §3.2]
        let mut changed = false;
        for slot in self.rows_mut().iter_mut().filter(|slot| slot.is_live && slot.is_via(link, next_hop)) {
            changed |= slot.is_unreachable != unreachable;
            slot.is_unreachable = unreachable;
        }
        if changed {
            self.sort();
            self.note_change();
        }
        changed
    }

    /// Puts a route behind its equals (same prefix, reachability, preference
    /// and metric), so that the next of them is found: the round robin among
    /// routers of which none is reachable. Returns whether there is such a
    /// route.
    pub fn rotate(&mut self, key: &RouteKey) -> bool {
        // NDP-39 [RFC 4861 §6.3.6]
        let rank = self.next_rank;
        let Some(at) = self.rows().iter().position(|slot| slot.is_live && slot.has_key(key)) else { return false };
        if let Some(slot) = self.storage.as_mut().get_mut(at) {
            slot.rank = rank;
            self.next_rank = rank.wrapping_add(1);
        }
        self.move_to_place(at);
        self.note_change();
        true
    }

    /// What is added to the metric of every route by `link`; 0 at first.
    ///
    /// # Errors
    /// Only links 0 to 7 can have an interface metric other than 0; nothing
    /// changed.
    pub fn set_interface_metric(&mut self, link: LinkId, metric: u32) -> Result<(), TableFull> {
        let Some(place) = self.interface_metrics.get_mut(link.index()) else {
            // What has no place has the metric 0.
            return if metric == 0 { Ok(()) } else { Err(TableFull::new(Table::Links)) };
        };
        if *place != metric {
            *place = metric;
            self.sort();
            self.note_change();
        }
        Ok(())
    }

    /// Until [`release_index`](Self::release_index) a change writes no new
    /// index, and a lookup scans the rows: for a message that changes many.
    /// A new index costs more than all else that a change does, and a router
    /// can put four thousand changes into one advertisement.
    pub(crate) fn hold_index(&mut self) {
        self.is_index_held = true;
    }

    /// Writes the index that the changes since [`hold_index`](Self::hold_index)
    /// make necessary.
    pub(crate) fn release_index(&mut self) {
        self.is_index_held = false;
        if self.index.is_scan() {
            self.write_index();
        }
    }

    /// The next difference between what was told and what is: removals first,
    /// then in lookup order; `None` when there is none left.
    ///
    /// The route's metric is what is compared, with the interface's in it;
    /// that of a removed route is what was told last. `Changed` means another
    /// metric or preference for the same key. Lifetimes are not told: the end
    /// of one is a removal.
    pub fn poll_change(&mut self) -> Option<(Change, Route)> {
        if self.storage.as_ref().is_empty() {
            return None;
        }
        self.poll_removed().or_else(|| self.poll_live())
    }

    /// Takes out the first removed row. The others move up without their
    /// words of the index, which knows live rows only and stays as it is.
    fn poll_removed(&mut self) -> Option<(Change, Route)> {
        let last = self.used.checked_sub(1)?;
        for at in self.live..last {
            swap_rows(self.rows_mut(), at);
        }
        let removed = self.rows().get(self.live..)?.last().copied()?;
        self.used = last;
        let told = removed.told()?;
        Some((Change::Removed, Route { metric: told.metric, preference: told.preference, ..removed.route }))
    }

    fn poll_live(&mut self) -> Option<(Change, Route)> {
        let metrics = self.interface_metrics;
        self.rows_mut().iter_mut().find_map(|slot| {
            let change = slot.difference(&metrics)?;
            let told = slot.wanted(&metrics);
            slot.set_told(told);
            Some((change, Route { metric: told.metric, ..slot.route }))
        })
    }

    /// Frees the removed rows that nobody was told of; the others move up.
    fn drop_silent(&mut self) {
        let stays = |slot: &Slot| slot.is_live || slot.told().is_some();
        let rows = self.rows_mut();
        let Some(first) = rows.iter().position(|slot| !stays(slot)) else { return };
        let mut kept = first;
        for at in first..rows.len() {
            if !rows.get(at).is_some_and(stays) {
                continue;
            }
            if let Ok([place, slot]) = rows.get_disjoint_mut([kept, at]) {
                core::mem::swap(place, slot);
            }
            kept = kept.saturating_add(1);
        }
        self.used = kept;
    }

    /// Moves the row at `at`, the only one that may be out of order, to its
    /// place, and returns that.
    fn move_to_place(&mut self, mut at: usize) -> usize {
        let metrics = self.interface_metrics;
        let rows = self.rows_mut();
        while let Some(before) = at.checked_sub(1).filter(|&before| swap_if_disordered(rows, before, &metrics)) {
            at = before;
        }
        while swap_if_disordered(rows, at, &metrics) {
            at = at.saturating_add(1);
        }
        at
    }

    /// Puts all rows into order: few are out of it, so that each is carried
    /// to its place. (The library's sort can panic.)
    fn sort(&mut self) {
        let metrics = self.interface_metrics;
        let rows = self.rows_mut();
        for row in 1..rows.len() {
            let mut at = row;
            while let Some(before) = at.checked_sub(1).filter(|&before| swap_if_disordered(rows, before, &metrics)) {
                at = before;
            }
        }
    }

    /// Brings up to date what is known of all rows together.
    fn note_change(&mut self) {
        if self.storage.as_ref().is_empty() {
            return;
        }
        self.reachable = 0;
        self.live = 0;
        self.deadline = Expiry::NEVER;
        for slot in self.storage.as_ref().iter().take(self.used).filter(|slot| slot.is_live) {
            self.live = self.live.saturating_add(1);
            self.reachable = self.reachable.saturating_add(usize::from(!slot.is_unreachable));
            self.deadline = self.deadline.min(slot.route.expires);
        }
        self.write_index();
        self.generation = self.generation.wrapping_add(1);
    }

    fn write_index(&mut self) {
        let slots = self.storage.as_mut();
        if slots.len() > FEW {
            let write = if self.is_index_held { Index::scan } else { Index::build };
            self.index = write(slots, self.live);
        }
    }

    fn goodness(&self, slot: &Slot) -> Goodness {
        slot.goodness(&self.interface_metrics)
    }
}

impl<S: Storage<Slot>> fmt::Debug for RouteTable<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// As many rows are scanned: the code of an index is not worth it for them.
const FEW: usize = 7;

/// What [`RouteTable::lookup_on`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup<'a> {
    /// The route to use.
    pub route: &'a Route,
    /// A better route whose next hop is unreachable: worth a probe, since
    /// there is traffic for it now. At most one a minute and router, which is
    /// the caller's to count. `NDP-37 [RFC 4191 §3.5]`
    pub avoided: Option<&'a Route>,
}

/// A row of a [`RouteTable`], as long as the table does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(u16);

impl RouteId {
    fn new(at: usize) -> Self {
        // Never saturates: see `RouteTable::capacity`.
        RouteId(u16::try_from(at).unwrap_or(u16::MAX))
    }
}
