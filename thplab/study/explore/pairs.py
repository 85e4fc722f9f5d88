"""The races of docs/KERNEL.md, section 6, each as a pair:
the variant of a routine that loses, and the one that holds.
"""

from __future__ import annotations

from dataclasses import replace

from thplab.errors import BadInput
from thplab.hardware.geometry import TINY
from thplab.kernel.routines.split_huge_page import split_huge_page_naive
from thplab.kernel.routines.split_huge_page_freeze import checks_without_freezing, freezes_without_a_flush
from thplab.kernel.routines.split_huge_page_tails import counts_without_a_mark, marks_without_a_flush
from thplab.kernel.routines.split_huge_pmd import trusts_the_first_look
from thplab.kernel.schemes.tail_pinning import puts_a_tail_without_the_lock
from thplab.study.explore.orders import ORDERS
from thplab.study.explore.pair import Pair

MAPPED_BY_A_PMD = "mmap A; write A 0"
MAPPED_BY_PTES = "mmap A; write A 0; split_pmd A 0"
_SHARED_BY_PMDS = "mmap A; write A 0; fork A B"

_PIN = "pin A 1 1 dma; unpin dma"
_PIN_AND_MUNMAP = "pin A 1 1 dma; munmap A 1 1; unpin dma"
_ZAP = "madvise A 1 1 dontneed"
_PINNED_TAIL = "mmap A; write A 0; pin A 1 1 dma"

_LOOK = "the PMD is huge: it looks before it takes the lock"

# --- 6.1 to 6.3: what each part of the split before the RFC is for ----------------------------------------------------

_MARKED_AND_FORK = Pair(
    "marked-split-and-fork",
    "Before the RFC the split marks every PMD. A fork sees the mark, waits until the split is over, and copies PTEs.",
    "docs/KERNEL.md 6.1",
    MAPPED_BY_A_PMD,
    ("split A 0", "fork A B"),
    loses=False,
    kernel="v3.16",
    geometry=TINY,
)
_UNMARKED_AND_FORK = replace(
    _MARKED_AND_FORK,
    name="unmarked-split-and-fork",
    about="The same, but the PMDs are only counted: a fork adds one more while the references are handed out.",
    loses=True,
    variants={"pmdp_splitting_flush": counts_without_a_mark},
    sees=(
        (0, "the PMD maps the page: it is only counted"),
        (1, "read the parent's PMD: P·RW·U·A·D·PSE"),
        (1, "head _mapcount += 1"),
        (0, "BUG: 1 PMDs map the huge page at pfn 0x2, but its head counts 2"),
    ),
)
_MARKED_AND_PIN = Pair(
    "marked-split-and-pin",
    "The flush that follows the mark waits for a GUP-fast that has read the PMD before it, so its pin is seen, "
    "and moves.",
    "docs/KERNEL.md 6.2",
    MAPPED_BY_A_PMD,
    ("split A 0", _PIN),
    loses=False,
    kernel="v3.16",
    geometry=TINY,
)
_UNFLUSHED_MARK_AND_PIN = replace(
    _MARKED_AND_PIN,
    name="unflushed-mark-and-pin",
    about="The same without the flush: GUP-fast counts its pin in a field that counts mappings by now.",
    loses=True,
    variants={"pmdp_splitting_flush": marks_without_a_flush},
    sees=(
        (1, "read the PMD: P·RW·U·A·D·PSE"),
        (0, "tail 1 _count = 1 + its pins + 1"),
        (1, "tail 1 _mapcount += 1: a pin"),
        (0, "the compound page is no more"),
        (1, "free pfn 0x3"),
    ),
)
_LOCKED_AND_UNPIN = Pair(
    "locked-split-and-unpin",
    "put_page of a tail waits for compound_lock, looks again, finds a page of its own and drops that page's count.",
    "docs/KERNEL.md 6.3",
    _PINNED_TAIL,
    ("split A 0", "unpin dma"),
    loses=False,
    kernel="v3.16",
    geometry=TINY,
)
_UNLOCKED_AND_UNPIN = replace(
    _LOCKED_AND_UNPIN,
    name="unlocked-split-and-unpin",
    about="The same without compound_lock: put_page lowers both counters while the split moves the pin from one to "
    "the other.",
    loses=True,
    variants={"put_tails": puts_a_tail_without_the_lock},
    sees=(
        (0, "tail 1: pins 1"),
        (1, "is it still a tail? yes"),
        (1, "tail 1 _mapcount -= 1: a pin less"),
        (0, "head _count -= 1"),
        (0, "free pfn 0x2"),
    ),
)

# --- 6.4: check, and then trust the answer ----------------------------------------------------------------------------

