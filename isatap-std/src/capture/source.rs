//! Where the bytes of a capture come from: a file, standard input, or what gzip or zstd made of
//! either.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// The most bytes that a compressed capture may become: some kilobytes can claim to be
/// terabytes.
pub(super) const MOST_UNPACKED: u64 = 4 << 30;

pub(super) type Input = Box<dyn Read + Send>;

/// Bytes in order, and whether their end was one.
pub(super) struct Source {
    input: Input,
    /// Whether a decompressor expected more bytes than there were.
    torn: bool,
    /// Whether the bytes ended within a packet that was given.
    within: bool,
}

impl Source {
    /// Opens a file; `-` is standard input.
    pub(super) fn open(path: &Path) -> Result<Input, String> {
        if path.as_os_str() == "-" {
            return Ok(Box::new(io::stdin()));
        }
        // Linux opens a directory, and refuses to read it with a worse message.
        let file = File::open(path).map_err(|error| error.to_string())?;
        match file.metadata() {
            Ok(metadata) if metadata.is_dir() => Err("it is a directory: give a capture file".to_owned()),
            _ => Ok(Box::new(file)),
        }
    }

    /// Unpacks what is compressed. The first bytes are those of the capture then.
    pub(super) fn new(input: Input) -> Result<(Self, Vec<u8>), String> {
        let mut source =
            Source { input: Box::new(BufReader::with_capacity(64 * 1024, input)), torn: false, within: false };
        let mut start = source.start()?;
        if let Some(packing) = Packing::of(&start) {
            let packed: Input = Box::new(io::Cursor::new(start).chain(source.input));
            let unpacked: Input = match packing {
                Packing::Gzip => Box::new(MultiGzDecoder::new(packed)),
                Packing::Zstd => Box::new(Zstd::new(packed)),
                Packing::Other(name, command) => {
                    return Err(format!("it is compressed with {name}: unpack it first ({command} FILE | isatap … -)"));
                }
            };
            source = Source { input: Box::new(Limited { unpacked, left: MOST_UNPACKED }), torn: false, within: false };
            start = source.start()?;
            if Packing::of(&start).is_some() {
                return Err("it is compressed twice: unpack it first".to_owned());
            }
        }
        Ok((source, start))
    }

    /// The first bytes, as many as any file says its format in.
    fn start(&mut self) -> Result<Vec<u8>, String> {
        let mut start = Vec::new();
        self.read(&mut start, START).map_err(|error| error.to_string())?;
        Ok(start)
    }

    /// Appends `count` bytes, or as many as there are. Says whether all are there.
    pub(super) fn read(&mut self, to: &mut Vec<u8>, count: usize) -> io::Result<bool> {
        let wanted = to.len().saturating_add(count);
        // `take` and not a buffer of that size: the count is the file's own.
        let most = u64::try_from(count).unwrap_or(u64::MAX);
        match self.input.by_ref().take(most).read_to_end(to) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.torn = true,
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        Ok(to.len() >= wanted)
    }

    /// Passes over `count` bytes. Says whether all are there.
    pub(super) fn skip(&mut self, count: u64) -> io::Result<bool> {
        match io::copy(&mut self.input.by_ref().take(count), &mut io::sink()) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.torn = true;
                Ok(false)
            }
            Err(error) => Err(error),
            Ok(skipped) => Ok(skipped == count),
        }
    }

    /// Notes that the bytes ended within the packet that is given now.
    pub(super) fn end_within(&mut self) {
        self.within = true;
    }

    /// Whether the bytes ended within the last packet.
    pub(super) fn is_within(&self) -> bool {
        self.within
    }

    /// Whether the end of the bytes is not that of the file.
    pub(super) fn is_torn(&self) -> bool {
        self.torn || self.within
    }
}

/// Bytes that are enough to recognise a format.
const START: usize = 8;

/// How a file is compressed.
pub(super) enum Packing {
    Gzip,
    Zstd,
    /// Not unpacked here: its name, and the command that does.
    Other(&'static str, &'static str),
}

impl Packing {
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        Some(match start {
            [0x1f, 0x8b, ..] => Packing::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Zstd,
            [0x04, 0x22, 0x4d, 0x18, ..] => Packing::Other("lz4", "lz4 -dc"),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Other("xz", "xz -dc"),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Packing::Other("bzip2", "bzip2 -dc"),
            [b'P', b'K', 3, 4, ..] => Packing::Other("zip", "unzip -p"),
            [0x1f, 0x9d, ..] => Packing::Other("compress", "uncompress -c"),
            _ => return None,
        })
    }
}

/// The frames of a zstd file, one behind the other. [RFC 8878 §3.1]
struct Zstd {
    packed: BufReader<Input>,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl Zstd {
    fn new(packed: Input) -> Self {
        Zstd { packed: BufReader::new(packed), decoder: FrameDecoder::new(), in_frame: false }
    }

    /// What an error of the decoder's comes from: the end of the file, or its bytes.
    fn broken(&mut self, error: &dyn std::error::Error) -> io::Error {
        match self.packed.fill_buf() {
            Ok([]) => io::ErrorKind::UnexpectedEof.into(),
            Ok(_) => io::Error::other(format!("its zstd data is broken ({error})")),
            Err(error) => error,
        }
    }
}

impl Read for Zstd {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.in_frame {
                let count = self.decoder.read(to)?;
                if count > 0 || to.is_empty() {
                    return Ok(count);
                }
                if !self.decoder.is_finished() {
                    // A block at a time: what is unpacked and not yet read has a bound.
                    let block = BlockDecodingStrategy::UptoBlocks(1);
                    if let Err(error) = self.decoder.decode_blocks(&mut self.packed, block) {
                        return Err(self.broken(&error));
                    }
                    continue;
                }
                self.in_frame = false;
            }
            if self.packed.fill_buf()?.is_empty() {
                return Ok(0);
            }
            match self.decoder.init(&mut self.packed) {
                Ok(()) => self.in_frame = true,
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    io::copy(&mut self.packed.by_ref().take(length.into()), &mut io::sink())?;
                }
                Err(error) => return Err(self.broken(&error)),
            }
        }
    }
}

/// Unpacked bytes, until there are too many.
pub(super) struct Limited {
    pub(super) unpacked: Input,
    pub(super) left: u64,
}

impl Read for Limited {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.unpacked.read(to)?;
        match self.left.checked_sub(u64::try_from(count).unwrap_or(u64::MAX)) {
            Some(left) => self.left = left,
            None => {
                let most = MOST_UNPACKED >> 30;
                return Err(io::Error::other(format!("it unpacks to more than {most} GiB: unpack it to a file first")));
            }
        }
        Ok(count)
    }
}
