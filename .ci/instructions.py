#!/usr/bin/env python3
"""instructions.py DIRECTORY: the instruction counts that gungraun has left there, and what they must show.

Benches of one function whose ids are `bytes_64`, `bytes_1280` and so on run it on
packets of these lengths. Their counts have to be equal: nothing that happens once
a packet may touch the payload, let alone copy it.
"""
import collections
import json
import pathlib
import sys

benches = [json.loads(path.read_text()) for path in sorted(pathlib.Path(sys.argv[1]).rglob("summary.json"))]
by_function = collections.defaultdict(dict)
print("| operation | case | instructions |\n|---|---|---:|")
for bench in benches:
    [callgrind] = [profile for profile in bench["profiles"] if profile["tool"] == "Callgrind"]
    values = callgrind["data"]["total"]["metrics"]["Ir"]["values"]
    count = values["new"] if isinstance(values, dict) else values
    print(f"| {bench['function_name']} | {bench['id']} | {count} |")
    if bench["id"].startswith("bytes_"):
        by_function[bench["function_name"]][bench["id"]] = count

compared = {name: counts for name, counts in by_function.items() if len(counts) > 1}
wrong = [f"{name} depends on the length of the packet: {counts}" for name, counts in compared.items()
         if len(set(counts.values())) > 1]
if not compared:
    wrong.append("no operation was measured at two lengths")
print(f"independent of the length: {', '.join(sorted(set(compared) - {line.split()[0] for line in wrong}))}")
sys.exit("\n".join(wrong) or 0)
