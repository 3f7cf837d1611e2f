#!/usr/bin/env python3
"""symbols.py FILE [LINES]: where the bytes of an image are, from its symbols and its line tables.

Three tables, of at most LINES rows each (40; 0: all):

- by module: code is counted where it was written, wherever it was inlined; what the core library does for a
  function counts as this function's;
- by function, likewise: its own bytes, those with everything that is inlined into it, in how many symbols it is;
- by symbol, as linked.
"""
import collections
import re
import subprocess
import sys

path, rows = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 40
OURS = re.compile(r"/isatap-core/(src|size/src)/(.*)\.rs$")
DEPENDENCY = re.compile(r"/registry/src/[^/]*/([^/]*)-\d[^/]*/src/(.*)\.rs$")
CORE = re.compile(r"/library/(compiler-builtins|core)/(?:.*/)?src/(.*)\.rs$")


def run(*command, text=None):
    return subprocess.run(command, input=text, check=True, text=True, stdout=subprocess.PIPE).stdout


def without_generics(name: str) -> str:
    while (shorter := re.sub(r"(?<![-=])<[^<>]*>", "", name)) != name:
        name = shorter
    return name.replace("::::", "::").strip(":")


def module(file: str) -> tuple[str, bool]:
    """The module of a source file, and whether it is neither core's nor the compiler's."""
    if match := OURS.search(file):
        return ("" if match[1] == "src" else "size/") + match[2], True
    if match := DEPENDENCY.search(file):
        return f"{match[1]}/{match[2]}", True
    if match := CORE.search(file):
        return f"{match[1]}/{match[2]}", False
    return file or "?", False


symbols = []
for line in run("llvm-nm-22", "--print-size", "--demangle", path).splitlines():
    if match := re.match(r"([0-9a-f]{8}) ([0-9a-f]{8}) (\w) (.*)", line):
        symbols.append((int(match[1], 16), int(match[2], 16), match[3].lower(), match[4]))

# Halfwords of code, and who of which inlined function wrote them.
places = sorted({(at, name) for start, size, kind, name in symbols if kind == "t" for at in range(start & ~1, (start & ~1) + size, 2)})
queries = "".join(f"{at:#x}\n" for at, _ in places)
chains = run("llvm-symbolizer-22", f"--obj={path}", "--inlines", "--output-style=LLVM", text=queries).split("\n\n")
modules, own, whole, inside = (collections.Counter(), collections.Counter(), collections.Counter(), collections.defaultdict(set))
for (_, symbol), chain in zip(places, chains):
    lines = chain.strip().splitlines()
    # Innermost first: (function, file:line:column).
    frames = [(name, *module(where.rsplit(":", 2)[0])) for name, where in zip(lines[::2], lines[1::2])]
    if not frames:
        continue
    # A whole symbol has a whole path for a name, what is inlined has its last part.
    names = [f"{where}: {without_generics(name).rsplit('::', 1)[-1].rstrip('>')}" for name, where, _ in frames]
    at = next((at for at, frame in enumerate(frames) if frame[2]), len(frames) - 1)
    modules[frames[at][1]] += 2
    own[names[at]] += 2
    for name in set(names[at:]):
        whole[name] += 2
        inside[name].add(symbol)


def table(head, lines):
    print(head)
    for line in lines[:rows or None]:
        print(line)
    print()


code = sum(size for _, size, kind, _ in symbols if kind == "t")
table(f"module ({code:,} bytes of code)", [f"{size:7,}  {name}" for name, size in modules.most_common()])
table("    own   whole symbols  function", [f"{own[name]:7,} {size:7,} {len(inside[name]):7}  {name}"
                                            for name, size in sorted(whole.items(), key=lambda item: (-own[item[0]], item))])
table("symbol (t: code, r: constant, d: .data, b: .bss)",
      [f"{size:7,} {kind}  {name}" for _, size, kind, name in sorted(symbols, key=lambda symbol: -symbol[1])])
