//! The programs in the kernel and the tables that they share with this process: loaded once, for all its drivers.

use super::holders::{Holders, Slot};
use super::layout::{Admission, AdmissionKey, Life, Path, PathKey, SLOTS, State, Used};
use crate::error::Error;
use aya::maps::{Array, HashMap, MapData, MapError};
use aya::programs::tc::{SchedClassifierLinkId, TcAttachOptions, TcError};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType};
use aya::{Ebpf, EbpfError, EbpfLoader, Pod};
use nix::net::if_::if_nametoindex;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

/// Made of `kernel-program` by `.ci/kernel-program`, which says when it is out of date.
static OBJECT: &[u8] = aya::include_bytes_aligned!("program.o");

/// Their tables of rows.
const TABLES: [&str; 2] = ["PATHS", "ADMISSIONS"];

// SAFETY of all: every bit pattern is a value, and what lies between the fields is zero.
unsafe impl Pod for PathKey {}
unsafe impl Pod for Path {}
unsafe impl Pod for AdmissionKey {}
unsafe impl Pod for Admission {}
unsafe impl Pod for State {}

// No bytes between fields, and none behind the last.
const _: () = assert!(size_of::<Life>() == 16 && size_of::<Used>() == 24 && size_of::<State>() == 8);
const _: () = assert!(size_of::<PathKey>() == 40 && size_of::<Path>() == 72);
const _: () = assert!(size_of::<AdmissionKey>() == 48 && size_of::<Admission>() == 48);

/// Which of the two programs, and at which devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Packets that a tunnel's device sends.
    Tunnel,
    /// Packets that a device underneath receives.
    Underlay,
}

impl Side {
    const fn program(self) -> &'static str {
        match self {
            Side::Tunnel => "encapsulate",
            Side::Underlay => "decapsulate",
        }
    }
}

/// Programs and tables, for drivers that begin at any time: to join takes no privileges. Gone with the last of them, or
/// when the process ends.
pub(crate) struct Loaded {
    /// Of each table.
    rows: usize,
    kernel: Arc<Mutex<Kernel>>,
    tables: Tables,
}

/// The tables of the programs.
#[derive(Clone)]
pub(super) struct Tables {
    pub(super) paths: Arc<Mutex<HashMap<MapData, PathKey, Path>>>,
    pub(super) admissions: Arc<Mutex<HashMap<MapData, AdmissionKey, Admission>>>,
}

/// What the kernel has of them, but for the rows.
struct Kernel {
    object: Ebpf,
    state: Array<MapData, State>,
    holders: Attachments,
}

type Attachments = Holders<(u32, Side), Attachment>;
type Attachment = (Side, SchedClassifierLinkId);

/// A driver's part in the programs: where it wants them, and which of its rows are good. Nothing of it is left when
/// dropped.
pub(super) struct Programs {
    slot: Slot,
    rows: usize,
    kernel: Arc<Mutex<Kernel>>,
}

impl Loaded {
    /// Has the kernel take them, and tables of so many rows; they are attached to nothing yet, and no row is good.
    ///
    /// # Errors
    ///
    /// The kernel is too old, was built without BPF, or this process may not.
    pub(crate) fn load(rows: u32) -> Result<Self, Error> {
        let loaded = Self::load_object(OBJECT, rows)?;
        // Programs are taken by kernels that can put them nowhere; so it is said before there is any device.
        match SchedClassifier::query_tcx("lo", TcAttachType::Egress).map_err(of_program) {
            Err(error) if is_unknown(&error) => Err(Error::refused("have", "programs run by devices (tcx)", error)
                .with_advice("it needs Linux 6.6 or later, built with BPF")),
            _ => Ok(loaded),
        }
    }

    /// For a driver more.
    ///
    /// # Errors
    ///
    /// There are as many as can be.
    pub(super) fn join(&self) -> Result<(Programs, Tables), Error> {
        let slot = lock(&self.kernel).holders.enter().ok_or_else(|| {
            let full =
                format!("all {SLOTS} places are taken, of which each Teredo link has one, and all others together");
            Error::usage("have packets carried by", "the kernel", full).with_advice("run some links in another process")
        })?;
        Ok((Programs { slot, rows: self.rows, kernel: self.kernel.clone() }, self.tables.clone()))
    }

    fn load_object(object: &[u8], rows: u32) -> Result<Self, Error> {
        let refused = |error: io::Error| {
            let advice = advice(&error);
            Error::refused("load", "the programs of the kernel's path", error).with_advice(advice)
        };
        // No type information: the programs need none, and it may be of another kernel.
        let mut loader = EbpfLoader::new();
        TABLES.iter().for_each(|table| _ = loader.map_max_entries(table, rows));
        let mut object = loader.btf(None).load(object).map_err(|error| refused(of_object(error)))?;
        for side in [Side::Tunnel, Side::Underlay] {
            program(&mut object, side).and_then(SchedClassifier::load).map_err(|error| refused(of_program(error)))?;
        }
        let mut table = |name: &str| {
            let missing = || MapError::InvalidName { name: name.to_owned() };
            object.take_map(name).ok_or_else(missing)
        };
        let open = |error: MapError| refused(of_map(error));
        let [paths, admissions] = TABLES;
        let paths = table(paths).and_then(HashMap::try_from).map_err(open)?;
        let admissions = table(admissions).and_then(HashMap::try_from).map_err(open)?;
        let state = table("STATE").and_then(Array::try_from).map_err(open)?;
        let tables = Tables { paths: Arc::new(Mutex::new(paths)), admissions: Arc::new(Mutex::new(admissions)) };
        let kernel = Kernel { object, state, holders: Holders::new() };
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        Ok(Self { rows, kernel: Arc::new(Mutex::new(kernel)), tables })
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Loaded({} rows)", self.rows)
    }
}

