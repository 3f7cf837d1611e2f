//! What an answer to a call means.
//!
//! | answer | meaning |
//! | --- | --- |
//! | `good`, `nochg` | the broker has the address; `good 127.0.0.1` that it ignored the call |
//! | `911`, `dnserr`, status 429 | the broker has a problem: not before half an hour |
//! | `badauth`, `abuse`, `nohost`, …, status 401 | no call will do better: not again |
//! | status 300 to 499 otherwise | rarely, and for another address |
//! | status 408, 421, 425, 500 to 599, a web page | later |
//! | status 200 to 299, and a word of failure (`fail…`, `error…`, `denied`, …) or JSON that has one | rarely |
//! | anything else with status 200 to 299 | it has the address, as brokers with words of their own say |

use super::http::Response;
use super::mask::Mask;
use crate::spec::update_url::without_secrets;
use crate::told::Failure;

/// What became of a call. Texts are for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The broker has the address: what it says.
    Done(String),
    /// Another try may do.
    Failed(Failure),
    /// The same, and the broker wants to be left alone for a while.
    Busy(Failure),
    /// It will mostly be the same for this address.
    Unlikely(Failure),
    /// It will be the same each time.
    Refused(Failure),
}

impl Outcome {
    /// Whether the broker wants no call, whoever asks for one.
    pub(super) fn forbids(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::Refused(_))
    }
}

const CORRECT_LOGIN: &str = "correct the file of update-login, and reload";
const CORRECT_URL: &str = "correct update-url by what the broker gives, and reload";
const ASK_BROKER: &str = "settle it with the broker, then: isatap solicit";
const WAIT: &str = "wait until the broker has repaired that";

/// Words of dyndns2 that call for a person: what they say, and what to do.
const REFUSALS: [(&str, &str, &str); 9] = [
    ("badauth", "the user name or the password is wrong", CORRECT_LOGIN),
    ("abuse", "it has locked this tunnel for too many calls", ASK_BROKER),
    ("nohost", "it has no tunnel of this name", CORRECT_URL),
    ("notfqdn", "hostname in update-url is no name of a tunnel", CORRECT_URL),
    ("numhost", "hostname in update-url names too many", CORRECT_URL),
    ("!yours", "the tunnel is another user's", "correct update-url or the file of update-login, and reload"),
    ("!donator", "it wants to be paid for that", ASK_BROKER),
    ("badagent", "it does not know this program", ASK_BROKER),
    ("badsys", "system in update-url is none that it knows", CORRECT_URL),
];

/// The longest answer that is shown.
const LONGEST: usize = 100;

/// Words of brokers with words of their own, at the beginning or in JSON. A new one is taken for a yes: what it
/// costs is one warning less, while a call that is repeated for a yes locks the tunnel.
const FAILURES: [&str; 9] = ["fail", "error", "err", "denied", "invalid", "unauthorized", "forbidden", "unknown", "ko"];

