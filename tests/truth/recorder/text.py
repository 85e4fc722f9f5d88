"""Entries of page tables and values of fields, as a recording writes them."""

from __future__ import annotations

from truth.recorder.kernels import Kernel
from truth.recorder.memory import HUGE, PFN_MASK, PRESENT, PSE, STRUCT_PAGE, VMEMMAP
from truth.recorder.names import Names

ENTIRELY_MAPPED = 0x800000
"""What a map by a PMD adds to _nr_pages_mapped."""
SAVED_DIRTY = 1 << 58
PROT_NONE = 1 << 8
"""In an entry that is not present: its process may not touch the page, which is there. Then, too, the page frame is
inverted."""

_BITS = (("W", 1), ("A", 5), ("D", 6), ("s", 9))
_DIRTY = 1 << 6
_SWAP_EXCLUSIVE = 1 << 3
_NO_SWAP = 20
"""From this type on a swap entry is none: hwpoison, migration."""
_COUNTERS = frozenset((
    "_refcount", "_mapcount", "compound_mapcount", "_entire_mapcount", "_large_mapcount", "_pincount",
    "compound_pincount", "hpage_pinned_refcount",
))  # fmt: skip
_LARGEST_PLAIN = 4096
"""Numbers above it are written in hexadecimal."""


def entry(value: int, names: Names, kernel: Kernel) -> str:
    """An entry of a page table: `none`, `F0[3] WAD`, `huge F0[0] WAD`, `INVALID huge ...`, `protnone ...`, `table(PTE A#0) ...`,
    `swp0 ...` or `migr30 ...` (swap and migration entries with their type)."""
    if value == 0:
        return "none"
    if value & PRESENT and value & SAVED_DIRTY and kernel.saved_dirty:
        value |= _DIRTY
    bits = "".join(letter for letter, bit in _BITS if value >> bit & 1)
    pfn = (value & PFN_MASK) >> 12
    inverted = (~value & PFN_MASK) >> 12 & (-HUGE if value & PSE else -1)
    if value & PRESENT:
        return f"{'huge ' if value & PSE else ''}{names.page(pfn)} {bits}"
    if value & PROT_NONE:
        return f"protnone {names.page(inverted)} {bits}"
    if value & PSE:
        return f"INVALID huge {names.page(inverted)} {bits}"
    kind, offset = swap(value)
    name = f"migr{kind}" if kind >= _NO_SWAP else f"swp{kind}"
    return f"{name} {names.page(offset)}{' excl' if value & _SWAP_EXCLUSIVE else ''}"


def swap(value: int) -> tuple[int, int]:
    """The type of a swap entry and its offset, which is a page frame in migration entries
    (arch/x86/include/asm/pgtable_64.h)."""
    return value >> 59, (~value & (1 << 59) - 1) >> 9 & (1 << 28) - 1


def field(name: str, value: int, names: Names) -> int | str:
    """The value of a field of a struct page: a counter with its sign, `tail of F0[0]`, `anon`, `E+512`, else a
    number."""
    if name in _COUNTERS or name.startswith("_mm_id_mapcount"):
        return _signed(value)
    if name == "_nr_pages_mapped":
        return f"E+{value - ENTIRELY_MAPPED}" if ENTIRELY_MAPPED <= value < 2 * ENTIRELY_MAPPED else _signed(value)
    if name.startswith("_mm_id"):
        return value & 0x7FFFFFFF
    if name in ("compound_head", "pmd_huge_pte") and VMEMMAP <= value < VMEMMAP + (1 << 30):
        return ("tail of " if value & 1 else "") + names.page((value - VMEMMAP) // STRUCT_PAGE)
    if name == "mapping":
        return "anon" if value & 3 == 1 else "poison" if value >> 48 == 0xDEAD else hex(value)
    return hex(value) if value > _LARGEST_PLAIN else value


def mm_ids(old: int, new: int) -> str:
    """What changed in the bits of folio->_mm_ids (since 6.15): its lock, and whether the page may be shared. Empty if
    neither did."""
    lock, shared = (old ^ new) >> 31 & 1, (old ^ new) >> 63 & 1
    said = [f"mm_ids {'lock' if new >> 31 & 1 else 'unlock'}"] if lock else []
    return " ".join(said + ([f"{'+' if new >> 63 & 1 else '-'}maybe_shared"] if shared else []))


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value
