"""Page-table entries as the 64-bit words that x86-64 hardware reads, and the frames that hold them.

Entries are plain Python ints when single and numpy uint64 when many; every function here takes both unless it says
otherwise. Bit positions: Intel SDM vol. 3, 4.5; software's use of them: arch/x86/include/asm/pgtable_types.h.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from thplab.hardware.frames import PageFrames, PG_head, PG_table, PG_tail
from thplab.hardware.geometry import LEVEL_NAMES, Geometry
from thplab.hardware.kept_tables import Entries as Entries
from thplab.hardware.kept_tables import KeptTables

_PAGE_PRESENT = 1 << 0
_PAGE_RW = 1 << 1
_PAGE_USER = 1 << 2
_PAGE_ACCESSED = 1 << 5
_PAGE_DIRTY = 1 << 6
_PAGE_PSE = 1 << 7  # in a PMD: maps a huge page instead of pointing to a table
_PAGE_PROTNONE = 1 << 8  # software: not present for the hardware, present for the kernel (PROT_NONE)
_PAGE_SPECIAL = 1 << 9  # software: no struct page behind it that counts (the zero page)
_PAGE_SPLITTING = 1 << 10  # software, in a huge PMD: somebody is splitting the page that it maps (until the RFC)
_PAGE_NX = 1 << 63

PTE_PFN_MASK = ((1 << 52) - 1) & ~0xFFF
_PAGE_TABLE = _PAGE_PRESENT | _PAGE_RW | _PAGE_USER | _PAGE_ACCESSED | _PAGE_DIRTY

# A non-present entry: its type in bits 1 to 3, and where other entries have the pfn, the page or the swap slot that it
# names.
_SWP_MIGRATION_READ = 1 << 1
_SWP_MIGRATION_WRITE = 2 << 1
_SWP_DEVICE = 3 << 1
_SWP_HWPOISON = 4 << 1
_SWP_GUARD = 6 << 1  # a marker: whoever touches the page gets SIGSEGV (6.13 on)
_SWP_TYPE = 7 << 1
_SWP_EXCLUSIVE = 1 << 4  # the page was PG_anon_exclusive (v6.1 on)

_PAGE_PROTECTION = (
    _PAGE_PRESENT | _PAGE_RW | _PAGE_USER | _PAGE_PROTNONE | _PAGE_NX
)  # what a change of protection rewrites

BIT_LETTERS = (
    (_PAGE_RW, "RW"),
    (_PAGE_USER, "U"),
    (_PAGE_ACCESSED, "A"),
    (_PAGE_DIRTY, "D"),
    (_PAGE_PSE, "PSE"),
    (_PAGE_SPLITTING, "splitting"),
    (_PAGE_NX, "NX"),
)

PROT_NONE, PROT_READ, PROT_WRITE = 0, 1, 2
PROTECTIONS = {"none": PROT_NONE, "r": PROT_READ, "rw": PROT_READ | PROT_WRITE}


def pgprot(prot: int) -> int:
    """vm_get_page_prot for private memory: never writable from the start, a write fault makes it so."""
    if prot == PROT_NONE:
        return _PAGE_PROTNONE | _PAGE_NX
    return _PAGE_PRESENT | _PAGE_USER | _PAGE_NX


def mk_pte(pfn: int, protection: int) -> int:
    """An entry that maps `pfn` with the bits of `protection`."""
    return (pfn << 12) | protection


def mk_huge_pmd(pfn: int, protection: int) -> int:
    """A PMD that maps the huge page whose head is `pfn`."""
    return mk_pte(pfn, protection) | _PAGE_PSE


def pte_pfn(entry: int) -> int:
    """The page frame number in the middle of an entry."""
    return (entry & PTE_PFN_MASK) >> 12


def pte_none(entry: int) -> bool:
    return entry == 0


def pte_present(entry: int) -> bool:
    """Present for the kernel: mapped, although PROT_NONE may hide it from the hardware."""
    return bool(entry & (_PAGE_PRESENT | _PAGE_PROTNONE))


def pte_user(entry: int) -> bool:
    """The process may use it; not so with PROT_NONE."""
    return bool(entry & _PAGE_USER)


def pte_write(entry: int) -> bool:
    return bool(entry & _PAGE_RW)


def pte_special(entry: int) -> bool:
    return bool(entry & _PAGE_SPECIAL)


def pmd_trans_huge(entry: int) -> bool:
    """The PMD maps a huge page. True also while it is marked not present in the middle of a PMD split."""
    return bool(entry & _PAGE_PSE)


def pmd_trans_splitting(entry: int) -> bool:
    """The PMD is marked: the page that it maps is being split. The hardware does not look at the mark."""
    return bool(entry & _PAGE_SPLITTING)


def mksplitting(entry: int) -> int:
    return entry | _PAGE_SPLITTING


def swp_type(entry: int) -> int:
    """The _SWP_* type of a non-present entry; 0 for an empty one and for one that maps a page."""
    return 0 if entry & (_PAGE_PRESENT | _PAGE_PROTNONE | _PAGE_PSE) else entry & _SWP_TYPE


def is_migration_entry(entry: int) -> bool:
    return swp_type(entry) in (_SWP_MIGRATION_READ, _SWP_MIGRATION_WRITE)


def is_swap_entry(entry: int) -> bool:
    """The page is out: the entry names a slot of the swap device."""
    return swp_type(entry) == _SWP_DEVICE


def is_hwpoison_entry(entry: int) -> bool:
    return swp_type(entry) == _SWP_HWPOISON


def mk_hwpoison(pfn: int) -> int:
    """The entry that says that the page is bad."""
    return mk_pte(pfn, _SWP_HWPOISON)


def is_guard_entry(entry: int) -> bool:
    """Nobody may touch the page: a guard region begins or goes on here."""
    return swp_type(entry) == _SWP_GUARD


PTE_KINDS = ("", "zero", "guard", "page", "migration", "swap", "hwpoison")
"""What a PTE is: empty, the zero page's, a guard, or what it names. Runs and mappings of a state carry these names."""