/// The password does not come out of here.
pub(super) fn judge(response: &Response, mask: &Mask) -> Outcome {
    let status = response.status;
    // Some begin with a mark of the order of bytes, which is no blank.
    let raw = response.body.trim_start_matches('\u{feff}').trim_start().lines().next().unwrap_or_default().trim();
    // Before it is cut: half a password is one too.
    let line = shown(&mask.apply(raw));
    let word = raw.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    let is_page = raw.starts_with('<');
    let said = if line.is_empty() || is_page { String::new() } else { format!(": {line}") };
    match (status, word.as_str()) {
        (_, word) if let Some((_, why, fix)) = REFUSALS.iter().find(|(known, ..)| *known == word) => {
            Outcome::Refused(Failure::new(format!("{why} ({line})"), *fix))
        }
        (_, "911" | "dnserr") => Outcome::Busy(Failure::new(format!("it has a problem ({line})"), WAIT)),
        (429, _) => {
            let fix = "see which other programs call it, and end them";
            Outcome::Busy(Failure::new(format!("too many calls (HTTP status 429{said})"), fix))
        }
        (200..=299, "good") if raw.split_whitespace().nth(1) == Some("127.0.0.1") => {
            let fix = "see its rules for update-url, correct that, and reload";
            Outcome::Refused(Failure::new(format!("it ignores the call ({line})"), fix))
        }
        (200..=299, _) if is_page => {
            let fix = "see whether that is its update URL, and nobody in between who wants a login";
            Outcome::Failed(Failure::new("it answers with a web page", fix))
        }
        (200..=299, word) if says_failure(word, &response.body) => Outcome::Unlikely(Failure::new(line, CORRECT_URL)),
        (200..=299, _) if line.is_empty() => Outcome::Done(format!("HTTP status {status}")),
        (200..=299, _) => Outcome::Done(line),
        (300..=399, _) => {
            let to = response.location.as_deref().map_or("another place".to_owned(), without_secrets);
            let to = shown(&mask.apply(&to));
            let fix = "write that into update-url, if you trust it, and reload";
            Outcome::Unlikely(Failure::new(format!("it sends us to {to}"), fix))
        }
        (401, _) => {
            let cause = format!("the user name or the password is wrong (HTTP status 401{said})");
            Outcome::Refused(Failure::new(cause, CORRECT_LOGIN))
        }
        (408 | 421 | 425, _) => Outcome::Failed(Failure::new(format!("HTTP status {status}{said}"), WAIT)),
        (400..=499, _) => Outcome::Unlikely(Failure::new(format!("HTTP status {status}{said}"), CORRECT_URL)),
        _ => Outcome::Failed(Failure::new(format!("HTTP status {status}{said}"), WAIT)),
    }
}

fn says_failure(word: &str, body: &str) -> bool {
    let begins = |word: &str| {
        let word = word.trim_start_matches(|sign: char| !sign.is_ascii_alphanumeric());
        let end = word.find(|sign: char| !sign.is_ascii_alphanumeric()).unwrap_or(word.len());
        let first = word.get(..end).unwrap_or_default();
        first.starts_with("fail") || first.starts_with("error") || FAILURES.contains(&first)
    };
    let body = body.trim_start_matches('\u{feff}').trim_start();
    if !body.starts_with(['{', '[']) {
        return begins(word);
    }
    // Keys and values in quotes; of `"error": null` and `"success": true` what follows says otherwise.
    let body: String = body.to_ascii_lowercase().split_whitespace().collect();
    let is_none = |rest: &str| ["null", "false", "\"\"", "0", "[]", "{}"].iter().any(|none| rest.starts_with(none));
    let parts: Vec<&str> = body.split('"').collect();
    let is_failure = |(at, text): (usize, &&str)| {
        let value = parts.get(at + 1..).unwrap_or_default().join("\"");
        let value = value.strip_prefix(':');
        match *text {
            "success" | "ok" => value.is_some_and(|value| value.starts_with("false")),
            text => begins(text) && value.is_none_or(|value| !is_none(value)),
        }
    };
    parts.iter().enumerate().skip(1).step_by(2).any(is_failure)
}

