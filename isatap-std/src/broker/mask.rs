//! The password, taken out of what a broker sends back: some repeat what they were asked.

use super::login::Login;
use crate::spec::update_url::unescaped;
use domain::utils::base64;

/// What stands for it.
const STARS: &[u8] = b"***";

/// See the module.
#[derive(Default)]
pub(super) struct Mask {
    /// The forms in which it is sent.
    secrets: Vec<Vec<u8>>,
}

impl Mask {
    pub(super) fn of(login: Option<&Login>) -> Self {
        let Some(Login { user, password }) = login else { return Self::default() };
        // Padding may be left out, and the alphabet may be that of URLs. [RFC 4648 §5]
        let encoded = [password.clone(), format!("{user}:{password}")]
            .map(|text| base64::encode_string(&text).trim_end_matches('=').to_owned());
        let for_urls = encoded.clone().map(|text| text.replace('+', "-").replace('/', "_"));
        let all = [password.clone()].into_iter().chain(encoded).chain(for_urls);
        Self { secrets: all.map(|text| text.bytes().map(blank).collect()).collect() }
    }

    /// The text, without the password as it is and as parts of URLs have it.
    pub(super) fn apply(&self, text: &str) -> String {
        let raw = text.bytes().enumerate().map(|(at, byte)| (byte, at..at + 1)).collect();
        let mut is_hidden = vec![false; text.len()];
        for signs in [raw, unescaped(text).collect::<Vec<_>>()] {
            let bytes: Vec<u8> = signs.iter().map(|(byte, _)| blank(*byte)).collect();
            for secret in self.secrets.iter().filter(|secret| !secret.is_empty()) {
                for (found, _) in bytes.windows(secret.len()).enumerate().filter(|(_, window)| window == secret) {
                    let places = signs.iter().skip(found).take(secret.len()).flat_map(|(_, place)| place.clone());
                    places.for_each(|at| is_hidden.get_mut(at).into_iter().for_each(|hidden| *hidden = true));
                }
            }
        }
        let mut shown = Vec::new();
        let mut was_hidden = false;
        for (byte, is_hidden) in text.bytes().zip(is_hidden) {
            match (is_hidden, was_hidden) {
                (true, false) => shown.extend_from_slice(STARS),
                (true, true) => {}
                (false, _) => shown.push(byte),
            }
            was_hidden = is_hidden;
        }
        String::from_utf8_lossy(&shown).into_owned()
    }
}

/// Forms have a plus sign for a blank.
fn blank(byte: u8) -> u8 {
    if byte == b'+' { b' ' } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_hidden_in_each_form_that_it_can_have() {
        let mask = Mask::of(Some(&Login { user: "me".to_owned(), password: "s3cret: wörd".to_owned() }));
        for sent in [
            "s3cret: wörd",
            "s3cret%3A%20w%C3%B6rd",
            "s3cret%3a%20w%c3%b6rd",
            "%733cret%3a+wörd",
            "s3cret:+w%C3%B6rd",
            "bWU6czNjcmV0OiB3w7ZyZA==",
            "bWU6czNjcmV0OiB3w7ZyZA",
            "czNjcmV0OiB3w7ZyZA==",
        ] {
            let shown = mask.apply(&format!("no <{sent}> é {sent}%zz%"));
            let padding = "=".repeat(sent.len() - sent.trim_end_matches('=').len());
            assert_eq!(shown, format!("no <***{padding}> é ***{padding}%zz%"), "{sent}");
        }
        assert_eq!(mask.apply("good 192.0.2.1 s3cret"), "good 192.0.2.1 s3cret");
        assert_eq!(Mask::default().apply("good"), "good");
        // "?>~" has both signs in which the alphabets differ.
        let mask = Mask::of(Some(&Login { user: "?>~".to_owned(), password: ">>>???".to_owned() }));
        assert_eq!((mask.apply("Pj4+Pz8/"), mask.apply("Pj4-Pz8_")), ("***".to_owned(), "***".to_owned()));
    }
}
