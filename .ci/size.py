#!/usr/bin/env python3
"""size.py FOLDER SOURCES: what the images of isatap-core/size in FOLDER weigh; fails where one weighs more than it may.

The table of the README. Flash is what a board keeps: code, constants, and the first values of what is not zero in RAM
(`.data`). Static RAM is the machine's state; the deepest stack is stack.py's, with the loop around the machine. What an
image is stands in the first line of its source.
"""
import pathlib
import struct
import sys

import stack

# Bytes: the goal in flash, what is reached there, and how deep the stack is. The latter two are ceilings: a little above
# what was measured last, to be lowered with it.
ROWS = {
    "datapath": (6_000, 8_100, 1_040),
    "tunnel": (9_000, 14_250, 2_720),
    "sixrd": (12_000, 19_750, 1_860),
    "sixrd-router": (None, 28_400, 3_950),
    "isatap-host": (20_000, 25_200, 2_690),
    "isatap-host-small": (None, 47_600, 4_720),
    "isatap-router": (36_000, 35_900, 6_270),
    # Beside which ours are measured.
    "smoltcp": (None, None, None),
}
SHT_NOBITS, SHT_ARM_EXIDX = 8, 0x70000001
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4


def sizes(data):
    """(code, constants, `.data`, `.bss`) bytes of the sections that a loader would load."""
    assert data[:6] == b"\x7fELF\x01\x01", "not a little-endian 32-bit ELF file"
    table, entry_size, count = struct.unpack_from("<I", data, 32)[0], *struct.unpack_from("<HH", data, 46)
    code = constants = initialised = zeroed = 0
    for index in range(count):
        _name, kind, flags, _address, _offset, size = struct.unpack_from("<6I", data, table + index * entry_size)
        # Unwind tables are allocated, yet no firmware that aborts on panic keeps them.
        if not flags & SHF_ALLOC or kind == SHT_ARM_EXIDX:
            continue
        if flags & SHF_EXECINSTR:
            code += size
        elif not flags & SHF_WRITE:
            constants += size
        elif kind == SHT_NOBITS:
            zeroed += size
        else:
            initialised += size
    return code, constants, initialised, zeroed


def number(value):
    return "-" if value is None else f"{value:,}"


folder, sources = map(pathlib.Path, sys.argv[1:])
unknown = {source.stem for source in sources.glob("*.rs")} ^ ROWS.keys()
if unknown:
    sys.exit(f"no row or no image: {', '.join(sorted(unknown))}")
print("| image | flash | goal | code | constants | `.data` | static RAM | deepest stack | what it is |")
print("|---|---:|---:|---:|---:|---:|---:|---:|---|")
failures = []
for image, (goal, flash_ceiling, stack_ceiling) in ROWS.items():
    code, constants, initialised, zeroed = sizes((folder / image).read_bytes())
    flash, ram = code + constants + initialised, initialised + zeroed
    try:
        deepest, _ = stack.measure(folder / image)
    except stack.Refused as refusal:
        sys.exit(f"{image}: {refusal}")
    text = (sources / f"{image}.rs").read_text().splitlines()[0].removeprefix("//! ")
    figures = " | ".join(map(number, (flash, goal, code, constants, initialised, ram, deepest)))
    print(f"| `{image}` | {figures} | {text} |")
    for what, found, ceiling in (("flash", flash, flash_ceiling), ("stack", deepest, stack_ceiling)):
        if ceiling is not None and found > ceiling:
            failures.append(f"{image}: {found:,} bytes of {what}, more than {ceiling:,}")
sys.exit("\n".join(failures) or None)
