//! Who is told of what happens: the caller's function, and those who watch by the control socket.

use super::{LinkEvent, Notice};
#[cfg(feature = "control")]
use crate::control::Monitors;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One for all links of a process; a clone tells the same.
#[derive(Clone)]
pub(crate) struct Observer(Arc<Mutex<Told>>);

struct Told {
    say: Box<dyn FnMut(&Notice) + Send>,
    #[cfg(feature = "control")]
    monitors: Monitors,
}

impl Observer {
    pub(crate) fn new(say: impl FnMut(&Notice) + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Told {
            say: Box::new(say),
            #[cfg(feature = "control")]
            monitors: Monitors::default(),
        })))
    }

    /// Tells what is about one device, or about the whole process.
    pub(crate) fn notice(&self, device: Option<&str>, notice: &Notice) {
        let mut told = self.lock();
        (told.say)(notice);
        #[cfg(feature = "control")]
        match notice {
            Notice::Link { device, event } => told.monitors.tell(Some(device), event),
            Notice::Up { device, address, mtu } => {
                told.monitors.tell(Some(device), &LinkEvent::Up { address: *address, mtu: *mtu });
            }
            Notice::Info(text) | Notice::Rule(text) => {
                told.monitors.tell(device, &LinkEvent::Info { text: text.clone() })
            }
            Notice::Warning(text) => told.monitors.tell(device, &LinkEvent::Warning { text: text.clone() }),
            Notice::Mended(text) => told.monitors.tell(device, &LinkEvent::Mended { text: text.clone() }),
        }
        #[cfg(not(feature = "control"))]
        let _ = device;
    }

    /// Tells what happened to a link.
    pub(crate) fn link(&self, device: &str, event: LinkEvent) {
        let is_end = event == LinkEvent::Ended;
        self.notice(Some(device), &Notice::Link { device: device.to_owned(), event });
        #[cfg(feature = "control")]
        if is_end {
            self.lock().monitors.end(device);
        }
        #[cfg(not(feature = "control"))]
        let _ = is_end;
    }

    /// Works with those who watch.
    #[cfg(feature = "control")]
    pub(crate) fn monitors<R>(&self, work: impl FnOnce(&mut Monitors) -> R) -> R {
        work(&mut self.lock().monitors)
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
