"""Public reports about real kernels, as scenarios: what engineers saw is what the simulated kernel must answer.

The races among them are pairs: CVE-2020-29368 is `torn-mapcount-and-pmd-split`, the MADV_DONTNEED that MADV_FREE swallows
is `emptied-free-and-dontneed`, a forced write into everybody's zeroes `forced-write-asks-to-read` (thplab/study/explore/orders.py, tests/test_explore.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pytest
from answers import carried_out, check

from thplab.errors import KILLED_BY_SIGBUS

SHARED = "mmap A; fill A 0 1thp same; "
"""One huge page that holds 0x77; 0x99 is what is written later."""
SMALL = "mmap A advise=none; fill A 0 1 same; "
OLD, NEW = 0x77, 0x99

EARLY = ("v3.16", "v4.5")
SINCE_5_10 = ("v5.10", "v6.1", "v6.12", "v6.18")
SINCE_6_1 = SINCE_5_10[1:]
EVERY = EARLY + SINCE_5_10


class Report(NamedTuple):
    """What was seen: who tells it, what was done, and for each group of kernels what they answer (see Answers)."""

    source: str
    scenario: str
    answers: tuple[tuple[tuple[str, ...], Mapping[str, object]], ...]
    swap: str = ""


def _all(kernels: tuple[str, ...], **answers: object) -> tuple[tuple[tuple[str, ...], Mapping[str, object]], ...]:
    return ((kernels, answers),)


_CHILD_READS = "fork A B; pin B 0 1 p; munmap B 0 {0}; write A 0 1 value=0x99"
_RELOCK = "mprotect A 0 512 r; mprotect A 0 512 rw; write A 0 512 value=0x99"
_TCMALLOC = "mmap A advise=none; fill A 0 512; madvise A 0 512 hugepage; madvise A 1 32 dontneed; madvise A 34 478 dontneed"
_MAX_PTES_NONE = "/sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none"
_LOCKED = "mmap A; fill A 0 1thp; mlock A 0 1thp"
_LAZYFREE = "mmap A; fill A 0 512; madvise A 0 512 free; "

_BAD = SHARED + "pin A 2 1 p raw; madvise A 5 1 hwpoison; "
_FREED = "unpin p; mmap C; fill C 0 1thp"
REPORTS = {
    "a child's pipe shows what its parent writes later: huge page": Report(
        "CVE-2020-29374; the kernel's selftest mm/cow.c",
        SHARED + _CHILD_READS.format("1thp"),
        ((("v3.16", "v5.10"), {"pin p": NEW}), (("v4.5", *SINCE_6_1), {"pin p": OLD})),
    ),
    "a child's pipe shows what its parent writes later: small page": Report(
        "CVE-2020-29374; 5.9 put small pages right",
        SMALL + _CHILD_READS.format("1"),
        ((EARLY, {"pin p": NEW}), (SINCE_5_10, {"pin p": OLD})),
    ),
    "a child's pipe shows what its parent writes later: swapped out before": Report(
        "the kernel's selftest mm/cow.c; until 5.18",
        SMALL + "madvise A 0 1 pageout; " + _CHILD_READS.format("1"),
        ((("v5.10",), {"pin p": NEW}), (SINCE_6_1, {"pin p": OLD})),
        swap="swap",
    ),
    "a device is left behind by mprotect: PTEs": Report(
        "the kernel's selftest mm/cow.c, fixed buffer of io_uring; 5.9 to 5.18",
        SHARED + "mprotect A 1 1 r; mprotect A 1 1 rw; pin A 0 512 p io_uring; " + _RELOCK,
        ((("v5.10",), {"pin p": OLD}), (SINCE_6_1, {"pin p": NEW})),
    ),
    "a device is left behind by mprotect: a PMD never was": Report(
        "the same", SHARED + "pin A 0 512 p io_uring; " + _RELOCK, ((SINCE_5_10, {"pin p": NEW}),)
    ),
    "a fork copies what a device works on": Report(
        "commit d042035eaf5f",
        SHARED + "pin A 2 1 p io_uring; fork A B; write A 2 value=0x99",
        ((SINCE_5_10, {"pin p": NEW, "B.2": OLD, "thp_split_pmd": 1}),),
    ),
    "a fork leaves a device behind that takes plain references": Report(
        "facebook/rocksdb#11233, awslabs/mountpoint-s3#114, linux-test-project/ltp#63: O_DIRECT until 6.4 (commit a7e689dd1c06, 6.5)",
        SHARED + "pin A 2 1 p gupw; fork A B; write A 2 value=0x99; dma_write p 0 value=0x11",
        _all(EVERY, **{"pin p": 0x11, "A.2": NEW}),
    ),
    "an allocator gives most of 2 MiB back": Report(
        "gperftools#1073, #1494; golang/go#64332; facebook/jemalloc#46", _TCMALLOC, _all(EVERY, **{"A.rss": 8})
    ),
    "khugepaged brings it back": Report(
        "the same", _TCMALLOC + "; khugepaged_scan 2", _all(EVERY, **{"A.rss": 2048, "A.huge": 2048})
    ),
    "khugepaged does not, if no page may be missing": Report(
        "the same, max_ptes_none 0", f"{_TCMALLOC}; sys {_MAX_PTES_NONE} 0; khugepaged_scan 2", _all(EVERY, **{"A.rss": 8})
    ),
    "a part given back is held": Report(
        "golang/go#55328, #59960; commit 9a982250f773",
        "mmap A; fill A 0 512; munmap A 0 511",
        ((("v3.16",), {"compound": 0, "A.rss": 4}), (EVERY[1:], {"compound": 1, "A.rss": 4})),
    ),
    "until memory is reclaimed": Report(
        "the same",
        "mmap A; fill A 0 512; munmap A 0 511; sys /proc/sys/vm/drop_caches 2",
        _all(EVERY, **{"compound": 0, "A.rss": 4}),
    ),
    "the guard page of a stack": Report(
        "JDK-8312182, JDK-8303215: all of it stays resident",
        "mmap A; write A 511; mprotect A 0 4 none",
        ((("v3.16",), {"A.rss": 2048, "A.huge": 0, "thp_split": 1}), (EVERY[1:], {"A.rss": 2048, "A.huge": 0, "thp_split_pmd": 1})),
    ),
    "a database saves itself": Report(
        "redis/redis#2844: a write after fork copies 2 MiB, from 5.8 on 4 KiB",
        "mmap A 2thp; fill A 0 2thp; fork A B; write A 0; write A 513",
        ((EARLY, {"thp_fault_alloc": 4}), (SINCE_5_10, {"thp_fault_alloc": 2, "thp_split_pmd": 2})),
    ),
    "a tree of processes restored in pieces": Report(
        "checkpoint-restore/criu#2081",
        "mmap A; write A 0 128; mmap A region=T; mremap A 0 256 to=T at=100; fork A B",
        _all(EVERY, **{"A.rss": 2048, "A.huge": 0, "B.huge": 0}),
    ),
    "mapped shared is a guess": Report(
        "lkml 2404.2/05344: A maps one half, B the other",
        "mmap A; fill A 0 512; fork A B; munmap A 256 256; munmap B 0 256; madvise A 0 1 cold",
        ((SINCE_5_10[:3], {"thp_split_page": 1}), (("v6.18",), {"thp_split_page": 0})),
    ),
    "a pinned page that was given up stays so": Report(
        "a change of 6.15; seen on 6.18",
        _LAZYFREE + "pin A 2 1 p; madvise A 0 512 pageout",
        ((("v6.1", "v6.12"), {"A.lazyfree": 0}), (("v6.18",), {"A.lazyfree": 2048})),
    ),
    "and goes after the unpin": Report(
        "the same",
        _LAZYFREE + "pin A 2 1 p; madvise A 0 512 pageout; unpin p; madvise A 0 512 pageout",
        ((("v6.1", "v6.12"), {"pglazyfreed": 0, "A.rss": 2048}), (("v6.18",), {"pglazyfreed": 512, "A.rss": 0})),
    ),
    "a pinned small page that was given up stays so": Report(
        "the same",
        "mmap A advise=none; fill A 0 16; madvise A 0 16 free; pin A 2 1 p; madvise A 0 16 pageout",
        ((("v6.1", "v6.12"), {"A.lazyfree": 0}), (("v6.18",), {"A.lazyfree": 4})),
    ),
    "nobody asks for FOLL_PIN pins of what needs no swap": Report(
        "seen on 6.18; 6.1 and 6.12 by their source",
        _LAZYFREE + "pin A 2 1 p io_uring; madvise A 0 512 pageout",
        _all(SINCE_6_1, **{"thp_split_pmd": 1, "A.huge": 0}),
    ),
    "copies of KSM pages are counted": Report(
        "commit 94bfe85bde18: cow_ksm since 5.19",
        "mmap A advise=none; fill A 0 8 same; madvise A 0 8 mergeable; ksm_scan 3; madvise A 0 8 unmergeable",
        _all(SINCE_6_1, **{"cow_ksm": 8, "A.ksm": 0, "A.7": OLD}),
    ),
    "a device that reads what is shared gets a page of its own process": Report(
        "commit a7f226604170 and its parent; a FOLL_PIN to read, as O_DIRECT writes a file",
        SHARED + "fork A B; pin A 2 1 p pup",
        ((("v5.10",), {"thp_split_pmd": 0, "A.huge": 2048}), (SINCE_6_1, {"thp_split_pmd": 1, "A.huge": 0, "B.huge": 2048})),
    ),
    "and reads what its process writes then": Report(
        "the same",
        SHARED + "fork A B; pin A 2 1 p pup; write A 2 value=0x99",
        ((("v5.10",), {"pin p": OLD, "A.2": NEW}), (SINCE_6_1, {"pin p": NEW, "A.2": NEW, "B.2": OLD})),
    ),
    "a tree of processes restored in pieces: what was used": Report(
        "checkpoint-restore/criu#2081: Referenced differs",
        "mmap A; write A 0 128; mmap A region=T; mremap A 0 256 to=T at=100; fork A B",
        _all(EVERY, **{"A.referenced": 2048, "B.referenced": 0}),
    ),
    "a guard of one page": Report(
        "seen on 6.18: MADV_GUARD_INSTALL, 6.13 on",
        "mmap A; fill A 0 1thp; madvise A 3 1 guard_install",
        _all(("v6.18",), thp_split_pmd=1, thp_deferred_split_page=1, **{"A.rss": 2044}),
    ),
    "a move that leaves the old range mapped": Report(
        "MREMAP_DONTUNMAP, 5.7 on: the old range reads zeroes from then on",
        SHARED + "mmap A region=T; mremap A 0 1thp to=T at=0 dontunmap=yes; read A 0",
        _all(SINCE_5_10, **{"A.0": 0, "A.0 T": OLD, "A.511 T": OLD, "thp_split_pmd": 0}),
    ),
    "a checkpoint clears the soft-dirty bits": Report(
        "criu, docs of /proc/PID/clear_refs: nothing is split, and memory stays as it is",
        SHARED + "clear_refs A 4; write A 0 value=0x99",
        _all(SINCE_5_10, **{"thp_split_pmd": 0, "A.huge": 2048, "A.0": NEW}),
    ),
    "a migration is counted": Report(
        "the kernel's page_migration.rst: since 5.9",
        "mmap A; write A 0; migrate A 0",
        _all(SINCE_5_10, thp_migration_success=1, thp_migration_fail=0, thp_migration_split=0),
    ),
    "mlock marks a huge page": Report(
        "commits 7479df6da950, e90309c9f772", _LOCKED, _all(("v3.16", "rfc-2014", *EVERY[1:]), mlocked=1)
    ),
    "a PMD split munlocks it": Report(
        "the same; before them the page split hands the mark to each of its pages, since 6.18 what maps all of it keeps it",
        _LOCKED + "; mprotect A 1 1 r",
        (
            (("v3.16",), {"mlocked": 512, "compound": 0}),
            (("rfc-2014", "v6.18"), {"mlocked": 1, "compound": 1}),
            (("v4.5", "v5.10", "v6.1", "v6.12"), {"mlocked": 0, "compound": 1}),
        ),
    ),
    "also that of a process that has not locked it": Report(
        "the same; since 5.18 only the lock of its own VMA",
        _LOCKED + "; fork A B; mprotect B 1 1 r",
        ((("v4.5", "v5.10"), {"mlocked": 0}), (SINCE_6_1, {"mlocked": 1})),
    ),
    "a bad page is reported": Report(
        "the kernel's selftest mm/memory-failure.c: 6.18 as distributions build it",
        "mmap A; fill A 0 8; madvise A 5 1 hwpoison",
        ((("v6.1",), {"ret": 0, "thp_split_page": 1}), (("v6.12", "v6.18"), {"ret": KILLED_BY_SIGBUS})),
    ),
    "what still works moves": Report(
        "the same",
        SHARED + "madvise A 5 1 soft_offline",
        _all(SINCE_6_1, **{"A.5": OLD, "A.rss": 2048, "thp_split_page": 1, "bad": 1}),
    ),
    "a frame that went bad in a huge page stays bad when it is freed": Report(
        "by source; before 6.3 the block that holds it is lost",
        _BAD + "exit A; " + _FREED,
        _all(SINCE_5_10[:2], bad=1, compound=1),
    ),
    "also if it is handed out again": Report("by source, from 6.3 on", _BAD + _FREED, _all(SINCE_5_10[2:], bad=1, compound=1)),
}


def rows() -> list[object]:
    every = [
        (name, kernel, answers) for name, report in REPORTS.items() for kernels, answers in report.answers for kernel in kernels
    ]
    return [pytest.param(*row, id=f"{row[0]}: {row[1]}") for row in every]


@pytest.mark.parametrize(("name", "kernel", "answers"), rows())
def test_the_kernel_answers_as_reported(name: str, kernel: str, answers: Mapping[str, object]) -> None:
    report = REPORTS[name]
    done = carried_out(kernel, report.scenario, report.swap)
    assert not any(done.results) or {"ret", "bad"} & answers.keys(), "what fails is asked for"
    check(done, answers)
