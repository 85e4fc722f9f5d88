"""A made-up guest for the recorder's tests: 16 MiB of RAM with page tables and struct pages, and BTF that says how
these are laid out."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from truth.recorder.btf import Btf
from truth.recorder.kernels import KERNELS
from truth.recorder.memory import DIRECT, HUGE, KERNEL_TEXT, STRUCT_PAGE, VMEMMAP, Memory
from truth.recorder.names import Names
from truth.recorder.symbols import Symbols
from truth.recorder.view import View

RAM = 16 << 20
STRUCT_PAGES = 2 << 20
"""Where the struct pages lie: the second 2 MiB."""
THP = 4 << 20 >> 12
"""The first page frame of a huge page."""
REGION = 0x200000000000
VARIABLES = {
    "linux_banner": 0x1000, "init_top_pgt": 0x2000, "empty_zero_page": 0x3000, "init_task": 0x4000, "huge_zero_pfn": 0x4800,
    "node_data": 0x4808, "__per_cpu_offset": 0x4810,
}  # fmt: skip
NODE, TASK, MM, TOP = 0x5000, 0x6000, 0x6800, 0x7000
PUD, PMD, PTE, KERNEL_PUD, KERNEL_PMD = 0x8000, 0x9000, 0xA000, 0xB000, 0xC000
PRESENT, WRITE, USER, ACCESSED, DIRTY, PSE = 1, 2, 4, 1 << 5, 1 << 6, 1 << 7
ALL = PRESENT | WRITE | USER | ACCESSED | DIRTY
PID = 42

U8, U32, U64, LIST, TWO_U32 = 1, 2, 3, 4, 5
FLAGS = (
    "locked writeback referenced uptodate dirty lru head waiters active workingset owner_priv_1 owner_2 arch_1 reserved swapbacked "
    "unevictable mlocked hwpoison"
)
ALIASES = {"anon_exclusive": 11, "swapcache": 10, "large_rmappable": 9, "has_hwpoisoned": 8}
FOLIO = {
    "flags": (U64, 0), "mapping": (U64, 24), "index": (U64, 32), "private": (U64, 40), "_mapcount": (U32, 48), "_refcount": (U32, 52),
    "_large_mapcount": (U32, 80), "_entire_mapcount": (U32, 84), "_nr_pages_mapped": (U32, 88), "_pincount": (U32, 92),
    "_deferred_list": (LIST, 144),
}  # fmt: skip
PAGE = {
    "flags": (U64, 0), "compound_head": (U64, 8), "mapping": (U64, 24), "index": (U64, 32), "private": (U64, 40),
    "page_type": (U32, 48), "_mapcount": (U32, 48), "_refcount": (U32, 52), "memcg_data": (U64, 56),
}  # fmt: skip
STRUCTS = {
    "page": (STRUCT_PAGE, PAGE),
    "folio": (4 * STRUCT_PAGE, FOLIO),
    "ptdesc": (STRUCT_PAGE, {"pmd_huge_pte": (U64, 16), "ptl": (U32, 40)}),
    "task_struct": (64, {"tasks": (LIST, 0), "pid": (U32, 16), "mm": (U64, 24)}),
    "mm_struct": (64, {"pgd": (U64, 8)}),
    "mem_cgroup": (64, {"deferred_split_queue": (LIST, 0)}),
    "pglist_data": (64, {"deferred_split_queue": (LIST, 32)}),
    "deferred_split": (32, {"split_queue_len": (U64, 24)}),
}

Layouts = Mapping[str, tuple[int, Mapping[str, tuple[int, int]]]]


def btf(structs: Layouts = STRUCTS, enums: Mapping[str, Sequence[tuple[str, int]]] | None = None) -> bytes:
    """A BTF blob: three integers, a list head, an array of two, then these structs (name -> size, members) and
    enums."""
    strings = bytearray(b"\0")
    types = bytearray()

    def text(name: str) -> int:
        strings.extend(name.encode() + b"\0")
        return len(strings) - len(name) - 1

    def add(name: str, kind: int, members: int, size: int, more: bytes = b"") -> None:
        types.extend(struct.pack("<III", text(name) if name else 0, kind << 24 | members, size) + more)

    for name, size in (("u8", 1), ("u32", 4), ("u64", 8)):
        add(name, 1, 0, size, struct.pack("<I", size * 8))
    add("list_head", 4, 0, 16)
    add("", 3, 0, 0, struct.pack("<III", U32, U32, 2))
    for name, (size, members) in structs.items():
        rows = (struct.pack("<III", text(each) if each else 0, kind, at * 8) for each, (kind, at) in members.items())
        add(name, 4, len(members), size, b"".join(rows))
    for name, values in (enums or {"pageflags": flag_values()}).items():
        add(name, 6, len(values), 4, b"".join(struct.pack("<Ii", text(each), value) for each, value in values))
    return (
        struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
        + bytes(types)
        + bytes(strings)
    )


def flag_values() -> list[tuple[str, int]]:
    """The enum pageflags."""
    return [(f"PG_{name}", bit) for bit, name in enumerate(FLAGS.split())] + [
        (f"PG_{name}", bit) for name, bit in ALIASES.items()
    ]


def bits(*names: str) -> int:
    """page->flags with these flags."""
    known = dict(flag_values())
    return sum(1 << known[f"PG_{name}"] for name in names)


class Guest:
    """The RAM, and what is written into it. One process, PID, with a region at REGION that maps nothing yet."""

    def __init__(self) -> None:
        self.ram = bytearray(RAM)
        self.ram[VARIABLES["linux_banner"] : VARIABLES["linux_banner"] + 14] = b"Linux version "
        for pfn in range(RAM >> 12):
            self.page(pfn, _mapcount=-1)
        self._tables(VARIABLES["init_top_pgt"], VMEMMAP, (KERNEL_PUD, KERNEL_PMD), STRUCT_PAGES | PSE | PRESENT)
        self._tables(TOP, REGION, (PUD, PMD), 0)
        task = KERNEL_TEXT + VARIABLES["init_task"]
        self.u64(VARIABLES["init_task"], DIRECT + TASK)
        self.u64(TASK, task)
        self.u64(TASK + 16, PID)
        self.u64(TASK + 24, DIRECT + MM)
        self.u64(MM + 8, DIRECT + TOP)
        self.u64(VARIABLES["huge_zero_pfn"], (1 << 64) - 1)
        self.u64(VARIABLES["node_data"], DIRECT + NODE)
        lines = [f"{KERNEL_TEXT + at:x} D {name}" for name, at in VARIABLES.items()]
        functions = [f"{KERNEL_TEXT + at:x} T {name}" for name, at in FUNCTIONS.items()]
        self.symbols = Symbols(lines + functions)

    def view(self) -> View:
        """What the recorder sees of it, as a kernel 6.12."""
        return View(Memory(self.ram), KERNELS["6.12"], self.symbols, Btf(btf()))

    def u64(self, at: int, value: int) -> None:
        struct.pack_into("<Q", self.ram, at, value)

    def page(self, pfn: int, **fields: int) -> None:
        """Set fields of a struct page; those of the first and second tail by their names in struct folio, on the
        head."""
        for name, value in fields.items():
            kind, offset = PAGE[name] if name in PAGE else FOLIO[name]
            size = 4 if kind == U32 else 8
            at = STRUCT_PAGES + pfn * STRUCT_PAGE + offset
            self.ram[at : at + size] = (value & (1 << size * 8) - 1).to_bytes(size, "little")

    def huge_page(self, pfn: int = THP) -> None:
        """Make 512 struct pages one huge page that one PMD maps, anonymous and on a cgroup-less LRU."""
        for tail in range(1, HUGE):
            self.page(pfn + tail, compound_head=VMEMMAP + pfn * STRUCT_PAGE + 1, mapping=0)
        self.page(
            pfn, flags=bits("head", "anon_exclusive", "lru", "swapbacked"), mapping=1, index=REGION >> 12, _refcount=1
        )
        self.page(pfn, _large_mapcount=0, _entire_mapcount=0, _nr_pages_mapped=0x800000)
        self.u64(STRUCT_PAGES + (pfn + 1) * STRUCT_PAGE, 9 | bits("large_rmappable"))
        self.u64(STRUCT_PAGES + (pfn + 2) * STRUCT_PAGE + 16, VMEMMAP + (pfn + 2) * STRUCT_PAGE + 16)

    def _tables(self, top: int, address: int, tables: tuple[int, int], entry: int) -> None:
        """The way to an address: the top table, then these two, then an entry for 2 MiB."""
        for table, shift, below in zip(
            (top, *tables), (39, 30, 21), (*(table | ALL for table in tables), entry), strict=True
        ):
            self.u64(table + (address >> shift & HUGE - 1) * 8, below)


FUNCTIONS = {
    "__split_huge_pmd": 0x10000,
    "native_set_pte": 0x10100,
    "flush_tlb_mm_range": 0x10200,
    "folio_add_anon_rmap_ptes": 0x10300,
}
ANSWER = {
    "pids": {"A": PID},
    "regions": {"A": {"R": [REGION, HUGE]}},
    "smaps": {"A": {"R": {"vmas": 1, "rss": 2048, "anonhuge": 2048}}},
}
"""What the guest's program says of the process."""


def mapped() -> tuple[Guest, Names]:
    """A guest with a huge page that a PMD maps, and the names of what is there."""
    guest = Guest()
    guest.huge_page()
    guest.u64(PMD, THP << 12 | ALL | PSE)
    guest.u64(
        STRUCT_PAGES + (PMD >> 12) * STRUCT_PAGE + 16, VMEMMAP + (PTE >> 12) * STRUCT_PAGE
    )  # one table is deposited
    names = Names(VARIABLES["empty_zero_page"] >> 12)
    names.see(guest.view(), ANSWER, before=True)
    return guest, names
