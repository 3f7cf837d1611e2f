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


# A function that calls what it has stored behind 4 bytes of its frame, with code between.
STORED = function("_start", "push {{r4, lr}}\n sub sp, #8\n ldr r1, =one\n str r1, [sp, #4]\n {}\n ldr r2, [sp, #4]\n blx r2\n"
                  " add sp, #8\n pop {{r4, pc}}\n .pool")

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
    ("the same where that may be recursion",
     function("_start", "push {r4, lr}\n ldr r1, =one\n str r1, [r0]\n bl one\n pop {r4, pc}\n .pool")
     + frame("one", 40, "bl two") + function("two", "push {r4, lr}\n add r2, r0, r0\n blx r2\n pop {r4, pc}"), "recursion: one -> two -> one"),
    ("an argument: as the caller leaves it",
     function("_start", "push {r4, lr}\n ldr r0, =one\n bl call\n ldr r4, =two\n pop {r4, pc}\n .pool")
     + function("call", "push {r4, lr}\n blx r0\n pop {r4, pc}") + frame("one", 40) + frame("two", 80), 8 + 8 + 48),
    ("recursion", frame("_start", 8, "bl one") + frame("one", 8, "bl two") + frame("two", 8, "bl one"), "recursion: one -> two -> one"),
    ("recursion by a vtable",
     function("_start", "push {r4, lr}\n ldr r1, =first\n ldr r2, [r1, #12]\n blx r2\n pop {r4, pc}\n .pool")
     + frame("one", 8, "bl _start") + VTABLE.format("first", "one"), "recursion"),
    ("a branch to a piece that was outlined, with the frame still there; it calls and gives back",
     function("_start", "push {r4, lr}\n sub sp, #40\n b.w OUTLINED_FUNCTION_0")
     + function("OUTLINED_FUNCTION_0", "bl one\n add sp, #40\n pop {r4, pc}") + frame("one", 80), 8 + 40 + 88),
    ("a branch with the frame still there to what does not return",
     function("_start", "push {r4, lr}\n sub sp, #40\n b.w one") + frame("one", 40), 8 + 40 + 48),
    ("a branch from a piece that has given back its caller's frame",
     function("_start", "push {r4, lr}\n sub sp, #40\n b.w OUTLINED_FUNCTION_0")
     + function("OUTLINED_FUNCTION_0", "add sp, #40\n pop.w {r4, lr}\n b.w one") + frame("one", 80), 88),
    ("a branch to the function itself by register, with a part of the frame still there",
     function("_start", "ldr r1, =_start\n push {r4, lr}\n bx r1\n .pool"), "recursion"),
    ("a place of the frame",
     STORED.format("ldr r3, =two\n str r3, [sp]") + frame("one", 40) + frame("two", 80), 8 + 8 + 48),
    ("the same, written by what is called with its address",
     STORED.format("add r0, sp, #4\n bl change") + function("change", "ldr r1, =two\n str r1, [r0]\n bx lr\n .pool")
     + frame("one", 40) + frame("two", 80), 8 + 8 + 88),
    ("the same, written by a store of several registers",
     STORED.format("ldr r3, =two\n mov r2, sp\n stm r2, {r0, r3}") + frame("one", 40) + frame("two", 80), 8 + 8 + 88),
    ("the same, by sp", STORED.format("ldr r3, =two\n stm.w sp, {r0, r3}") + frame("one", 40) + frame("two", 80), 8 + 8 + 88),
    ("the same, by a floating-point register",
     STORED.format("ldr r3, =two\n vmov s0, r3\n vstr s0, [sp, #4]") + frame("one", 40) + frame("two", 80), 8 + 8 + 88),
    ("the same, at an index",
     STORED.format("ldr r3, =two\n str.w r3, [sp, r0]") + frame("one", 40) + frame("two", 80), 8 + 8 + 88),
    ("the same, by a piece",
     STORED.format("bl OUTLINED_FUNCTION_0") + function("OUTLINED_FUNCTION_0", "ldr r3, =two\n str r3, [sp, #4]\n bx lr\n .pool")
     + frame("one", 40) + frame("two", 80), 8 + 8 + 88),
    ("the same, pushed; all that is ever taken off sp counts",
     STORED.format("add sp, #8\n ldr r3, =two\n push {r2, r3}") + frame("one", 40) + frame("two", 80), 8 + 8 + 8 + 88),
    ("an address in two halves",
     function("_start", "push {r4, lr}\n movw r1, #:lower16:one\n movt r1, #:upper16:one\n blx r1\n pop {r4, pc}") + frame("one", 80), 8 + 88),
    ("an address in a table",
     function("_start", "push {r4, lr}\n ldr r1, =table\n ldr r2, [r1]\n blx r2\n pop {r4, pc}\n .pool")
     + frame("one", 80) + ".section .rodata.table,\"a\"\n .p2align 2\ntable: .word one\n", 8 + 88),
    ("what a register call left, of two that it may go to",
     function("_start", "push {r4, lr}\n ldr r1, =give_one\n cmp r0, #0\n it ne\n ldrne r1, =give_two\n blx r1\n blx r0\n pop {r4, pc}\n .pool")
     + function("give_one", "ldr r0, =one\n bx lr\n .pool") + function("give_two", "ldr r0, =two\n bx lr\n .pool")
     + frame("one", 40) + frame("two", 80), 8 + 88),
    ("a frame that r7 gives back",
     function("_start", "push {r7, lr}\n mov r7, sp\n sub sp, #40\n bl one\n mov sp, r7\n pop {r7, pc}") + frame("one", 40), 8 + 40 + 48),
    ("the same from the middle of the frame",
     function("_start", "push {r4, r5, r7, lr}\n add r7, sp, #8\n sub sp, #40\n bl one\n sub.w r4, r7, #8\n mov sp, r4\n pop {r4, r5, r7, pc}")
     + frame("one", 40), "no number"),
    ("the same where r7 is no place of the frame",
     function("_start", "push {r7, lr}\n mov r7, sp\n subw r7, r7, #400\n mov sp, r7\n bl one\n pop {r7, pc}") + frame("one", 8), "no place"),
    ("the same where a piece may have written r7",
     function("_start", "push {r7, lr}\n mov r7, sp\n bl OUTLINED_FUNCTION_0\n mov sp, r7\n pop {r7, pc}")
     + function("OUTLINED_FUNCTION_0", "subw r7, r7, #400\n bx lr"), "no place"),
    ("a frame that grows in a loop",
     function("_start", "push {r7, lr}\n mov r7, sp\n0: sub sp, #64\n cmp r0, #0\n bne 0b\n mov sp, r7\n pop {r7, pc}"), "cycle"),
    ("registers saved in a loop",
     function("_start", "push {r7, lr}\n mov r7, sp\n0: push {r0}\n cmp r0, #0\n bne 0b\n mov sp, r7\n pop {r7, pc}"), "cycle"),
    ("registers saved and taken back in a loop",
     function("_start", "push {r4, lr}\n0: push {r0, r1}\n bl one\n pop {r0, r1}\n cmp r0, #0\n bne 0b\n pop {r4, pc}") + frame("one", 40), 8 + 8 + 48),
    ("a return with a part of the frame", function("_start", "push {r4, lr}\n sub sp, #8\n pop {r4, pc}"), "not back"),
    ("a piece that is called and takes stack",
     function("_start", "push {r4, lr}\n bl OUTLINED_FUNCTION_0\n add sp, #40\n pop {r4, pc}") + function("OUTLINED_FUNCTION_0", "sub sp, #40\n bx lr"),
     "not back"),
    ("another stack", function("_start", "msr msp, r0\n bx lr"), "no number"),
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
