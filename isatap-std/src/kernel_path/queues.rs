//! What tc has at devices that packets of the programs would go past: a queue of the tunnel's device, filters.
//!
//! A packet that a program has sent on is not queued by the tunnel's device, and filters of clsact do not see it; one
//! that a program has taken in is not seen by filters of what the device underneath receives. So a device with any is
//! left to user space. These queues say nothing that anybody wanted of single packets, and are no obstacle: those
//! that the kernel gives devices of its own accord (noqueue, pfifo_fast, fq_codel, fq; mq above them), and clsact
//! without filters. Queues of the device underneath send what the programs have sent as they do all else.

use super::messages::{Attributes, dump};
use super::programs::Side;
use netlink_sys::protocols::NETLINK_ROUTE;
use std::io;

const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
/// `struct tcmsg`: family, padding, interface index, handle, parent, information.
const HEADER: usize = 20;
const TCA_KIND: u16 = 1;
/// `TC_H_CLSACT` with `TC_H_MIN_INGRESS`, `TC_H_MIN_EGRESS`.
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;

const HARMLESS: [&str; 5] = ["noqueue", "pfifo_fast", "fq_codel", "fq", "mq"];

const QUEUE: &str = "the tunnel's device has a queue of its own (tc qdisc show)";
const FILTERS: &str = "the tunnel's device has filters (tc filter show)";
const FILTERS_UNDERNEATH: &str = "the device underneath has filters of what it receives (tc filter show)";
pub(super) const UNKNOWN: &str = "tc cannot be asked for queues and filters";

/// What stands in the way at a device.
pub(super) type Obstacle = ((u32, Side), &'static str);

/// What stands in the way of programs at these devices.
pub(super) fn obstacles(at: &[(u32, Side)]) -> Vec<Obstacle> {
    let mut queues = Vec::new();
    let asked = dump(NETLINK_ROUTE, RTM_GETQDISC, &[0; HEADER], &mut |kind, body| {
        queues.extend(queue_of(kind, body));
    });
    let obstacle = |place: &(u32, Side)| {
        let why = match &asked {
            Ok(()) => judge(*place, &queues, has_filters),
            Err(_) => Some(UNKNOWN),
        };
        why.map(|why| (*place, why))
    };
    at.iter().filter_map(obstacle).collect()
}

/// Interface index and kind.
fn queue_of(kind: u16, body: &[u8]) -> Option<(u32, String)> {
    let index = u32::from_ne_bytes(*body.get(4..)?.first_chunk()?);
    let name = Attributes(body.get(HEADER..)?).value(TCA_KIND)?;
    let name = String::from_utf8_lossy(name.split(|byte| *byte == 0).next()?).into_owned();
    (kind == RTM_NEWQDISC).then_some((index, name))
}

fn judge(
    (index, side): (u32, Side),
    queues: &[(u32, String)],
    has_filters: impl Fn(u32, u32) -> io::Result<bool>,
) -> Option<&'static str> {
    let filters = |parent: u32, why| match has_filters(index, parent) {
        Ok(found) => found.then_some(why),
        Err(_) => Some(UNKNOWN),
    };
    let mut mine = queues.iter().filter(|(of, _)| *of == index).map(|(_, kind)| kind.as_str());
    match side {
        Side::Tunnel => mine.find_map(|kind| match kind {
            "clsact" => filters(EGRESS, FILTERS),
            // It is about what the device receives, which the programs leave as it is.
            "ingress" => None,
            kind => (!HARMLESS.contains(&kind)).then_some(QUEUE),
        }),
        Side::Underlay => mine.find_map(|kind| match kind {
            "clsact" | "ingress" => filters(INGRESS, FILTERS_UNDERNEATH),
            _ => None,
        }),
    }
}

/// Whether there are any.
fn has_filters(index: u32, parent: u32) -> io::Result<bool> {
    let mut body = [0; HEADER];
    let words = [(4, index), (12, parent)];
    for (at, word) in words {
        if let Some(to) = body.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
            *to = word.to_ne_bytes();
        }
    }
    let mut found = false;
    dump(NETLINK_ROUTE, RTM_GETTFILTER, &body, &mut |kind, _| found |= kind == RTM_NEWTFILTER)?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::messages::made::attribute;
    use super::*;

    #[test]
    fn queues_that_somebody_chose_and_filters_stand_in_the_way() {
        let found = |side, kinds: &[&str], filters: Option<u32>| {
            let queues: Vec<_> = kinds.iter().map(|kind| (7, (*kind).to_owned())).chain([(8, "tbf".into())]).collect();
            judge((7, side), &queues, |index, parent| Ok(index == 7 && filters == Some(parent)))
        };
        for kinds in [&[][..], &["noqueue"], &["pfifo_fast"], &["fq_codel"], &["mq", "fq"], &["fq", "clsact"]] {
            assert_eq!(found(Side::Tunnel, kinds, None), None, "{kinds:?}");
        }
        for kinds in [&["tbf"][..], &["netem"], &["htb", "fq_codel"], &["mq", "netem"], &["pfifo"], &["another"]] {
            assert_eq!(found(Side::Tunnel, kinds, None), Some(QUEUE), "{kinds:?}");
            // It sends what the programs send as well.
            assert_eq!(found(Side::Underlay, kinds, None), None, "{kinds:?}");
        }
        assert_eq!(found(Side::Tunnel, &["noqueue", "clsact"], Some(EGRESS)), Some(FILTERS));
        assert_eq!(found(Side::Tunnel, &["noqueue", "clsact"], Some(INGRESS)), None);
        assert_eq!(found(Side::Underlay, &["mq", "clsact"], Some(INGRESS)), Some(FILTERS_UNDERNEATH));
        assert_eq!(found(Side::Underlay, &["ingress"], Some(INGRESS)), Some(FILTERS_UNDERNEATH));
        assert_eq!(found(Side::Underlay, &["clsact"], Some(EGRESS)), None);
        // Where filters cannot be asked for, they may be there.
        let clsact = [(7, "clsact".to_owned())];
        for side in [Side::Tunnel, Side::Underlay] {
            assert_eq!(judge((7, side), &clsact, |_, _| Err(io::ErrorKind::OutOfMemory.into())), Some(UNKNOWN));
        }
    }

    #[test]
    fn a_queue_is_read() {
        let mut body = vec![0; HEADER];
        body[4] = 7;
        body.extend(attribute(TCA_KIND, b"netem\0"));
        assert_eq!(queue_of(RTM_NEWQDISC, &body), Some((7, "netem".to_owned())));
        for len in 0..body.len() - 2 {
            assert_eq!(queue_of(RTM_NEWQDISC, &body[..len]), None, "{len} bytes");
        }
    }
}
