//! Which names are asked for a given one: the suffix list (NAM-10).

use super::Name;

/// The absolute names to look up for `name`, in order and each once.
///
/// - An absolute name stands for itself (NAM-2).
/// - A name with at least `ndots` dots (and at least one) stands for itself (NAM-2, NAM-10).
/// - A dotted name with fewer dots gets the suffixes first and is tried as it stands last.
/// - A single label gets the suffixes only. It is never asked alone: outside the
///   site's own domains such a question only reaches the root servers, and
///   RFC 5214 §9 knows only `isatap` in front of a domain.
///
/// Combinations longer than 255 octets are left out.
#[must_use]
pub fn candidates(name: &Name, suffixes: &[Name], ndots: usize) -> Vec<Name> {
    let dots = name.dots();
    if name.is_absolute() || dots >= ndots.max(1) {
        return vec![name.to_absolute()];
    }
    let mut names = Vec::with_capacity(suffixes.len() + 1);
    for suffix in suffixes {
        if let Some(candidate) = name.with_suffix(suffix) {
            push_once(&mut names, candidate);
        }
    }
    if dots > 0 {
        push_once(&mut names, name.to_absolute());
    }
    names
}

/// The suffix list with the parents of the primary suffix, down to two labels,
/// put behind it (NAM-10). The first of `suffixes` is the primary one.
///
/// Devolution lets a parent domain, perhaps another organisation's, answer for a
/// site: it is off unless asked for.
#[must_use]
pub fn devolved(suffixes: &[Name]) -> Vec<Name> {
    let mut names = Vec::new();
    if let Some(primary) = suffixes.first() {
        push_once(&mut names, primary.clone());
        let mut parent = primary.parent();
        while let Some(name) = parent {
            if name.dots() == 0 {
                break;
            }
            parent = name.parent();
            push_once(&mut names, name);
        }
    }
    for suffix in suffixes.iter().skip(1) {
        push_once(&mut names, suffix.clone());
    }
    names
}

fn push_once(names: &mut Vec<Name>, name: Name) {
    if !names.iter().any(|known| known.as_str() == name.as_str()) {
        names.push(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Vec<Name> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn texts(names: &[Name]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nam_10_a_single_label_gets_each_suffix_once_and_is_never_asked_alone() {
        let suffixes = names(&["Example.com", "example.net", "example.COM"]);
        let got = candidates(&"ISATAP".parse().unwrap(), &suffixes, 1);
        assert_eq!(texts(&got), ["isatap.example.com.", "isatap.example.net."]);
        assert!(candidates(&"isatap".parse().unwrap(), &[], 1).is_empty());
        assert!(candidates(&"isatap".parse().unwrap(), &[], 0).is_empty());
    }

    #[test]
    fn nam_2_a_dotted_name_and_an_absolute_name_get_no_suffix() {
        let suffixes = names(&["example.com"]);
        for text in ["router.lab", "router.lab."] {
            let got = candidates(&text.parse().unwrap(), &suffixes, 1);
            assert_eq!(texts(&got), ["router.lab."]);
        }
        let got = candidates(&"isatap.".parse().unwrap(), &suffixes, 1);
        assert_eq!(texts(&got), ["isatap."]);
    }

    #[test]
    fn nam_10_a_name_below_the_threshold_gets_the_suffixes_first() {
        let suffixes = names(&["example.com"]);
        let got = candidates(&"router.lab".parse().unwrap(), &suffixes, 2);
        assert_eq!(texts(&got), ["router.lab.example.com.", "router.lab."]);
        let got = candidates(&"a.router.lab".parse().unwrap(), &suffixes, 2);
        assert_eq!(texts(&got), ["a.router.lab."]);
    }

    #[test]
    fn nam_10_devolution_goes_down_to_two_labels() {
        let got = devolved(&names(&["a.b.example.com", "example.net", "example.com"]));
        assert_eq!(texts(&got), ["a.b.example.com", "b.example.com", "example.com", "example.net"]);
        assert_eq!(texts(&devolved(&names(&["lan"]))), ["lan"]);
        assert!(devolved(&[]).is_empty());
    }
}
