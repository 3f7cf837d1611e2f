//! A link that knows whether it was changed.

use core::ops::{Deref, DerefMut};

/// A link, and whether anybody has borrowed it to change it.
///
/// What was decided from a link holds until the link changes. No machine says
/// so, and none can forget to: there is no way to a field but through a
/// borrow, and a mutable one counts as a change. So a machine looks before it
/// borrows, where a packet of a stranger or a timer makes it look.
#[derive(Clone)]
pub(crate) struct Tracked<L> {
    link: L,
    is_changed: bool,
}

impl<L> Tracked<L> {
    pub(crate) const fn new(link: L) -> Self {
        Tracked { link, is_changed: true }
    }

    /// Something beside the link has changed that its packets are judged by.
    pub(crate) fn mark(this: &mut Self) {
        this.is_changed = true;
    }

    /// Whether it may have changed since this was asked last.
    pub(crate) fn take_change(this: &mut Self) -> bool {
        core::mem::take(&mut this.is_changed)
    }
}

impl<L> Deref for Tracked<L> {
    type Target = L;

    #[inline(always)]
    fn deref(&self) -> &L {
        &self.link
    }
}

impl<L> DerefMut for Tracked<L> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut L {
        self.is_changed = true;
        &mut self.link
    }
}
