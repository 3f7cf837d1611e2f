//! Words as a shell reads them: each one word again, whatever stands in it.

use super::Platform;

/// What reads a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shell {
    /// A POSIX shell.
    Sh,
    /// The command prompt of Windows.
    Cmd,
    /// PowerShell.
    Cmdlets,
    /// The configuration mode of a router.
    Ios,
}

impl Shell {
    pub(super) fn of(platform: Platform) -> Self {
        match platform {
            Platform::Windows => Shell::Cmd,
            Platform::PowerShell => Shell::Cmdlets,
            Platform::Cisco => Shell::Ios,
            Platform::Iproute2 | Platform::Networkd | Platform::OpenWrt | Platform::Kame | Platform::Isatap => {
                Shell::Sh
            }
        }
    }

    /// What is in front of a line that is none of a command's.
    pub(super) fn comment(self) -> &'static str {
        match self {
            Shell::Sh | Shell::Cmdlets => "#",
            Shell::Cmd => "rem",
            Shell::Ios => "!",
        }
    }

    /// A command of these words.
    ///
    /// # Errors
    /// The word that cannot be written for this shell.
    pub(super) fn command(self, words: &[String]) -> Result<String, String> {
        let quoted: Result<Vec<String>, String> =
            words.iter().map(|word| self.word(word).ok_or_else(|| word.clone())).collect();
        quoted.map(|words| words.join(" "))
    }

    /// The word, such that the shell reads one word; `None`: nothing does that.
    fn word(self, word: &str) -> Option<String> {
        if word.contains(char::is_control) {
            return None;
        }
        let is_plain = !word.is_empty() && word.chars().all(|c| self.is_plain(c));
        match self {
            Shell::Sh if is_plain => Some(word.to_owned()),
            Shell::Sh => Some(format!("'{}'", word.replace('\'', "'\\''"))),
            Shell::Cmd if is_plain => Some(word.to_owned()),
            // Inside of quotes `%` and `!` stand for variables, and nothing quotes a quote for every program.
            Shell::Cmd if word.contains(['"', '%', '!']) || word.ends_with('\\') => None,
            Shell::Cmd => Some(format!("\"{word}\"")),
            // What begins like a number would become one: 1e3 is 1000.
            Shell::Cmdlets if is_plain && !begins_like_a_number(word) => Some(word.to_owned()),
            Shell::Cmdlets => Some(power_shell(word)),
            Shell::Ios => is_plain.then(|| word.to_owned()),
        }
    }

    fn is_plain(self, c: char) -> bool {
        let others = match self {
            Shell::Sh => "_./:=,@%+-",
            Shell::Cmd | Shell::Cmdlets => "_./:=-",
            Shell::Ios => "_./:-",
        };
        c.is_ascii_alphanumeric() || others.contains(c)
    }
}

fn begins_like_a_number(word: &str) -> bool {
    let is_count = word.bytes().all(|byte| byte.is_ascii_digit());
    let is_address = word.contains(':') || word.contains('=');
    word.starts_with(|c: char| c.is_ascii_digit() || c == '.') && !is_count && !is_address
}

/// PowerShell ends a quoted word at typographic quotes too.
fn power_shell(word: &str) -> String {
    let doubled = word.chars().flat_map(|c| {
        let times = if matches!(c, '\'' | '\u{2018}'..='\u{201b}') { 2 } else { 1 };
        std::iter::repeat_n(c, times)
    });
    format!("'{}'", doubled.collect::<String>())
}

/// Whether a name can stand in files that have no quotes, or quotes of their own.
pub(super) fn is_plain_name(name: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    name.bytes().all(is_of_name) && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    /// Text that is hard to quote.
    fn hard() -> impl Strategy<Value = String> {
        let characters = "ab1-=:;&|<>(){}[]$`\\\"'*?~#!%^ ,@+./\u{2018}\u{2019}\u{201a}\u{201b}\u{fc}";
        prop::collection::vec(prop::sample::select(characters.chars().collect::<Vec<_>>()), 0..16)
            .prop_map(|characters| characters.into_iter().collect())
    }

    /// The words of a line as PowerShell has them: in single quotes, or without anything special.
    fn read_by_power_shell(line: &str) -> Vec<String> {
        let is_quote = |c: char| matches!(c, '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}');
        let (mut words, mut characters) = (Vec::new(), line.chars().peekable());
        while let Some(first) = characters.next() {
            let mut word = String::new();
            if is_quote(first) {
                while let Some(c) = characters.next() {
                    if is_quote(c) && characters.next_if(|next| is_quote(*next)).is_none() {
                        break;
                    }
                    word.push(c);
                }
            } else {
                word.push(first);
                while let Some(c) = characters.next_if(|c| *c != ' ') {
                    assert!(c.is_ascii_alphanumeric() || "_./:=-".contains(c), "{line}");
                    word.push(c);
                }
            }
            assert!(characters.next().is_none_or(|c| c == ' '), "{line}");
            words.push(word);
        }
        words
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The shell itself says which words it read.
        #[test]
        fn a_shell_reads_the_words_that_were_quoted(words in prop::collection::vec(hard(), 1..6)) {
            let line = [vec!["printf".to_owned(), "%s\\n".to_owned()], words.clone()].concat();
            let line = Shell::Sh.command(&line).unwrap();
            let output = Command::new("sh").args(["-c", &line]).output().unwrap();
            let read = String::from_utf8(output.stdout).unwrap();
            prop_assert!(output.status.success() && output.stderr.is_empty(), "{}", line);
            prop_assert_eq!(read.lines().collect::<Vec<_>>(), words);
        }
    }

    proptest! {
        #[test]
        fn other_shells_read_them_too_or_are_not_asked(words in prop::collection::vec(hard(), 1..6)) {
            prop_assert_eq!(read_by_power_shell(&Shell::Cmdlets.command(&words).unwrap()), words.clone());
            for word in &words {
                if let Ok(quoted) = Shell::Cmd.command(std::slice::from_ref(word)) {
                    let inside = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                    prop_assert_eq!(inside.unwrap_or(&quoted), word);
                    prop_assert!(!word.contains(['"', '%', '!']));
                    prop_assert!(inside.is_some() || !word.contains(['&', '|', '<', '>', '^', '(', ')', ' ']));
                }
                if let Ok(same) = Shell::Ios.command(std::slice::from_ref(word)) {
                    prop_assert!(same == *word && !word.is_empty() && !word.contains([' ', '!', '?', '|']));
                }
            }
        }
    }

    #[test]
    fn a_number_stays_text_and_a_line_break_is_refused() {
        let word = |shell: Shell, word: &str| shell.word(word);
        assert_eq!(word(Shell::Cmdlets, "1e3").as_deref(), Some("'1e3'"));
        assert_eq!(word(Shell::Cmdlets, "6").as_deref(), Some("6"));
        assert_eq!(word(Shell::Cmdlets, "2001:db8::/64").as_deref(), Some("2001:db8::/64"));
        for shell in [Shell::Sh, Shell::Cmd, Shell::Cmdlets, Shell::Ios] {
            assert_eq!(word(shell, "a\nb"), None);
        }
    }
}
