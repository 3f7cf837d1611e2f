#!/usr/bin/env python3
"""stack.py FILE...: the deepest stack of Thumb images, in bytes from their entry `_start`, and the way there.

Read from the linked code, so it is what a board runs, with all that was inlined and outlined:

- a function's frame is all that its code takes off `sp`; the compiler's own figure (`-Z emit-stack-sizes`) may not be more;
- a branch to another function is a call behind which of the caller's frame is left what `sp` is lowered by at the branch;
- a call by register goes to what the register can hold, followed backwards through the function and its callers: a
  function whose address is in the code, what was stored in the frame, or what stands in a slot of a vtable. Where it is
  not known of which vtable, it may be that slot of any, or of any as long as those that are known; where nothing is
  known, any function of which the image takes the address (link with `--emit-relocs`). So the figure is a bound, and may
  be above what can happen. It rests on the code being a compiler's: registers r4 to r11 and `sp` kept by what is called,
  no results but in r0 and r1, no address of a frame used outside it.

Not told, but refused: recursion, also where only such a call makes it (but CALLS_ITSELF_ONCE); `sp` moved by what is not
a number, lowered in a cycle, or not back at the return. Without interrupts: they need stack on top.
"""
import bisect
import collections
import pathlib
import re
import struct
import subprocess
import sys

OUTLINED = "OUTLINED_FUNCTION"
CONDITIONS = "eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le"
# An instruction; what begins with a byte is data.
LINE = re.compile(r"\s*([0-9a-f]+):\s+(?![0-9a-f]{2}\s)([a-z]\S*)\s*([^@<]*)")
ARGUMENTS = ("r0", "r1", "r2", "r3")
# Mnemonics that begin so write no register.
NO_DESTINATION = re.compile(r"str(?!ex)|stm|cm[pn]|t(st|eq|bb|bh)|push|cb|it|nop|b(?!ic|fi|fc)|v(?!mov)")
WORD = 4
# A vtable begins with the drop function, the size and the alignment.
FIRST_SLOT = 3 * WORD
SHF_ALLOC, SHT_SYMTAB, SHT_NOBITS, SHT_REL, SHT_ARM_EXIDX = 2, 2, 8, 9, 0x70000001
STT_FUNC = 2
R_ARM_ABS32, R_ARM_THM_MOVW, R_ARM_THM_MOVT = 2, 47, 48
# A value of which nothing is known.
ANY = None
# Functions that may once be on their own way, by image: smoltcp asks for a neighbour's address from where it sends.
CALLS_ITSELF_ONCE = {"smoltcp": "InterfaceInner11dispatch_ip"}


class Refused(Exception):
    """What makes a depth unknown."""


Instruction = collections.namedtuple("Instruction", "name operands conditional")


