//! How a platform writes a plan down.

use super::quote::Shell;
use super::{Platform, Step};

/// Words of a command, of anything that has a text.
macro_rules! words {
    ($($word:expr),* $(,)?) => {
        vec![$(($word).to_string()),*]
    };
}

pub(super) use words;

/// The first line of a file that a plan has written. What reads such files takes it as a comment.
const MARK: &str = "# by isatap plan";

/// A command of a POSIX shell, with the quoted name of a file.
fn is_ours(file: &str) -> String {
    format!("grep -qsx '{MARK}' {file}")
}

/// The steps of one machine.
pub(super) struct Steps<'a> {
    pub(super) platform: Platform,
    on: &'a str,
    /// The device of the link at this end.
    link: Option<&'a str>,
    /// The place of the link among all, for platforms that number their devices.
    pub(super) number: usize,
    steps: Vec<Step>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(platform: Platform, on: &'a str, link: Option<&'a str>, number: usize) -> Self {
        Self { platform, on, link, number, steps: Vec::new() }
    }

    pub(super) fn take(self) -> Vec<Step> {
        self.steps
    }

    /// A command.
    pub(super) fn run(&mut self, step: impl Into<String>, words: Vec<String>) -> &mut Step {
        self.run_all(step, vec![words])
    }

    /// Several, one a line.
    pub(super) fn run_all(&mut self, step: impl Into<String>, commands: Vec<Vec<String>>) -> &mut Step {
        match lines(self.platform, &commands) {
            Ok(command) => self.push(step, Some(command)),
            Err(why) => self.push(step, None).open(why),
        }
    }

    /// A command that is written already.
    pub(super) fn raw(&mut self, step: impl Into<String>, command: impl Into<String>) -> &mut Step {
        self.push(step, Some(command.into()))
    }

    /// A new file of a machine with a POSIX shell: one that is there already stays, and the command fails.
    /// Its first line is a comment that says whose it is: the undo removes no other. `text` ends with a line break and has no line `EOF`.
    pub(super) fn write(&mut self, step: impl Into<String>, path: &str, text: &str) -> &mut Step {
        let path = words![path];
        match (lines(self.platform, std::slice::from_ref(&path)), text.lines().any(|line| line == "EOF")) {
            (Ok(path), false) => {
                let undo = format!("{} && rm -f {path}", is_ours(&path));
                let step = self.push(step, Some(format!("( set -C; cat >{path} ) <<'EOF'\n{MARK}\n{text}EOF")));
                step.undo = Some(undo);
                step.note("It fails where the file is there already: see first what that one says.")
            }
            (Err(why), _) => self.push(step, None).open(why),
            (_, true) => self.push(step, None).open("cannot: the text has the line that would end it".to_owned()),
        }
    }

    /// Something that is not known; `give` says how to tell it.
    pub(super) fn not_known(&mut self, step: impl Into<String>, what: &str, give: &str) {
        self.push(step, None).open(format!("not known: {what}; {give}"));
    }

    /// Something that the platform cannot do.
    pub(super) fn cannot(&mut self, step: impl Into<String>, why: &str) {
        self.push(step, None).open(format!("cannot: {why}"));
    }

    /// Something that need not be done.
    pub(super) fn nothing(&mut self, step: impl Into<String>, note: impl Into<String>) {
        self.push(step, None).note(note);
    }

    fn push(&mut self, step: impl Into<String>, command: Option<String>) -> &mut Step {
        self.steps.push(Step {
            platform: self.platform,
            on: self.on.to_owned(),
            link: self.link.map(str::to_owned),
            step: step.into(),
            command,
            undo: None,
            note: None,
            is_open: false,
        });
        let last = self.steps.len().saturating_sub(1);
        &mut self.steps[last]
    }
}

impl Step {
    pub(super) fn undo(&mut self, words: Vec<String>) -> &mut Self {
        self.undo_all(vec![words])
    }

    /// Several commands, one a line.
    pub(super) fn undo_all(&mut self, commands: Vec<Vec<String>>) -> &mut Self {
        // What the command could not be written with, the undo cannot either.
        if self.command.is_some() {
            self.undo = lines(self.platform, &commands).ok();
        }
        self
    }

    /// Both go on only where the files, whose names need no quotes, are those of a plan.
    pub(super) fn only_with(&mut self, files: &[&str]) -> &mut Self {
        let guard: String = files.iter().map(|file| format!("{} && ", is_ours(file))).collect();
        for commands in [&mut self.command, &mut self.undo].into_iter().flatten() {
            *commands = commands.lines().map(|line| format!("{guard}{line}")).collect::<Vec<_>>().join("\n");
        }
        self
    }

    pub(super) fn raw_undo(&mut self, command: impl Into<String>) -> &mut Self {
        self.undo = Some(command.into());
        self
    }

    pub(super) fn note(&mut self, note: impl Into<String>) -> &mut Self {
        if !self.is_open {
            self.note = Some(note.into());
        }
        self
    }

    fn open(&mut self, why: String) -> &mut Self {
        self.note = Some(why);
        self.is_open = true;
        self
    }
}

fn lines(platform: Platform, commands: &[Vec<String>]) -> Result<String, String> {
    let lines: Result<Vec<String>, String> = commands.iter().map(|words| Shell::of(platform).command(words)).collect();
    lines
        .map(|lines| lines.join("\n"))
        .map_err(|word| format!("cannot: {word:?} cannot be written for {platform}; choose another name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_file_that_another_wrote_stays_and_nothing_goes_on_with_it() {
        let folder = std::env::temp_dir().join(format!("isatap-plan-undo-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("file").display().to_string();
        let mut steps = Steps::new(Platform::Iproute2, "router", None, 0);
        steps.write("Write it.", &path, "text\n");
        steps.run("Read it.", words!["echo", "read"]).undo_all(vec![words!["echo", "undone"]]).only_with(&[&path]);
        let steps = steps.take();
        let run = |command: &Option<String>| {
            let output = Command::new("sh").args(["-c", command.as_deref().unwrap()]).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let all = || {
            let done = run(&steps[0].command) + &run(&steps[1].command);
            done + &run(&steps[1].undo) + &run(&steps[0].undo)
        };
        std::fs::write(&path, "another's\n").unwrap();
        assert_eq!(all(), "");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "another's\n");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(all(), "read\nundone\n");
        assert!(!std::path::Path::new(&path).exists());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_is_there_is_not_overwritten() {
        let folder = std::env::temp_dir().join(format!("isatap-plan-steps-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a file").display().to_string();
        let command = |text: &str| {
            let mut steps = Steps::new(Platform::Iproute2, "router", None, 0);
            steps.write("Write it.", &path, text);
            steps.take().remove(0).command.unwrap()
        };
        let run = |text: &str| Command::new("sh").args(["-c", &command(text)]).output().unwrap();
        assert!(run("$mine\n").status.success());
        let again = run("another\n");
        assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("a file"), "{again:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{MARK}\n$mine\n"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
