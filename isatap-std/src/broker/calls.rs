//! All calls of a process: which is made, what ends it, and what is known after it.
//!
//! `TUN-66`: a broker believes who speaks last. So a link has one call at a time, also when a reload makes another link
//! of it. Where its address or its URL is another, a call is cut that has told the broker nothing yet: that looks up a
//! name, connects, or shakes hands. Its connection is shut; a look-up goes on, nobody waits for it, and nothing comes
//! of it. A call that has told something is waited for: the broker could take its address after the new one. A reload
//! may have renamed the link, so a call whose link is gone holds up every link of that server. The end of the daemon
//! cuts all.
//!
//! `TUN-67`: what the broker has taken and what it forbids belongs to an [`Account`], since it judges the URL and the
//! login. A link that changes otherwise is not called for again, and a refusal stands. One that comes after a reload
//! has removed the account stands until the next reload: nobody could know of it at the last one.

use super::answer::{Outcome, judge};
use super::http::{self, Request};
use super::login::{Authorities, Login};
use super::mask::Mask;
use super::schedule::{Order, Schedule};
use super::{Credentials, State};
use crate::device::Binding;
use crate::error::Error;
use crate::spec::{LinkSpec, UpdateUrl};
use crate::told::{Failure, Told};
use domain::utils::base64;
use isatap_core::prefix::is_private;
use rustls::ClientConfig;
use socket2::Socket;
use std::io;
use std::net::{Ipv4Addr, Shutdown};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For one call, with the look-up of the name.
const PATIENCE: Duration = Duration::from_secs(20);

/// Those of one process; a clone is the same.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Shared>);

#[derive(Default)]
struct Shared {
    all: Mutex<All>,
    /// Tells threads that they have something else to do.
    changed: Condvar,
}

#[derive(Default)]
struct All {
    accounts: Vec<Account>,
    under_way: Vec<UnderWay>,
    /// Whom this system believes; read when the first link needs it.
    system: Option<Arc<ClientConfig>>,
    /// Of the last account or call.
    number: u64,
    is_over: bool,
}

/// What a broker judges by, and what is known of it. A thread calls while there is a link.
struct Account {
    number: u64,
    url: UpdateUrl,
    login: Option<Login>,
    link: Option<Link>,
    /// Whether the links of the last reload have it.
    is_wanted: bool,
    /// How the last link called.
    way: Way,
    has_thread: bool,
    schedule: Schedule,
    state: State,
    /// Which of several addresses of the broker is called first.
    turn: usize,
    /// Of which private address it was told.
    warned: Option<Ipv4Addr>,
}

/// Who calls.
#[derive(Clone)]
struct Link {
    device: String,
    /// Whom it believes; `None`: whom the system believes.
    tls: Option<Arc<ClientConfig>>,
    tell: Arc<dyn Fn(Told) + Send + Sync>,
}

/// How a call gets to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Way {
    /// The device that it leaves by.
    device: Option<String>,
    authorities: Option<Authorities>,
}

/// A call that has neither ended nor been cut.
struct UnderWay {
    number: u64,
    account: u64,
    device: String,
    address: Ipv4Addr,
    socket: Option<Socket>,
    has_told: bool,
}

/// The call that a thread makes.
pub(super) struct Call<'c> {
    shared: &'c Shared,
    number: u64,
}

/// What a thread needs for it.
struct Job {
    call: u64,
    link: Link,
    url: UpdateUrl,
    login: Option<Login>,
    way: Way,
    address: Ipv4Addr,
    turn: usize,
    tls: Option<Arc<ClientConfig>>,
    warning: Option<String>,
}

/// What a thread does next.
enum Next {
    Call(Box<Job>),
    /// Until something changes, for so long at most.
    Wait(Option<Duration>),
    End,
}

/// Has the URL of one link called, until it is dropped.
pub(crate) struct Updater {
    calls: Calls,
    account: u64,
    host: String,
    follows_silence: bool,
}

