//! The helper: a process that reads events and runs the hook, one at a time.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use isatap_std::Error;
use isatap_std::config::Config;
use isatap_std::signal::Signals;
use isatap_std::text_file;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, Uid, initgroups, setgid, setuid};

use super::queue::{Job, Queue};
use super::{HELPER, LONGEST_MESSAGE, Message, Report, Setup, check, find_user};
use crate::output::{self, say, warn};

/// So long one run may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many lines of one run are logged, of so many bytes.
const MOST_LINES: usize = 100;
const LONGEST_LINE: usize = 1000;
/// So long after its end its output is read, should it have left somebody who writes.
const LINGER: Duration = Duration::from_millis(200);
/// Where programs of a hook are found.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs the helper, where this process is to be one.
pub(crate) fn main_of_helper() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some(HELPER) {
        return None;
    }
    let setup = arguments.next().and_then(|text| serde_json::from_str::<Setup>(&text).ok())?;
    let mut answer = output::answer();
    let begun = begin(&setup);
    let told = begun.as_ref().err().map(ToString::to_string).unwrap_or_default();
    // Who asked has ended if it cannot be told; then there is nothing to read either.
    let _ = writeln!(answer, "{told}").and_then(|()| answer.flush());
    drop(answer);
    let Ok((events, _signals)) = begun else { return Some(ExitCode::FAILURE) };
    serve(&setup, events);
    Some(ExitCode::SUCCESS)
}

/// Becomes the hook's user. The signals are those of the daemon: this process ends after it.
fn begin(setup: &Setup) -> Result<(File, Signals), Error> {
    let refused = |error| Error::refused("start the helper of", &setup.hook, error);
    let events = io::stdin().as_fd().try_clone_to_owned().map_err(refused)?;
    if let Some(name) = setup.user.as_deref() {
        let user = find_user(name)?;
        let groups = CString::new(name).map_err(|error| refused(error.into()))?;
        if user.uid != Uid::effective() {
            initgroups(&groups, user.gid).and_then(|()| setgid(user.gid)).and_then(|()| setuid(user.uid)).map_err(
                |errno| Error::refused("run hooks as the user", name, errno.into()).with_advice("start as root"),
            )?;
        }
    }
    Ok((File::from(events), Signals::catch()?))
}

/// What the reader and the runner share.
struct Shared {
    inbox: Mutex<Inbox>,
    /// For the runner.
    news: Condvar,
    /// For who tells the daemon.
    reports: Condvar,
}

#[derive(Default)]
struct Inbox {
    queue: Queue,
    is_changed: bool,
    is_over: bool,
    /// Whether the hook runs for an event that is in the queue no more.
    is_running: bool,
    report: Report,
    /// Whether the report says what the daemon was not told.
    is_untold: bool,
}

