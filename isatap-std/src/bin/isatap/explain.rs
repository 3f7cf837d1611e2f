//! `isatap explain`: what an address, a prefix or a packet is.

use std::fmt;
use std::io::{self, BufRead, Write};
use std::path::Path;

use clap::ArgAction;
use isatap_core::embedded::Nat64Prefix;
use isatap_core::prefix::Ipv6Prefix;
use isatap_std::capture::Reader;
use isatap_std::explain::{
    DirectAccess, Explainer, FrameAnswer, PacketAnswer, Piece, Pieces, Policy, Rule, Target, TargetError, sixrd_domain,
};
use isatap_std::text_file::{self, NotUtf8};
use serde::Serialize;

use crate::captures;
use crate::exit::{Failure, Status};
use crate::output::{self, Unread};

/// Say what an address, a prefix or a packet is, and what is hidden in it.
///
/// TARGET is an address (a URL, a reverse name, with a port), a prefix, `0x…`
/// and the bytes of an IP packet, a packet as tcpdump -x, xxd, hexdump -C, od
/// or tshark -x print it, a pcap or pcapng file (also compressed by gzip or
/// zstd), or `-`: standard input, a capture or any of the others, one answer
/// each, in order. Needs no privilege and sends nothing.
///
/// With `--permits` it answers for a filter: each TARGET, or line of standard
/// input, is an address, and gets one answer, at once. The exit status is 0
/// when all are permitted, 3 when one is refused, 1 when one is no address or
/// there is none. Write `--` in front of addresses that come from others.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// What to explain.
    #[arg(required_unless_present = "direct_access", value_name = "TARGET")]
    targets: Vec<String>,
    /// Print JSON, one object an address or a packet.
    #[arg(short, long)]
    json: bool,
    /// A 6rd domain to know; IPv4MaskLen 0 unless said, or the IPv4 block of its members.
    #[arg(long = "6rd", value_name = "PREFIX/LEN[,MASKLEN]", value_parser = sixrd_domain)]
    sixrd: Vec<isatap_core::sixrd::addr::Domain>,
    /// A translator's prefix to know, of 32, 40, 48, 56, 64 or 96 bits.
    #[arg(long, value_name = "PREFIX/LEN", value_parser = nat64_prefix)]
    nat64: Vec<Nat64Prefix>,
    /// Print the prefixes of a DirectAccess server: by its first public IPv4 address or, behind a NAT,
    /// its organisation's /48. May be repeated. Its NAT64 prefix is known for the targets.
    #[arg(long, value_name = "V4|PREFIX/48")]
    direct_access: Vec<DirectAccess>,
    /// Tell whether a filter permits each address and every IPv4 address in it: `public`, addresses, prefixes.
    #[arg(long, value_name = "RULE[,RULE…]", value_delimiter = ',', num_args = 1, action = ArgAction::Set)]
    #[arg(conflicts_with = "direct_access")]
    permits: Vec<Rule>,
    /// Refuse these, whatever --permits says, such as public addresses of your own.
    #[arg(long, value_name = "RULE[,RULE…]", value_delimiter = ',', requires = "permits")]
    refuses: Vec<Rule>,
}

fn nat64_prefix(text: &str) -> Result<Nat64Prefix, String> {
    let prefix: Ipv6Prefix = text.parse().map_err(|error| format!("{error}"))?;
    Nat64Prefix::new(prefix)
        .ok_or_else(|| "a translator's prefix has 32, 40, 48, 56, 64 or 96 bits, and zeros in bits 64 to 71".to_owned())
}