class Image:
    """A linked file: its functions, its words, its vtables, the addresses that it takes."""

    def __init__(self, path):
        self.path, self.data = path, open(path, "rb").read()
        table, (size, count, names) = struct.unpack_from("<I", self.data, 32)[0], struct.unpack_from("<HHH", self.data, 46)
        self.sections = [struct.unpack_from("<10I", self.data, table + at * size) for at in range(count)]
        self.section_names = [self.text(names, section[0]) for section in self.sections]
        # Functions by address, without the bit that says Thumb; `$t` and `$d`, where code and data begin.
        self.functions, self.marks, symbols = {}, [], []
        for section in (section for section in self.sections if section[1] == SHT_SYMTAB):
            symbols += self.read_symbols(section)
        self.starts = sorted(self.functions)
        self.marks.sort()
        # The places of words that hold an address.
        self.pointers, self.taken, self.stack_sizes = {}, set(), {}
        for section in (section for section in self.sections if section[1] == SHT_REL):
            self.read_relocations(section, symbols)
        self.vtables = self.read_vtables()

    def text(self, index, at):
        start = self.sections[index][4] + at
        return self.data[start:self.data.index(b"\0", start)].decode()

    def read_symbols(self, section):
        for at in range(section[4], section[4] + section[5], 16):
            name, value, size, info, _, index = struct.unpack_from("<IIIBBH", self.data, at)
            name = self.text(section[6], name)
            if info & 15 == STT_FUNC and index:
                self.functions.setdefault(value & ~1, (name, size))
            elif re.match(r"\$[td]", name) and index < 0xff00:
                self.marks.append((value, name[1]))
            yield value

    def word(self, address):
        for _, kind, flags, start, offset, size, *_ in self.sections:
            if flags & SHF_ALLOC and kind != SHT_NOBITS and start <= address <= start + size - WORD:
                return struct.unpack_from("<I", self.data, offset + address - start)[0]
        return ANY

    def function(self, address):
        """The function that a word is the address of."""
        return address & ~1 if address is not ANY and address & 1 and address & ~1 in self.functions else None

    def read_relocations(self, section, symbols):
        of = self.sections[section[7]]
        for at in range(section[4], section[4] + section[5], 8):
            place, info = struct.unpack_from("<II", self.data, at)
            kind = info & 255
            if self.section_names[section[7]] == ".stack_sizes":
                self.read_stack_size(of[4] + place - of[3])
            elif of[2] & SHF_ALLOC and of[1] != SHT_ARM_EXIDX and kind in (R_ARM_ABS32, R_ARM_THM_MOVW, R_ARM_THM_MOVT):
                target = self.word(place) if kind == R_ARM_ABS32 else symbols[info >> 8]
                if kind == R_ARM_ABS32:
                    self.pointers[place] = target
                if self.function(target):
                    self.taken.add(self.function(target))

    def read_stack_size(self, at):
        size = shift = 0
        for byte in self.data[at + WORD:]:
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        self.stack_sizes[struct.unpack_from("<I", self.data, at)[0] & ~1] = size

    def read_vtables(self):
        """The vtables' addresses, each with its end."""
        bases, vtables = sorted({target for target in self.pointers.values() if target is not ANY and target & 3 == 0}), {}
        for base, following in zip(bases, [*bases[1:], 1 << 32]):
            end = base + FIRST_SLOT
            while end < following and self.function(self.pointers.get(end)):
                end += WORD
            drop, alignment = self.word(base), self.word(base + 2 * WORD)
            if end > base + FIRST_SLOT and alignment in (1, 2, 4, 8, 16) and (drop == 0 or self.function(drop)):
                vtables[base] = end
        return vtables

    def code(self):
        """The instructions of each function, by address."""
        text = subprocess.run(["llvm-objdump-22", "-d", "--triple=thumbv7em", "--mattr=+vfp4d16sp", "--no-show-raw-insn", "--no-print-imm-hex", self.path],
                              check=True, text=True, stdout=subprocess.PIPE).stdout
        found, predicated = collections.defaultdict(dict), 0
        for match in filter(None, map(LINE.match, text.splitlines())):
            address, name, operands = int(match[1], 16), re.sub(r"\.[wn]$", "", match[2]), match[3].strip()
            is_it = re.fullmatch(r"it[te]*", name)
            instruction = Instruction(name if is_it or not predicated else name[:-2], operands, predicated > 0)
            predicated = len(name) - 1 if is_it else max(0, predicated - 1)
            function = self.starts[bisect.bisect_right(self.starts, address) - 1]
            # What fills the gap behind a function is no code.
            if address < function + self.functions[function][1]:
                found[function][address] = instruction
        return found


def expand(listed):
    """The registers of a list such as `{r4, r6-r9, lr}`."""
    found = []
    for part in re.search(r"\{(.*)\}", listed)[1].split(", "):
        first, _, last = part.partition("-")
        found += [f"{first[0]}{number}" for number in range(int(first[1:]), int(last[1:]) + 1)] if last else [first]
    return found