impl Calls {
    /// Has the URL of a link called from now on. What is known of its account is known further on.
    ///
    /// # Errors
    ///
    /// A usage error for certificates that cannot be used; no thread for it.
    pub(crate) fn begin(
        &self,
        device: &str,
        url: &UpdateUrl,
        credentials: &Credentials,
        binding: &Binding,
        tell: impl Fn(Told) + Send + Sync + 'static,
    ) -> Result<Updater, Error> {
        let tls = self.trust(url, credentials.authorities.as_ref())?;
        let way = Way { device: binding.device.clone(), authorities: credentials.authorities.clone() };
        let link = Link { device: device.to_owned(), tls, tell: Arc::new(tell) };
        let tell = link.tell.clone();
        let (account, lacks_thread, refusal) = self.0.lock().join(url, credentials, link, way);
        let updater =
            Updater { calls: self.clone(), account, host: url.host().to_string(), follows_silence: !url.has_address() };
        if lacks_thread {
            self.start_thread(account)
                .map_err(|error| Error::refused("start", "the thread that calls update-url", error))?;
        }
        if let Some(failure) = refusal {
            let host = url.host();
            tell(Told::Failed(format!("{device}: the tunnel broker {host} has refused, and is not called: {failure}")));
        }
        Ok(updater)
    }

    fn start_thread(&self, account: u64) -> io::Result<()> {
        let shared = self.0.clone();
        crate::thread::spawn("isatap-broker", move || shared.work(account)).map(drop).inspect_err(|_| {
            self.0.lock().account(account).into_iter().for_each(|account| account.has_thread = false);
        })
    }

    /// Whom a link believes that has its own; whom the system believes is read once for all others.
    fn trust(&self, url: &UpdateUrl, given: Option<&Authorities>) -> Result<Option<Arc<ClientConfig>>, Error> {
        if !url.is_https() {
            return Ok(None);
        }
        if given.is_some() {
            return http::trust(given).map(Some);
        }
        if self.0.lock().system.is_none() {
            let system = http::trust(None)?;
            self.0.lock().system = Some(system);
        }
        Ok(None)
    }

    /// Forgets the accounts that none of these links has; one whose call is under way is kept until it ends.
    pub(crate) fn retain<'l>(&self, links: impl Iterator<Item = (&'l LinkSpec, &'l Credentials)>) {
        let wanted: Vec<_> = links
            .filter_map(|(link, credentials)| match link {
                LinkSpec::Tunnel(tunnel) => Some((tunnel.update_url.as_ref()?, credentials.login.as_ref())),
                _ => None,
            })
            .collect();
        let All { accounts, under_way, .. } = &mut *self.0.lock();
        accounts.retain_mut(|account| {
            account.is_wanted = account.link.is_some() || wanted.iter().any(|(url, login)| account.is_of(url, *login));
            account.is_wanted || under_way.iter().any(|call| call.account == account.number)
        });
    }

    /// The end of the daemon: no call is made any more, and none goes on.
    pub(crate) fn end(&self) {
        let mut all = self.0.lock();
        all.is_over = true;
        all.under_way.drain(..).for_each(UnderWay::cut);
        self.0.changed.notify_all();
    }
}

impl Updater {
    /// The server that is called.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn state(&self) -> State {
        let mut all = self.calls.0.lock();
        let account = all.account(self.account);
        account.map(|account| State { again: account.schedule.due(), ..account.state.clone() }).unwrap_or_default()
    }

    /// The tunnel's IPv4 address now.
    pub(crate) fn follow(&self, address: Option<Ipv4Addr>) {
        self.order(Order::Follow(address));
    }

    /// Calls although nothing has changed.
    pub(crate) fn ask(&self) {
        self.order(Order::Ask);
    }

    /// Whether the other end is silent. Whose NAT has another public address learns it no other way.
    pub(crate) fn other_end(&self, is_silent: bool) {
        if self.follows_silence {
            self.order(Order::Silent(is_silent));
        }
    }

    fn order(&self, order: Order) {
        let lacks_thread = self.calls.0.lock().order(self.account, order);
        if lacks_thread {
            // Without one, the thread whose call was cut goes on as soon as it can.
            let _ = self.calls.start_thread(self.account);
        }
        self.calls.0.changed.notify_all();
    }
}

impl Drop for Updater {
    fn drop(&mut self) {
        {
            let mut all = self.calls.0.lock();
            all.account(self.account).into_iter().for_each(|account| account.link = None);
            all.order(self.account, Order::Follow(None));
        }
        self.calls.0.changed.notify_all();
    }
}

impl std::fmt::Debug for Updater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Updater").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Account {
    fn is_of(&self, url: &UpdateUrl, login: Option<&Login>) -> bool {
        self.url == *url && self.login.as_ref() == login
    }

    /// Whether the caller is to be its thread: it has no other.
    fn takes_thread(&mut self) -> bool {
        !std::mem::replace(&mut self.has_thread, true)
    }
}

impl All {
    fn account(&mut self, number: u64) -> Option<&mut Account> {
        self.accounts.iter_mut().find(|account| account.number == number)
    }

