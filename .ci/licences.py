#!/usr/bin/env python3
"""The licences of the crates that the program `isatap` is linked with, as their authors wrote them.

Of this workspace's resolution with all features, for the host; each text once.
"""
import json
import pathlib
import subprocess
import sys

host = next(line.split(": ")[1] for line in subprocess.check_output(["rustc", "-vV"], text=True).splitlines()
            if line.startswith("host: "))
command = ["cargo", "metadata", "--locked", "--format-version=1", "--all-features", f"--filter-platform={host}"]
metadata = json.loads(subprocess.check_output(command))
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}

linked, due = set(), [package["id"] for package in metadata["packages"] if package["name"] == "isatap-std"]
while due:
    package = due.pop()
    if package in linked:
        continue
    linked.add(package)
    for dependency in nodes[package]["deps"]:
        if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
            due.append(dependency["pkg"])

texts, without = {}, []
for package in sorted((packages[package] for package in linked), key=lambda package: package["name"]):
    if package["source"] is None:
        continue
    name = f'{package["name"]} {package["version"]} ({package["license"]})'
    folder = pathlib.Path(package["manifest_path"]).parent
    files = [file for file in sorted(folder.iterdir())
             if file.is_file() and file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"))]
    if not files:
        without.append(name)
    for file in files:
        texts.setdefault(file.read_text(errors="replace").strip(), []).append(name)

for text, names in texts.items():
    print("=" * 72, *names, "-" * 72, text, sep="\n", end="\n\n")
if without:
    print("=" * 72, "These crates name a licence and come without its text:", *without, sep="\n")
if not texts:
    sys.exit("no licence was found")