impl Programs {
    /// How many rows of each table are this driver's: a flood of one costs others none of theirs.
    pub(super) fn share(&self) -> usize {
        self.rows / lock(&self.kernel).holders.len().max(1)
    }

    /// Those that follow it are generations in which no row is good that there may be.
    pub(super) fn last_generation(&self) -> u64 {
        lock(&self.kernel).holders.last(self.slot)
    }

    /// Runs a program for a device from now on, until the device goes or [`detach_if`](Self::detach_if).
    ///
    /// # Errors
    ///
    /// There are 64 programs already, or the device is gone.
    pub(super) fn attach(&self, index: u32, name: &str, side: Side) -> Result<(), Error> {
        let Kernel { object, holders, .. } = &mut *lock(&self.kernel);
        if holders.hold(self.slot, (index, side)) {
            return Ok(());
        }
        let (parent, at) = match side {
            Side::Tunnel => (TcAttachType::Egress, "behind"),
            Side::Underlay => (TcAttachType::Ingress, "in front of"),
        };
        // A link of the kind that ends with this process, whatever ends it.
        let options = TcAttachOptions::TcxOrder(LinkOrder::default());
        let attached = program(object, side).and_then(|program| program.attach_with_options(name, parent, options));
        let refused = |error: io::Error| Error::refused(format!("put a program {at}"), name, error);
        let link = attached.map_err(|error| refused(of_program(error)))?;
        // It was named by its name, which may be another one's by now.
        if if_nametoindex(name) != Ok(index) {
            let _ = program(object, side).and_then(|program| program.detach(link));
            return Err(refused(io::ErrorKind::NotFound.into()));
        }
        holders.add(self.slot, (index, side), (side, link));
        Ok(())
    }

    /// The devices at which this driver wants programs.
    pub(super) fn places(&self) -> Vec<(u32, Side)> {
        lock(&self.kernel).holders.places(self.slot).collect()
    }

    pub(super) fn is_attached(&self, index: u32, side: Side) -> bool {
        self.places().contains(&(index, side))
    }

    /// Takes programs from devices where no other driver wants them, wherever they are by now: one that was moved to another
    /// namespace has them still.
    pub(super) fn detach_if(&self, goes: impl Fn(u32, Side) -> bool) {
        lock(&self.kernel).change(|holders| holders.release_if(self.slot, |(at, side)| goes(at, side)));
    }

    /// Takes them from devices that are gone, as this driver has heard, whoever wants them there.
    pub(super) fn void_if(&self, goes: impl Fn(u32, Side) -> bool) {
        lock(&self.kernel).change(|holders| holders.void_if(self.slot, |(at, side)| goes(at, side)));
    }

    /// The driver's rows of this generation alone are good from now on; 0: none is.
    pub(super) fn set_generation(&self, generation: u64) -> io::Result<()> {
        let mut kernel = lock(&self.kernel);
        kernel.holders.begin(self.slot, generation);
        kernel.state.set(self.slot.into(), State { generation }, 0).map_err(of_map)
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        // Where it fails, rows are good for the rest of their 10 seconds.
        let _ = self.set_generation(0);
        lock(&self.kernel).change(|holders| holders.leave(self.slot));
    }
}

impl Kernel {
    /// Detaches what that gives.
    fn change(&mut self, change: impl FnOnce(&mut Attachments) -> Vec<Attachment>) {
        for (side, link) in change(&mut self.holders) {
            // Where it fails, the device has taken the link along.
            let _ = program(&mut self.object, side).and_then(|program| program.detach(link));
        }
    }
}

/// What is to be done where the kernel does not take them.
fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "run as root, or give the program CAP_BPF and CAP_PERFMON as well, as far as this container has them"
        }
        _ if is_unknown(error) => "it needs Linux 6.6 or later, built with BPF",
        _ => "",
    }
}

/// Whether the kernel does not know what it was asked for.
fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP))
}

fn program(object: &mut Ebpf, side: Side) -> Result<&mut SchedClassifier, ProgramError> {
    object.program_mut(side.program()).ok_or(ProgramError::NotLoaded)?.try_into()
}

/// What a thread leaves behind that panics is what the kernel has.
pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn of_map(error: MapError) -> io::Error {
    match error {
        MapError::SyscallError(error) => error.io_error,
        MapError::CreateError { io_error, .. } | MapError::IoError(io_error) => io_error,
        error => io::Error::other(error),
    }
}

fn of_program(error: ProgramError) -> io::Error {
    match error {
        ProgramError::SyscallError(error) => error.io_error,
        // What the verifier says is for who writes the program.
        ProgramError::LoadError { io_error, .. } | ProgramError::TcError(TcError::IoError(io_error)) => io_error,
        error => io::Error::other(error),
    }
}

fn of_object(error: EbpfError) -> io::Error {
    match error {
        EbpfError::MapError(error) => of_map(error),
        EbpfError::ProgramError(error) => of_program(error),
        error => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of another object than the committed one, where `.ci/kernel-program` says so.
    #[test]
    #[ignore = "needs root"]
    fn the_kernel_takes_the_programs() {
        let built = std::env::var_os("ISATAP_KERNEL_PROGRAM").map(|path| std::fs::read(path).unwrap());
        let loaded = Loaded::load_object(built.as_deref().unwrap_or(OBJECT), 16_384).unwrap();
        for side in [Side::Tunnel, Side::Underlay] {
            let info = program(&mut lock(&loaded.kernel).object, side).unwrap().info().unwrap();
            println!("the verifier takes {}: {:?} instructions", side.program(), info.verified_instruction_count());
        }
    }
}
