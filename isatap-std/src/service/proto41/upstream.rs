//! Where the kernel leads to, as ISATAP routers tell it to their hosts: a default route and the
//! routes to be advertised, while the kernel has them. `RTE-6`

use super::{Proto41Role, Service};
use crate::error::Error;
use crate::service::Notice;
use crate::spec::PublishedRoute;
use isatap_core::isatap::OfferDefault;
use isatap_core::node::AnyInterface;
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv6Prefix;

/// What is told depends on it.
#[derive(Default)]
pub(super) struct Upstream {
    /// The routes that may be advertised.
    routes: Vec<PublishedRoute>,
}

impl Service<Proto41Role> {
    /// Advertises these routes from now on, in so far as the kernel has them.
    pub(super) fn follow_routes(&mut self, routes: &[PublishedRoute]) -> Result<(), Error> {
        self.common.upstream.routes = routes.to_vec();
        let followed = self.followed();
        for link in &mut self.links {
            link.attachment.follow_ipv6_routes(followed.clone());
        }
        self.look_upstream()
    }

    fn followed(&self) -> Vec<Ipv6Prefix> {
        let routes = self.common.upstream.routes.iter().map(|route| route.prefix);
        std::iter::once(Ipv6Prefix::DEFAULT).chain(routes).collect()
    }

    /// Looks at the kernel's routes; hosts are told at once of what is new.
    pub(super) fn look_upstream(&mut self) -> Result<(), Error> {
        let found = self.netlink.devices_toward(&self.followed())?;
        let routers: Vec<u32> = self.routers().map(|(_, index)| index).collect();
        // A route by the very link that it is advertised on leads nowhere else.
        let has = |prefix: Ipv6Prefix| found.iter().any(|(to, by)| *to == prefix && !routers.contains(by));
        let routes = self.common.upstream.routes.iter();
        let there: Vec<Ipv6Prefix> =
            routes.filter(|route| route.always || has(route.prefix)).map(|route| route.prefix).collect();
        let mut is_news = self.publish_routes(&there)?;
        for at in 0..self.links.len() {
            let Some(link) = self.links.get_mut(at) else { continue };
            let index = link.attachment.index();
            let leads_on = found.iter().any(|(to, by)| to.is_default() && *by != index);
            let (id, device) = (link.attachment.link(), link.attachment.name().to_owned());
            let Proto41Role::Fixed(role) = &mut link.role else { continue };
            if !role.follows_default || role.leads_on == Some(leads_on) {
                continue;
            }
            let notice = match role.leads_on.replace(leads_on) {
                Some(false) => Notice::Mended(format!("{device} offers a default route: this machine has one now")),
                None if leads_on => Notice::Info(format!("{device} offers a default route")),
                _ => Notice::Warning(format!(
                    "{device} offers no default route while this machine has none; --default always offers one all the same"
                )),
            };
            self.observer.notice(Some(&device), &notice);
            is_news = true;
            self.with_interface(id, |interface, _| {
                if let AnyInterface::IsatapRouter(router) = interface {
                    let offer = if leads_on { OfferDefault::Always } else { OfferDefault::Never };
                    router.config_mut().default_route = offer;
                }
            });
        }
        if is_news {
            self.tell_hosts();
        }
        Ok(())
    }

    /// The ISATAP routers, with the interface indices of their devices.
    fn routers(&self) -> impl Iterator<Item = (LinkId, u32)> {
        self.links.iter().map(|link| &link.attachment).filter_map(|attachment| {
            let is_router = matches!(self.interface(attachment.link()), Some(AnyInterface::IsatapRouter(_)));
            is_router.then_some((attachment.link(), attachment.index()))
        })
    }

    /// What is advertised has changed.
    fn tell_hosts(&mut self) {
        for id in self.routers().map(|(id, _)| id).collect::<Vec<_>>() {
            self.with_interface(id, |interface, cx| {
                if let AnyInterface::IsatapRouter(router) = interface {
                    router.advertise_again(cx.now);
                }
            });
        }
        self.advertise_on_lans();
    }
}
