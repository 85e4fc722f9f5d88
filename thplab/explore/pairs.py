"""The races of docs/KERNEL.md, section 6: which variant of a routine loses, and which holds."""

from __future__ import annotations

from thplab.explore.pair import Pair
from thplab.routines.split_huge_page import split_huge_page_compound_lock, split_huge_page_naive
from thplab.routines.split_huge_page_freeze import split_huge_page_freeze

MAPPED_BY_PTES = "mmap A; write A 0; split_pmd A 0"

PAIRS = {
    pair.name: pair
    for pair in (
        Pair(
            "naive split and pin",
            "The split checks and then trusts the answer. A pin that comes in between stays on the head.",
            "docs/KERNEL.md 6.4, the short version",
            MAPPED_BY_PTES,
            ("split A 0", "pin A 1 1 dma; unpin dma"),
            loses=True,
            variants={"split_huge_page": split_huge_page_naive},
        ),
        Pair(
            "naive split, pin and munmap",
            "The split checks and then trusts the answer. With an unmap the page is free while the driver still uses it.",
            "docs/KERNEL.md 6.4",
            MAPPED_BY_PTES,
            ("split A 0", "pin A 1 1 dma; munmap A 1 1; unpin dma"),
            loses=True,
            variants={"split_huge_page": split_huge_page_naive},
        ),
        Pair(
            "frozen split, pin and munmap",
            "Every mapping becomes a migration entry before the deciding check: nothing can change behind it.",
            "docs/KERNEL.md 6.6",
            MAPPED_BY_PTES,
            ("split A 0", "pin A 1 1 dma; munmap A 1 1; unpin dma"),
            loses=False,
            variants={"split_huge_page": split_huge_page_freeze},
        ),
        Pair(
            "RFC split and pin",
            "compound_lock keeps get_page and put_page of a tail out while the references are handed out.",
            "docs/KERNEL.md 6.5",
            MAPPED_BY_PTES,
            ("split A 0", "pin A 1 1 dma; unpin dma"),
            loses=False,
            variants={"split_huge_page": split_huge_page_compound_lock},
        ),
        Pair(
            "RFC split and munmap",
            "The RFC's own window: an unmap drops the map count first and the reference later, and the split reads in between.",
            "docs/KERNEL.md 6.5",
            MAPPED_BY_PTES,
            ("split A 0", "munmap A 1 1"),
            loses=True,
            variants={"split_huge_page": split_huge_page_compound_lock},
        ),
    )
}