_NAIVE_AND_PIN = Pair(
    "naive-split-and-pin",
    "The split checks and then trusts the answer. A pin that comes in between stays on the head when the references "
    "are handed out.",
    "docs/KERNEL.md 6.4, the short version",
    MAPPED_BY_PTES,
    ("split A 0", _PIN),
    loses=True,
    variants={"split_huge_page": split_huge_page_naive},
    sees=(
        (0, "references but our own: 5 - 1 = 4, equal"),
        (1, "head _count += 1"),
        (0, "the compound page is no more"),
        (1, "free pfn 0x5"),
    ),
)
_NAIVE_PIN_AND_MUNMAP = replace(
    _NAIVE_AND_PIN,
    name="naive-split-pin-and-munmap",
    about="The same with an unmap in between: the page is free, and given to somebody else, while the driver still "
    "writes to it.",
    source="docs/KERNEL.md 6.4",
    cpus=("split A 0", _PIN_AND_MUNMAP),
    geometry=TINY,
    sees=(
        (0, "references but our own: 3 - 1 = 2, equal"),
        (1, "head _count += 1"),
        (0, "the compound page is no more"),
    ),
)
_FROZEN_PIN_AND_MUNMAP = Pair(
    "frozen-split-pin-and-munmap",
    "Every mapping becomes a migration entry before the deciding check, so nothing can change behind it.",
    "docs/KERNEL.md 6.6, against the opponent of 6.4",
    MAPPED_BY_PTES,
    ("split A 0", _PIN_AND_MUNMAP),
    loses=False,
    kernel="v4.5",
    geometry=TINY,
)

# --- 6.5: the RFC's own window ----------------------------------------------------------------------------------------

_RFC_AND_ZAP = Pair(
    "rfc-split-and-zap",
    "The RFC's window: an unmap drops the map count at once and the reference later, and the split reads in between.",
    "docs/KERNEL.md 6.5",
    MAPPED_BY_PTES,
    ("split A 0", _ZAP),
    loses=True,
    geometry=TINY,
    sees=(
        (0, "references but our own: 3 - 1 = 2, equal"),
        (1, "tail 1 _mapcount -= 1"),
        (0, "tail 1 _count = its mappings + 1"),
        (0, "pfn 0x3 _count -= 1"),
        (1, "pfn 0x3 _count -= 1"),
    ),
)
_RFC_AND_MUNMAP = replace(
    _RFC_AND_ZAP,
    name="rfc-split-and-munmap",
    about="The same window against munmap. Seen from the other side, it makes the split fail although nobody has "
    "pinned the page.",
    cpus=("split A 0", "munmap A 1 1"),
)
_FROZEN_AND_ZAP = Pair(
    "frozen-split-and-zap",
    "Map counts are frozen, too: an unmap either is over before the freeze, or finds a migration entry, which counts "
    "for nothing.",
    "docs/KERNEL.md 6.5 and 6.6",
    MAPPED_BY_PTES,
    ("split A 0", _ZAP),
    loses=False,
    kernel="v4.5",
    geometry=TINY,
)
_FROZEN_AND_MUNMAP = replace(_FROZEN_AND_ZAP, name="frozen-split-and-munmap", cpus=("split A 0", "munmap A 1 1"))
_RFC_AND_PIN = Pair(
    "rfc-split-and-pin",
    "compound_lock keeps get_page and put_page of a tail out while the references are handed out: pins do not get "
    "lost in the RFC.",
    "docs/KERNEL.md 6.5",
    MAPPED_BY_PTES,
    ("split A 0", _PIN),
    loses=False,
    geometry=TINY,
)
_RFC_AND_FORK = Pair(
    "rfc-split-and-fork",
    "A fork takes the reference first and counts the mapping later, so the split sees a reference too many, never too "
    "few: it gives up.",
    "docs/KERNEL.md 6.5, the mirror image",
    MAPPED_BY_PTES,
    ("split A 0", "fork A B"),
    loses=False,
    geometry=TINY,
)

# --- 6.6: freeze by migration entries ---------------------------------------------------------------------------------

_UNFLUSHED_AND_PIN = Pair(
    "unflushed-freeze-and-pin",
    "A freeze that does not flush the TLB does not wait for a GUP-fast that has read the old entry: its pin comes "
    "after the check.",
    "docs/KERNEL.md 6.6, step 2a left out",
    MAPPED_BY_PTES,
    ("split A 0", _PIN),
    loses=True,
    variants={"flush_frozen": freezes_without_a_flush},
    kernel="v4.5",
    geometry=TINY,
    sees=(
        (1, "read the PTE: P·RW·U·A"),
        (0, "frozen: is our reference the only one? yes"),
        (1, "head _count += 1"),
        (0, "1 of the tails are pages of their own"),
        (1, "free pfn 0x3"),
    ),
)
_FROZEN_AND_PIN = Pair(
    "frozen-split-and-pin",
    "The flush waits for a GUP-fast on its way, so its pin is seen; a later one finds a migration entry and waits.",
    "docs/KERNEL.md 6.6",
    MAPPED_BY_PTES,
    ("split A 0", _PIN),
    loses=False,
    kernel="v4.5",
    geometry=TINY,
)
_FROZEN_AND_FORK = Pair(
    "frozen-split-and-fork",
    "A fork copies migration entries. Parents come before children in the reverse map, so the split finds the copies "
    "when it thaws.",
    "docs/KERNEL.md 6.6",
    MAPPED_BY_PTES,
    ("split A 0", "fork A B"),
    loses=False,
    kernel="v4.5",
    geometry=TINY,
)

