//! A capture of outer packets, for tcpdump and Wireshark.
//!
//! Disks stall and readers of FIFOs stop. So a thread of its own writes, and what it has not
//! written yet is bounded: beyond that, packets are missing in the capture.

use crate::error::Error;
use crate::pcap::Pcap;
use crate::proto41_socket::OuterPacket;
use crate::runtime_dir::new_owner;
use isatap_core::packet::{HEADROOM, PacketMut};
use isatap_core::proto41::Outer;
use isatap_core::time::Instant;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::Uid;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Writes packets as they are sent and received. A full disk ends the capture, not the loop.
#[derive(Debug)]
pub(super) struct Tap {
    pcap: Pcap,
    path: PathBuf,
    bytes: Vec<u8>,
    shared: Arc<Shared>,
    is_loss_told: bool,
    /// Closed when the thread has written all.
    ended: Receiver<()>,
}

/// What the loop and the thread know of each other.
#[derive(Debug, Default)]
struct Shared {
    /// Bytes that were handed over and are not written yet.
    waiting: AtomicUsize,
    lost: AtomicU64,
    error: Mutex<Option<io::Error>>,
}

/// At most so much is kept that is not written yet.
const MOST_WAITING: usize = 8 << 20;
/// How long the end waits for the last packets to be written.
const FAREWELL: Duration = Duration::from_millis(500);

impl Tap {
    /// Into a new or emptied file; or, where it `goes_on`, after what this process has recorded
    /// there before.
    pub(super) fn create(path: &Path, goes_on: bool) -> Result<Self, Error> {
        let refused = |error: io::Error| refused(path, error);
        let Opened { file, is_fifo, has_header } = open(path, goes_on)?;
        let (chunks, wanted) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let shared = Arc::<Shared>::default();
        let writer = Writer { chunks, shared: shared.clone(), chunk: Chunk::default(), has_header: false };
        let pcap = Pcap::new(Box::new(writer)).map_err(refused)?;
        let thread = {
            let shared = shared.clone();
            move || {
                let _end = end;
                write_all(file, is_fifo, has_header, &wanted, &shared);
            }
        };
        crate::thread::spawn("isatap-capture", thread).map_err(refused)?;
        Ok(Self { pcap, path: path.to_owned(), bytes: Vec::with_capacity(2048), shared, is_loss_told: false, ended })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Packets that are missing, since the last call.
    pub(super) fn take_lost(&mut self) -> u64 {
        self.shared.lost.swap(0, Ordering::Relaxed)
    }

    /// Records what is handed to the kernel, which alone knows the Identification.
    pub(super) fn sent(&mut self, datagram: &OuterPacket<'_>) {
        self.record(&Outer { identification: 0, ..datagram.outer }, &[datagram.headers, datagram.payload]);
    }

    /// Records a packet, of which the kernel writes and reads the headers: here they are written
    /// a second time.
    pub(super) fn record(&mut self, outer: &Outer, parts: &[&[u8]]) {
        self.bytes.clear();
        self.bytes.resize(HEADROOM, 0);
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        let end = self.bytes.len();
        let packet = PacketMut::new(&mut self.bytes, HEADROOM..end);
        // The kernel sends and hands out nothing that is longer than IPv4 allows.
        if let Ok(mut packet) = packet
            && outer.push(&mut packet).is_ok()
        {
            self.pcap.packet(wall_clock(), packet.as_slice());
        }
    }

    /// Once a turn, so that a reader sees what has happened. The first time that packets are
    /// missing, that.
    ///
    /// # Errors
    ///
    /// The file can no longer be written: the capture has ended.
    pub(super) fn flush(&mut self) -> Result<Option<Error>, Error> {
        self.pcap.flush();
        let error = self.shared.error.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(error) = error {
            return Err(Error::refused("record more packets into", self.path.display(), error)
                .with_advice("the capture ends here, and nothing else does"));
        }
        if self.is_loss_told || self.shared.lost.load(Ordering::Relaxed) == 0 {
            return Ok(None);
        }
        self.is_loss_told = true;
        let why = "it takes them more slowly than they come, or nobody reads it";
        Ok(Some(
            Error::refused("record all packets into", self.path.display(), io::Error::other(why))
                .with_advice("status counts those that are missing (not-recorded)"),
        ))
    }
}

impl Drop for Tap {
    /// Waits for the thread, but not for a reader that has stopped: the process ends without it.
    fn drop(&mut self) {
        self.pcap.flush();
        let nothing = Pcap::new(Box::new(io::sink()));
        if let Ok(nothing) = nothing {
            // The last sender goes: the thread ends when it has written what waits.
            drop(std::mem::replace(&mut self.pcap, nothing));
            let _ = self.ended.recv_timeout(FAREWELL);
        }
    }
}

/// A file that packets can be recorded into.
struct Opened {
    file: File,
    is_fifo: bool,
    /// It goes on after an earlier capture.
    has_header: bool,
}

const DOING: &str = "record packets into";

fn unusable(path: &Path, why: impl Into<String>, advice: &'static str) -> Error {
    Error::usage(DOING, path.display(), why.into()).with_advice(advice)
}

fn refused(path: &Path, error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ELOOP) => unusable(path, "it is a symbolic link", "name the file that it leads to"),
        Some(libc::EISDIR) => unusable(path, "it is a folder", "name a file in it"),
        _ => Error::refused(DOING, path.display(), error)
            .with_advice("choose a file that can be written, in a folder of your own"),
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    options
}

