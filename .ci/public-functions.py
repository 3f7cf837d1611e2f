#!/usr/bin/env python3
"""Which public functions of isatap-core the panic proof calls, by name.

    .ci/public-functions.py            prints those that no image of no-std-proof names
    .ci/public-functions.py --strict   and fails when there are any

A name counts when it stands in an image behind `::` or `.`, so functions of the same
name on two types are not told apart: read the list of roots, this only finds what was forgotten.
"""
import pathlib
import re
import sys

core = pathlib.Path(__file__).resolve().parent.parent / "isatap-core"
# Text for people: formatting is core::fmt's, which the proof leaves out (see no-std-proof/src/lib.rs).
TEXT = ("pretty/",)
FUNCTION = re.compile(r"^\s*pub (?:const )?fn (\w+)")

public: dict[str, list[str]] = {}
for path in sorted((core / "src").rglob("*.rs")):
    if path.name == "tests.rs":
        continue
    code = re.split(r"(?m)^#\[cfg\(test\)\]\nmod ", path.read_text())[0]
    for line in code.splitlines():
        if match := FUNCTION.match(line):
            public.setdefault(match[1], []).append(str(path.relative_to(core / "src")))

images = "".join(path.read_text() for path in (core / "no-std-proof" / "src").rglob("*.rs"))
called = set(re.findall(r"(?:::|\.)(\w+)\b", images))
missing = {name: files for name, files in public.items() if name not in called}
print(f"{len(public) - len(missing)} of {len(public)} names of public functions are called by the panic proof")
for name, files in missing.items():
    print(f"  not called: {name} ({', '.join(sorted(set(files)))})")
wanting = [name for name, files in missing.items() if not all(file.startswith(TEXT) for file in files)]
sys.exit(1 if wanting and "--strict" in sys.argv else 0)
