#!/usr/bin/env python3
"""stack-test.py LINKER: stack.py on images whose stack was counted by hand, and on those that it has to refuse."""
import pathlib
import subprocess
import sys
import tempfile

import stack

FRAME = "push {{r4, lr}}\n sub sp, #{0}\n {1}\n add sp, #{0}\n pop {{r4, pc}}\n"
VTABLE = ".section .rodata.{0},\"a\"\n .p2align 2\n{0}: .word 0, 4, 4, {1}\n"


def function(name, body):
    return f".section .text.{name},\"ax\"\n .globl {name}\n .type {name}, %function\n .thumb_func\n{name}:\n{body}\n" \
           f" .size {name}, . - {name}\n"


def frame(name, size, body=""):
    return function(name, FRAME.format(size, body))


# (what it is, code, bytes of stack or a word of the refusal)
CASES = [
    ("a chain: 3 pairs of saved registers and 3 frames",
     frame("_start", 8, "bl one") + frame("one", 40, "bl two") + frame("two", 16), 8 + 8 + 48 + 24),
    ("the deeper of two branches",
     frame("_start", 8, "bl one\n bl two") + frame("one", 40) + frame("two", 80), 16 + 88),
    ("a conditional branch to another function, behind which the frame is gone",
     function("_start", "push {r4, lr}\n pop.w {r4, lr}\n cbz r0, 1f\n b.w one\n1: bx lr") + frame("one", 40), 48),
    ("floating-point registers and a frame of its own kind",
     function("_start", "push {r7, lr}\n vpush {d8, d9}\n str r8, [sp, #-8]!\n ldr r8, [sp], #8\n vpop {d8, d9}\n pop {r7, pc}"), 8 + 16 + 8),
    ("a function behind a jump table",
     function("_start", "push {r4, lr}\n tbb [pc, r0]\n0: .byte (1f-0b)/2, (2f-0b)/2\n1: pop {r4, pc}\n2: bl one\n pop {r4, pc}")
     + frame("one", 40), 8 + 48),
    ("a call by a register from the code, one of two",
     function("_start", "push {r4, lr}\n ldr r1, =one\n cmp r0, #0\n it ne\n ldrne r1, =two\n blx r1\n pop {r4, pc}\n .pool")
     + frame("one", 40) + frame("two", 80), 8 + 88),
    ("a slot of a vtable that is known; the other vtable's is deeper",
     function("_start", "push {r4, lr}\n ldr r1, =first\n ldr r2, [r1, #12]\n blx r2\n ldr r3, =second\n pop {r4, pc}\n .pool")
     + frame("one", 40) + frame("two", 80) + VTABLE.format("first", "one") + VTABLE.format("second", "two"), 8 + 48),
    ("a slot of any vtable",
     function("_start", "push {r4, lr}\n ldr r1, =first\n ldr r3, =second\n bl take\n pop {r4, pc}\n .pool")
     + function("take", "push {r4, lr}\n ldr r1, [r0]\n ldr r2, [r1, #12]\n blx r2\n pop {r4, pc}")
     + frame("one", 40) + frame("two", 80) + VTABLE.format("first", "one") + VTABLE.format("second", "two"), 8 + 8 + 88),
    ("a register of which nothing is known: any function whose address is taken",
     function("_start", "push {r4, lr}\n ldr r1, =one\n str r1, [r0]\n add r2, r0, r0\n blx r2\n pop {r4, pc}\n .pool") + frame("one", 40), 8 + 48),
    ("the same where that would be recursion: it is guessed, and left out",
     function("_start", "push {r4, lr}\n ldr r1, =one\n str r1, [r0]\n bl one\n pop {r4, pc}\n .pool")
     + frame("one", 40, "bl two") + function("two", "push {r4, lr}\n add r2, r0, r0\n blx r2\n pop {r4, pc}"), 8 + 48 + 8),
    ("an argument: as the caller leaves it",
     function("_start", "push {r4, lr}\n ldr r0, =one\n bl call\n ldr r4, =two\n pop {r4, pc}\n .pool")
     + function("call", "push {r4, lr}\n blx r0\n pop {r4, pc}") + frame("one", 40) + frame("two", 80), 8 + 8 + 48),
    ("recursion", frame("_start", 8, "bl one") + frame("one", 8, "bl two") + frame("two", 8, "bl one"), "recursion: one -> two -> one"),
    ("recursion by a vtable",
     function("_start", "push {r4, lr}\n ldr r1, =first\n ldr r2, [r1, #12]\n blx r2\n pop {r4, pc}\n .pool")
     + frame("one", 8, "bl _start") + VTABLE.format("first", "one"), "recursion"),
    ("a frame of unknown size", function("_start", "push {r7, lr}\n sub.w sp, sp, r0\n mov sp, r7\n pop {r7, pc}"), "no number"),
    ("a frame that the compiler knows to be larger",
     frame("_start", 8) + ".section .stack_sizes,\"\",%progbits\n .long _start\n .byte 200, 1\n", "200 by the compiler"),
    ("a jump that is not understood", function("_start", "ldr.w pc, [r0]"), "not understood"),
]


def depth(folder, code):
    source, objects, image = (folder / f"case.{kind}" for kind in ("s", "o", "elf"))
    source.write_text(".syntax unified\n .thumb\n .fpu fpv4-sp-d16\n" + code)
    subprocess.run(["llvm-mc-22", "-triple=thumbv7em-none-eabihf", "-mattr=+vfp4d16sp", "-filetype=obj", source, "-o", objects], check=True)
    subprocess.run([sys.argv[1], "-flavor", "gnu", "-e", "_start", "--emit-relocs", objects, "-o", image], check=True)
    return stack.measure(image)[0]


failed = 0
with tempfile.TemporaryDirectory() as folder:
    for name, code, expected in CASES:
        try:
            found = depth(pathlib.Path(folder), code)
            is_right = found == expected
        except stack.Refused as refusal:
            found = str(refusal)
            is_right = isinstance(expected, str) and expected in found
        if not is_right:
            failed += 1
            print(f"{name}: {found}, not {expected}")
print(f"stack.py: {len(CASES) - failed} of {len(CASES)} cases")
sys.exit(failed > 0)
