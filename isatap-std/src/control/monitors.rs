//! Those who have asked to be told what happens, and how each of them falls behind alone.
//!
//! The kernel's buffer of a connection is the queue: some hundred events. What does not fit is
//! counted, and the count is told, as `{"event":"lost","count":…}`, before anything that comes
//! later.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::{SystemTime, UNIX_EPOCH};

/// Of one device at a time.
const MOST: usize = 16;

/// All of a process.
#[derive(Debug, Default)]
pub(crate) struct Monitors {
    all: Vec<Subscriber>,
    /// The number of the last event of the process.
    last: u64,
}

#[derive(Debug)]
struct Subscriber {
    /// `None`: of the process alone, which may have no link.
    device: Option<String>,
    stream: UnixStream,
    /// The end of a line that went in part.
    rest: Vec<u8>,
    lost: u64,
}

/// What goes before the keys of an event.
#[derive(Serialize)]
struct Line<'a, T> {
    time: String,
    process: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
    /// Who watches several devices of a process knows an event of the process by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(flatten)]
    event: &'a T,
}

impl<'a, T: Serialize> Line<'a, T> {
    fn new(process: u32, dev: Option<&'a str>, event: &'a T) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = format!("{}.{:06}", since.as_secs(), since.subsec_micros());
        Self { time, process, dev, scope: dev.is_none().then_some(PROCESS), number: None, event }
    }

    /// The same for who watches this device.
    fn under<'b>(&'b self, dev: Option<&'b str>) -> Line<'b, T> {
        let Line { process, scope, number, event, .. } = *self;
        Line { time: self.time.clone(), process, dev, scope, number, event }
    }

    fn text(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

/// The scope of what is about a whole process.
pub(super) const PROCESS: &str = "process";

/// A line of `isatap monitor -j`: the event with the time, in seconds since 1970, the process and the
/// device; `None`: it is about the whole process.
pub(crate) fn line(process: u32, device: Option<&str>, event: &impl Serialize) -> String {
    Line::new(process, device, event).text()
}

fn own_line(device: Option<&str>, event: &impl Serialize) -> String {
    line(std::process::id(), device, event)
}

impl Monitors {
    /// Tells a client all that happens to a device and to the process from now on, after this beginning.
    pub(crate) fn subscribe(&mut self, device: Option<&str>, stream: UnixStream, first: &impl Serialize) {
        let mut subscriber = Subscriber { device: device.map(str::to_owned), stream, rest: Vec::new(), lost: 0 };
        if self.of(device).count() >= MOST {
            self.all.retain(Subscriber::is_there);
        }
        if self.of(device).count() >= MOST {
            let what = device.unwrap_or("this process");
            let why = format!("{MOST} others watch {what} already: end one of them");
            let _ = subscriber.put(format!("{}\n", serde_json::json!({ "error": why })).as_bytes());
            return;
        }
        if subscriber.send(own_line(device, first).as_bytes()) {
            self.all.push(subscriber);
        }
    }

    /// Tells those who watch the device; `None`: all, each under the device that it watches.
    pub(crate) fn tell(&mut self, device: Option<&str>, event: &impl Serialize) {
        if self.all.is_empty() {
            return;
        }
        let Some(device) = device else { return self.tell_process(event) };
        let line = own_line(Some(device), event);
        let concerns = |subscriber: &Subscriber| subscriber.device.as_deref() == Some(device);
        self.all.retain_mut(|subscriber| !concerns(subscriber) || subscriber.send(line.as_bytes()));
    }

    fn tell_process(&mut self, event: &impl Serialize) {
        self.last += 1;
        let of_process = Line { number: Some(self.last), ..Line::new(std::process::id(), None, event) };
        self.all.retain_mut(|subscriber| {
            let line = of_process.under(subscriber.device.as_deref()).text();
            subscriber.send(line.as_bytes())
        });
    }

    /// Hangs up on those who watch a device that is gone; `None`: who watches the process, which ends.
    pub(crate) fn end(&mut self, device: Option<&str>) {
        self.all.retain(|subscriber| subscriber.device.as_deref() != device);
    }

    /// Tells those who watch the process alone that it ends.
    pub(crate) fn end_process(&mut self) {
        let line = own_line(None, &serde_json::json!({ "event": "ended" }));
        let watching = self.all.iter_mut().filter(|subscriber| subscriber.device.is_none());
        for subscriber in watching {
            subscriber.send(line.as_bytes());
        }
        self.end(None);
    }

    /// Whether there is something to [`catch_up`](Self::catch_up) with.
    pub(crate) fn is_behind(&self) -> bool {
        self.all.iter().any(|subscriber| subscriber.lost > 0 || !subscriber.rest.is_empty())
    }

    /// Tells those who did not read what they have lost, if they read by now.
    pub(crate) fn catch_up(&mut self) {
        self.all.retain_mut(|subscriber| subscriber.catch_up().is_ok());
    }

    fn of<'a>(&'a self, device: Option<&'a str>) -> impl Iterator<Item = &'a Subscriber> {
        self.all.iter().filter(move |subscriber| subscriber.device.as_deref() == device)
    }
}

impl Subscriber {
    /// Sends a line, or counts it; `false`: nobody is there any more.
    fn send(&mut self, line: &[u8]) -> bool {
        let sent = self.catch_up().and_then(|()| {
            let is_sent = self.rest.is_empty() && self.lost == 0 && self.put(line)?;
            self.lost += u64::from(!is_sent);
            Ok(())
        });
        sent.is_ok()
    }

    fn catch_up(&mut self) -> io::Result<()> {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            if !self.put(&rest)? {
                self.rest = rest;
            }
        }
        if self.lost > 0 && self.rest.is_empty() {
            let lost = own_line(self.device.as_deref(), &serde_json::json!({ "event": "lost", "count": self.lost }));
            if self.put(lost.as_bytes())? {
                self.lost = 0;
            }
        }
        Ok(())
    }

    /// Sends all, and keeps what does not go; `false`: nothing went.
    fn put(&mut self, bytes: &[u8]) -> io::Result<bool> {
        loop {
            match self.stream.write(bytes) {
                Ok(count) => {
                    self.rest = bytes.get(count..).unwrap_or_default().to_vec();
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Who only says that nothing more will be asked is still there.
    fn is_there(&self) -> bool {
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
        match poll(&mut fds, PollTimeout::ZERO) {
            Ok(0) | Err(_) => true,
            Ok(_) => fds.iter().all(|fd| fd.revents().is_none_or(|events| !events.contains(PollFlags::POLLHUP))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::io::{BufRead, BufReader, Read as _};

    fn watched(monitors: &mut Monitors, device: &str) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        monitors.subscribe(Some(device), ours, &json!({ "event": "status" }));
        theirs
    }

    fn next(reader: &mut impl BufRead) -> Value {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn each_hears_of_its_device_and_of_the_process() {
        let mut monitors = Monitors::default();
        let mut streams = ["isatap0", "tun6to4"].map(|device| BufReader::new(watched(&mut monitors, device)));
        monitors.tell(Some("tun6to4"), &json!({ "event": "mtu-changed", "mtu": 1280 }));
        monitors.tell(None, &json!({ "event": "warning", "text": "x" }));
        for (stream, device, events) in
            [(0, "isatap0", vec!["status", "warning"]), (1, "tun6to4", vec!["status", "mtu-changed", "warning"])]
        {
            for event in events {
                let told = next(&mut streams[stream]);
                assert_eq!((told["dev"].as_str(), &told["event"]), (Some(device), &json!(event)));
                // What it is about stands beside the device that was asked for.
                let about = (event == "warning").then_some("process");
                assert_eq!((told["scope"].as_str(), told["number"].as_u64()), (about, about.map(|_| 1)));
                assert_eq!(told["process"], std::process::id());
                let time: f64 = told["time"].as_str().unwrap().parse().unwrap();
                assert!(time > 1.7e9, "{told}");
            }
        }
        monitors.end(Some("isatap0"));
        assert_eq!(streams[0].read(&mut [0]).unwrap(), 0);
        assert_eq!(monitors.all.len(), 1);
    }

    /// The oracle: each number was read or counted as lost, in order.
    #[test]
    fn who_does_not_read_is_told_how_much_was_lost_and_stops_nobody() {
        let mut monitors = Monitors::default();
        let slow = watched(&mut monitors, "isatap0");
        for number in 0..5000 {
            monitors.tell(Some("isatap0"), &json!({ "event": "info", "text": "x".repeat(300), "number": number }));
        }
        assert!(monitors.is_behind());
        let mut reader = BufReader::new(slow);
        assert_eq!(next(&mut reader)["event"], "status");
        let mut expected = 0;
        while expected < 5000 {
            let told = next(&mut reader);
            if told["event"] == "lost" {
                expected += told["count"].as_u64().unwrap();
            } else {
                assert_eq!(told["number"], expected);
                expected += 1;
            }
            monitors.catch_up();
        }
        assert_eq!(expected, 5000);
        assert!(!monitors.is_behind());
        monitors.tell(Some("isatap0"), &json!({ "event": "info", "number": 5000 }));
        assert_eq!(next(&mut reader)["number"], 5000);
    }

    #[test]
    fn one_too_many_is_refused_and_takes_the_place_of_one_that_left() {
        let mut monitors = Monitors::default();
        let mut streams: Vec<UnixStream> = (0..MOST).map(|_| watched(&mut monitors, "isatap0")).collect();
        // Half closed is not gone.
        streams[0].shutdown(std::net::Shutdown::Write).unwrap();
        let refused = next(&mut BufReader::new(watched(&mut monitors, "isatap0")));
        assert_eq!(refused["error"], "16 others watch isatap0 already: end one of them");
        streams.pop();
        let taken = next(&mut BufReader::new(watched(&mut monitors, "isatap0")));
        assert_eq!(taken["event"], "status");
    }
}