def pte_kind(entry: int) -> str:
    """The kind of a PTE, one of PTE_KINDS."""
    if pte_none(entry):
        return ""
    if pte_present(entry):
        return "zero" if pte_special(entry) else "page"
    if is_migration_entry(entry):
        return "migration"
    return "swap" if is_swap_entry(entry) else "guard" if is_guard_entry(entry) else "hwpoison"


def pte_kinds(row: Entries) -> npt.NDArray[np.intp]:
    """The kinds of many PTEs, as indexes into PTE_KINDS."""
    kinds: npt.NDArray[np.intp] = _KINDS[row.view(np.int64) & (len(_KINDS) - 1)]
    return kinds


_KINDS = np.array([PTE_KINDS.index(pte_kind(low)) for low in range(2 * _PAGE_SPECIAL)])
"""The kind for all values of the bits below the pfn on which it depends."""
_OWNERS = np.array([PG_head | PG_tail if kind in ("page", "migration", "hwpoison") else 0 for kind in PTE_KINDS])
"""Kind -> the flags of the page that is named which say whether it is part of a compound page. A slot is no page."""


def nameless(row: Entries) -> npt.NDArray[np.bool_]:
    """Which of these PTEs name no page of their own, so that equal ones are alike:
    empty ones, the zero page's, guards.
    """
    found: npt.NDArray[np.bool_] = (row == 0) | (row & np.uint64(_PAGE_SPECIAL) != 0) | (row == np.uint64(_SWP_GUARD))
    return found


def migration_write(entry: int) -> bool:
    return swp_type(entry) == _SWP_MIGRATION_WRITE


def wrprotect(entry: int) -> int:
    return entry & ~_PAGE_RW


def mkwrite(entry: int) -> int:
    return entry | _PAGE_RW


def mkyoung(entry: int) -> int:
    return entry | _PAGE_ACCESSED


def mkold(entry: int) -> int:
    return entry & ~_PAGE_ACCESSED


def mkdirty(entry: int) -> int:
    return entry | _PAGE_DIRTY


def mkclean(entry: int) -> int:
    return entry & ~_PAGE_DIRTY


def is_ksm_zero_pte(entry: int) -> bool:
    """The zero page's, and dirty: only KSM makes such an entry (since 6.6)."""
    return pte_present(entry) and bool(pte_special(entry)) and bool(entry & _PAGE_DIRTY)


def mkspecial(entry: int) -> int:
    return entry | _PAGE_SPECIAL


def mknotpresent(entry: int) -> int:
    """Hide a huge PMD from the hardware; PSE still tells the kernel that it is huge (pmd_mknotpresent)."""
    return entry & ~_PAGE_PRESENT