class Function:
    """One function's frame, and where it leads."""

    def __init__(self, image, start, code):
        self.image, self.start, self.code = image, start, code
        self.name = image.functions[start][0]
        # The compiler's own: a piece of several functions, which has their registers and their frames.
        self.is_outlined = self.name.startswith(OUTLINED)
        self.frame = self.read_frame()
        # Callees with the places of the calls.
        self.calls, self.tails = collections.defaultdict(set), collections.defaultdict(set)
        # Calls by register: (address, register, whether it is a branch).
        self.by_register, self.returns = [], []
        # Which instructions an instruction follows.
        self.before = collections.defaultdict(set)
        self.follow()
        # Whether each way to an instruction has the same depth there.
        self.is_exact = True
        self.depths = self.read_depths()

    def refuse(self, why, instruction):
        raise Refused(f"{self.name}: {why}: {instruction.name} {instruction.operands}")

    def lowers(self, instruction):
        """The bytes by which an instruction lowers `sp`; fewer than none: raises it."""
        name, operands, _ = instruction
        if name in ("push", "pop", "vpush", "vpop") or name in ("stmdb", "ldm") and operands.startswith("sp!"):
            size = WORD * len(expand(operands)) * (2 if "{d" in operands else 1)
            return size if name in ("push", "vpush", "stmdb") else -size
        if match := re.search(r"\[sp(?:, #(-?\d+)\]!|\], #(-?\d+)$)", operands):
            return -int(match[1] or match[2])
        if name in ("sub", "subw", "add", "addw") and (match := re.fullmatch(r"sp, (?:sp, )?#(\d+)", operands)):
            return int(match[1]) * (1 if name.startswith("sub") else -1)
        if name == "mov" and operands == "sp, r7":
            return 0
        # A store that leaves its base alone, and a comparison, have `sp` first and do not write it.
        if re.match(r"sp(!|, )", operands) and name not in ("cmp", "cmn", "stm", "ldm", "stmdb", "ldmdb") \
                or operands.startswith("sp!") or "[sp]," in operands or name == "msr" and re.match("[mp]sp", operands):
            self.refuse("sp moves by what is no number", instruction)
        return 0

    def read_frame(self):
        frame = sum(max(0, self.lowers(instruction)) for instruction in self.code.values())
        known = self.image.stack_sizes.get(self.start, 0)
        if frame < known:
            raise Refused(f"{self.name}: {frame} bytes of stack by its code, {known} by the compiler")
        return frame

    def read_depths(self):
        """How far `sp` is below where the function found it, at most, in front of each instruction."""
        following = collections.defaultdict(set)
        for address, earlier in self.before.items():
            for at in earlier:
                following[at].add(address)
        # With that of r7, where it points into the frame.
        found, waiting = {self.start: (0, None)}, [self.start]
        while waiting:
            at = waiting.pop()
            after = [] if at in self.returns else [self.behind(at, *found[at])]
            # What a condition may skip: a return that goes on was skipped.
            after += [found[at]] if self.code[at].conditional else []
            for address in following[at]:
                ways = after + ([found[address]] if address in found else [])
                depth, kept = max(depth for depth, _ in ways), {kept for _, kept in ways}
                self.is_exact &= len({depth for depth, _ in ways}) == 1
                if depth > self.frame:
                    self.refuse("sp is lowered in a cycle", self.code[at])
                state = depth, kept.pop() if len(kept) == 1 else None
                if found.get(address) != state:
                    found[address] = state
                    waiting.append(address)
        return {at: depth for at, (depth, _) in found.items()}

    def behind(self, at, depth, kept):
        """The same behind one instruction."""
        name, operands, _ = instruction = self.code[at]
        if (name, operands) == ("mov", "sp, r7"):
            if kept is None:
                self.refuse("sp is taken from what is no place of the frame", instruction)
            return kept, kept
        if match := re.fullmatch(r"r7, sp(?:, #(\d+))?", operands):
            if name in ("mov", "add", "addw"):
                return depth, depth - int(match[1] or 0)
        # A piece that was outlined may write it, what is called keeps it.
        callee = next((callee for callee, places in self.calls.items() if at in places), None)
        if re.search(r"\br[4-7]\b|-", operands) and name in ("pop", "ldm") or re.match(r"(\w+, )?r7\b", operands) \
                or callee and self.image.functions[callee][0].startswith(OUTLINED):
            kept = None
        return depth + self.lowers(instruction), kept

    def check_returns(self, is_called):
        """Refuses a function that does not give back what it took; a piece that is branched to gives back its callers'."""
        for at in self.returns if is_called and self.is_exact else ():
            if at in self.depths and self.depths[at] + self.lowers(self.code[at]):
                self.refuse("sp is not back at the return", self.code[at])
        if self.is_outlined and is_called and not (self.is_exact and all(self.taken_at({at}) == 0 for tails in self.tails.values() for at in tails)):
            raise Refused(f"{self.name}: a piece that is called moves sp")

    def taken_at(self, places):
        """The most that the function has on the stack at one of these places."""
        return max(self.depths.get(at, self.frame) for at in places)

    def follow(self):
        addresses = sorted(self.code)
        for address, following in zip(addresses, [*addresses[1:], None]):
            instruction = self.code[address]
            name, operands, goes_on = instruction
            target = re.search(r"0x([0-9a-f]+)$", operands)
            target = target and int(target[1], 16)
            if name in ("bl", "blx"):
                if target is None:
                    self.by_register.append((address, operands, False))
                else:
                    self.calls[target].add(address)
                goes_on = True
            elif re.fullmatch(rf"b({CONDITIONS})?|cbn?z", name):
                goes_on |= name != "b"
                if target in self.code:
                    self.before[target].add(address)
                elif target in self.image.functions:
                    self.tails[target].add(address)
                else:
                    self.refuse("a branch into another function", instruction)
            elif name in ("tbb", "tbh"):
                self.read_table(address, 1 if name == "tbb" else 2)
            elif name == "bx" and operands != "lr":
                self.by_register.append((address, operands, True))
            elif name == "bx" or re.search(r"\bpc\b", operands) and name in ("pop", "ldm"):
                self.returns.append(address)
            elif re.fullmatch(r"pc, \[sp\], #\d+", operands):
                self.returns.append(address)
            elif operands.startswith("pc"):
                self.refuse("a jump that is not understood", instruction)
            else:
                goes_on |= name not in ("udf", "bkpt")
            if goes_on and following is not None:
                self.before[following].add(address)

    def read_table(self, address, width):
        start = address + WORD
        after = self.image.marks[bisect.bisect_left(self.image.marks, (start + 1, "")):]
        end = next((mark for mark, kind in after if kind == "t"), start)
        for place in range(start, end - width + 1, width):
            entry = self.image.word(place & ~3) >> 8 * (place & 3) & (1 << 8 * width) - 1
            # What fills the table up to an even length leads nowhere.
            if start + 2 * entry in self.code:
                self.before[start + 2 * entry].add(address)