/// Whether the command line, however wrong, asks a filter: `--help` permits nothing.
pub(crate) fn asks_a_filter() -> bool {
    let arguments = std::env::args_os().filter_map(|argument| argument.into_string().ok());
    arguments.take_while(|argument| argument != "--").any(|argument| argument.split('=').next() == Some("--permits"))
}

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    let of_servers = args.direct_access.iter().filter_map(DirectAccess::nat64);
    let nat64 = args.nat64.iter().copied().chain(of_servers).collect();
    let explainer = Explainer { nat64, sixrd: args.sixrd.clone() };
    let policy =
        (!args.permits.is_empty()).then(|| Policy { permits: args.permits.clone(), refuses: args.refuses.clone() });
    let unread = match &policy {
        None => Unread::End,
        Some(_) if args.targets.iter().any(|target| target == "-") => Unread::Fail,
        Some(_) => Unread::GoOn,
    };
    let mut printer = Printer {
        json: args.json,
        colour: output::colour(args.json),
        out: io::BufWriter::new(output::answer_until(unread)),
        explainer,
        policy,
        judged: 0,
        refused: false,
        packets: 0,
        last_error: None,
    };
    match (printer.answer_all(args), printer.last_error) {
        // One line is on standard error already for each but the last.
        (Ok(()), Some(error)) => Err(Failure::Usage(error)),
        (Err(failure), Some(error)) if failure.is_unread() => Err(Failure::Usage(error)),
        (Err(failure), _) => Err(failure),
        // A name without addresses is not permitted.
        (Ok(()), None) if printer.policy.is_some() && printer.judged == 0 => {
            Err(Failure::Usage("no address to judge: standard input is empty".to_owned()))
        }
        (Ok(()), None) => Ok(if printer.refused { Status::Problems } else { Status::Done }),
    }
}

struct Printer<W: Write> {
    json: bool,
    colour: bool,
    out: W,
    explainer: Explainer,
    /// The filter that is asked about.
    policy: Option<Policy>,
    /// How many addresses it was asked about.
    judged: u64,
    /// Whether it refused one.
    refused: bool,
    /// How many packets were answered, over all targets.
    packets: u64,
    /// What went wrong last; told at the end, with the exit status.
    last_error: Option<String>,
}

impl<W: Write> Printer<W> {
    fn answer_all(&mut self, args: &Args) -> Result<(), Failure> {
        for server in &args.direct_access {
            self.answer(&server.answer())?;
        }
        for target in &args.targets {
            match (&self.policy, target.as_str()) {
                (Some(_), "-") => self.judge_lines()?,
                (Some(_), text) => self.judge(text)?,
                (None, "-") => self.standard_input()?,
                (None, text) => self.argument(text)?,
            }
        }
        Ok(self.out.flush()?)
    }

    /// One address a line, whatever else the line could be.
    fn judge_lines(&mut self) -> Result<(), Failure> {
        for line in io::stdin().lock().split(b'\n') {
            self.judge(String::from_utf8_lossy(&line.map_err(unreadable)?).trim_start_matches(text_file::MARK))?;
        }
        Ok(())
    }

    /// What is no address is not permitted, and has its place among the answers.
    fn judge(&mut self, text: &str) -> Result<(), Failure> {
        let Some(policy) = &self.policy else { return Ok(()) };
        self.judged += 1;
        match self.explainer.judge(text, policy) {
            Ok(answer) => {
                self.refused |= answer.permitted != Some(true);
                self.answer(&answer)?;
            }
            Err(error) => self.error(text, true, error.to_string())?,
        }
        // Who asks line by line waits for it.
        Ok(self.out.flush()?)
    }

    /// A capture, or one target a line.
    fn standard_input(&mut self) -> Result<(), Failure> {
        let mut input = io::stdin().lock();
        let begin = input.fill_buf().map_err(unreadable)?;
        if !Reader::recognises(begin) {
            if let Err(wrong @ NotUtf8::Wide(_)) = text_file::decode(begin) {
                return Err(Failure::Usage(format!("reading targets from standard input: {wrong}")));
            }
            let mark = if begin.starts_with(text_file::MARK.as_bytes()) { text_file::MARK.len() } else { 0 };
            input.consume(mark);
            return self.lines(input);
        }
        drop(input);
        // What was looked at is in the buffer that all users of standard input share.
        self.capture_at(Path::new("-"), "-", false)
    }

