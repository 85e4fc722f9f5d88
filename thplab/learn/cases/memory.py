"""Cases about memory that comes back, or does not: what smaps shows, and what the kernel holds."""

from __future__ import annotations

from thplab.learn.cases.case import Ask, Case
from thplab.learn.cases.glance import Glance
from thplab.learn.lessons.figure import Figure, after
from thplab.learn.lessons.lesson import Show
from thplab.machine.state import State
from thplab.machine.trace import Setup
from thplab.study.observe import smaps


def _full(kernel: str, swap: str = "") -> Setup:
    return Setup(kernel, "X86_64", swap=swap)


def _rss(end: State) -> int:
    return smaps(end, "A")["Rss"]


# --- 3 ----------------------------------------------------------------------------------------------------------------

_HELD = """
phase A huge page, all of it in use
mmap A
fill A 0 512
phase All but one small page is unmapped
munmap A 0 511
phase Memory runs short
why Here an administrator says so, by writing 2 to drop_caches.
sys /proc/sys/vm/drop_caches 2
"""


def _held(end: State) -> int:
    """In kB: the compound pages that exist."""
    return 2048 * len(end.compound_pages())


_MUNMAP_ONLY = _HELD.partition("phase Memory runs short")[0]

HELD = Case(
    "03_held_after_a_munmap",
    "Rss is 4 kB, and 2 MiB are still in use",
    shows={
        "v6.1": Show(_MUNMAP_ONLY, _full("v6.1"), step="All but one small page is unmapped"),
        "v6.1 short of memory": Show(_HELD, _full("v6.1"), step="Memory runs short"),
        "v3.16": Show(_MUNMAP_ONLY, _full("v3.16"), step="All but one small page is unmapped"),
    },
    looks=(
        Glance(
            "after the munmap of 511 pages",
            smaps={"A": ("Size", "Rss", "AnonHugePages")},
            events=("thp_split_page", "thp_deferred_split_page"),
        ),
    ),
    ask=Ask(
        "A filled a huge page of 2048 kB and has unmapped 511 of its 512 small pages; its Rss is 4 kB. Linux 6.1: how "
        "many kB of it can nobody else have?",
        _held,
        (4, 2044, 2048),
        "A compound page is freed as a whole. One small page is still mapped, so all of it stays; the kernel has put "
        "it on a list, to be split when memory runs short.",
        {
            4: "That is what is mapped. What is held is another number, and smaps does not have it.",
            2044: "The one page that is mapped is held, too.",
        },
    ),
    cause=Figure(_MUNMAP_ONLY, after("munmap"), _full("v6.1")),
    live="mmap A; fill A 0 512; munmap A 0 511",
)

# --- 4 ----------------------------------------------------------------------------------------------------------------

_MAX_PTES_NONE = "/sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none"
_BROUGHT = """
phase An allocator has given most of it back
why MADV_DONTNEED: of 34 small pages, the first and the last stay.
mmap A advise=none
fill A 0 34
madvise A 0 512 hugepage
madvise A 1 32 dontneed
phase khugepaged comes by
khugepaged_scan 1
"""
_NOT_BROUGHT = f"sys {_MAX_PTES_NONE} 0\n" + _BROUGHT.strip()

BROUGHT = Case(
    "04_khugepaged_brings_rss_back",
    "Memory that was given back returns",
    shows={
        "v6.1": Show(_BROUGHT, _full("v6.1"), step="khugepaged comes by"),
        "v6.1 with max_ptes_none 0": Show(_NOT_BROUGHT, _full("v6.1"), step="khugepaged comes by"),
    },
    looks=(
        Glance("after MADV_DONTNEED", op=3, smaps={"A": ("Rss", "AnonHugePages")}, events=("thp_collapse_alloc",)),
        Glance("a minute later", smaps={"A": ("Rss", "AnonHugePages")}, events=("thp_collapse_alloc",)),
    ),
    ask=Ask(
        "Two small pages of 2 MiB are in use: Rss is 8 kB. The process does nothing, and khugepaged comes by; "
        "max_ptes_none is 511, as the kernel sets it. What is Rss afterwards, in kB?",
        _rss,
        (8, 136, 2048),
        "Up to 511 of 512 pages may be missing. khugepaged allocates a huge page, copies two small pages into it, and "
        "fills the rest with zeros, which count as resident.",
        {
            8: "That is so if max_ptes_none is 0.",
            136: "What was given back is gone; khugepaged fills the holes with zeros, all of them.",
        },
    ),
    cause=Figure(_BROUGHT, after("khugepaged_scan"), _full("v6.1")),
    live="mmap A advise=none; fill A 0 34; madvise A 0 512 hugepage; madvise A 1 32 dontneed; madvise A 0 512 collapse",
)

# --- 6 ----------------------------------------------------------------------------------------------------------------

_STACK = """
phase A thread's stack, aligned to 2 MiB
why The thread begins at the top of its stack, with one byte.
mmap A
write A 511
phase The guard pages are set up
mprotect A 0 4 none
"""
_SMALL_STACK = _STACK.replace(
    "mmap A\n", "why No huge pages here: what mmap asks for by itself, since 6.8, if it is told MAP_STACK.\n"
    "mmap A\nmadvise A 0 512 nohugepage\n"
)