/// Whether [`Tap::create`] would take the file, which stays as it is: it is not emptied, and the
/// reader of a FIFO sees no end. `owner`: the user that the process is to become.
///
/// # Errors
///
/// As there.
pub(crate) fn check(path: &Path, owner: Option<u32>) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => {
            judge(path, &metadata, owner)?;
            if metadata.is_file() {
                let file = options().open(path).map_err(|error| refused(path, error))?;
                judge(path, &file.metadata().map_err(|error| refused(path, error))?, owner)?;
            }
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let made = options().create_new(true).open(path).and_then(|_| fs::remove_file(path));
            made.map_err(|error| refused(path, error))
        }
        Err(error) => Err(refused(path, error)),
    }
}

/// Nothing but a regular file or a FIFO, and not somebody else's.
fn judge(path: &Path, metadata: &Metadata, owner: Option<u32>) -> Result<(), Error> {
    let is_fifo = metadata.file_type().is_fifo();
    if metadata.is_symlink() {
        return Err(refused(path, io::Error::from_raw_os_error(libc::ELOOP)));
    }
    if metadata.is_dir() {
        return Err(refused(path, io::Error::from_raw_os_error(libc::EISDIR)));
    }
    if !is_fifo && !metadata.is_file() {
        return Err(unusable(path, "it is neither a regular file nor a FIFO", "name one of these"));
    }
    // The FIFO that the user of Wireshark has made, where nobody else makes files.
    let folder = path.parent().filter(|folder| is_fifo && !folder.as_os_str().is_empty());
    let of_folder = folder.and_then(|folder| folder.metadata().ok()).filter(|folder| folder.mode() & 0o022 == 0);
    let own = [Some(Uid::effective().as_raw()), owner, of_folder.map(|folder| folder.uid())];
    if !own.contains(&Some(metadata.uid())) {
        let why = format!("it belongs to the user {}, who could read or change it", metadata.uid());
        return Err(unusable(path, why, "remove it, or name another file, or a FIFO in a folder of that user"));
    }
    if metadata.is_file() && metadata.nlink() > 1 {
        return Err(unusable(path, "the file has a second name", "remove it, or name another file"));
    }
    Ok(())
}

/// Opens the file, a regular one or a FIFO. Neither waits for anything, nor follows a link, nor
/// empties or fills somebody else's file.
fn open(path: &Path, goes_on: bool) -> Result<Opened, Error> {
    let refused = |error: io::Error| refused(path, error);
    let options = options();
    let owner = new_owner().map(|(uid, _)| uid);
    let file = loop {
        match options.open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // A FIFO that nobody reads yet can be opened while somebody does.
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
                let reader = OpenOptions::new()
                    .read(true)
                    .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
                    .open(path)
                    .map_err(refused)?;
                judge(path, &reader.metadata().map_err(refused)?, owner)?;
                break options.open(path).map_err(refused)?;
            }
            other => break other.map_err(refused)?,
        }
        match options.clone().create_new(true).open(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            other => break other.map_err(refused)?,
        }
    };
    let metadata = file.metadata().map_err(refused)?;
    judge(path, &metadata, owner)?;
    let has_header = goes_on && metadata.is_file() && metadata.len() >= HEADER_LEN as u64;
    if metadata.is_file() {
        if !has_header {
            file.set_len(0).map_err(refused)?;
        }
        if let Some((uid, gid)) = new_owner() {
            // As tcpdump does: whom the daemon becomes may open it again.
            std::os::unix::fs::fchown(&file, Some(uid), Some(gid)).map_err(refused)?;
        }
    }
    // It was only not to wait for a reader here: the thread may wait. The thread of an earlier
    // capture may still write its last packets: each writes after the other.
    let flags = fcntl(&file, FcntlArg::F_GETFL).map_err(|errno| refused(errno.into()))?;
    let flags = (OFlag::from_bits_retain(flags) - OFlag::O_NONBLOCK) | OFlag::O_APPEND;
    fcntl(&file, FcntlArg::F_SETFL(flags)).map_err(|errno| refused(errno.into()))?;
    Ok(Opened { file, is_fifo: metadata.file_type().is_fifo(), has_header })
}

