//! A TSIG key as BIND writes it: `key "name" { algorithm hmac-sha256; secret "base64"; };`

use crate::error::Error;
use crate::small_file;
use domain::tsig::{Algorithm, Key, KeyName};
use domain::utils::base64;
use std::path::Path;

/// Reads a file, which nobody but its owner and group may read. `owner`: another user whose it may be.
///
/// # Errors
///
/// It cannot be read, everybody may read it, others may have written it, or it is no key.
pub(super) fn load(path: &Path, owner: Option<u32>) -> Result<Key, Error> {
    let text = small_file::read_secret("the key", path, owner)?;
    parse(&text).map_err(|why| {
        Error::usage("use the key in", path.display(), why)
            .with_advice("write one by: tsig-keygen NAME > FILE; chmod 640 FILE")
    })
}

/// The key, or why the text is none.
fn parse(text: &str) -> Result<Key, String> {
    let words = words(text)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ["key", name, "{", statements @ .., "}", ";"] = words.as_slice() else {
        return Err("it is not one statement of the form key \"NAME\" { … };".to_owned());
    };
    let value = |of: &str| {
        let mut found = statements.split(|word| *word == ";").filter(|statement| statement.first() == Some(&of));
        match (found.next(), found.next()) {
            (Some([_, value]), None) => Ok(*value),
            _ => Err(format!("it has not one {of}")),
        }
    };
    let (algorithm, secret) = (value("algorithm")?, value("secret")?);
    let algorithm = match algorithm.trim_end_matches('.').to_ascii_lowercase().as_str() {
        "hmac-sha1" => Algorithm::Sha1,
        "hmac-sha256" => Algorithm::Sha256,
        "hmac-sha384" => Algorithm::Sha384,
        "hmac-sha512" => Algorithm::Sha512,
        other => return Err(format!("the algorithm {other} is none of hmac-sha256, -sha384, -sha512 and -sha1")),
    };
    let name: KeyName = name.parse().map_err(|_| format!("{name} is no name of a key"))?;
    let secret: Vec<u8> = base64::decode(secret).map_err(|_| "the secret is no base64".to_owned())?;
    if secret.is_empty() {
        return Err("the secret is empty".to_owned());
    }
    Key::new(algorithm, &secret, name, None, None).map_err(|error| error.to_string())
}

/// Words, strings and signs, without comments: `# …`, `// …` and `/* … */`.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = if rest.starts_with('#') || rest.starts_with("//") {
            (None, rest.split_once('\n').map_or("", |(_, after)| after))
        } else if let Some(comment) = rest.strip_prefix("/*") {
            (None, comment.split_once("*/").ok_or("a comment does not end")?.1)
        } else if let Some(string) = rest.strip_prefix('"') {
            let (string, after) = string.split_once('"').ok_or("a quotation mark is missing")?;
            (Some(string), after)
        } else if "{};".contains(first) {
            let (sign, after) = rest.split_at(first.len_utf8());
            (Some(sign), after)
        } else {
            let ends = |sign: char| sign.is_whitespace() || "{};\"#".contains(sign);
            let (word, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
            (Some(word), after)
        };
        words.extend(word.map(str::to_owned));
        rest = after.trim_start();
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_tsig_keygen_are_read_and_nothing_else() {
        let written = "key \"host.example.com\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0IHNlY3JldA==\";\n};\n";
        let key = parse(written).unwrap();
        assert_eq!((key.algorithm(), key.name().to_string()), (Algorithm::Sha256, "host.example.com".to_owned()));
        let otherwise = "# a key\nkey host. { /* both */ secret c2VjcmV0; // first\n algorithm HMAC-SHA512.; };";
        assert_eq!(parse(otherwise).unwrap().algorithm(), Algorithm::Sha512);
        for (change, why) in [
            (("hmac-sha256", "hmac-md5"), "the algorithm hmac-md5 is none of hmac-sha256"),
            (("algorithm hmac-sha256;", ""), "it has not one algorithm"),
            (("c2VjcmV0IHNlY3JldA==", "!"), "the secret is no base64"),
            (("c2VjcmV0IHNlY3JldA==", ""), "the secret is empty"),
            (("};", "}"), "it is not one statement"),
            (("key ", "/* key "), "a comment does not end"),
            (("\";", ";"), "a quotation mark is missing"),
            (("host.example.com", "a..b"), "a..b is no name of a key"),
            (("secret", "algorithm hmac-sha1; secret"), "it has not one algorithm"),
        ] {
            let text = written.replacen(change.0, change.1, 1);
            let told = parse(&text).unwrap_err();
            assert!(told.starts_with(why), "{told} of {text}");
        }
        assert!(parse("").is_err() && parse("key").is_err() && parse("é\"").is_err());
    }
}