def pte_modify(entry: int, protection: int) -> int:
    """The entry with a new protection: pfn, young and dirty stay, write is off until a fault (pte_modify)."""
    return (entry & ~_PAGE_PROTECTION) | protection


def entry_text(entry: int) -> str:
    """The set bits in letters, as a learner reads them: "P·RW·U·A·D·PSE·NX"; "empty" for 0."""
    return _bits_text(entry & ~PTE_PFN_MASK) if entry else "empty"


@cache
def _bits_text(entry: int) -> str:
    if is_migration_entry(entry):
        return "migration·" + ("RW" if migration_write(entry) else "R")
    if swp_type(entry):
        return pte_kind(entry) + ("·exclusive" if entry & _SWP_EXCLUSIVE else "")
    first = "P" if entry & _PAGE_PRESENT else ("none" if entry & _PAGE_PROTNONE else "not present")
    letters = [name for bit, name in BIT_LETTERS if entry & bit and bit != _PAGE_NX]
    if entry & _PAGE_PRESENT and not entry & _PAGE_RW:
        letters.insert(0, "R")
    return "·".join([first, *letters])


class PteRun(NamedTuple):
    """Entries [start, stop) of a PTE table that map pages next to each other (or the zero page): a plain value."""

    start: int
    stop: int
    pfn: int
    kind: str  # one of PTE_KINDS

    @property
    def pages(self) -> slice:
        return slice(self.pfn, self.pfn + self.stop - self.start)

    @property
    def entries(self) -> slice:
        return slice(self.start, self.stop)

    def cut(self, start: int, stop: int) -> PteRun:
        """The same run, restricted to the entries [start, stop), which lie inside it."""
        step = start - self.start if self.kind not in ("zero", "guard") else 0
        return PteRun(start, stop, self.pfn + step, self.kind)


