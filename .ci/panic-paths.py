#!/usr/bin/env python3
"""panic-paths.py FILE.s: how code of an image reaches the panic handler, from its assembly.

One line for each function that calls a panicking one of core's, and the shortest
way to it from a root. Inlined functions do not show: read the named one closely.
"""
import collections
import re
import sys

LABEL = re.compile(r"^([A-Za-z_$][\w.$]*):")
BRANCH = re.compile(r"^\s+(?:bl?|b\w*\.w)\s+([A-Za-z_$][\w.$]*)")


def name(symbol: str) -> str:
    """The identifiers of a mangled path without crate hashes, which is as much as one needs here."""
    if not symbol.startswith("_R"):
        return symbol
    rest, parts = re.sub(r"Cs[0-9A-Za-z]*?_(?=\d)", "", symbol), []
    while match := re.search(r"(\d+)_?([A-Za-z])", rest):
        start = match.start(2)
        parts.append(rest[start:start + int(match[1])])
        rest = rest[start + int(match[1]):]
    return "::".join(parts) or symbol


callers = collections.defaultdict(set)
current = None
with open(sys.argv[1]) as assembly:
    for line in assembly:
        if match := LABEL.match(line):
            current = match[1]
        elif current and (match := BRANCH.match(line)):
            callers[match[1]].add(current)

# Breadth first from the handler backwards; core's own panicking functions are not news.
found = 0
queue = collections.deque([("isatap_core_panicked", ())])
seen = {"isatap_core_panicked"}
while queue:
    symbol, way = queue.popleft()
    for caller in sorted(callers[symbol]):
        if caller in seen:
            continue
        seen.add(caller)
        is_panicking = re.search(r"panick|begin_unwind|unwrap_failed|expect_failed|slice_\w*fail|core..slice..index", caller)
        queue.append((caller, () if is_panicking else (*way, caller)))
        if not is_panicking and not way:
            found += 1
            chain, at = [caller], caller
            while callers[at] and len(chain) < 8:
                at = sorted(callers[at])[0]
                chain.append(at)
            print(" <- ".join(map(name, chain)), f"   (calls {name(symbol)})")
sys.exit(0 if found else "no path to the panic handler")