STACK = Case(
    "06_a_guard_page_in_a_huge_stack",
    "Ten thousand idle threads, and 20 GB resident",
    shows={
        "v6.1": Show(_STACK, _full("v6.1"), step="A thread's stack, aligned to 2 MiB"),
        "v6.12": Show(_SMALL_STACK, _full("v6.12"), step="A thread's stack, aligned to 2 MiB"),
    },
    looks=(
        Glance(
            "one stack, after its guard pages are set up",
            smaps={"A": ("Size", "Rss", "AnonHugePages")},
            events=("thp_fault_alloc", "thp_split_pmd"),
        ),
    ),
    ask=Ask(
        "A thread has touched one byte of its 2 MiB stack and was given a huge page. Then 4 guard pages are protected, "
        "which a huge mapping cannot show. What is the Rss of the stack now, in kB?",
        _rss,
        (4, 2032, 2048),
        "mprotect splits the mapping, not the page. All 512 PTEs map what the huge page had; nothing is given back, "
        "not even under the guard pages.",
        {
            4: "Only one page was touched, but all 512 were allocated and are mapped now, one by one.",
            2032: "A page that may not be accessed is still mapped and resident.",
        },
    ),
    cause=Figure(_STACK, after("mprotect"), _full("v6.1")),
    live="mmap A; write A 511; mprotect A 0 4 none",
)

# --- 8 ----------------------------------------------------------------------------------------------------------------

_LAZY = """
phase A gives its memory up, but lazily
why MADV_FREE: take it when you need it.
mmap A
fill A 0 512
madvise A 0 512 free
phase Reclaim comes while a pipe holds a page
why MADV_PAGEOUT: reclaim these pages now.
pin A 2 1 p
madvise A 0 512 pageout
phase The pin is gone, and reclaim comes again
unpin p
madvise A 0 512 pageout
"""

LAZY = Case(
    "08_given_up_pinned_and_written_to_swap",
    "Garbage is written to swap",
    shows={
        "v6.12": Show(_LAZY, _full("v6.12", "swap"), step="Reclaim comes while a pipe holds a page"),
        "v6.18": Show(_LAZY, _full("v6.18", "swap"), step="Reclaim comes while a pipe holds a page"),
    },
    looks=(
        Glance("after MADV_FREE", op=2, smaps={"A": ("Rss", "LazyFree", "Swap")}),
        Glance("after reclaim has met the pin", op=4, smaps={"A": ("Rss", "LazyFree", "Swap")}),
        Glance(
            "after the unpin and another reclaim",
            smaps={"A": ("Rss", "LazyFree", "Swap")},
            events=("pglazyfreed", "thp_swpout"),
        ),
    ),
    ask=Ask(
        "A has given up 2 MiB with MADV_FREE. Reclaim came while a pipe held one page; now the pipe is empty, and "
        "reclaim comes again. Linux 6.12: where are the 2 MiB?",
        lambda end: "in swap" if smaps(end, "A")["Swap"] else "freed" if not _rss(end) else "in memory",
        ("freed", "in memory", "in swap"),
        "The first reclaim could not free the page and marked it as one that needs swap, though nobody had written to "
        "it. From then on it is memory like any other.",
        {
            "freed": "So it is on Linux 6.18. Before 6.15 the first reclaim had taken the mark away.",
            "in memory": "With a swap device it can be written out, and is.",
        },
    ),
    cause=Figure(_LAZY, after("madvise", 4), _full("v6.12", "swap")),
    live=(
        "mmap A; fill A 0 512; madvise A 0 512 free; pin A 2 1 p; madvise A 0 512 pageout; unpin p; "
        "madvise A 0 512 pageout"
    ),
)

# --- 9 ----------------------------------------------------------------------------------------------------------------

_ZEROES = """
phase A huge page, almost empty
why One byte; the rest of the 2 MiB is zeros.
mmap A
write A 0
phase A small part may be merged
madvise A 1 8 mergeable
phase ksmd looks at these 8 pages
ksm_scan 1
"""

ZEROES = Case(
    "09_ksm_frees_2_mib",
    "ksmd looks at 8 pages, and 2 MiB are gone",
    shows={
        "v6.18": Show(_ZEROES, _full("v6.18"), step="ksmd looks at these 8 pages"),
        "v6.1": Show(_ZEROES, _full("v6.1"), step="ksmd looks at these 8 pages"),
    },
    looks=(
        Glance("before ksmd comes", op=2, smaps={"A": ("Rss", "KSM")}),
        Glance(
            "after it has looked",
            smaps={"A": ("Rss", "KSM")},
            events=("thp_split_page", "thp_split_pmd"),
        ),
    ),
    ask=Ask(
        "A huge page holds one byte and zeros. KSM may merge 8 of its pages (32 kB), and finds two that are equal. "
        "Linux 6.18: what is the Rss of A afterwards, in kB?",
        _rss,
        (4, 2048, 2020),
        "To merge one page KSM has the huge page split. Since 6.12 a split frees every small page that holds only "
        "zeros, also those that KSM was never told of.",
        {
            2048: "That is Linux 6.1: merged pages stay resident, and nothing is freed.",
            2020: "Not only what KSM looks at is freed.",
        },
    ),
    cause=Figure(_ZEROES, after("ksm_scan"), _full("v6.18")),
    live="mmap A; write A 0; madvise A 256 2 cold",
)