    /// One target a line, or a packet in several. A line that is none is
    /// answered by an error, and the next one is read.
    fn lines(&mut self, mut input: impl BufRead) -> Result<(), Failure> {
        let mut line = Vec::new();
        let mut pieces = Pieces::default();
        loop {
            line.clear();
            match input.read_until(b'\n', &mut line) {
                Ok(0) => {
                    return pieces.end().try_for_each(|piece| self.one(piece, true));
                }
                Ok(_) => {}
                Err(error) => return Err(unreadable(error)),
            }
            let text = String::from_utf8_lossy(&line);
            for piece in pieces.line(&text) {
                self.one(piece, true)?;
            }
        }
    }

    /// A target of the command line, of one line or several.
    fn argument(&mut self, text: &str) -> Result<(), Failure> {
        let mut pieces = Pieces::default();
        for line in text.lines().chain(text.is_empty().then_some("")) {
            for piece in pieces.line(line) {
                self.one(piece, false)?;
            }
        }
        for piece in pieces.end() {
            self.one(piece, false)?;
        }
        if text.trim().is_empty() { self.error(text, false, TargetError::not_one(text).to_string()) } else { Ok(()) }
    }

    fn one(&mut self, piece: Piece, is_line: bool) -> Result<(), Failure> {
        let text = piece.text.as_str();
        let reading = match piece.reading {
            Ok(reading) => reading,
            Err(error) => return self.error(text, is_line, error.to_string()),
        };
        if let Some(answer) = self.explainer.reading(text, &reading) {
            return self.answer(&answer);
        }
        match reading.target {
            Target::Packet(bytes) => {
                self.packets += 1;
                let answer = PacketAnswer::new(self.packets, None, &bytes);
                self.answer(&answer)
            }
            Target::Capture(path) if !path.exists() => {
                self.error(text, is_line, TargetError::no_such_file(text).to_string())
            }
            Target::Capture(path) => self.capture_at(&path, text, is_line),
            _ => self.error(text, is_line, TargetError::not_one(text).to_string()),
        }
    }

    /// The packets of a capture; what is wrong with it has its place behind them.
    fn capture_at(&mut self, path: &Path, text: &str, is_line: bool) -> Result<(), Failure> {
        let fault = captures::each(path, |frame, packet| {
            self.packets += 1;
            let (number, time) = (self.packets, frame.time);
            let answer = match &packet {
                Ok(packet) if packet.bytes.len() < packet.length => {
                    PacketAnswer::of_beginning(number, time, packet.bytes)
                }
                Ok(packet) => PacketAnswer::new(number, time, packet.bytes),
                Err(why) => PacketAnswer::of_other(number, time, why.to_string()),
            };
            let tags = packet.as_ref().map_or(&[][..], |packet| &packet.tags);
            self.answer(&answer.in_frame(FrameAnswer::new(frame, tags)))
        });
        match fault {
            Ok(()) => Ok(()),
            Err(Failure::Usage(error)) => self.error(text, is_line, error),
            Err(other) => Err(other),
        }
    }

    fn answer(&mut self, answer: &(impl Serialize + fmt::Display)) -> Result<(), Failure> {
        if self.json {
            serde_json::to_writer(&mut self.out, answer).map_err(io::Error::from)?;
            self.out.write_all(b"\n")?;
            return Ok(());
        }
        let text = answer.to_string();
        match text.split_once('\n') {
            Some((first, rest)) if self.colour => writeln!(self.out, "\x1b[1m{first}\x1b[0m\n{rest}\n")?,
            _ => writeln!(self.out, "{text}\n")?,
        }
        Ok(())
    }

    /// Among other answers an error has its place in the order; the exit
    /// status tells of it at the end.
    fn error(&mut self, text: &str, is_line: bool, error: String) -> Result<(), Failure> {
        if self.json && is_line {
            let permitted = self.policy.as_ref().map(|_| false);
            let line = ErrorLine { target: text, error: &error, permitted };
            serde_json::to_writer(&mut self.out, &line).map_err(io::Error::from)?;
            self.out.write_all(b"\n")?;
        }
        if let Some(earlier) = self.last_error.replace(error) {
            self.out.flush()?;
            output::say(&earlier);
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct ErrorLine<'a> {
    target: &'a str,
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    permitted: Option<bool>,
}

fn unreadable(error: io::Error) -> Failure {
    Failure::Usage(format!("reading targets from standard input: {error}"))
}