class Registers:
    """What a register can hold: words, and `ANY` where that is not known."""

    def __init__(self, image, functions):
        self.image, self.functions = image, functions
        self.callers = collections.defaultdict(list)
        for function in functions.values():
            for edges in (function.calls, function.tails):
                for callee, places in edges.items():
                    self.callers[callee] += [(function, place) for place in places]

    def held(self, function, address, register, seen):
        """What `register` can hold in front of `address`."""
        found, waiting = set(), [address]
        while waiting:
            after = waiting.pop()
            if (after, register) in seen:
                continue
            seen.add((after, register))
            if after == function.start:
                found |= self.argument(function, register, seen)
            for at in function.before[after]:
                written = self.written(function, at, register, seen)
                found |= written or set()
                if written is None or function.code[at].conditional:
                    waiting.append(at)
        return found

    def argument(self, function, register, seen):
        """The same at the beginning of a function: as its callers leave it."""
        callers = self.callers[function.start]
        if function.start in self.image.taken or not callers or not (register in ARGUMENTS or function.is_outlined):
            return {ANY}
        return set().union(*(self.held(caller, at, register, seen) for caller, at in callers))

    def returned(self, function, register, seen):
        """The same behind a call."""
        if (function.start, register, "returned") in seen:
            return set()
        seen.add((function.start, register, "returned"))
        if function.by_register:
            return {ANY}
        return set().union(*(self.held(function, at, register, seen) for at in function.returns),
                           *(self.returned(self.functions[callee], register, seen) for callee in function.tails))

    def written(self, function, at, register, seen):
        """What an instruction puts into `register`; `None`: it leaves it alone."""
        name, operands, _ = function.code[at]
        if name in ("bl", "blx"):
            callee = next((self.functions[callee] for callee, places in function.calls.items() if at in places and name == "bl"), None)
            if callee and (callee.is_outlined or register in ("r0", "r1")):
                return self.returned(callee, register, seen)
            return {ANY} if register in (*ARGUMENTS, "r12", "lr") else None
        if re.search(rf"\[{register}.*\]!|\[{register}\], |^{register}!", operands):
            return {ANY}
        if NO_DESTINATION.match(name):
            return None
        if name.startswith(("ldm", "pop")):
            return {ANY} if register in expand(operands) else None
        two = name.startswith(("ldrd", "smull", "umull", "umlal", "smlal", "vmov"))
        destinations = operands.split(", ")[:1 + two]
        if register not in destinations:
            return None
        place = WORD * destinations.index(register)
        if name == "ldr" and (match := re.search(r"\[pc, #(-?\d+)\]", operands)):
            return {self.image.word((at + WORD & ~3) + int(match[1]))}
        if name in ("mov", "movs") and (match := re.fullmatch(r"\w+, (r\d+|lr)", operands)):
            return self.held(function, at, match[1], seen)
        if name in ("ldr", "ldrd") and (match := re.search(r"\[sp(?:, #(\d+))?\]$", operands)):
            return self.stored(function, at, int(match[1] or 0) + place, seen)
        if name in ("ldr", "ldrd") and (match := re.search(r"\[(r\d+)(?:, #(\d+))?\]$", operands)):
            return self.loaded(function, at, match[1], int(match[2] or 0) + place, seen)
        return {ANY}

    def loaded(self, function, at, base, offset, seen):
        """What stands at `offset` of the vtable that `base` points to: of any, if it is not known which."""
        held = self.held(function, at, base, seen)
        sizes = {vtable: end - vtable for vtable, end in self.image.vtables.items()}
        vtables = {vtable for vtable in held & sizes.keys() if FIRST_SLOT <= offset < sizes[vtable]}
        words = {self.image.word(vtable + offset) for vtable in vtables}
        if not held or held != vtables:
            # Those that are known are of the same trait, so as long as the others.
            same = {sizes[vtable] for vtable in vtables} or {size for size in sizes.values() if FIRST_SLOT <= offset < size}
            words |= {self.image.word(vtable + offset) for vtable, size in sizes.items() if size in same} or {ANY}
        return words

    def stored(self, function, at, offset, seen):
        """What was stored at this place of the frame."""
        place, found = function.depths.get(at, 0) - offset, set()
        pieces = [self.functions[callee] for callee in function.calls if self.functions[callee].is_outlined]
        # A piece has its callers' frame; above a function's own is its caller's.
        if function.is_outlined or not function.is_exact or place <= 0 \
                or any(re.search(r"\bsp\b", instruction.operands) for piece in pieces for instruction in piece.code.values()):
            return {ANY}
        for store, (name, operands, _) in function.code.items():
            # Who has an address of the frame may write anywhere in it.
            if re.search(r"^(\w+, )+sp\b|^sp(?=, \{)", operands) and name not in ("cmp", "cmn", "ldm", "ldmdb"):
                found.add(ANY)
            for low, size, register in self.stores(function, store):
                if low == place and size == WORD and register:
                    found |= self.held(function, store, register, seen)
                elif low - size < place and low > place - WORD:
                    found.add(ANY)
        return found or {ANY}

    def stores(self, function, at):
        """(how far below where the function found `sp`, bytes, register) of what an instruction stores by `sp`."""
        name, operands, _ = function.code[at]
        depth = function.depths.get(at, 0)
        if name in ("push", "vpush") or name == "stmdb" and operands.startswith("sp!"):
            size = WORD * (2 if "{d" in operands else 1)
            listed = expand(operands)
            return [(depth + size * (len(listed) - index), size, name != "vpush" and register) for index, register in enumerate(listed)]
        if not name.startswith(("str", "vst")) or "[sp" not in operands:
            return []
        if not (match := re.fullmatch(r"(\w+), (?:(\w+), )?\[sp(?:, #(-?\d+))?\](!?)(?:, #-?\d+)?", operands)) or name.startswith("strex"):
            return [(function.frame, function.frame, None)]
        low = depth - int(match[3] or 0)
        if name in ("str", "strd"):
            return [(low - WORD * index, WORD, register) for index, register in enumerate(filter(None, match.groups()[:2]))]
        return [(low, 2 * WORD, None)]

    def resolve(self):
        """Fills in where the calls by register go."""
        for function in self.functions.values():
            for address, register, is_tail in function.by_register:
                words = self.held(function, address, register, set())
                edges = function.tails if is_tail else function.calls
                for callee in set(map(self.image.function, words)) - {None} | (self.image.taken if not words or ANY in words else set()):
                    edges[callee].add(address)