/// As a log can have it.
fn shown(line: &str) -> String {
    line.chars().take(LONGEST).map(|sign| if sign.is_control() { '?' } else { sign }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::login::Login;

    fn judged(status: u16, body: &str) -> Outcome {
        let location = Some("https://me:pw@b.example/new?token=pw".to_owned());
        judge(&Response { status, location, body: body.to_owned() }, &Mask::default())
    }

    #[test]
    fn each_word_and_status_means_what_dyndns2_says() {
        let done = |answer: &str| Outcome::Done(answer.to_owned());
        assert_eq!(judged(200, "good 192.0.2.1\r\n"), done("good 192.0.2.1"));
        assert_eq!(judged(200, "nochg 192.0.2.1"), done("nochg 192.0.2.1"));
        assert_eq!(judged(200, "+OK: Tunnel endpoint updated"), done("+OK: Tunnel endpoint updated"));
        assert_eq!(judged(204, ""), done("HTTP status 204"));
        for (status, body, why) in [
            (200, "badauth", "password is wrong (badauth)"),
            (401, "", "password is wrong (HTTP status 401)"),
            (401, "badauth", "password is wrong (badauth)"),
            (200, "abuse", "too many calls (abuse)"),
            (200, "nohost", "no tunnel of this name"),
            (200, "!yours", "another user's"),
            (200, "good 127.0.0.1", "ignores the call"),
        ] {
            let outcome = judged(status, body);
            assert!(
                matches!(&outcome, Outcome::Refused(told) if told.cause.contains(why) && !told.fix.is_empty()),
                "{outcome:?}"
            );
        }
        for (status, body, why) in [
            (200, "-ERROR: Invalid tunnel", "-ERROR: Invalid tunnel"),
            (200, "fail", "fail"),
            (200, "Failed: no tunnel", "Failed: no tunnel"),
            (200, "\u{feff}ERR no", "ERR no"),
            (200, "KO", "KO"),
            (200, "{\"success\": false}", "success"),
            (200, "{\n \"status\": \"error\",\n \"code\": 3}", "{"),
            (200, "{\"error\":{\"code\": 3}}", "error"),
            (302, "", "sends us to https://b.example/new"),
            (403, "", "HTTP status 403"),
            (404, "<html>", "HTTP status 404"),
        ] {
            let outcome = judged(status, body);
            assert!(
                matches!(&outcome, Outcome::Unlikely(told) if told.cause.contains(why) && !told.fix.is_empty()),
                "{outcome:?}"
            );
        }
        for body in ["{\"error\": null, \"ok\": true}", "{\"errors\":[],\"success\":true}", "kolumbus", "OK no error"] {
            assert!(matches!(judged(200, body), Outcome::Done(_)), "{body}");
        }
        for (status, body) in [(200, "911"), (200, "dnserr"), (429, "")] {
            assert!(matches!(judged(status, body), Outcome::Busy(_)), "{body}");
        }
        for (status, body) in [
            (500, ""),
            (503, "<html>"),
            (200, "\n<!DOCTYPE html>"),
            (200, "\u{feff}<html>"),
            (408, ""),
            (421, ""),
            (425, ""),
        ] {
            assert!(matches!(judged(status, body), Outcome::Failed(_)), "{status} {body}");
        }
    }

    #[test]
    fn an_answer_cannot_write_into_the_log_what_it_likes() {
        let Outcome::Done(answer) = judged(200, &format!("  ok\u{1b}[2J{}\nsecond", "x".repeat(200))) else {
            panic!("no answer");
        };
        assert!(answer.starts_with("ok?[2Jx") && answer.chars().count() == LONGEST, "{answer}");
    }

    #[test]
    fn no_part_of_the_password_is_told() {
        let mask = Mask::of(Some(&Login { user: "me".to_owned(), password: "good".to_owned() }));
        let judged = |status, location: &str, body: &str| {
            judge(&Response { status, location: Some(location.to_owned()), body: body.to_owned() }, &mask)
        };
        let done = Outcome::Done("*** 192.0.2.1".to_owned());
        assert_eq!(judged(200, "", "good 192.0.2.1"), done, "it is judged by what it says");
        // The end of the line falls into the password.
        let long = judged(400, "", &format!("{}good", "x".repeat(LONGEST - 2)));
        let cause = format!("HTTP status 400: {}**", "x".repeat(LONGEST - 2));
        assert!(matches!(long, Outcome::Unlikely(told) if told.cause == cause));
        for location in
            ["https://b.example/x?password=%67ood", "https://me:good@b.example/x#good", "https://b.example/x?good@x"]
        {
            let told = format!("{:?}", judged(302, location, ""));
            assert!(told.contains("to https://b.example/x\"") && !told.contains("ood"), "{told}");
        }
        assert!(format!("{:?}", judged(302, "/p/good/q", "")).contains("to /p/***/q\""));
    }
}
