//! What an answer to a call means.
//!
//! | answer | meaning |
//! | --- | --- |
//! | `good`, `nochg` | the broker has the address; `good 127.0.0.1` that it ignored the call |
//! | `911`, `dnserr`, status 429 | the broker has a problem: not before half an hour |
//! | `badauth`, `abuse`, `nohost`, …, status 400 to 499 | no call will do better: not again |
//! | status 500 to 599, a web page | later |
//! | anything else with status 200 to 299 | it has the address, as brokers with words of their own say |

use super::http::Response;

/// What became of a call. Texts are for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The broker has the address; whether it had it before.
    Done { answer: String, unchanged: bool },
    /// Another try may do.
    Failed(String),
    /// The same, and the broker wants to be left alone for a while.
    Busy(String),
    /// It will be the same each time.
    Refused(String),
}

/// Words of dyndns2 that call for a person.
const REFUSALS: [(&str, &str); 9] = [
    ("badauth", "the user name or the password is wrong"),
    ("abuse", "it has locked this tunnel for too many calls"),
    ("nohost", "it has no tunnel of this name"),
    ("notfqdn", "hostname in update-url is no name of a tunnel"),
    ("numhost", "hostname in update-url names too many"),
    ("!yours", "the tunnel is another user's"),
    ("!donator", "it wants to be paid for that"),
    ("badagent", "it does not know this program"),
    ("badsys", "system in update-url is none that it knows"),
];

/// The longest answer that is shown.
const LONGEST: usize = 100;

pub(super) fn judge(response: &Response) -> Outcome {
    let status = response.status;
    let line = shown(&response.body);
    let word = line.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    let said = if line.is_empty() || line.starts_with('<') { String::new() } else { format!(": {line}") };
    match (status, word.as_str()) {
        (_, word) if let Some((_, why)) = REFUSALS.iter().find(|(known, _)| *known == word) => {
            Outcome::Refused(format!("{why} ({line})"))
        }
        (_, "911" | "dnserr") => Outcome::Busy(format!("it has a problem ({line})")),
        (429, _) => Outcome::Busy(format!("too many calls (HTTP status 429{said})")),
        (200..=299, "good") if line.split_whitespace().nth(1) == Some("127.0.0.1") => {
            Outcome::Refused(format!("it ignores the call ({line}): see its rules for update-url"))
        }
        (200..=299, _) if line.starts_with('<') => {
            Outcome::Failed("it answers with a web page: is that its update URL, and is nobody in between?".to_owned())
        }
        (200..=299, word) if word.trim_start_matches('-').starts_with("error") => Outcome::Refused(line),
        (200..=299, word) => {
            let unchanged = word == "nochg";
            Outcome::Done { answer: if line.is_empty() { format!("HTTP status {status}") } else { line }, unchanged }
        }
        (300..=399, _) => {
            let to = shown(response.location.as_deref().unwrap_or("another place"));
            Outcome::Refused(format!("it sends us to {to}: write that into update-url, if you trust it"))
        }
        (401, _) => Outcome::Refused(format!("the user name or the password is wrong (HTTP status 401{said})")),
        (400..=499, _) => Outcome::Refused(format!("HTTP status {status}{said}")),
        _ => Outcome::Failed(format!("HTTP status {status}{said}")),
    }
}

/// The first line, as a log can have it.
fn shown(text: &str) -> String {
    let line = text.trim_start().lines().next().unwrap_or_default().trim();
    line.chars().take(LONGEST).map(|sign| if sign.is_control() { '?' } else { sign }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> Outcome {
        judge(&Response { status, location: Some("https://b.example/new".to_owned()), body: body.to_owned() })
    }

    #[test]
    fn each_word_and_status_means_what_dyndns2_says() {
        let done = |answer: &str, unchanged| Outcome::Done { answer: answer.to_owned(), unchanged };
        assert_eq!(judged(200, "good 192.0.2.1\r\n"), done("good 192.0.2.1", false));
        assert_eq!(judged(200, "nochg 192.0.2.1"), done("nochg 192.0.2.1", true));
        assert_eq!(judged(200, "+OK: Tunnel endpoint updated"), done("+OK: Tunnel endpoint updated", false));
        assert_eq!(judged(204, ""), done("HTTP status 204", false));
        for (status, body, why) in [
            (200, "badauth", "password is wrong (badauth)"),
            (401, "", "password is wrong (HTTP status 401)"),
            (401, "badauth", "password is wrong (badauth)"),
            (200, "abuse", "too many calls (abuse)"),
            (200, "nohost", "no tunnel of this name"),
            (200, "!yours", "another user's"),
            (200, "-ERROR: Invalid tunnel", "-ERROR: Invalid tunnel"),
            (200, "good 127.0.0.1", "ignores the call"),
            (302, "", "sends us to https://b.example/new"),
            (404, "<html>", "HTTP status 404"),
        ] {
            let outcome = judged(status, body);
            assert!(matches!(&outcome, Outcome::Refused(told) if told.contains(why)), "{outcome:?}");
        }
        for (status, body) in [(200, "911"), (200, "dnserr"), (429, "")] {
            assert!(matches!(judged(status, body), Outcome::Busy(_)), "{body}");
        }
        for (status, body) in [(500, ""), (503, "<html>"), (200, "\n<!DOCTYPE html>")] {
            assert!(matches!(judged(status, body), Outcome::Failed(_)), "{status} {body}");
        }
    }

    #[test]
    fn an_answer_cannot_write_into_the_log_what_it_likes() {
        let Outcome::Done { answer, .. } = judged(200, &format!("  ok\u{1b}[2J{}\nsecond", "x".repeat(200))) else {
            panic!("no answer");
        };
        assert!(answer.starts_with("ok?[2Jx") && answer.chars().count() == LONGEST, "{answer}");
    }
}
