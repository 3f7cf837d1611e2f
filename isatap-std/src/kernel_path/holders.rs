//! What the drivers of a process share of the programs: each has a slot of [`State`](super::layout::State), and a
//! program stays at a device as long as one of them wants it there.

use super::layout::SLOTS;

/// The slot of a driver.
pub(super) type Slot = u8;

const _: () = assert!(SLOTS == Slot::MAX as u32 + 1);

/// Who has what. `P`: where a program can be; `L`: what keeps it there.
#[derive(Debug)]
pub(super) struct Holders<P, L> {
    /// Slots that drivers have.
    taken: Vec<Slot>,
    /// The last generation of each slot: one in which rows of an earlier driver were good is never one again.
    last: Vec<u64>,
    attached: Vec<Attached<P, L>>,
}

#[derive(Debug)]
struct Attached<P, L> {
    place: P,
    link: L,
    holders: Vec<Slot>,
}

impl<P: Copy + PartialEq, L> Holders<P, L> {
    pub(super) fn new() -> Self {
        let first = |slot: Slot| u64::from(slot) << 56;
        Self { taken: Vec::new(), last: (0..=Slot::MAX).map(first).collect(), attached: Vec::new() }
    }

    /// A slot for a driver more; `None`: all are taken.
    pub(super) fn enter(&mut self) -> Option<Slot> {
        let free = (0..=Slot::MAX).find(|slot| !self.taken.contains(slot))?;
        self.taken.push(free);
        Some(free)
    }

    /// A driver ends: what nobody holds any more.
    pub(super) fn leave(&mut self, slot: Slot) -> Vec<L> {
        self.taken.retain(|taken| *taken != slot);
        self.release_if(slot, |_| true)
    }

    /// How many drivers there are.
    pub(super) fn len(&self) -> usize {
        self.taken.len()
    }

    /// The last generation of a slot: those that follow are new.
    pub(super) fn last(&self, slot: Slot) -> u64 {
        self.last.get(usize::from(slot)).copied().unwrap_or_default()
    }

    /// This generation begins.
    pub(super) fn begin(&mut self, slot: Slot, generation: u64) {
        if let Some(last) = self.last.get_mut(usize::from(slot)) {
            *last = generation.max(*last);
        }
    }

    /// The places that a driver holds.
    pub(super) fn places(&self, slot: Slot) -> impl Iterator<Item = P> {
        self.attached.iter().filter(move |attached| attached.holders.contains(&slot)).map(|attached| attached.place)
    }

    /// A driver wants a program where it may be already, because of another; whether it is.
    pub(super) fn hold(&mut self, slot: Slot, place: P) -> bool {
        let Some(attached) = self.attached.iter_mut().find(|attached| attached.place == place) else { return false };
        if !attached.holders.contains(&slot) {
            attached.holders.push(slot);
        }
        true
    }

    /// It is there now, because of this driver.
    pub(super) fn add(&mut self, slot: Slot, place: P, link: L) {
        self.attached.push(Attached { place, link, holders: vec![slot] });
    }

    /// A driver wants programs no more: what nobody holds any more.
    pub(super) fn release_if(&mut self, slot: Slot, goes: impl Fn(P) -> bool) -> Vec<L> {
        for attached in self.attached.iter_mut().filter(|attached| goes(attached.place)) {
            attached.holders.retain(|holder| *holder != slot);
        }
        let free = self.attached.extract_if(.., |attached| attached.holders.is_empty());
        free.map(|attached| attached.link).collect()
    }

    /// Devices are gone, as far as a driver has heard: what it held there nobody has any more. What others have put there
    /// since stays, at a device that has the interface index by now.
    pub(super) fn void_if(&mut self, slot: Slot, goes: impl Fn(P) -> bool) -> Vec<L> {
        let is_void = |attached: &mut Attached<P, L>| attached.holders.contains(&slot) && goes(attached.place);
        self.attached.extract_if(.., is_void).map(|attached| attached.link).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place is a number, and so is what keeps a program there.
    type TestHolders = Holders<u32, u32>;

    fn places(holders: &TestHolders, slot: Slot) -> Vec<u32> {
        holders.places(slot).collect()
    }

    #[test]
    fn a_program_stays_until_the_last_driver_lets_go() {
        let mut holders = TestHolders::new();
        let [one, other] = [holders.enter().unwrap(), holders.enter().unwrap()];
        assert!(!holders.hold(one, 7));
        holders.add(one, 7, 70);
        assert!(holders.hold(other, 7) && holders.hold(other, 7));
        holders.add(other, 8, 80);
        assert_eq!((places(&holders, one), places(&holders, other)), (vec![7], vec![7, 8]));
        assert!(holders.release_if(one, |_| true).is_empty());
        assert_eq!((places(&holders, one), places(&holders, other)), (vec![], vec![7, 8]));
        assert!(holders.hold(one, 7));
        assert_eq!(holders.leave(other), [80]);
        assert_eq!(holders.leave(one), [70]);
        assert!(!holders.hold(one, 7));
    }

    #[test]
    fn what_was_at_a_device_that_is_gone_is_nobody_s() {
        let mut holders = TestHolders::new();
        let [one, other, third] = [(); 3].map(|()| holders.enter().unwrap());
        holders.add(one, 7, 70);
        holders.hold(other, 7);
        // Who has held nothing there knows nothing of it.
        assert!(holders.void_if(third, |place| place == 7).is_empty());
        assert_eq!(holders.void_if(one, |place| place == 7), [70]);
        assert!(places(&holders, other).is_empty());
        // Another device has the number by now, and one driver has not heard yet that the first is gone.
        holders.add(one, 7, 71);
        assert!(holders.void_if(other, |place| place == 7).is_empty());
        assert_eq!(places(&holders, one), [7]);
    }

    #[test]
    fn a_generation_of_an_earlier_driver_never_comes_again() {
        let mut holders = TestHolders::new();
        let first = holders.enter().unwrap();
        let told = holders.last(first) + 5;
        holders.begin(first, told);
        // None holds for a while, and an older one is no step back.
        holders.begin(first, 0);
        let other = holders.enter().unwrap();
        assert_ne!(holders.last(other) >> 56, told >> 56, "rows of two drivers are told apart");
        holders.leave(first);
        assert_eq!(holders.enter(), Some(first));
        assert_eq!(holders.last(first), told);
    }

    #[test]
    fn there_is_a_slot_for_256_drivers_and_for_one_more_when_one_ends() {
        let mut holders = TestHolders::new();
        let taken: Vec<Slot> = (0..SLOTS).filter_map(|_| holders.enter()).collect();
        assert_eq!((taken.len(), holders.len(), holders.enter()), (256, 256, None));
        holders.leave(17);
        assert_eq!((holders.len(), holders.enter(), holders.enter()), (255, Some(17), None));
    }
}
