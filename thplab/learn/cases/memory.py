"""Cases about memory that comes back, or does not: what smaps shows, and what the kernel holds."""

from __future__ import annotations

from thplab.learn.cases.case import Ask, Case
from thplab.learn.cases.glance import Glance
from thplab.learn.lessons.figure import Figure, after
from thplab.learn.lessons.lesson import Show
from thplab.learn.lessons.places import op_end
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
    "Unmapped, and not free",
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
        "many kB of it are still taken from the system?",
        lambda trace: _held(trace[-1].state),
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
        "khugepaged has made one huge page of two small ones. How many of its 512 small pages hold nothing but zeros?",
        lambda trace: trace[-1].state.contents("A").count(0),
        (0, 32, 510),
        "Two were in use, and max_ptes_none allows 511 to be missing. What was missing is zeros now, and counts as "
        "resident.",
        {
            0: "What was given back is gone. There is nothing to fill the holes with but zeros.",
            32: "Not only what was given back is missing: of 512 pages two were there.",
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

_WHOLE, _PIECES, _FREED = "it is as it was", "512 small pages", "most of it is free"

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
        "AnonHugePages is 0 now. What has become of the huge page of 2 MiB?",
        lambda trace: _WHOLE if trace[-1].state.compound_pages() else _PIECES,
        (_FREED, _PIECES, _WHOLE),
        "mprotect splits the mapping: 512 PTEs instead of one PMD. The page is still one page of 2 MiB, and cannot be "
        "freed in part.",
        {
            _FREED: "Rss says otherwise, and protecting memory gives none back.",
            _PIECES: "thp_split_pmd counts splits of mappings; that of a page is thp_split_page.",
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
        Glance(
            "after reclaim, the unpin, and another reclaim",
            smaps={"A": ("Rss", "LazyFree", "Swap")},
            events=("pglazyfreed", "thp_swpout"),
        ),
    ),
    ask=Ask(
        "Linux 6.12. All 512 pages are marked as given up, LazyFree 2048 kB; a pipe holds one of them, and reclaim "
        "comes by. What is LazyFree then, in kB?",
        lambda trace: smaps(trace[op_end(trace, 4)].state, "A")["LazyFree"],
        (0, 2044, 2048),
        "One reference too many, and reclaim takes the mark from the whole huge page, though nobody has written to it.",
        {
            2044: "The mark is one flag for the whole huge page, as the reference count is one number.",
            2048: "So it is on Linux 6.18: nothing is wrong with a page that somebody holds for a moment.",
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
        "The same on Linux 6.1: KSM merges what it can of the 8 pages. What is the Rss of A afterwards, in kB?",
        lambda trace: _rss(trace[-1].state),
        (4, 2020, 2048),
        "Merged pages are shared, and still resident; Pss falls, Rss does not. And before 6.12 a split frees nothing.",
        {
            4: "That is since 6.12: there a split frees all that holds only zeros.",
            2020: "What is merged counts in Rss as before; it is only shared.",
        },
        of="v6.1",
    ),
    cause=Figure(_ZEROES, after("ksm_scan"), _full("v6.18")),
    live="mmap A; write A 0; madvise A 256 2 cold",
)
