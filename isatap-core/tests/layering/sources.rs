//! What the sources of a crate import, held against the rule of its layers.
//!
//! A module imports from layers before its own, and from its own as long as no circle comes of
//! it. A technology never imports another technology. Code under `#[cfg(test)]` may import what it
//! likes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The rule of one crate.
pub(crate) struct Rule {
    /// The layers, lowest first.
    pub(crate) layers: &'static [&'static [&'static str]],
    /// Modules of one layer that do not know each other.
    pub(crate) technologies: &'static [&'static str],
    /// Parts of a module that stand by themselves when circles are looked for.
    pub(crate) apart: &'static [(&'static str, &'static str)],
    /// Macros that stand at the root, and the module that they belong to.
    pub(crate) macros: &'static [(&'static str, &'static str)],
}

/// The sources below a folder.
pub(crate) fn sources(root: &Path) -> Sources {
    let mut sources = Sources::default();
    read(root, root, &mut sources);
    sources
}

fn read(root: &Path, folder: &Path, sources: &mut Sources) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            sources.add(&name, &std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// The crate's files, by their path below `src`.
#[derive(Default)]
pub(crate) struct Sources {
    pub(crate) files: BTreeMap<String, Vec<String>>,
}

impl Sources {
    pub(crate) fn add(&mut self, path: &str, text: &str) {
        self.files.insert(path.to_owned(), tokens(text));
    }

    /// One line for each import that breaks the rule.
    pub(crate) fn violations(&self, rule: &Rule) -> Vec<String> {
        let mut violations = Vec::new();
        let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let stripped: BTreeMap<&String, Stripped> =
            self.files.iter().map(|(path, tokens)| (path, without_tests(tokens))).collect();
        let test_files: BTreeSet<String> = stripped
            .iter()
            .flat_map(|(path, file)| file.test_modules.iter().map(|module| format!("{}{module}", folder_of(path))))
            .collect();
        for (path, file) in &stripped {
            let place = path.trim_end_matches(".rs").trim_end_matches("/mod");
            let is_test = |test: &String| place == test || place.starts_with(&format!("{test}/"));
            if *path == "lib.rs" || test_files.iter().any(is_test) {
                continue;
            }
            let parts: Vec<&str> = place.split('/').collect();
            let module = parts[0];
            let Some(layer) = rule.layer_of(module) else {
                violations.push(format!("{path}: the module {module} stands in no layer"));
                continue;
            };
            let node = rule.node_of(module, parts.get(1).copied());
            for import in rule.imports_of(&file.tokens, &parts) {
                let name = import[0].as_str();
                let name = rule.macros.iter().find(|(exported, _)| *exported == name).map_or(name, |(_, of)| of);
                let import = rule.node_of(name, import.get(1).map(String::as_str));
                match rule.layer_of(name) {
                    _ if import == node => {}
                    None => violations.push(format!("{path}: crate::{name} is no module of a layer")),
                    Some(other) if other > layer => {
                        violations.push(format!("{path}: {module} imports {name}, which stands to its right"));
                    }
                    Some(_)
                        if name != module
                            && rule.technologies.contains(&module)
                            && rule.technologies.contains(&name) =>
                    {
                        violations.push(format!("{path}: the technology {module} imports the technology {name}"));
                    }
                    Some(_) => drop(imports.entry(node.clone()).or_default().insert(import)),
                }
            }
        }
        violations.dedup();
        for (module, part) in rule.apart {
            imports.entry((*module).to_owned()).or_default().insert(rule.node_of(module, Some(part)));
        }
        violations.extend(imports.keys().filter(|module| reaches(&imports, module, module)).map(|module| {
            let others: Vec<&str> = imports[module].iter().map(String::as_str).collect();
            format!("{module}: imports itself by way of another; it imports {}", others.join(", "))
        }));
        violations
    }
}

/// Whether there is a way of imports from a module to another.
fn reaches(imports: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut ahead: Vec<&str> = vec![from];
    while let Some(module) = ahead.pop() {
        for next in imports.get(module).into_iter().flatten() {
            if next == to {
                return true;
            }
            if seen.insert(next) {
                ahead.push(next);
            }
        }
    }
    false
}

/// Where the files of a file's submodules lie: `nd/` for `nd.rs`, nothing for
/// `lib.rs`.
fn folder_of(path: &str) -> String {
    match path.trim_end_matches(".rs") {
        "lib" => String::new(),
        place => format!("{place}/"),
    }
}

impl Rule {
    fn layer_of(&self, module: &str) -> Option<usize> {
        self.layers.iter().position(|layer| layer.contains(&module))
    }

    /// Who imports and is imported: a module, or a part of one that stands apart.
    fn node_of(&self, module: &str, part: Option<&str>) -> String {
        match part.filter(|part| self.apart.contains(&(module, part))) {
            Some(part) => format!("{module}::{part}"),
            None => module.to_owned(),
        }
    }

    /// The paths from the crate's root that a file speaks of: by `crate::`, or by
    /// as many `super::` as lead out of its top-level module (or out of a part
    /// that stands apart).
    fn imports_of(&self, tokens: &[String], parts: &[&str]) -> BTreeSet<Vec<String>> {
        let is = |at: usize, wanted: &str| tokens.get(at).is_some_and(|token| token == wanted);
        let is_apart = parts.get(1).is_some_and(|part| self.apart.contains(&(parts[0], part)));
        let mut paths = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let (mut supers, mut end) = (0, at);
            while is(end, "super") && is(end + 1, "::") {
                supers += 1;
                end += 2;
            }
            if is(end, "crate") && is(end + 1, "::") {
                supers = parts.len();
                end += 2;
            }
            if supers >= parts.len() {
                expand(tokens, end, &[], &mut paths);
            } else if supers > 0 && supers + 1 == parts.len() && is_apart {
                expand(tokens, end, &[parts[0].to_owned()], &mut paths);
            }
            at = end.max(at + 1);
        }
        paths.into_iter().collect()
    }
}