    /// The account that a link calls for from now on, whether it lacks a thread, and why the broker wants no call. Two
    /// links that say the same have two: each tells its address.
    fn join(
        &mut self,
        url: &UpdateUrl,
        credentials: &Credentials,
        link: Link,
        way: Way,
    ) -> (u64, bool, Option<Failure>) {
        let login = credentials.login.as_ref();
        let is_free = |account: &Account| account.link.is_none() && account.is_of(url, login);
        let at = self.accounts.iter().position(is_free).unwrap_or_else(|| {
            self.number += 1;
            self.accounts.push(Account {
                number: self.number,
                url: url.clone(),
                login: login.cloned(),
                link: None,
                is_wanted: true,
                way: way.clone(),
                has_thread: false,
                schedule: Schedule::default(),
                state: State::default(),
                turn: 0,
                warned: None,
            });
            self.accounts.len() - 1
        });
        let Some(account) = self.accounts.get_mut(at) else { return (0, false, None) };
        (account.link, account.is_wanted) = (Some(link), true);
        if std::mem::replace(&mut account.way, way) != account.way {
            account.schedule.go_another_way();
        }
        let refusal = account.state.failure.clone().filter(|_| account.schedule.is_refused());
        (account.number, account.takes_thread(), refusal)
    }

    /// Gives whether the account lacks a thread.
    fn order(&mut self, number: u64, order: Order) -> bool {
        let Some(account) = self.accounts.iter_mut().find(|account| account.number == number) else { return false };
        account.schedule.order(Instant::now(), order);
        let wanted = account.schedule.address();
        let is_old = |call: &mut UnderWay| call.account == number && Some(call.address) != wanted && !call.has_told;
        for call in self.under_way.extract_if(.., is_old) {
            call.cut();
            // It may look up a name for a long time.
            account.has_thread = false;
        }
        account.link.is_some() && account.takes_thread()
    }

    fn next(&mut self, number: u64, now: Instant) -> Next {
        let Some(account) = self.accounts.iter_mut().find(|account| account.number == number) else { return Next::End };
        let Some(link) = account.link.clone().filter(|_| !self.is_over) else {
            account.has_thread = false;
            return Next::End;
        };
        let Some((due, address)) = account.schedule.due().zip(account.schedule.address()) else {
            return Next::Wait(None);
        };
        if due > now {
            return Next::Wait(Some(due - now));
        }
        let url = account.url.clone();
        if self.has_to_wait(&link, &url) {
            return Next::Wait(None);
        }
        let device = link.device.clone();
        self.number += 1;
        let call = self.number;
        let socket = None;
        self.under_way.push(UnderWay { number: call, account: number, device, address, socket, has_told: false });
        let tls = url.is_https().then(|| link.tls.clone().or_else(|| self.system.clone())).flatten();
        let Some(account) = self.account(number) else { return Next::End };
        let is_news = url.has_address() && is_private(address) && account.warned.replace(address) != Some(address);
        let warning = is_news.then(|| {
            let device = &link.device;
            format!(
                "{device}: update-url says {address}, which is a private address: behind a NAT leave {{address}} out, and \
                 the broker takes the address that it sees"
            )
        });
        let (login, way, turn) = (account.login.clone(), account.way.clone(), account.turn);
        Next::Call(Box::new(Job { call, link, url, login, way, address, turn, tls, warning }))
    }

    /// Whether a call is under way that may be of this link: under its name, or under that of one that is gone.
    fn has_to_wait(&self, link: &Link, url: &UpdateUrl) -> bool {
        let is_gone = |account: &Account| account.link.is_none() && account.url.host() == url.host();
        self.under_way.iter().any(|call| {
            let account = self.accounts.iter().find(|account| account.number == call.account);
            call.device == link.device || account.is_some_and(is_gone)
        })
    }

    /// A call is no longer under way; `None`: it was cut before.
    fn take(&mut self, number: u64) -> Option<UnderWay> {
        let at = self.under_way.iter().position(|call| call.number == number)?;
        Some(self.under_way.swap_remove(at))
    }

