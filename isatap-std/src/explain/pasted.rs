//! Packets as people paste them: dumps, hex streams, arrays and strings of
//! programming languages.
//!
//! Text is taken line by line. What is no packet is handed back as it is; of
//! a packet the bytes of its IP header and all behind it. An offset is never
//! taken for bytes: it must count the bytes in front of it. Where a text can
//! be read in two ways, it is refused, with the way to write it.

mod dump;
mod frame;
mod literal;

use dump::Dump;
use literal::{Array, Strings};

/// A line that is no packet, or what the lines of a packet came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The first line.
    pub(super) text: String,
    /// What it is.
    pub(super) found: Found,
}

/// What a piece of text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A line that is no part of a packet.
    Line,
    /// An IP packet, without the link layer in front of it.
    Packet(Vec<u8>),
    /// A packet that cannot be read; says why, and how to write it.
    Wrong(String),
}

/// Takes text line by line.
pub(super) struct Pasted {
    is_target: fn(&str) -> bool,
    state: State,
    /// Lines that are nothing by themselves. The heading of a dump goes with
    /// the dump.
    held: Vec<String>,
    ready: Vec<Piece>,
}

enum State {
    Idle,
    Dump(Dump),
    /// Hexadecimal digits without offsets.
    Hex {
        text: String,
        bytes: Vec<u8>,
    },
    /// `0x45, 0x00`, without braces.
    List {
        text: String,
        bytes: Vec<u8>,
    },
    Array(Array),
    Strings(Strings),
    /// A dump that is told to be wrong: the lines that are left of it.
    Broken,
}

/// No packet that people paste is longer.
const LARGEST: usize = 1 << 20;

/// So many lines are waited for a dump behind them.
const MOST_HELD: usize = 4096;

impl Pasted {
    /// `is_target` tells lines that mean something by themselves; they are
    /// handed back at once.
    pub(super) fn new(is_target: fn(&str) -> bool) -> Self {
        Pasted { is_target, state: State::Idle, held: Vec::new(), ready: Vec::new() }
    }

    /// Takes one line, without its end.
    pub(super) fn line(&mut self, line: &str) -> Vec<Piece> {
        let line = line.trim_end();
        if !self.continues(line) {
            self.close();
            self.begin(line);
        }
        std::mem::take(&mut self.ready)
    }

    /// There are no more lines.
    pub(super) fn end(&mut self) -> Vec<Piece> {
        self.close();
        self.let_go();
        std::mem::take(&mut self.ready)
    }

    /// Whether the line is part of what is open.
    fn continues(&mut self, line: &str) -> bool {
        match &mut self.state {
            State::Idle => false,
            State::Dump(dump) => dump.takes(line),
            State::Broken => line.trim().is_empty() || dump::is_later_row(line) || line.trim() == "*",
            State::Hex { bytes, .. } => match literal::hex_line(line) {
                Some(_) if bytes.len() > LARGEST => true,
                // The line is the next packet, or the padding of this one.
                Some(more) if frame::is_whole(bytes) => more.iter().all(|byte| *byte == 0) && more.len() < 47,
                Some(more) => {
                    bytes.extend(more);
                    true
                }
                None => false,
            },
            State::List { bytes, .. } => match literal::list_line(line) {
                Some(more) => {
                    if bytes.len() <= LARGEST {
                        bytes.extend(more);
                    }
                    true
                }
                None => false,
            },
            State::Array(array) => array.takes(line),
            State::Strings(strings) => strings.takes(line),
        }
    }

    fn begin(&mut self, line: &str) {
        let text = line.trim();
        if text.is_empty() {
            return;
        }
        match Dump::begin(line) {
            Some(Ok(dump)) => {
                // Bytes that a dissector put together, or shows of one field: tcpdump -vvv
                // puts them one step further in.
                let is_derived = self.held.last().is_some_and(|heading| is_derived(heading) || line.starts_with("\t "));
                self.held.clear();
                self.state = if is_derived { State::Broken } else { State::Dump(dump) };
                return;
            }
            Some(Err(error)) => {
                self.held.clear();
                self.push(text, Found::Wrong(error));
                self.state = State::Broken;
                return;
            }
            None => {}
        }
        if let Some(bytes) = literal::list_line(line)
            && bytes.len() > 1
        {
            self.held.clear();
            self.state = State::List { text: text.to_owned(), bytes };
        } else if (self.is_target)(text) {
            self.let_go();
            self.push(text, Found::Line);
        } else if let Some(array) = Array::begin(line) {
            self.held.clear();
            self.state = State::Array(array);
        } else if let Some(strings) = Strings::begin(line) {
            self.held.clear();
            self.state = State::Strings(strings);
        } else if let Some(bytes) = literal::hex_line(line)
            && (bytes.len() >= 8 || bytes.len() >= 4 && text.contains([' ', ':', '-']))
        {
            self.let_go();
            self.state = State::Hex { text: text.to_owned(), bytes };
            // A packet a line is answered at once.
            if let State::Hex { bytes, .. } = &self.state
                && frame::is_whole(bytes)
                && frame::at(bytes).is_ok_and(|found| found.start == 0)
            {
                self.close();
            }
        } else {
            self.held.push(text.to_owned());
            if self.held.len() > MOST_HELD {
                self.let_go();
            }
        }
    }

    /// What is open is complete.
    fn close(&mut self) {
        let (text, bytes) = match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle | State::Broken => return,
            State::Dump(dump) => {
                let text = dump.text().to_owned();
                (text, dump.finish())
            }
            State::Hex { text, bytes } | State::List { text, bytes } => (text, Ok(bytes)),
            State::Array(array) => array.finish(),
            State::Strings(strings) => strings.finish(),
        };
        let packet = bytes.and_then(|bytes| {
            if bytes.len() > LARGEST {
                return Err(format!("more than {LARGEST} bytes: that is no packet"));
            }
            frame::at(&bytes).map(|found| bytes.get(found).unwrap_or(&[]).to_vec())
        });
        self.push(&text, packet.map_or_else(Found::Wrong, Found::Packet));
    }

    /// Lines that no dump came behind.
    fn let_go(&mut self) {
        for text in std::mem::take(&mut self.held) {
            self.push(&text, Found::Line);
        }
    }

    fn push(&mut self, text: &str, found: Found) {
        self.ready.push(Piece { text: text.to_owned(), found });
    }
}

/// tshark's heading over bytes that it has put together itself.
fn is_derived(heading: &str) -> bool {
    heading.ends_with(" bytes):") && !heading.starts_with("Frame (") && !heading.starts_with("Packet (")
}

/// All pieces of a text.
pub(super) fn pieces(text: &str, is_target: fn(&str) -> bool) -> Vec<Piece> {
    let mut pasted = Pasted::new(is_target);
    let mut pieces: Vec<Piece> = text.lines().flat_map(|line| pasted.line(line)).collect();
    pieces.extend(pasted.end());
    pieces
}

/// Where the IP packet in explicit bytes starts, when a link layer stands in
/// front of it beyond doubt; else 0.
pub(super) fn ip_start(bytes: &[u8]) -> usize {
    if frame::is_ip(bytes) { 0 } else { frame::at(bytes).map_or(0, |found| found.start) }
}

#[cfg(test)]
mod tests;
