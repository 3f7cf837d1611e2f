#!/usr/bin/env python3
"""dependencies.py: fails when a manifest declares a crate that no code of its package names.

rustc's own lint (unused_crate_dependencies) judges one target at a time, and so cries
wolf for each crate that only the tests or only the program need.
"""
import json
import pathlib
import re
import subprocess
import sys

root = pathlib.Path(__file__).resolve().parent.parent
MANIFESTS = ("Cargo.toml", "fuzz/Cargo.toml", "isatap-core/no-std-proof/Cargo.toml", "isatap-core/size/Cargo.toml",
             "isatap-core/bpf-proof/Cargo.toml")
COMMENT = re.compile(r"(?m)//.*$")


def packages():
    for manifest in MANIFESTS:
        command = ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path", root / manifest]
        yield from json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["packages"]


def unused(package, dependencies):
    """Those of `dependencies` that stand in no source file of `package`: as `name::`, or by `use`."""
    folder = pathlib.Path(package["manifest_path"]).parent
    nested = [path.parent for path in folder.glob("*/**/Cargo.toml")]
    files = [path for path in folder.rglob("*.rs") if not any(path.is_relative_to(inner) for inner in nested)]
    code = "\n".join(COMMENT.sub("", path.read_text()) for path in files)
    names = ((name, name.replace("-", "_")) for name in dependencies)
    return [name for name, crate in names if not re.search(rf"\b{crate}::|\buse {crate}\b", code)]


failed = False
for package in packages():
    declared = {dependency["rename"] or dependency["name"] for dependency in package["dependencies"]}
    for name in unused(package, sorted(declared)):
        print(f"{package['name']}: no code names the dependency {name}")
        failed = True
    # What the check is worth: a crate that nobody names has to be found.
    if not unused(package, ["nobody-names-me"]):
        sys.exit(f"{package['name']}: a planted dependency was not found")
sys.exit(failed)