/// The paths, at most two names long, of the tree that begins at `at`, behind
/// `prefix`. Returns where the tree ends.
fn expand(tokens: &[String], mut at: usize, prefix: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let token = |at: usize| tokens.get(at).map_or("", String::as_str);
    let mut path = prefix.to_vec();
    if token(at) == "{" {
        while !matches!(token(at), "" | "}") {
            at = expand(tokens, at + 1, &path, paths);
            // `as Name`
            while !matches!(token(at), "" | "," | "}") {
                at += 1;
            }
        }
        return at + 1;
    }
    if !matches!(token(at), "" | "}") {
        path.push(token(at).to_owned());
    }
    if token(at + 1) == "::" {
        return expand(tokens, at + 2, &path, paths);
    }
    path.truncate(2);
    if !path.is_empty() {
        paths.push(path);
    }
    if token(at) == "}" { at } else { at + 1 }
}

struct Stripped {
    tokens: Vec<String>,
    /// Submodules in files of their own that only tests have.
    test_modules: Vec<String>,
}

/// Takes out every item under `#[cfg(test)]`.
fn without_tests(tokens: &[String]) -> Stripped {
    const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut stripped = Stripped { tokens: Vec::new(), test_modules: Vec::new() };
    let mut at = 0;
    while at < tokens.len() {
        if !tokens[at..].iter().take(CFG_TEST.len()).eq(CFG_TEST) {
            stripped.tokens.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += CFG_TEST.len();
        let item = at;
        let mut depth = 0;
        while at < tokens.len() {
            match tokens[at].as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            at += 1;
            if depth == 0 && matches!(tokens[at - 1].as_str(), "}" | ";") {
                break;
            }
        }
        if let Some(place) = tokens[item..at].iter().position(|token| token == "mod")
            && tokens[item..at].get(place + 2).is_some_and(|token| token == ";")
        {
            stripped.test_modules.push(tokens[item + place + 1].clone());
        }
    }
    stripped
}

/// Names, `::` and single characters; comments and literals are left out.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let taken = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if first == '"' {
            string(rest)
        } else if first == '\'' {
            quote(rest)
        } else if matches!(&rest[..word], "r" | "br" | "cr") && rest[word..].starts_with(['"', '#']) {
            raw_string(rest, word)
        } else if word > 0 {
            // The prefix of a byte string is no name.
            if !(rest[word..].starts_with('"') && matches!(&rest[..word], "b" | "c")) {
                tokens.push(rest[..word].to_owned());
            }
            word
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[taken..];
    }
    tokens
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// A character, or the `'` of a lifetime.
fn quote(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_)) => chars.find(|(_, c)| *c == '\'').map_or(text.len(), |(at, _)| at + 1),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

fn raw_string(text: &str, prefix: usize) -> usize {
    let hashes = text[prefix..].find(|c| c != '#').unwrap_or(0);
    let start = prefix + hashes + 1;
    if !text[prefix + hashes..].starts_with('"') {
        return start; // r#name
    }
    let end = format!("\"{}", "#".repeat(hashes));
    text[start..].find(&end).map_or(text.len(), |at| start + at + end.len())
}
