"""The walk from an address to a page, in words: what the hardware reads on the way down, and where it ends.

Numbers that differ from entry to entry of a run stand in braces, so that one text serves the whole run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_head, PG_tail
from thplab.hardware.geometry import LEVEL_NAMES, Geometry
from thplab.machine.state import State

EMPTY, TABLE, HUGE, HUGE_ZERO = "", "table", "huge", "huge zero"
"""Kinds of entries beside those of page_tables.PTE_KINDS."""

CANONICAL_BITS = 48
"""With that many bits in an address, x86-64 demands that the bits above repeat the highest of them."""

HOLE_IN_VMA = (
    "A hole in a VMA: nothing is mapped here yet. The hardware finds P = 0, and the fault handler puts a page here."
)
HOLE_OUTSIDE = "A hole outside all VMAs. The hardware finds P = 0, and the process gets SIGSEGV."
LOST = "The entry points to a frame that is no page table any more. Nobody may walk on."


@dataclass(frozen=True, slots=True)
class Stop:
    """One entry on the way: the level of its table, the table's pfn, the entry's index, the entry, its kind."""

    level: int
    table: int
    index: int
    entry: int
    kind: str


class BitField(NamedTuple):
    """Bits `high` to `low` of an entry: a name as short as can be, and what they say in words."""

    name: str
    high: int
    low: int
    about: str


class Refused(NamedTuple):
    """Addresses from `first` to `last` (None: and all above) to which nobody can walk, and why not."""

    first: int
    last: int | None
    why: str


def refused(geometry: Geometry) -> tuple[Refused, ...]:
    """The numbers that are no addresses of a process, in order. What is below the first of them is one."""
    limit, bits = geometry.address_limit, geometry.shift(geometry.levels)
    if bits != CANONICAL_BITS:
        return (Refused(limit, None, f"has more than {bits} bits; addresses of {geometry.name} end at {limit - 1:#x}"),)
    half = limit // 2
    upper = (1 << 64) - half
    return (
        Refused(
            half,
            upper - 1,
            f"is not canonical: bits 48 to 63 must repeat bit 47; addresses of a process end at {half - 1:#x}",
        ),
        Refused(upper, (1 << 64) - 1, f"lies in the kernel's half; addresses of a process end at {half - 1:#x}"),
        Refused(1 << 64, None, "has more than 64 bits"),
    )


def entry_kind(state: State, entry: int, level: int) -> str:
    """What an entry of a table of `level` is: EMPTY, TABLE, HUGE, HUGE_ZERO or one of page_tables.PTE_KINDS."""
    if level == 0:
        return pt.pte_kind(entry)
    if pt.pte_none(entry):
        return EMPTY
    if not pt.pmd_trans_huge(entry):
        return TABLE
    return HUGE_ZERO if pt.pte_pfn(entry) == state.huge_zero_page else HUGE


def walk(state: State, process: str, address: int) -> tuple[Stop, ...]:
    """The entries that lead to `address`, from the top table down. The last one maps a page or says that there is none.

    Raises BadInput if the process does not live in the state. The address must be below the geometry's limit.
    """
    table, geometry = state.process(process).pgd, state.geometry
    stops: list[Stop] = []
    for level in reversed(range(geometry.levels)):
        index = geometry.index(address, level)
        entry = int(state.tables[table][index])
        stops.append(Stop(level, table, index, entry, entry_kind(state, entry, level)))
        table = pt.pte_pfn(entry)
        if stops[-1].kind != TABLE or table not in state.tables:
            break
    return tuple(stops)


def walk_text(state: State, process: str, address: int) -> str:
    """The walk in words, a line for each entry, and where it ends."""
    lines = []
    stops = walk(state, process, address)
    for stop in stops:
        name = f"{LEVEL_NAMES[stop.level]} entry {stop.index} of the table at pfn {stop.table:#x}"
        lines.append(
            f"{name}, {stop.entry:#018x}: "
            f"{meaning(state, stop.entry, stop.level).format(**_numbers(state, stop, address))}"
        )
    last = stops[-1]
    in_vma = any(vma.start <= address < vma.end for vma in state.vmas(process))
    end = ending(state, last.entry, last.level) or (HOLE_IN_VMA if in_vma else HOLE_OUTSIDE)
    return "\n".join([*lines, end.format(**_numbers(state, last, address))])


def _numbers(state: State, stop: Stop, address: int) -> Mapping[str, str]:
    """What stands in the braces of meaning() and ending()."""
    shift = state.geometry.shift(stop.level)
    pfn, offset = pt.pte_pfn(stop.entry), address & ((1 << shift) - 1)
    return {
        "pfn": f"{pfn:#x}",
        "slot": str(pfn),
        "part": str(pfn - state.head(pfn)),
        "subpage": str(offset // state.geometry.page_size),
        "offset": f"{offset:#x}",
        "physical": f"{pfn * state.geometry.page_size + offset:#x}",
    }


# --- an entry in words ------------------------------------------------------------------------------------------------


def meaning(state: State, entry: int, level: int) -> str:
    """What an entry says, in words. {pfn}, {slot} and {part} (of a compound page) stand for the numbers."""
    kind = entry_kind(state, entry, level)
    if kind == TABLE:
        return f"points to the {LEVEL_NAMES[level - 1]} table at pfn {{pfn}}"
    if kind == EMPTY:
        return (
            f"empty: there is no {LEVEL_NAMES[level - 1]} table for these addresses" if level else "empty: no page here"
        )
    if kind == "migration":
        was = "writable" if pt.migration_write(entry) else "read-only"
        return f"migration entry: pfn {{pfn}} is being split or moved; it was {was}"
    if kind == "swap":
        return "swap entry: slot {slot} of the swap device"
    if kind == "hwpoison":
        return "poison entry: the memory at pfn {pfn} is bad"
    if kind == "guard":
        return "guard marker: nobody may touch this page"
    return f"{_mapped(state, entry, kind)}; {', '.join(_rights(entry))}"


def _mapped(state: State, entry: int, kind: str) -> str:
    if kind == HUGE_ZERO:
        return "PSE: the huge zero page at pfn {pfn}"
    if kind == HUGE:
        return "PSE: the huge page with head {pfn}, no PTE table follows"
    if kind == "zero":
        return "the small zero page at pfn {pfn}"
    pfn = pt.pte_pfn(entry)
    if state.field("flags", pfn) & (PG_head | PG_tail):
        return f"pfn {{pfn}}, subpage {{part}} of the compound page {state.head(pfn):#x}"
    return "the small page at pfn {pfn}"


def _rights(entry: int) -> list[str]:
    if entry & pt._PAGE_PROTNONE and not entry & pt._PAGE_PRESENT:
        return ["PROT_NONE: hidden from the hardware"]
    words = [] if entry & pt._PAGE_PRESENT else ["marked not present while its PMD is split"]
    words.append("writable" if pt.pte_write(entry) else "read-only")
    words += ["accessed"] * bool(entry & pt._PAGE_ACCESSED) + ["dirty"] * bool(entry & pt._PAGE_DIRTY)
    words += ["the page is being split"] * pt.pmd_trans_splitting(entry)
    return words


def ending(state: State, entry: int, level: int) -> str:
    """Where a walk ends that ends at this entry; "" for an empty one. Numbers stand in braces as in meaning()."""
    kind, bits = entry_kind(state, entry, level), state.geometry.shift(level)
    if kind == EMPTY:
        return ""
    if kind == TABLE:
        return LOST
    if kind == "migration":
        return "P = 0: a fault would wait until the page is in place again."
    if kind == "swap":
        return "P = 0: a fault would read the page from slot {slot} of the swap device, unless the swap cache has it."
    if kind == "hwpoison":
        return "P = 0: a fault would end with SIGBUS."
    if kind == "guard":
        return "P = 0: a fault would end with SIGSEGV."
    if entry & pt._PAGE_PROTNONE and not entry & pt._PAGE_PRESENT:
        return "P = 0: a fault would end with SIGSEGV. Only the kernel sees that pfn {pfn} is there."
    if not entry & pt._PAGE_PRESENT:
        return "P = 0: a fault would wait for the page table lock. Only the kernel sees that the PMD maps pfn {pfn}."
    size = state.geometry.size_text(state.geometry.nr if level else 1)
    page = f"{size} page at pfn {{pfn}}" if kind in ("page", HUGE) else f"{size} of zeroes at pfn {{pfn}}"
    subpage = ", in its subpage {subpage}" if level else ""
    return f"A {page} + {bits}-bit offset {{offset}} = physical address {{physical}}{subpage}."


# --- the bits of an entry ---------------------------------------------------------------------------------------------


def entry_fields(entry: int, level: int) -> tuple[BitField, ...]:
    """The fields of an entry of a table of `level`, from bit 63 down to bit 0; together all 64 bits (Intel SDM vol.
    3, 4.5).
    """
    return _AWAY if pt.swp_type(entry) and not level else _PRESENT[min(level, 2)]


def _bit(mask: int, name: str, about: str) -> BitField:
    at = mask.bit_length() - 1
    return BitField(name, at, at, about)


def _present(level: int) -> tuple[BitField, ...]:
    seventh = (
        "PAT",
        "which memory type; not used here",
        "PSE",
        "1: maps a huge page, 0: points to a table",
        "PS",
        "0: points to a table",
    )
    return (
        _bit(pt._PAGE_NX, "NX", "1: no code may be fetched from here"),
        BitField("–", 62, 52, "free for software, not used here"),
        BitField("pfn", 51, 12, "the page frame: of a page or of the next table"),
        BitField("–", 11, 11, "free for software, not used here"),
        _bit(pt._PAGE_SPLITTING, "spl", "software, splitting: the page is being split (until the RFC)"),
        _bit(pt._PAGE_SPECIAL, "spc", "software, special: no struct page that counts, the zero page"),
        _bit(pt._PAGE_PROTNONE, "none", "PROT_NONE when P is 0: hidden from the hardware, there for the kernel"),
        _bit(pt._PAGE_PSE, *seventh[2 * level : 2 * level + 2]),
        _bit(pt._PAGE_DIRTY, "D", "dirty: it was written through this entry"),
        _bit(pt._PAGE_ACCESSED, "A", "accessed: it was used through this entry"),
        BitField("–", 4, 3, "how to cache; not used here"),
        _bit(pt._PAGE_USER, "U", "user: the process may use it"),
        _bit(pt._PAGE_RW, "RW", "1: writable, 0: a write faults"),
        _bit(pt._PAGE_PRESENT, "P", "present: the hardware goes on here"),
    )


_PRESENT = tuple(_present(level) for level in range(3))

# With P = 0 the hardware looks at nothing else; the simulator lays these entries out more simply than the kernel does.
_AWAY = (
    BitField("–", 63, 52, "not used here"),
    BitField("pfn/slot", 51, 12, "the page frame, or the slot of the swap device; the kernel packs it differently"),
    BitField("–", 11, 7, "not used here"),
    _bit(pt._PAGE_DIRTY, "D", "migration entry: the PTE was dirty"),
    _bit(pt._PAGE_ACCESSED, "A", "migration entry: the PTE was accessed"),
    _bit(pt._SWP_EXCLUSIVE, "excl", "the page belonged to this process alone (v6.1 on)"),
    BitField("type", 3, 1, "1: migration, read-only; 2: migration, writable; 3: swap; 4: poison; 6: guard"),
    _bit(pt._PAGE_PRESENT, "P", "not present: the hardware stops here"),
)
