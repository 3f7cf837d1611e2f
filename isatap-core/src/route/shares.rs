//! Whose row a new route may take in a table without a free one.
//!
//! Equal shares, found by eviction: nobody is bounded while there is room.
//! When there is none, a claimant that has at least two rows less than
//! another takes one of the other's. With `m` greedy claimants beside it
//! whoever asks for at most `1 / (m + 1)` of the rows gets all of them and
//! keeps them, whatever the others do. Links share first, then the routers of
//! each link.

use core::net::Ipv6Addr;

use crate::error::{Table, TableFull};
use crate::packet::LinkId;
use crate::route::slot::Slot;
use crate::route::{Origin, Route};

/// What may have to go for a new route, and for which.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Few, or the administrator's: never goes.
    Kept,
    /// The kernel's; those of one device may be many.
    Mirrored,
    /// A prefix that a router says it leads to: as many as it likes.
    Learned,
    /// A remembered destination, which does without its row.
    Redirected,
}

/// Who asks for rows within a class: a link, and a neighbour on it.
type Claimant = (LinkId, Option<[u8; 4]>);

/// The row that goes so that `route`, which is not in the table, gets one;
/// `None`: there is room. `has_row`: a row of its own waits for it.
///
/// A row that the operating system knows of keeps its place until its end was
/// told. There are never more of those than a class may have, and a class
/// has a third of the table: a row for its successor is there, too.
///
/// # Errors
/// Nobody has to go for it.
pub(super) fn make_room(
    slots: &[Slot],
    capacity: usize,
    has_row: bool,
    route: &Route,
) -> Result<Option<usize>, TableFull> {
    let full = slots.len() >= capacity && !has_row;
    let class = class_of(route);
    let rows_of = |bounded: fn(Class) -> bool| live(slots).filter(|(_, slot)| bounded(class_of(&slot.route))).count();
    let third = capacity.div_euclid(3).max(1);
    let over = match class {
        Class::Kept => false,
        Class::Mirrored => rows_of(|class| class == Class::Mirrored) >= third,
        Class::Learned | Class::Redirected => rows_of(is_learned) >= third,
    };
    if !full && !over {
        return Ok(None);
    }
    // Where there is no place, one that is free at once must go.
    let may_go = |slot: &Slot| !full || slot.told().is_none();
    let of_class = |class| live(slots).filter(move |(_, slot)| class_of(&slot.route) == class && may_go(slot));
    let newest = |class| of_class(class).max_by_key(|(_, slot)| slot.rank).map(|(at, _)| at);
    let oldest_redirected = || of_class(Class::Redirected).min_by_key(|(_, slot)| slot.rank).map(|(at, _)| at);
    let of_heaviest = |class| {
        let who = heaviest(slots, class, may_go, claimant(route))?;
        of_class(class)
            .filter(|(_, slot)| claimant(&slot.route) == who)
            .max_by_key(|(_, slot)| slot.rank)
            .map(|(at, _)| at)
    };
    let victim = match class {
        Class::Kept => oldest_redirected().or_else(|| newest(Class::Learned)).or_else(|| newest(Class::Mirrored)),
        Class::Mirrored => of_heaviest(class),
        Class::Learned => oldest_redirected().or_else(|| of_heaviest(class)),
        Class::Redirected => oldest_redirected(),
    };
    victim.map(Some).ok_or(TableFull::new(Table::Routes))
}

/// Who has most rows of `class`, and one that may go: on the link that has
/// most of them, if that has at least two more than the asker's, else on the
/// asker's. `None`: nobody has at least two more than the asker.
fn heaviest(slots: &[Slot], class: Class, may_go: impl Fn(&Slot) -> bool, asker: Claimant) -> Option<Claimant> {
    let rows = || live(slots).map(|(_, slot)| slot).filter(|slot| class_of(&slot.route) == class);
    let claimants = || rows().filter(|slot| may_go(slot)).map(|slot| claimant(&slot.route));
    let mut by_link = [0_usize; LINKS];
    let place = |link: LinkId| link.index().min(LINKS.saturating_sub(1));
    for slot in rows() {
        if let Some(count) = by_link.get_mut(place(slot.route.link)) {
            *count = count.saturating_add(1);
        }
    }
    let of_link = |link: LinkId| by_link.get(place(link)).copied().unwrap_or(0);
    let has_two_more = |more: usize, less: usize| more > less.saturating_add(1);
    let link = claimants().map(|(link, _)| link).max_by_key(|link| of_link(*link))?;
    let link = if has_two_more(of_link(link), of_link(asker.0)) { link } else { asker.0 };
    let of_claimant = |who: Claimant| rows().filter(|slot| claimant(&slot.route) == who).count();
    let mut most: Option<(usize, Claimant)> = None;
    let mut counted = [None; CLAIMANTS];
    for who in claimants().filter(|(on, _)| *on == link) {
        match counted.iter_mut().find(|place| place.is_none_or(|known| known == who)) {
            Some(Some(_)) => continue,
            Some(place) => *place = Some(who),
            // Right as well, and slow.
            None => {}
        }
        let count = of_claimant(who);
        most = most.filter(|(before, _)| *before >= count).or(Some((count, who)));
    }
    let (count, who) = most?;
    (link != asker.0 || has_two_more(count, of_claimant(asker))).then_some(who)
}

/// Links that are told apart; those beyond share what one has.
const LINKS: usize = 32;
/// Routers of a link that are counted once each: as many as a router list has.
const CLAIMANTS: usize = 32;

fn live(slots: &[Slot]) -> impl Iterator<Item = (usize, &Slot)> {
    slots.iter().enumerate().filter(|(_, slot)| slot.is_live)
}

fn class_of(route: &Route) -> Class {
    match route.origin {
        Origin::Mirrored => Class::Mirrored,
        Origin::Redirected => Class::Redirected,
        Origin::Advertised if !route.prefix.is_default() => Class::Learned,
        Origin::Advertised | Origin::Manual | Origin::OnLink | Origin::Automatic => Class::Kept,
    }
}

fn is_learned(class: Class) -> bool {
    matches!(class, Class::Learned | Class::Redirected)
}

/// Mirrored routes are the link's, whatever their next hop.
fn claimant(route: &Route) -> Claimant {
    let neighbor = route.next_hop.filter(|_| route.origin != Origin::Mirrored);
    (route.link, neighbor.as_ref().map(identity))
}

/// What an ISATAP router cannot change in its address: with the u bit it
/// would else count twice.
fn identity(address: &Ipv6Addr) -> [u8; 4] {
    let [.., a, b, c, d] = address.octets();
    [a, b, c, d]
}
