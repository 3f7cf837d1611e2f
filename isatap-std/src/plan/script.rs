//! Plans as text that can be pasted.

use std::fmt::Write as _;

use super::Step;
use super::quote::Shell;

/// The steps with comments: machine by machine, each command with its undo behind it as a comment.
#[must_use]
pub fn text(steps: &[Step]) -> String {
    let mut text = String::new();
    let mut before: Option<(&str, Option<&str>)> = None;
    for step in steps {
        let shell = Shell::of(step.platform);
        let machine = (step.on.as_str(), step.link.as_deref());
        if before.replace(machine) != Some(machine) {
            if !text.is_empty() {
                text.push('\n');
            }
            let of = step.link.as_ref().map(|link| format!("The other end of {link}: ")).unwrap_or_default();
            comment(&mut text, shell, &format!("=== {of}{} ({})", step.on, step.platform));
        }
        comment(&mut text, shell, &step.step);
        if let Some(note) = &step.note {
            comment(&mut text, shell, &format!("  {note}"));
        }
        if let Some(command) = &step.command {
            let _ = writeln!(text, "{command}");
        }
        for (number, line) in step.undo.iter().flat_map(|undo| undo.lines()).enumerate() {
            comment(&mut text, shell, &format!("  {}{line}", if number == 0 { "undo: " } else { "      " }));
        }
    }
    text
}

/// What takes the plan back, the last step first.
#[must_use]
pub fn undo(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps.iter().rev() {
        if let Some(undo) = &step.undo {
            comment(&mut text, Shell::of(step.platform), &format!("{}: undo: {}", step.on, step.step));
            let _ = writeln!(text, "{undo}");
        }
    }
    if let (true, Some(step)) = (text.is_empty(), steps.first()) {
        let what = "Nothing to take back: what this plan runs or makes is gone when its process ends.";
        comment(&mut text, Shell::of(step.platform), what);
    }
    text
}

/// A line that no shell does anything with.
fn comment(text: &mut String, shell: Shell, line: &str) {
    let special: &[char] = if shell == Shell::Cmd { &['%', '^', '&', '|', '<', '>', '!'] } else { &[] };
    let harmless = line.replace(|c: char| c.is_control() || special.contains(&c), " ");
    let _ = writeln!(text, "{} {}", shell.comment(), harmless.trim_end());
}
