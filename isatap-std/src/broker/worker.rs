//! The thread that calls.

use super::answer::{Outcome, judge};
use super::http::{self, Request};
use super::login::Login;
use super::mask::Mask;
use super::schedule::Schedule;
use super::{Credentials, Order, State, lock};
use crate::error::Error;
use crate::spec::UpdateUrl;
use crate::told::Told;
use domain::utils::base64;
use isatap_core::prefix::is_private;
use rustls::ClientConfig;
use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// For one call, with the look-up of the name.
const PATIENCE: Duration = Duration::from_secs(20);

struct Worker {
    url: UpdateUrl,
    login: Option<Login>,
    tls: Option<Arc<ClientConfig>>,
    schedule: Schedule,
    /// Which of several addresses of the broker is called first.
    turn: usize,
    state: Weak<Mutex<State>>,
    /// Of which private address it was told.
    warned: Option<Ipv4Addr>,
    tell: Box<dyn FnMut(Told) + Send>,
}

/// See [`Updater::start`](super::Updater::start).
pub(super) fn start(
    url: &UpdateUrl,
    credentials: &Credentials,
    orders: Receiver<Order>,
    state: &Arc<Mutex<State>>,
    tell: Box<dyn FnMut(Told) + Send>,
) -> Result<(), Error> {
    let mut worker = Worker {
        url: url.clone(),
        login: credentials.login.clone(),
        tls: url.is_https().then(|| http::trust(credentials)).transpose()?,
        schedule: Schedule::default(),
        turn: 0,
        state: Arc::downgrade(state),
        warned: None,
        tell,
    };
    crate::thread::spawn("isatap-broker", move || worker.work(&orders))
        .map(drop)
        .map_err(|error| Error::refused("start", "the thread that calls update-url", error))
}

impl Worker {
    fn work(&mut self, orders: &Receiver<Order>) {
        loop {
            let received = match self.schedule.due() {
                Some(due) => orders.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match received {
                Ok(order) => self.schedule.order(Instant::now(), order),
                Err(RecvTimeoutError::Timeout) => self.call(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let Some(state) = self.state.upgrade() else { return };
            lock(&state).again = self.schedule.due();
        }
    }

    /// Calls, and tells how that went where it is news.
    fn call(&mut self) {
        let Some(address) = self.schedule.address() else { return };
        if self.url.has_address() && is_private(address) && self.warned.replace(address) != Some(address) {
            (self.tell)(Told::Failed(format!(
                "update-url says {address}, which is a private address: behind a NAT leave {{address}} out, and the \
                 broker takes the address that it sees"
            )));
        }
        let outcome = self.ask(address);
        let now = Instant::now();
        self.schedule.called(now, address, &outcome);
        // The link may have ended meanwhile: its news are nobody's then.
        let Some(state) = self.state.upgrade() else { return };
        let mut state = lock(&state);
        let host = self.url.host();
        let told = match outcome {
            Outcome::Done { answer, .. } => {
                let text = format!("the tunnel broker {host} answers for {address}: {answer}");
                let told = if state.failure.take().is_some() { Told::Mended(text) } else { Told::Done(text) };
                (state.address, state.answer, state.answered) = (Some(address), Some(answer), Some(now));
                Some(told)
            }
            Outcome::Failed(why) | Outcome::Busy(why) | Outcome::Unlikely(why) | Outcome::Refused(why) => {
                // Where the name has several addresses, another one is the first next time.
                self.turn = self.turn.wrapping_add(1);
                let is_known = state.failure.as_ref() == Some(&why);
                let again = match self.schedule.due() {
                    Some(due) => format!("it is called again in {} s", due.saturating_duration_since(now).as_secs()),
                    None => {
                        "it is not called again before something is changed or asks for it: isatap solicit".to_owned()
                    }
                };
                let text = format!("the tunnel broker {host} does not take {address}: {why}; {again}");
                state.failure = Some(why);
                (!is_known).then_some(Told::Failed(text))
            }
        };
        drop(state);
        told.into_iter().for_each(|told| (self.tell)(told));
    }

    fn ask(&self, address: Ipv4Addr) -> Outcome {
        let (user, password) = self.login.as_ref().map_or(("", ""), |login| (&login.user, &login.password));
        let path = self.url.path_for(address, user, password);
        // RFC 7617 §2
        let authorization = (self.login.is_some() && !self.url.has_login())
            .then(|| format!("Basic {}", base64::encode_string(&format!("{user}:{password}"))));
        let request = Request { url: &self.url, path: &path, authorization: authorization.as_deref(), from: address };
        match http::get(&request, self.tls.as_ref(), Instant::now() + PATIENCE, self.turn) {
            Ok(response) => judge(&response, &Mask::of(self.login.as_ref())),
            Err(why) => Outcome::Failed(why),
        }
    }
}