impl Shared {
    fn new(inbox: Inbox) -> Arc<Self> {
        Arc::new(Self { inbox: Mutex::new(inbox), news: Condvar::new(), reports: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut Inbox)) {
        let mut inbox = self.lock();
        change(&mut inbox);
        self.report(&mut inbox);
        self.news.notify_one();
    }

    /// The daemon is to be told how it goes.
    fn report(&self, inbox: &mut Inbox) {
        inbox.report.settled = inbox.queue.taken() - u64::from(inbox.is_running);
        inbox.report.overflowed = inbox.queue.overflowed;
        inbox.is_untold = true;
        self.reports.notify_one();
    }
}

/// Tells the daemon how it goes, whenever that changes. Only this thread waits for a daemon that is busy: events are
/// read meanwhile, and of the reports that came together the last one counts.
fn tell_reports(mut daemon: File, shared: &Shared) {
    loop {
        let mut inbox = shared.lock();
        while !std::mem::take(&mut inbox.is_untold) {
            inbox = shared.reports.wait(inbox).unwrap_or_else(PoisonError::into_inner);
        }
        let report = serde_json::to_vec(&inbox.report);
        drop(inbox);
        // A daemon that has ended hears nothing.
        if !report.is_ok_and(|bytes| daemon.write_all(&bytes).is_ok()) {
            return;
        }
    }
}

/// Until the daemon has ended, and all is run that was to run.
fn serve(setup: &Setup, events: File) {
    let daemon = match events.try_clone() {
        Ok(daemon) => daemon,
        Err(error) => return warn(format_args!("no hooks: {error}")),
    };
    let report = Report { command: Some(setup.hook.clone()), ..Report::default() };
    let shared = Shared::new(Inbox { report, ..Inbox::default() });
    let (reader, teller) = (shared.clone(), shared.clone());
    let started = [
        thread::Builder::new().name("reports".to_owned()).spawn(move || tell_reports(daemon, &teller)),
        thread::Builder::new().name("events".to_owned()).spawn(move || read(events, &reader)),
    ];
    if let Some(error) = started.into_iter().find_map(Result::err) {
        return warn(format_args!("no hooks: {error}"));
    }
    let mut hook = Some(PathBuf::from(&setup.hook));
    loop {
        let mut inbox = shared.lock();
        if std::mem::take(&mut inbox.is_changed) {
            drop(inbox);
            hook = read_again(setup, hook);
            let command = hook.as_ref().map(|hook| hook.display().to_string());
            shared.tell(|inbox| inbox.report.command = command);
            continue;
        }
        let Some((job, lost)) = inbox.queue.pop() else {
            if inbox.is_over {
                return;
            }
            drop(shared.news.wait(inbox));
            continue;
        };
        inbox.is_running = hook.is_some();
        shared.report(&mut inbox);
        drop(inbox);
        let Some(hook) = &hook else { continue };
        let outcome = run(hook, &job, lost, PATIENCE);
        let Job { dev, event, .. } = &job;
        shared.tell(|Inbox { is_running, report, .. }| {
            (*is_running, report.runs) = (false, report.runs + 1);
            if let Err(why) = &outcome {
                report.failures += 1;
                report.last_failure = Some(format!("{event} of {dev}: {why}"));
                let (hook, Report { runs, failures, .. }) = (hook.display(), &report);
                warn(format_args!("the hook {hook} for {event} of {dev}: {why}; {failures} of {runs} runs failed"));
            }
        });
    }
}

fn read(mut events: File, shared: &Shared) {
    let mut bytes = vec![0; LONGEST_MESSAGE];
    loop {
        match events.read(&mut bytes) {
            Ok(0) => return shared.tell(|inbox| inbox.is_over = true),
            Ok(count) => match serde_json::from_slice(bytes.get(..count).unwrap_or_default()) {
                Ok(Message::Event { dev, event, lost }) => shared.tell(|inbox| inbox.queue.push(dev, &event, lost)),
                Ok(Message::Reload) => shared.tell(|inbox| inbox.is_changed = true),
                Err(error) => warn(format_args!("no hook for what is not understood: {error}")),
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                warn(format_args!("no hooks any more: {error}"));
                return shared.tell(|inbox| inbox.is_over = true);
            }
        }
    }
}

/// The hook of the file as it is now; the one of before where that is none to run.
fn read_again(setup: &Setup, before: Option<PathBuf>) -> Option<PathBuf> {
    let Some(file) = &setup.file else { return before };
    let text = match text_file::read(Path::new(file)) {
        Ok(text) => text,
        Err(error) => {
            warn(format_args!("reading {file} for its hook: {error}; the hook is the one of before"));
            return before;
        }
    };
    let Ok(config) = Config::parse(file, &text) else { return before };
    let hook = config.hook.map(PathBuf::from);
    if hook == before {
        return before;
    }
    let Some(hook) = hook else {
        say("no hook runs any more");
        return None;
    };
    match check(&hook, Some(Uid::effective())) {
        Ok(()) => {
            say(format_args!("the hook is {} now", hook.display()));
            Some(hook)
        }
        Err(error) => {
            warn(format_args!("{error}; the hook is the one of before"));
            before
        }
    }
}

/// Runs the hook and logs what it prints. An error says why it did not succeed.
fn run(hook: &Path, job: &Job, lost: u64, patience: Duration) -> Result<(), String> {
    // It may have changed since.
    check(hook, Some(Uid::effective())).map_err(|error| error.to_string())?;
    let status = start(hook, job, lost, patience).map_err(|error| format!("cannot run it: {error}"))?;
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("it ended with {status}")),
        None => Err(format!("it took longer than {} s, and was killed", patience.as_secs())),
    }
}

