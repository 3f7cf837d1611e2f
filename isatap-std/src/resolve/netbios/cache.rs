//! NetBIOS names that are known already (NAM-34).

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::NetbiosName;

/// The longest that an answer is remembered, as Windows does it: WINS servers say days.
const LONGEST: Duration = Duration::from_secs(600);

/// What WINS servers and broadcasts have answered lately. What lmhosts preloads is read anew each
/// time, so that a line that is taken out is gone (NAM-6).
#[derive(Debug, Default)]
pub(in crate::resolve) struct Cache(HashMap<NetbiosName, (Vec<Ipv4Addr>, Instant)>);

impl Cache {
    /// Remembers an answer; without a TTL it holds for ever, which is cut like any other time.
    pub(in crate::resolve) fn remember(
        &mut self,
        now: Instant,
        name: NetbiosName,
        addresses: &[Ipv4Addr],
        ttl: Option<Duration>,
    ) {
        self.0.insert(name, (addresses.to_vec(), now + ttl.unwrap_or(LONGEST).min(LONGEST)));
    }

    /// What is known, and for how long yet.
    pub(in crate::resolve) fn known(&self, now: Instant, name: &NetbiosName) -> Option<(Vec<Ipv4Addr>, Duration)> {
        let (addresses, until) = self.0.get(name)?;
        let left = until.saturating_duration_since(now);
        (!left.is_zero()).then(|| (addresses.clone(), left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nam_34_an_answer_is_remembered_for_its_ttl_and_ten_minutes_at_most() {
        let (now, router) = (Instant::now(), Ipv4Addr::new(10, 0, 0, 1));
        let name = NetbiosName::new("isatap", 0).unwrap();
        let mut cache = Cache::default();
        assert_eq!(cache.known(now, &name), None);
        for (ttl, left) in [(Some(60), 60), (Some(259_200), 600), (None, 600)] {
            cache.remember(now, name, &[router], ttl.map(Duration::from_secs));
            assert_eq!(cache.known(now, &name), Some((vec![router], Duration::from_secs(left))));
            assert_eq!(cache.known(now + Duration::from_secs(left), &name), None);
        }
        assert_eq!(cache.known(now, &NetbiosName::new("_isatap", 0).unwrap()), None);
    }
}
