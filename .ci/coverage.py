#!/usr/bin/env python3
"""Which requirements are cited beside code, and which have a test named after them.

    .ci/coverage.py            prints the table and what is missing; always succeeds
    .ci/coverage.py --strict   fails when something is missing, unknown or stale
    .ci/coverage.py --list     one line a requirement: id, level, source, text, citations, tests or the reason

Conventions:
- A citation is the id in upper case in a comment outside of tests: `// ISA-42 [RFC 5214 §7.3]: ...`.
  Each id is written out: in `ISA-20..25` or `ISA-20, 21` only the first one counts.
- A test carries its ids at the head of its name, one after the other: `isa_42_isa_43_a_forged_advertisement_...`;
  in `isa_42_43_...` the 43 is not an id. Only functions under `#[test]` count (proptest's included).

The ids, their levels, a sentence for each and the exceptions stand in requirements.toml, beside this file. Every id
that is written in a source, a document or a TOML file of the repository has to stand there. Ids of other documents
(`B7`, `V-TER`) are refused in comments and in front of the names of tests.
"""
import collections
import pathlib
import re
import subprocess
import sys
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
FAMILIES = "ISA|TUN|NDP|RTE|SEC|NAM|S64|S6R|TER|N64|SEL|PPX"
CITATION = re.compile(rf"\b((?:{FAMILIES})-\d+[a-z]?)\b")
TEST_ATTRIBUTE = re.compile(r"^#\[(?:\w+::)*test\b")
FUNCTION = re.compile(r"^(?:pub(?:\([^)]*\))? )?(?:async )?fn (\w+)")
LEADING_ID = re.compile(rf"({FAMILIES})_(\d+[a-z]?)(?:_|$)", re.IGNORECASE)
FOREIGN = re.compile(r"//.*?\b([BFIL]\d{1,2}|V-[A-Z]\w+)\b|^\s*fn ([bfil]\d+)_", re.MULTILINE)
LEVELS = ("MUST", "SHOULD", "MAY", "PROJ")


def ids_of_test(name: str) -> list[str]:
    found, position = [], 0
    while match := LEADING_ID.match(name, position):
        found.append(f"{match[1].upper()}-{match[2]}")
        position = match.end()
    return found


def scan(text: str, is_test_file: bool) -> tuple[list[tuple[str, int]], list[tuple[str, str]]]:
    """([(id, line)] of citations, [(id, test name)]) of one Rust file."""
    citations, tests = [], []
    under_test_attribute = after_cfg_test = False
    in_tests = is_test_file
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        # By convention the module of tests is the last thing in a file.
        in_tests = in_tests or (after_cfg_test and re.match(r"mod \w+ \{", stripped) is not None)
        if not stripped.startswith(("#[", "#![", "//")):
            after_cfg_test = False
        if stripped.startswith("#[cfg(test)]"):
            after_cfg_test = True
        if TEST_ATTRIBUTE.match(stripped):
            under_test_attribute = True
        elif match := FUNCTION.match(stripped):
            if under_test_attribute:
                tests += [(found, match[1]) for found in ids_of_test(match[1])]
            under_test_attribute = False
        elif stripped and not stripped.startswith(("#[", "//")):
            under_test_attribute = False
        if not in_tests and "//" in line:
            citations += [(found, number) for found in CITATION.findall(line[line.index("//"):])]
    return citations, tests


def main() -> int:
    strict, listing = "--strict" in sys.argv, "--list" in sys.argv
    requirements = tomllib.loads((HERE / "requirements.toml").read_text())
    assert all(entry["level"] in LEVELS for entry in requirements.values())
    wrong = [f"{key}: no text, a sentence that says what holds" for key, entry in requirements.items()
             if not entry.get("text", "").endswith(".")]

    root = HERE.parent
    files = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard",
                            "*.rs", "*.md", "*.toml"],
                           cwd=root, check=True, capture_output=True, text=True).stdout.split("\0")
    cited, tested = collections.defaultdict(list), collections.defaultdict(list)
    for name in filter(None, files):
        path = pathlib.PurePosixPath(name)
        if not (root / name).exists():
            continue
        text = (root / name).read_text()
        unknown = sorted({found for found in CITATION.findall(text) if found not in requirements})
        wrong += [f"{found}: not in requirements.toml, in {name}" for found in unknown]
        if path.suffix != ".rs":
            continue
        wrong += [f"{match[1] or match[2]}: an id of another document, in {name}" for match in FOREIGN.finditer(text)]
        in_tests = "tests" in path.parts or path.name == "tests.rs" or path.parts[0] in ("fuzz", "benches")
        citations, tests = scan(text, in_tests)
        for found, line in citations:
            cited[found].append(f"{name}:{line}")
        for found, test in tests:
            tested[found].append(test)

    for family_level in LEVELS:
        group = [key for key, entry in requirements.items() if entry["level"] == family_level]
        excepted = [key for key in group if "reason" in requirements[key]]
        print(f"{family_level:6} {len(group):4} requirements: {sum(key in cited for key in group):4} cited, "
              f"{sum(key in tested for key in group):4} tested, {len(excepted):3} excepted")
    for key, entry in requirements.items():
        has_both = key in cited and key in tested
        if "reason" in entry:
            if has_both:
                wrong.append(f"{key}: cited and tested, so its exception is stale")
        elif not has_both:
            lack = " and ".join(word for word, where in (("citation", cited), ("test", tested)) if key not in where)
            wrong.append(f"{key} ({entry['level']}): no {lack} and no reason")
        if listing:
            what = entry.get("reason") or ", ".join(tested[key]) or "-"
            print(key, entry["level"], entry.get("source", "-"), entry.get("text", "-"), f"{len(cited[key])} citations",
                  what, sep="\t")
    # A test of an unknown id is a slip of the pen.
    wrong += [f"{key}: unknown, in test {names[0]}" for key, names in tested.items() if key not in requirements]

    print(f"{len(wrong)} open")
    for line in wrong:
        print(f"  {line}")
    return 1 if strict and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