    /// What came of a call. Gives what is news, and to whom.
    fn ended(&mut self, call: &UnderWay, outcome: Outcome) -> Option<(Link, Told)> {
        let (now, address) = (Instant::now(), call.address);
        let account = self.account(call.account)?;
        if !account.is_wanted && !outcome.forbids() {
            // By the next reload the broker may have been told something else.
            self.accounts.retain(|account| account.number != call.account);
            return None;
        }
        account.schedule.called(now, address, &outcome);
        let (state, host) = (&mut account.state, account.url.host());
        // It may have ended meanwhile: its news are nobody's then.
        let link = account.link.clone();
        let device = link.as_ref().map_or("", |link| link.device.as_str());
        let told = match outcome {
            Outcome::Done(answer) => {
                let text = format!("{device}: the tunnel broker {host} answers for {address}: {answer}");
                let told = if state.failure.take().is_some() { Told::Mended(text) } else { Told::Done(text) };
                (state.address, state.answer, state.answered) = (Some(address), Some(answer), Some(now));
                told
            }
            Outcome::Failed(why) | Outcome::Busy(why) | Outcome::Unlikely(why) | Outcome::Refused(why) => {
                // Where the name has several addresses, another one is the first next time.
                account.turn = account.turn.wrapping_add(1);
                if state.failure.as_ref() == Some(&why) {
                    return None;
                }
                let again = match account.schedule.due() {
                    Some(due) => format!("it is called again in {} s", due.saturating_duration_since(now).as_secs()),
                    None => "it is not called again".to_owned(),
                };
                let Failure { cause, fix } = &why;
                let text =
                    format!("{device}: the tunnel broker {host} does not take {address}: {cause}; {again}; {fix}");
                state.failure = Some(why);
                Told::Failed(text)
            }
        };
        link.map(|link| (link, told))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread of an account.
    fn work(&self, account: u64) {
        while let Some(job) = self.next(account) {
            job.warning.iter().for_each(|warning| (job.link.tell)(Told::Failed(warning.clone())));
            let outcome = self.ask(&job, &Call { shared: self, number: job.call });
            let news = {
                let mut all = self.lock();
                match all.take(job.call) {
                    Some(call) => all.ended(&call, outcome),
                    // Another thread goes on, unless none could be started.
                    None if !all.account(account).is_some_and(Account::takes_thread) => return,
                    None => None,
                }
            };
            self.changed.notify_all();
            if let Some((link, told)) = news {
                (link.tell)(told);
            }
        }
    }

    /// Waits for the next call; `None`: there is none to come.
    fn next(&self, account: u64) -> Option<Box<Job>> {
        let mut all = self.lock();
        loop {
            all = match all.next(account, Instant::now()) {
                Next::Call(job) => return Some(job),
                Next::End => return None,
                Next::Wait(None) => self.changed.wait(all).unwrap_or_else(PoisonError::into_inner),
                Next::Wait(Some(time)) => {
                    self.changed.wait_timeout(all, time).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn ask(&self, job: &Job, call: &Call<'_>) -> Outcome {
        let (user, password) = job.login.as_ref().map_or(("", ""), |login| (&login.user, &login.password));
        let path = job.url.path_for(job.address, user, password);
        // RFC 7617 §2
        let authorization = (job.login.is_some() && !job.url.has_login())
            .then(|| format!("Basic {}", base64::encode_string(&format!("{user}:{password}"))));
        let request = Request {
            url: &job.url,
            path: &path,
            authorization: authorization.as_deref(),
            from: job.address,
            device: job.way.device.as_deref(),
            call,
        };
        match http::get(&request, job.tls.as_ref(), Instant::now() + PATIENCE, job.turn) {
            Ok(response) => judge(&response, &Mask::of(job.login.as_ref())),
            Err(why) => {
                if why.is_unknown_issuer && job.link.tls.is_none() {
                    self.read_system();
                }
                Outcome::Failed(why.failure)
            }
        }
    }

    /// Whom the system believes may have changed since. What cannot be read any more is as it was.
    fn read_system(&self) {
        if let Ok(system) = http::trust(None) {
            self.lock().system = Some(system);
        }
    }
}

impl UnderWay {
    fn cut(self) {
        if let Some(socket) = self.socket {
            // It wakes who connects, writes or reads.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Call<'_> {
    /// A connection that may be cut from now on.
    ///
    /// # Errors
    ///
    /// The call is cut already.
    pub(super) fn hold(&self, socket: &Socket) -> io::Result<()> {
        let socket = socket.try_clone()?;
        self.under_way(|call| call.socket = Some(socket))
    }

    /// From now on the broker is told something.
    ///
    /// # Errors
    ///
    /// The call is cut already.
    pub(super) fn tell(&self) -> io::Result<()> {
        self.under_way(|call| call.has_told = true)
    }

    fn under_way(&self, change: impl FnOnce(&mut UnderWay)) -> io::Result<()> {
        let mut all = self.shared.lock();
        let call = all.under_way.iter_mut().find(|call| call.number == self.number);
        call.map(change).ok_or_else(|| io::ErrorKind::ConnectionAborted.into())
    }
}

#[cfg(test)]
mod tests;
