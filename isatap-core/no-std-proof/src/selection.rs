//! Sources and destinations by the rules of RFC 6724.

use core::net::IpAddr;

use isatap_core::select::{Destination, DestinationRule, Policy, PolicyRow, PolicyTable, RFC6724, Source, SourceRule};

use crate::{Unknown, any, keep};

fn policy() -> Policy<'static> {
    any(Policy::RFC3484)
}

fn sources(u: &Unknown) -> [Source; 3] {
    [(); 3].map(|()| any(Source { deprecated: u.value(), ..Source::new(u.ipv6().into(), u.value()) }))
}

fn destination(u: &Unknown) -> Destination {
    any(Destination { source: any(None), ..Destination::new(IpAddr::V4(u.ipv4())) })
}

crate::roots! {
    choose => |u| {
        let (to, sources) = (destination(u), sources(u));
        keep(policy().given_source(&to, sources, u.ipv6().into()));
        policy().choose_source(&to, sources)
    };
    order => |u| {
        let mut list = [destination(u), destination(u), destination(u)];
        let length = any(3);
        let list = list.get_mut(..length)?;
        policy().sort(list);
        keep(list.first());
        Some(policy().compare(&destination(u), &destination(u)))
    };
    tables => |u| {
        let (rows, row) = (any(&RFC6724), any(PolicyRow::new(u.prefix(), u.value(), u.value())));
        let mut table = any(PolicyTable::<16>::new(rows).ok()?);
        keep((table.set(row), table.remove(&u.prefix())));
        keep(table.add_site_of(u.ipv6().into()));
        table.take_automatic(u.value());
        keep((table.policy().row_of(u.ipv6().into()), table.rows().len()));
        Some(policy().scope_of(u.ipv6().into()))
    };
    words => |_u| {
        keep((any(SourceRule::Only).number(), any(SourceRule::Only).as_str()));
        (any(DestinationRule::Order).number(), any(DestinationRule::Order).as_str())
    };
}