class PageTables(KeptTables):
    """The contents of the frames that are page tables: pfn -> array of entries (uint64)."""

    def __init__(self, geometry: Geometry, frames: PageFrames) -> None:
        self.geometry = geometry
        self.frames = frames
        super().__init__(geometry.nr)

    def alloc(self, level: int) -> int | None:
        """A new empty table of `level` (0 = PTE table); None when out of memory."""
        pfn = self.frames.alloc_pages(0)
        if pfn is None:
            return None
        self.frames.flags[pfn] |= PG_table
        self.frames.content[pfn] = 0
        self.table[pfn] = self.empty
        self.level[pfn] = level
        self.touched.add(pfn)
        return pfn

    def free(self, pfn: int) -> None:
        """Give a table back. Whoever still looks for it meets a bug."""
        self.table.pop(pfn)
        self.level.pop(pfn)
        self.own.discard(pfn)
        self.touched.add(pfn)
        self.frames.refcount[pfn] = 0
        self.frames.free_pages(pfn, 0)

    def get(self, pfn: int, index: int) -> int:
        """One entry."""
        entry: int = self.table[pfn].item(index)
        return entry

    def set(self, pfn: int, index: int, entry: int) -> None:
        """Store one entry."""
        self._row(pfn)[index] = entry

    def store(self, pfn: int, entries: slice | int | npt.NDArray[np.intp], values: npt.ArrayLike) -> None:
        """Store entries: the same one, or one for each."""
        self._row(pfn)[entries] = values

    def fill(self, pfn: int, entries: slice, first_pfn: int, protection: int) -> None:
        """Store entries that map consecutive pages from `first_pfn` on, all with the same bits."""
        count = entries.stop - entries.start
        pfns = np.arange(first_pfn, first_pfn + count, dtype=np.uint64) << np.uint64(12)
        self._row(pfn)[entries] = pfns | np.uint64(protection)

    def change(self, pfn: int, entries: slice, clear: int = 0, set_: int = 0) -> None:
        """Clear and set bits in many entries at once."""
        row = self._row(pfn)
        row[entries] = (row[entries] & np.uint64(~clear & (1 << 64) - 1)) | np.uint64(set_)

    def freeze(self, pfn: int, entries: slice, keep: int, exclusive: npt.NDArray[np.bool_]) -> None:
        """Turn present PTEs into migration entries.

        They remember whether each was writable, its bits of `keep`, and `exclusive` (one for each):
        PG_anon_exclusive of its page.
        """
        row = self.table[pfn][entries]
        kind = (row & np.uint64(_PAGE_RW)) + np.uint64(_SWP_MIGRATION_READ)  # the sum is _SWP_MIGRATION_WRITE
        kind |= exclusive * np.uint64(_SWP_EXCLUSIVE)
        self._row(pfn)[entries] = (row & np.uint64(PTE_PFN_MASK | keep)) | kind

    def unfreeze(self, pfn: int, entries: slice, protection: int) -> None:
        """Turn migration entries into PTEs with these bits, writable,
        young and dirty where they were (remove_migration_pte).
        """
        row = self.table[pfn][entries]
        write = np.where((row & np.uint64(_SWP_TYPE)) == _SWP_MIGRATION_WRITE, np.uint64(_PAGE_RW), np.uint64(0))
        kept = row & np.uint64(PTE_PFN_MASK | _PAGE_ACCESSED | _PAGE_DIRTY)
        self._row(pfn)[entries] = kept | np.uint64(protection) | write

    def retarget(self, pfn: int, entries: slice, first_pfn: int) -> None:
        """Let entries that name pages next to each other name those from `first_pfn` on;
        everything else of them stays.
        """
        row = self._row(pfn)
        pfns = np.arange(first_pfn, first_pfn + entries.stop - entries.start, dtype=np.uint64) << np.uint64(12)
        row[entries] = (row[entries] & np.uint64(~PTE_PFN_MASK & (1 << 64) - 1)) | pfns

    def marked(self, pfn: int, entries: slice, bit: int) -> npt.NDArray[np.bool_]:
        """Which of these entries have `bit` set."""
        found: npt.NDArray[np.bool_] = (self.table[pfn][entries] & np.uint64(bit)) != 0
        return found

    def in_sequence(self, pfn: int, entries: slice, first: int) -> bool:
        """Do all these entries equal `first`, each with the next pfn or slot?"""
        count = entries.stop - entries.start
        expected = np.uint64(first) + (np.arange(count, dtype=np.uint64) << np.uint64(12))
        return bool((self.table[pfn][entries] == expected).all())

    def link(self, parent: int, index: int, child: int) -> None:
        """Point an entry of an upper table to a lower table."""
        self.set(parent, index, mk_pte(child, _PAGE_TABLE))

    def walk(self, root: int, address: int, level: int) -> int | None:
        """pfn of the table of `level` on the way to `address`, from the table `root` of the top level; None if missing.

        A PMD that maps a huge page has no PTE table below it: None. Beyond the last address there is nothing.
        """
        if address >= self.geometry.address_limit:
            return None
        pfn = root
        for at in range(self.geometry.levels - 1, level, -1):
            entry = self.get(pfn, self.geometry.index(address, at))
            if entry == 0 or entry & _PAGE_PSE:
                return None
            pfn = pte_pfn(entry)
        return pfn

    def runs(self, pfn: int, start: int, stop: int) -> tuple[PteRun, ...]:
        """The mapped entries of [start, stop) in a PTE table, as runs; empty entries are left out.

        A run ends where the page that is mapped next is not the neighbour, belongs to another compound page, or where
        the kind of entry changes.
        """
        return tuple(self._runs(pfn, start, stop))

    def _runs(self, pfn: int, start: int, stop: int) -> Iterator[PteRun]:
        row = self.table[pfn][start:stop]
        if len(row) == 1 and pte_kind(row.item()):
            yield PteRun(start, stop, pte_pfn(row.item()), pte_kind(row.item()))
        if len(row) == 1 or not np.count_nonzero(row):
            return
        kind = pte_kinds(row)
        pfns = (row & np.uint64(PTE_PFN_MASK)).view(np.int64) >> 12
        owner = self.frames.flags[pfns] & _OWNERS[kind]
        part = owner != 0
        apart = (pfns[1:] - pfns[:-1] != 1) | (owner[1:] == PG_head) | (part[1:] != part[:-1])
        border = (kind[1:] != kind[:-1]) | (apart & (kind[1:] > PTE_KINDS.index("guard")))
        borders = [0, *(border.nonzero()[0] + 1).tolist(), len(row)]
        for low, high in itertools.pairwise(borders):
            if kind[low]:
                yield PteRun(start + low, start + high, int(pfns[low]), PTE_KINDS[kind[low]])

    def name(self, pfn: int) -> str:
        """What kind of table it is: "PMD table"."""
        return f"{LEVEL_NAMES[self.level[pfn]]} table"