class Depths:
    """How deep the stack is below each function."""

    def __init__(self, functions, again):
        # The functions on the way.
        self.functions, self.again, self.known, self.path = functions, again, {}, []

    def of(self, at):
        """(bytes, the functions on the way there)"""
        repeated = tuple(sorted({way for way in self.path if way in self.again}))
        if (at, repeated) in self.known:
            return self.known[at, repeated]
        if at in self.path and at not in self.again:
            raise Refused("recursion: " + " -> ".join(self.functions[way].name for way in [*self.path[self.path.index(at):], at]))
        function = self.functions[at]
        best = function.frame, []
        self.path.append(at)
        for edges in (function.calls, function.tails):
            for callee, places in sorted(edges.items()):
                stays = function.frame if edges is function.calls else function.taken_at(places)
                # A loop takes no stack; who may be called once more stops there.
                if edges is function.tails and callee == at and stays <= 0 or callee in self.again and self.path.count(callee) > 1:
                    continue
                below, chain = self.of(callee)
                best = max(best, (stays + below, chain), key=lambda way: way[0])
        self.path.pop()
        self.known[at, repeated] = best[0], [(function.frame, function.name), *best[1]]
        return self.known[at, repeated]


def measure(path):
    """The deepest stack of an image, and the functions on the way there."""
    image = Image(path)
    functions = {start: Function(image, start, code) for start, code in image.code().items()}
    called = {callee for function in functions.values() for callee in function.calls}
    for function in functions.values():
        function.check_returns(function.start in called or not function.is_outlined)
    Registers(image, functions).resolve()
    entry = next(start for start, (name, _) in image.functions.items() if name == "_start")
    again = CALLS_ITSELF_ONCE.get(pathlib.Path(path).name)
    twice = {start for start, (name, _) in image.functions.items() if again and again in name}
    sys.setrecursionlimit(10_000)
    return Depths(functions, twice).of(entry)


if __name__ == "__main__":
    for path in sys.argv[1:]:
        size, chain = measure(path)
        names = subprocess.run(["llvm-cxxfilt-22"], input="\n".join(name for _, name in chain), check=True, text=True,
                               stdout=subprocess.PIPE).stdout.splitlines()
        print(f"{size:7,}  {path}")
        for (frame, _), name in zip(chain, names):
            print(f"{frame:9,}  {name}")
