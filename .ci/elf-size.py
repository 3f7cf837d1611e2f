#!/usr/bin/env python3
"""elf-size.py FILE TEXT: one row of the size table, read from the section headers of a 32-bit ELF file."""
import pathlib
import struct
import sys

SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4


def sizes(data: bytes) -> tuple[int, int, int]:
    """(code, constants, writable) bytes of the sections that a loader would load."""
    assert data[:6] == b"\x7fELF\x01\x01", "not a little-endian 32-bit ELF file"
    table, entry_size, count = struct.unpack_from("<I", data, 32)[0], *struct.unpack_from("<HH", data, 46)
    code = constants = writable = 0
    for index in range(count):
        _name, kind, flags, _address, _offset, size = struct.unpack_from("<6I", data, table + index * entry_size)
        # ARM unwind tables (SHT_ARM_EXIDX) are allocated, yet no firmware that aborts on panic keeps them.
        if not flags & SHF_ALLOC or kind == 0x70000001:
            continue
        if flags & SHF_EXECINSTR:
            code += size
        elif flags & SHF_WRITE:
            writable += size
        else:
            constants += size
    return code, constants, writable


path = pathlib.Path(sys.argv[1])
print("| `{}` | {:,} | {:,} | {:,} | {} |".format(path.name, *sizes(path.read_bytes()), sys.argv[2]))
