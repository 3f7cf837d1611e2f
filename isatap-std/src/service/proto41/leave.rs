//! The last words of links that are to end: to the hosts of LANs, and of ISATAP routers.

use super::{Proto41Role, Service};
use isatap_core::node::AnyInterface;
use isatap_core::packet::LinkId;

/// Who is to speak before links end: see [`Service::take_leave`].
#[derive(Debug, Default)]
pub(crate) struct LastWords {
    /// LANs, and how many packets each had sent before.
    lans: Vec<(LinkId, u64)>,
    /// ISATAP routers.
    routers: Vec<LinkId>,
}

impl Service<Proto41Role> {
    /// Links are to end: the hosts of LANs hear of it as by [`leave_lans`](Self::leave_lans), those of
    /// ISATAP routers that they serve no more (NDP-42); not those that go on as other links,
    /// `again`.
    pub(crate) fn take_leave(&mut self, gone: &[LinkId], again: &[LinkId]) -> LastWords {
        let lans = self.leave_lans(gone);
        let mut routers = Vec::new();
        for id in gone.iter().filter(|id| !again.contains(id)) {
            let is_router = self.with_interface(*id, |interface, cx| match interface {
                AnyInterface::IsatapRouter(router) => {
                    router.stop(cx.now);
                    true
                }
                _ => false,
            });
            if is_router == Some(true) {
                routers.push(*id);
            }
        }
        LastWords { lans, routers }
    }

    /// All links are to end.
    pub(crate) fn take_leave_of_all(&mut self) -> LastWords {
        let all: Vec<LinkId> = self.links.iter().map(|link| link.attachment.link()).collect();
        self.take_leave(&all, &[])
    }

    /// Whether all have said it.
    pub(crate) fn has_spoken(&self, words: &LastWords) -> bool {
        let has_stopped = |id: &LinkId| match self.interface(*id) {
            Some(AnyInterface::IsatapRouter(router)) => router.has_stopped(),
            _ => true,
        };
        words.lans.iter().all(|(id, sent)| self.driver.lan_packets(*id) != *sent)
            && words.routers.iter().all(has_stopped)
    }
}