/// `None`: it was killed.
fn start(hook: &Path, job: &Job, lost: u64, patience: Duration) -> io::Result<Option<ExitStatus>> {
    let (output, input) = io::pipe()?;
    let mut command = Command::new(hook);
    command.env_clear().env("PATH", PATH).envs(job.environment(lost)).current_dir("/").process_group(0);
    command.envs(std::env::var_os("ISATAP_RUNTIME_DIR").map(|folder| ("ISATAP_RUNTIME_DIR", folder)));
    command.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
    let mut child = command.spawn()?;
    // Its ends of the pipe: the output ends with the hook.
    drop(command);
    let pid = Pid::from_raw(child.id().cast_signed());
    let has_ended = follow(pid, output, patience);
    if !matches!(has_ended, Ok(true)) {
        // With what it has started. It is not reaped before the line below, so the number is its own.
        let _ = killpg(pid, Signal::SIGKILL);
    }
    let status = child.wait()?;
    has_ended.map(|has_ended| has_ended.then_some(status))
}

/// Logs what the hook prints until it ends, and what is on the way then. What it leaves running is not
/// listened to. `false`: it took too long.
fn follow(pid: Pid, mut output: PipeReader, patience: Duration) -> io::Result<bool> {
    let (ended, end) = io::pipe()?;
    // It does not reap it: who may have to kill it does.
    let wait = move || {
        while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
        drop(end);
    };
    thread::Builder::new().name("hook".to_owned()).spawn(wait)?;
    let mut lines = Lines::default();
    let mut bytes = vec![0; 4096];
    let (mut is_open, mut has_ended) = (true, false);
    let mut until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || (has_ended && !is_open) {
            lines.end();
            return Ok(has_ended);
        }
        let mut waiting = Vec::new();
        waiting.extend(is_open.then(|| (true, output.as_fd())));
        waiting.extend((!has_ended).then(|| (false, ended.as_fd())));
        let mut polled: Vec<_> = waiting.iter().map(|(_, fd)| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut polled, timeout) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        let ready =
            |of: bool| waiting.iter().zip(&polled).any(|((which, _), fd)| *which == of && fd.any() == Some(true));
        let (has_output, is_over) = (ready(true), ready(false));
        if is_over {
            has_ended = true;
            until = Instant::now() + LINGER;
        }
        if has_output {
            match output.read(&mut bytes)? {
                0 => is_open = false,
                count => lines.add(bytes.get(..count).unwrap_or_default()),
            }
        }
    }
}

/// The lines of one run.
#[derive(Default)]
struct Lines {
    number: usize,
    line: Vec<u8>,
}

