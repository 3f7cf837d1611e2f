//! The routes that other programs put on a device, where they are many: a thread follows them,
//! since to list 200,000 takes the kernel longer than packets can wait.

use crate::error::Error;
use crate::fib::SharedTable;
use crate::netlink::{Event, ForeignRoute, Monitor, Netlink, Preference};
use crate::thread;
use crate::waker::Waker;
use isatap_core::error::TableFull;
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv6Prefix;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::cmp::Reverse;
use std::io::Read as _;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// A change is followed after this much quiet, or after [`LONGEST_WAIT`] without: whoever adds
/// a route at a time has the table listed once a second and not once a route.
const QUIET: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The full table of a device, kept up to date by a thread that ends with it.
#[derive(Debug)]
pub struct FollowedTable {
    table: Arc<SharedTable>,
    bell: UnixStream,
    errors: Receiver<Error>,
    /// So that the bell is quiet when the thread has ended.
    _waker: Waker,
}

impl FollowedTable {
    /// Lists the routes on the device with this interface index, and follows them from now on.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, more routes than a table can have, or no thread.
    pub(super) fn open(link: LinkId, index: u32) -> Result<Self, Error> {
        // Listening comes first, so that no change falls between.
        let monitor = Monitor::open(index)?;
        let netlink = Netlink::open()?;
        let table = Arc::new(SharedTable::new(link, list(&netlink, index)?).map_err(|full| too_many(index, full))?);
        let refused = |error| Error::refused("start", "the thread that follows the full table", error);
        let (waker, bell) = Waker::pair().map_err(refused)?;
        let (told, errors) = channel();
        let follower = Follower { index, monitor, netlink, table: table.clone(), waker: waker.clone(), told };
        thread::spawn("full-table", move || follower.run()).map_err(refused)?;
        Ok(Self { table, bell, errors, _waker: waker })
    }

    /// The table.
    pub(crate) fn table(&self) -> &Arc<SharedTable> {
        &self.table
    }

    /// After the descriptor was readable: what went wrong since the last call.
    pub(crate) fn take_errors(&mut self) -> Vec<Error> {
        let mut rung = [0; 64];
        while self.bell.read(&mut rung).is_ok_and(|count| count == rung.len()) {}
        self.errors.try_iter().collect()
    }
}

impl AsFd for FollowedTable {
    /// Readable when the table is another.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

struct Follower {
    index: u32,
    monitor: Monitor,
    netlink: Netlink,
    table: Arc<SharedTable>,
    waker: Waker,
    told: Sender<Error>,
}

impl Follower {
    fn run(mut self) {
        // Nobody may listen any more: then there is nothing to do either.
        while let Ok(true) = self.wait(PollTimeout::NONE) {
            let outcome = self.settle().and_then(|is_changed| if is_changed { self.replace() } else { Ok(false) });
            match outcome {
                Ok(false) => {}
                Ok(true) => self.waker.wake(),
                Err(error) => {
                    let _ = self.told.send(error);
                    self.waker.wake();
                }
            }
        }
    }

    /// Waits for something to read; `false`: the other end is gone.
    fn wait(&self, timeout: PollTimeout) -> nix::Result<bool> {
        let mut fds =
            [PollFd::new(self.monitor.as_fd(), PollFlags::POLLIN), PollFd::new(self.waker.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(!fds[1].any().unwrap_or_default()),
            Err(error) => Err(error),
        }
    }

    /// Reads what has changed, until it is quiet. Whether routes of the device have.
    fn settle(&mut self) -> Result<bool, Error> {
        let began = Instant::now();
        let mut is_changed = false;
        loop {
            let mut is_quiet = true;
            while let Some(event) = self.monitor.next_event()? {
                is_quiet = false;
                is_changed |= matches!(event, Event::RouteAdded(_) | Event::RouteRemoved(_) | Event::Resync);
                // Up again, its routes are gone; it tells of each, but for some kernels.
                is_changed |= matches!(event, Event::LinkChanged(link) if link.index == self.index);
            }
            if !is_changed || is_quiet || began.elapsed() > LONGEST_WAIT {
                return Ok(is_changed);
            }
            let quiet = PollTimeout::try_from(QUIET).unwrap_or(PollTimeout::ZERO);
            if !self.wait(quiet).unwrap_or_default() {
                return Ok(false);
            }
        }
    }

    fn replace(&self) -> Result<bool, Error> {
        self.table.replace(list(&self.netlink, self.index)?).map_err(|full| too_many(self.index, full))?;
        Ok(true)
    }
}

fn too_many(index: u32, full: TableFull) -> Error {
    Error::usage("use the routes of", format!("device number {index}"), full.to_string())
        .with_advice("a full table has up to 1,700,000 routes, and 65,534 pairs of a prefix length and a next hop")
}

/// The routes of other programs, of those with the same prefix the kernel's choice first.
fn list(netlink: &Netlink, index: u32) -> Result<Vec<(Ipv6Prefix, Option<Ipv6Addr>)>, Error> {
    let mut found = netlink.foreign_routes(index)?;
    let preference = |route: &ForeignRoute| match route.route.preference {
        Preference::Low => 0,
        Preference::Medium => 1,
        Preference::High => 2,
    };
    found.sort_by_key(|route| (route.route.metric, Reverse(preference(route))));
    let route = |foreign: ForeignRoute| {
        let prefix = Ipv6Prefix::new(foreign.route.destination, foreign.route.prefix_len)?;
        let is_taken = !super::attachment::needs_no_route(&prefix);
        is_taken.then_some((prefix, foreign.route.next_hop.filter(|next_hop| !next_hop.is_unspecified())))
    };
    Ok(found.into_iter().filter_map(route).collect())
}