/// Whole records, and how many packets they are.
#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    packets: u64,
}

/// Collects what [`Pcap`] writes, one record a call, for the thread.
struct Writer {
    chunks: Sender<Chunk>,
    shared: Arc<Shared>,
    chunk: Chunk,
    has_header: bool,
}

impl Write for Writer {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let waiting = self.shared.waiting.load(Ordering::Relaxed) + self.chunk.bytes.len();
        if waiting + record.len() > MOST_WAITING {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        } else {
            self.chunk.bytes.extend_from_slice(record);
            self.chunk.packets += u64::from(self.has_header);
            self.has_header = true;
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.chunk.bytes.is_empty() {
            let chunk = std::mem::take(&mut self.chunk);
            self.shared.waiting.fetch_add(chunk.bytes.len(), Ordering::Relaxed);
            // The thread has ended: its error comes.
            let _ = self.chunks.send(chunk);
        }
        Ok(())
    }
}

/// The thread: writes until nothing more can come, or the file takes no more.
fn write_all(mut file: File, is_fifo: bool, goes_on: bool, chunks: &Receiver<Chunk>, shared: &Shared) {
    let mut header = Vec::new();
    let mut skip = if goes_on { HEADER_LEN } else { 0 };
    // A reader of a FIFO that comes later needs the header too.
    let mut has_header = true;
    while let Ok(chunk) = chunks.recv() {
        let length = chunk.bytes.len();
        if header.is_empty() {
            header = chunk.bytes.get(..HEADER_LEN).unwrap_or_default().to_vec();
        }
        let lead: &[u8] = if has_header { &[] } else { &header };
        let bytes = chunk.bytes.get(std::mem::take(&mut skip)..).unwrap_or_default();
        let written = file.write_all(lead).and_then(|()| file.write_all(bytes));
        shared.waiting.fetch_sub(length, Ordering::Relaxed);
        match written {
            Ok(()) => has_header = true,
            Err(error) if is_fifo && error.kind() == ErrorKind::BrokenPipe => {
                shared.lost.fetch_add(chunk.packets, Ordering::Relaxed);
                has_header = false;
            }
            Err(error) => {
                *shared.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                return;
            }
        }
    }
}

/// Of a capture.
const HEADER_LEN: usize = 24;

/// Captures have the time of day.
fn wall_clock() -> Instant {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Instant::from_micros(u64::try_from(since.as_micros()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use isatap_core::proto41::Outer;
    use std::net::Ipv4Addr;
    use std::os::unix::fs::symlink;

    /// A folder that goes with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("isatap-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_is_checked_as_it_is_opened_and_left_as_it_is() {
        let folder = Folder::new("checked");
        let place = |name: &str| folder.0.join(name);
        fs::write(place("old"), "packets").unwrap();
        fs::write(place("one"), "").unwrap();
        fs::hard_link(place("one"), place("two")).unwrap();
        symlink(place("old"), place("link")).unwrap();
        nix::unistd::mkfifo(&place("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(check(&place("new"), None).is_ok() && !place("new").exists());
        assert!(check(&place("old"), None).is_ok() && fs::read_to_string(place("old")).unwrap() == "packets");
        assert!(check(&place("fifo"), None).is_ok());
        for (path, why) in [
            (place("link"), "it is a symbolic link"),
            (place("two"), "the file has a second name"),
            (folder.0.clone(), "it is a folder"),
            ("/dev/null".into(), "it is neither a regular file nor a FIFO"),
            (place("none/new"), "No such file"),
        ] {
            let checked = check(&path, None).unwrap_err().to_string();
            assert!(checked.contains(why), "{checked}");
            assert_eq!(checked, Tap::create(&path, false).unwrap_err().to_string());
        }
    }

    #[test]
    fn a_capture_that_goes_on_keeps_what_was_recorded() {
        let folder = Folder::new("goes-on");
        let path = folder.0.join("outer.pcap");
        let record = |goes_on: bool| {
            let mut tap = Tap::create(&path, goes_on).unwrap();
            let outer = Outer::new(Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
            tap.record(&outer, &[&[0x60; 40]]);
            drop(tap);
            fs::read(&path).unwrap()
        };
        fs::write(&path, [0; 100]).unwrap();
        let once = record(false);
        let twice = record(true);
        assert_eq!(twice.len(), HEADER_LEN + 2 * (once.len() - HEADER_LEN));
        assert_eq!(twice.get(..once.len()), Some(once.as_slice()));
        // Who has emptied it meanwhile gets a whole file.
        fs::write(&path, "").unwrap();
        assert_eq!(record(true).len(), once.len());
        assert_eq!(record(false).len(), once.len());
    }
}