impl Lines {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' || self.line.len() >= LONGEST_LINE {
                self.log();
            }
            if *byte != b'\n' {
                self.line.push(*byte);
            }
        }
    }

    /// A last line without its end.
    fn end(&mut self) {
        if !self.line.is_empty() {
            self.log();
        }
    }

    fn log(&mut self) {
        match self.number {
            number if number < MOST_LINES => {
                say(format_args!("hook: {}", String::from_utf8_lossy(&self.line).trim_end()));
            }
            MOST_LINES => say("hook: more than this is not logged"),
            _ => {}
        }
        self.number += 1;
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isatap_std::service::LinkEvent;
    use std::os::unix::fs::PermissionsExt;

    struct Script(PathBuf);

    impl Script {
        fn new(name: &str, text: &str) -> Self {
            let path = std::env::temp_dir().join(format!("isatap-hook-{name}-{}", std::process::id()));
            // Not by this process: what another test starts meanwhile has our descriptors for a moment, and
            // nobody can run what is open for writing.
            let mut writer = Command::new("install");
            writer.args(["-m", "755", "/dev/stdin"]).arg(&path).stdin(Stdio::piped());
            let mut writer = writer.spawn().unwrap();
            write!(writer.stdin.take().unwrap(), "#!/bin/sh\n{text}").unwrap();
            assert!(writer.wait().unwrap().success());
            Self(path)
        }

        fn run(&self, patience: Duration) -> Result<(), String> {
            let mut queue = Queue::default();
            queue.push("isatap0".to_owned(), &LinkEvent::MtuChanged { mtu: 1480 }, 2);
            let (job, lost) = queue.pop().unwrap();
            run(&self.0, &job, lost, patience)
        }
    }

    impl Drop for Script {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_hook_has_a_clean_environment_and_its_status_is_told() {
        let all = "test \"$ISATAP_DEV $ISATAP_EVENT $ISATAP_MTU $ISATAP_LOST\" = 'isatap0 mtu-changed 1480 2' || exit 3
            test \"$(pwd)\" = / && test -z \"$HOME\"";
        assert_eq!(Script::new("good", all).run(PATIENCE), Ok(()));
        assert_eq!(Script::new("bad", "exit 3").run(PATIENCE), Err("it ended with exit status: 3".to_owned()));
        let gone = Script::new("gone", "");
        std::fs::remove_file(&gone.0).unwrap();
        assert!(gone.run(PATIENCE).unwrap_err().contains("No such file"));
    }

    #[test]
    fn a_hook_that_hangs_is_killed_with_what_it_has_started() {
        let begin = Instant::now();
        let mark = std::env::temp_dir().join(format!("isatap-hook-mark-{}", std::process::id()));
        let text = format!("(sleep 2; touch {}) & sleep 60", mark.display());
        let outcome = Script::new("slow", &text).run(Duration::from_millis(300));
        assert_eq!(outcome, Err("it took longer than 0 s, and was killed".to_owned()));
        assert!(begin.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(2500));
        assert!(!mark.exists(), "its child goes on");
    }

    #[test]
    fn a_child_that_keeps_the_output_open_is_not_listened_to() {
        let begin = Instant::now();
        assert_eq!(Script::new("leaves", "sleep 5 & exit 0").run(PATIENCE), Ok(()));
        assert!(begin.elapsed() < Duration::from_secs(3));
    }

    /// The daemon reads reports only when it comes to it.
    #[test]
    fn events_are_read_while_nobody_reads_the_reports() {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt};
        use nix::sys::time::TimeVal;

        const EVENTS: u64 = 5000;
        let (daemon, helper) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
        let patience = TimeVal::new(20, 0);
        setsockopt(&daemon, sockopt::SendTimeout, &patience).unwrap();
        setsockopt(&daemon, sockopt::ReceiveTimeout, &patience).unwrap();
        let (mut daemon, events) = (File::from(daemon), File::from(helper));
        let shared = Shared::new(Inbox::default());
        let (reader, teller, reports) = (shared.clone(), shared.clone(), events.try_clone().unwrap());
        thread::spawn(move || tell_reports(reports, &teller));
        thread::spawn(move || read(events, &reader));
        for mtu in 0..EVENTS {
            let event = LinkEvent::MtuChanged { mtu: u16::try_from(mtu).unwrap() };
            let message = Message::Event { dev: "isatap0".to_owned(), event, lost: 0 };
            daemon.write_all(&serde_json::to_vec(&message).unwrap()).expect("the helper reads no more");
        }
        let mut bytes = vec![0; LONGEST_MESSAGE];
        loop {
            let count = daemon.read(&mut bytes).expect("the last report does not come");
            let report: Report = serde_json::from_slice(&bytes[..count]).unwrap();
            // Each is about the same as the one before, and one waits.
            if report.settled == EVENTS - 1 {
                break;
            }
        }
    }

    #[test]
    fn a_hook_that_others_can_write_is_refused() {
        let script = Script::new("open", "");
        for (mode, why) in [(0o666, "it is not executable"), (0o777, "others may write to it; chmod go-w ")] {
            std::fs::set_permissions(&script.0, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = check(&script.0, None).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(check(Path::new("hook"), None).unwrap_err().to_string().contains("begin it with /"));
        assert!(check(Path::new("/"), None).unwrap_err().to_string().contains("it is no file"));
    }
}
