//! Whether the kernel forwards, for who depends on it.

use super::Notice;

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Forwarding {
    told: Option<bool>,
}

/// The kernel's forwarding is another than before.
pub(super) struct News {
    /// Whether it was known before.
    pub(super) is_change: bool,
    /// What to say of it.
    pub(super) notice: Option<Notice>,
}

impl Forwarding {
    /// Whether it forwarded when it was looked at last.
    pub(super) fn is_on(&self) -> Option<bool> {
        self.told
    }

    /// `None`: it is as before. `without`: what follows where the kernel does not forward, and
    /// the device that has to forward beside all others; `None`: forwarding is not needed.
    pub(super) fn follow(&mut self, forwards: bool, without: Option<(&str, Option<&str>)>) -> Option<News> {
        let before = self.told.replace(forwards);
        if before == Some(forwards) {
            return None;
        }
        let is_change = before.is_some();
        let notice = match without {
            Some((consequence, device)) if !forwards => {
                let device = device.map(|device| format!(" net.ipv6.conf.{device}.forwarding=1")).unwrap_or_default();
                Some(Notice::Warning(format!(
                    "the kernel does not forward IPv6, so {consequence}: sysctl -w net.ipv6.conf.all.forwarding=1{device}"
                )))
            }
            _ if !is_change => None,
            Some(_) => Some(Notice::Mended("the kernel forwards IPv6 now".to_owned())),
            _ if forwards => Some(Notice::Info("the kernel forwards IPv6 now".to_owned())),
            _ => Some(Notice::Info("the kernel no longer forwards IPv6".to_owned())),
        };
        Some(News { is_change, notice })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_warning_is_told_as_the_warning_was() {
        let mut forwarding = Forwarding::default();
        let without = Some(("isatap0 is no default router", None));
        let mut told = |forwards| forwarding.follow(forwards, without).and_then(|news| news.notice);
        assert!(matches!(told(false), Some(Notice::Warning(_))));
        assert_eq!(told(false), None);
        assert_eq!(told(true), Some(Notice::Mended("the kernel forwards IPv6 now".to_owned())));
        assert_eq!(told(true), None);
    }
}