# --- 6.7: freeze the count by compare-and-swap, where a flush interrupts nobody ---------------------------------------

_NO_IPI = {"flush_frozen": freezes_without_a_flush}

_CAS_AND_PIN = Pair(
    "cas-split-and-pin",
    "No flush waits here. The count goes from 1 to 0 in one step, GUP-fast takes nothing from a 0, and it looks at "
    "the entry again.",
    "docs/KERNEL.md 6.7",
    MAPPED_BY_PTES,
    ("split A 0", _PIN),
    loses=False,
    variants=_NO_IPI,
    kernel="v6.18",
    geometry=TINY,
)
_CHECK_AND_PIN = replace(
    _CAS_AND_PIN,
    name="check-without-cas-and-pin",
    about="The same, but the count is only read: GUP-fast adds its reference between the look and the handing out.",
    loses=True,
    variants=_NO_IPI | {"page_ref_freeze": checks_without_freezing},
    sees=(
        (1, "read the PTE: P·RW·U·A·D"),
        (0, "head _refcount: 1, nobody else, read only"),
        (1, "try_get: head _refcount += 1"),
        (0, "the compound page is no more"),
        (1, "free pfn 0x2"),
    ),
)

# --- 6.8: split_huge_pmd against who uses the PMD ---------------------------------------------------------------------

_PMD_AND_ZAP = Pair(
    "pmd-split-and-zap",
    "split_huge_pmd looks at the PMD again under its lock: somebody may have taken the mapping away.",
    "docs/KERNEL.md 6.8",
    MAPPED_BY_A_PMD,
    ("split_pmd A 0", "madvise A 0 1thp dontneed"),
    loses=False,
    geometry=TINY,
)
_PMD_AND_FAULT = replace(
    _PMD_AND_ZAP,
    name="pmd-split-and-fault",
    about="A write fault replaces the shared huge page by a copy. Under the lock the split sees which of the two "
    "is mapped.",
    prepare=_SHARED_BY_PMDS,
    cpus=("split_pmd A 0", "write A 1"),
)
_PMD_AND_FORK = replace(
    _PMD_AND_ZAP,
    name="pmd-split-and-fork",
    about="A fork write-protects the PMD. The split of a PMD through the reverse map passes on the rights that it "
    "finds under the lock.",
    cpus=("split A 0", "fork A B"),
)
_PMD_AND_PIN = replace(
    _PMD_AND_ZAP,
    name="pmd-split-and-pin",
    about="A GUP-fast takes no lock. It may, with this scheme: whichever entry it reads, its reference goes to the "
    "same head.",
    cpus=("split_pmd A 0", _PIN),
)


def _blind(pair: Pair, *sees: tuple[int, str]) -> Pair:
    """The pair with a split_huge_pmd that does not look again under the lock."""
    about = (
        "split_huge_pmd that looks before it takes the lock, and not again: it splits a mapping that is not there "
        "any more."
    )
    return replace(
        pair,
        name=f"blind-{pair.name}",
        about=about,
        loses=True,
        variants={"split_huge_pmd": trusts_the_first_look},
        sees=sees,
    )


PAIRS = {
    pair.name: pair
    for pair in (
        _UNMARKED_AND_FORK,
        _MARKED_AND_FORK,
        _UNFLUSHED_MARK_AND_PIN,
        _MARKED_AND_PIN,
        _UNLOCKED_AND_UNPIN,
        _LOCKED_AND_UNPIN,
        _NAIVE_AND_PIN,
        _NAIVE_PIN_AND_MUNMAP,
        _FROZEN_PIN_AND_MUNMAP,
        _RFC_AND_ZAP,
        _FROZEN_AND_ZAP,
        _RFC_AND_MUNMAP,
        _FROZEN_AND_MUNMAP,
        _RFC_AND_PIN,
        _RFC_AND_FORK,
        _UNFLUSHED_AND_PIN,
        _FROZEN_AND_PIN,
        _FROZEN_AND_FORK,
        _CHECK_AND_PIN,
        _CAS_AND_PIN,
        _blind(
            _PMD_AND_ZAP,
            (0, _LOOK),
            (1, "PMD cleared"),
            (0, "BUG: no PTE table was deposited under PMD table 0x1 of A"),
        ),
        _PMD_AND_ZAP,
        _blind(_PMD_AND_FAULT, (0, _LOOK), (1, "PMD = the new huge page, writable"), (0, "fill a PTE: P·R·U·A·D")),
        _PMD_AND_FAULT,
        _blind(_PMD_AND_FORK, (0, _LOOK), (1, "the parent's PMD becomes read-only"), (0, "fill a PTE: P·RW·U·A·D")),
        _PMD_AND_FORK,
        _PMD_AND_PIN,
        *ORDERS,
    )
}


def pair_named(name: str) -> Pair:
    """The pair of that name. Raises BadInput for an unknown one."""
    if name not in PAIRS:
        raise BadInput("pair", f"{name!r} is unknown", "one of " + ", ".join(PAIRS))
    return PAIRS[name]
