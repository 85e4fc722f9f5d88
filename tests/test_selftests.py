"""What the kernel's own selftests and LTP check, as scenarios: what they demand of a real kernel the simulated one must do.

The kernels are those since 6.1, for which all of it holds. mm/cow.c is a table of its tests times the ways in which memory may be
mapped; the other files follow, each as rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pytest
from answers import carried_out, check

from thplab.errors import EFAULT, EINVAL, KILLED_BY_SIGBUS
from thplab.hardware.geometry import TOY

KERNELS = ("v6.1", "v6.12", "v6.18")
NR = TOY.nr
KIB = 4 * NR
"""A huge page in kB."""
OLD, NEW = 0x77, 0x99


# --- mm/cow.c: no content leaks to another process, no device is left behind ----------------------------------------------


class Mode(NamedTuple):
    """A way in which memory that holds 0x77 may be mapped, and where the test then works: pages and region."""

    prepare: str
    where: str
    region: str = "R"
    swap: str = ""


_THP = "mmap A; fill A 0 1thp same"
_BY_PTES = f"{_THP}; mprotect A 1 1 r; mprotect A 1 1 rw"
MODES = {
    "small page": Mode("mmap A advise=none; fill A 0 1 same", "0 1"),
    "small page, swapped out": Mode("mmap A advise=none; fill A 0 1 same; madvise A 0 1 pageout", "0 1", swap="swap"),
    "huge page by a PMD": Mode(_THP, "0 1thp"),
    "huge page by PTEs": Mode(_BY_PTES, "0 1thp"),
    "one PTE left": Mode(f"{_THP}; munmap A 1 {NR - 1}", "0 1"),
    "half of it moved": Mode(f"{_THP}; mmap A region=T; mremap A {NR // 2} {NR // 2} T 0", f"0 {NR // 2}"),
    "the half that was moved": Mode(f"{_THP}; mmap A region=T; mremap A {NR // 2} {NR // 2} T 0", f"0 {NR // 2}", "T"),
    "part of it shared": Mode(
        f"{_THP}; madvise A {NR // 2} {NR // 2} dontfork; fork A C; exit C; madvise A {NR // 2} {NR // 2} dofork", "0 1thp"
    ),
    "huge page, swapped out": Mode(f"{_THP}; madvise A 0 1thp pageout", "0 1thp", swap="swap"),
    "huge page by PTEs, swapped out": Mode(f"{_BY_PTES}; madvise A 0 1thp pageout", "0 1thp", swap="swap"),
}

_AGAIN = "mprotect A @ r; mprotect A @ rw"
"""The pages lose the right to write, and get it back."""
_SHARED = "fork A B; pin A @ p pup"
COW = {
    "fork": ("fork A B; write A @ value=0x99", {"B": OLD}),
    "fork and mprotect": (f"fork A B; {_AGAIN}; write A @ value=0x99", {"B": OLD}),
    "vmsplice and unmap in the child": ("fork A B; pin B @ p; munmap B @; write A @ value=0x99", {"pin p": OLD}),
    "the same, with mprotect": (f"fork A B; pin B @ p; munmap B @; {_AGAIN}; write A @ value=0x99", {"pin p": OLD}),
    "vmsplice before the fork, unmap in the parent": ("pin A @ p; fork A B; munmap A @; write B @ value=0x99", {"pin p": OLD}),
    "vmsplice after the fork, unmap in the parent": ("fork A B; pin A @ p; munmap A @; write B @ value=0x99", {"pin p": OLD}),
    "a device and a read-only mapping": (f"pin A @ p io_uring; {_AGAIN}; write A @ value=0x99", {"pin p": NEW}),
    "a device that reads what is shared": (f"{_SHARED}; write A @ value=0x99", {"pin p": NEW, "B": OLD}),
    "a device that reads what is its own again": ("fork A B; exit B; pin A @ p pup; write A @ value=0x99", {"pin p": NEW}),
    "a device that reads, and a fork": ("pin A @ p pup; fork A B; write A @ value=0x99", {"pin p": NEW, "B": OLD}),
    "a device and a fork": ("pin A @ p io_uring; fork A B; write A @ value=0x99", {"pin p": NEW, "B": OLD}),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", COW)
def test_copy_on_write(name: str, mode: str, kernel: str) -> None:
    (done, answers), how = COW[name], MODES[mode]
    at = f"{how.where} region={how.region}"
    ops = [f"{op.replace(' @', f' {how.where}')}{f' region={how.region}' * ('@' in op)}" for op in done.split("; ")]
    ran = carried_out(kernel, "; ".join([how.prepare, *ops]), how.swap, TOY.name)
    assert not any(ran.results), at
    first = "0" if how.region == "R" else f"0 {how.region}"
    check(ran, {(f"B.{first}" if asked == "B" else asked): byte for asked, byte in answers.items()})


# --- the other files ------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """What is done, and what it must lead to (see Answers); on these kernels."""

    scenario: str
    answers: Mapping[str, object]
    kernels: tuple[str, ...] = KERNELS
    swap: str = ""


_UNADVISED = "mmap A advise=none; "
_FULL = f"{_UNADVISED}fill A 0 1thp same; "
_MAX_PTES_NONE = f"sys /sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none {NR // 2}; "
_MAX_PTES_SHARED = f"sys /sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_shared {NR // 2}; "
_MAX_PTES_SWAP = "sys /sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_swap 2; "
_ZERO_PAGES = "/sys/kernel/mm/ksm/use_zero_pages"
_BY_DAEMON = "madvise A 0 1thp hugepage; khugepaged_scan 2"
_BY_ADVICE = "madvise A 0 1thp collapse"
_HUGE = {"ret": 0, "A.huge": KIB, "A.rss": KIB, "A.0": OLD}
_LAST = f"A.{NR - 1}"

BOTH_WAYS: dict[str, tuple[str, Mapping[str, object], Mapping[str, object], str]] = {
    "a full table": (_FULL, _HUGE | {_LAST: OLD}, {}, ""),
    "no page at all": (_UNADVISED, {"A.huge": 0, "A.rss": 0}, {"ret": -EINVAL}, ""),
    "a single PTE": (f"{_UNADVISED}fill A 0 1 same; ", _HUGE | {_LAST: 0}, {}, ""),
    "a single PTE of a huge page": (f"{_THP}; madvise A 1 {NR - 1} dontneed; ", _HUGE | {_LAST: 0}, {}, ""),
    "a table full of one huge page": (f"{_BY_PTES}; ", _HUGE | {_LAST: OLD, "compound": 1}, {}, ""),
    "a PTE that is swapped out": (f"{_FULL}madvise A 1 1 pageout; ", _HUGE | {"A.1": OLD, "A.swap": 0}, {}, "swap"),
    "as many missing as may be": (f"{_MAX_PTES_NONE}{_UNADVISED}fill A 0 {NR // 2} same; ", _HUGE, {}, ""),
    "one more missing": (
        f"{_MAX_PTES_NONE}{_UNADVISED}fill A 0 {NR // 2 - 1} same; ",
        {"A.huge": 0, "A.0": OLD},
        {"A.huge": KIB},
        "",
    ),
    "as many swapped out as may be": (
        f"{_MAX_PTES_SWAP}{_FULL}madvise A 1 2 pageout; ", _HUGE | {"A.1": OLD, "A.swap": 0}, {}, "swap"
    ),
    "one more swapped out": (
        f"{_MAX_PTES_SWAP}{_FULL}madvise A 1 3 pageout; ", {"A.huge": 0, "A.swap": 12}, {"A.huge": KIB, "A.swap": 0}, "swap"
    ),
    "as many shared as may be": (
        f"{_MAX_PTES_SHARED}{_FULL}fork A B; write A {NR // 2} {NR // 2} value=0x99; ", _HUGE | {_LAST: NEW}, {}, ""
    ),
    "one more shared": (
        f"{_MAX_PTES_SHARED}{_FULL}fork A B; write A {NR // 2 + 1} {NR // 2 - 1} value=0x99; ",
        {"A.huge": 0, "A.0": OLD},
        {"A.huge": KIB},
        "",
    ),
    "a huge page already": (f"{_THP}; ", _HUGE | {_LAST: OLD, "thp_collapse_alloc": 0}, {}, ""),
}
"""khugepaged.c: what is prepared, what khugepaged must make of it, where MADV_COLLAPSE differs, and the swap device."""

_CHILD = "madvise B 0 1thp hugepage; khugepaged_scan 2"

ROWS: dict[str, Row] = {
    "khugepaged.c, fork: a page of the parent's": Row(
        f"{_UNADVISED}fill A 0 1 same; fork A B; write B 1 {NR - 1} value=0x99; {_CHILD}",
        {"B.huge": KIB, "B.0": OLD, "B.1": NEW, "A.huge": 0, "A.0": OLD},
    ),
    "khugepaged.c, fork: a huge page of the parent's, collapsed by advice": Row(
        f"{_THP}; fork A B; mprotect B 1 1 r; mprotect B 1 1 rw; write B 0 value=0x99; madvise B 0 1thp collapse",
        {"ret": 0, "B.huge": KIB, "B.0": NEW, _LAST.replace("A", "B"): OLD, "A.huge": KIB, "A.0": OLD},
    ),
    "split_huge_page_test.c: by a PMD": Row(
        f"{_THP}; split A 0 1thp how=debugfs", {"ret": 0, "A.huge": 0, "compound": 0, "A.0": OLD, _LAST: OLD, "thp_split_page": 1}
    ),
    "split_huge_page_test.c: by PTEs": Row(
        f"{_BY_PTES}; split A 0 1thp how=debugfs", {"ret": 0, "compound": 0, "A.0": OLD, _LAST: OLD}
    ),
    "split_huge_page_test.c: one PTE left of it": Row(
        f"{_THP}; munmap A 1 {NR - 1}; split A 0 1 how=debugfs", {"ret": 0, "compound": 0, "A.0": OLD}
    ),
    "split_huge_page_test.c: moved by mremap": Row(
        f"{_THP}; mmap A region=T; mremap A 1 {NR - 1} T 1; split A 1 {NR - 1} how=debugfs region=T",
        {"ret": 0, "compound": 0, "A.0": OLD, "A.1 T": OLD},
    ),
    "split_huge_page_test.c: zero-filled": Row(
        "mmap A; fill A 0 1thp zero; split A 0 1thp how=debugfs", {"ret": 0, "compound": 0, "A.rss": 0, "A.0": 0}, KERNELS[1:]
    ),
    "ksm_functional_tests.c: merged": Row(
        f"{_FULL}madvise A 0 1thp mergeable; ksm_scan 3", {"ret": 0, "A.ksm": KIB, "A.0": OLD, _LAST: OLD}
    ),
    "ksm_functional_tests.c: unmerge": Row(
        f"{_FULL}madvise A 0 1thp mergeable; ksm_scan 3; madvise A 0 1thp unmergeable",
        {"ret": 0, "A.ksm": 0, "A.rss": KIB, "A.0": OLD, _LAST: OLD},
    ),
    "ksm_functional_tests.c: unmerge of what was discarded in part": Row(
        f"{_FULL}madvise A 0 1thp mergeable; ksm_scan 3; madvise A 0 {NR // 2} dontneed; madvise A 0 1thp unmergeable",
        {"ret": 0, "A.ksm": 0, "A.rss": KIB // 2, "A.0": None, _LAST: OLD},
    ),
    "ksm_functional_tests.c: unmerge of what may not be used": Row(
        f"{_FULL}madvise A 0 1thp mergeable; ksm_scan 3; mprotect A 0 1thp none; madvise A 0 1thp unmergeable",
        {"ret": 0, "A.ksm": 0, "A.0": OLD},
        KERNELS[1:],  # from 6.1 to 6.5 KSM did not find such pages
    ),
    "ksm_functional_tests.c: merged memory that may not be used, written by force": Row(
        f"{_FULL}mprotect A 0 1thp none; madvise A 0 1thp mergeable; ksm_scan 3; write A 0 value=0x66 force=yes",
        {"ret": 0, "A.0": 0x66, "A.1": OLD},
        KERNELS[1:],
    ),
    "ksm_functional_tests.c: fork": Row(
        f"{_FULL}madvise A 0 1thp mergeable; ksm_scan 3; fork A B; write B 0 value=0x99", {"A.0": OLD, "B.0": NEW, "A.ksm": KIB}
    ),
    "ksm_functional_tests.c: zero-filled pages": Row(
        f"sys {_ZERO_PAGES} 1; {_UNADVISED}fill A 0 1thp zero; madvise A 0 1thp mergeable; ksm_scan 3",
        {"ret": 0, "A.ksm": 0, "A.rss": 0, "A.0": 0},
    ),
    "ksm_functional_tests.c: unmerge of zero-filled pages": Row(
        f"sys {_ZERO_PAGES} 1; {_UNADVISED}fill A 0 1thp zero; madvise A 0 1thp mergeable; ksm_scan 3; "
        f"madvise A 0 {NR // 2} unmergeable",
        {"ret": 0, "A.rss": KIB // 2, "A.0": 0},
        KERNELS[1:],
    ),
    "memory-failure.c: whoever touches a bad page dies": Row(
        f"{_FULL}madvise A 5 1 hwpoison; read A 5", {"ret": KILLED_BY_SIGBUS}, ("v6.1",)
    ),
    "memory-failure.c: whoever makes a page bad is told so at once": Row(
        f"{_FULL}madvise A 5 1 hwpoison", {"ret": KILLED_BY_SIGBUS}, ("v6.12", "v6.18")
    ),
    "memory-failure.c: other pages are not touched": Row(
        f"{_FULL}madvise A 5 1 hwpoison; read A 4", {"ret": 0, "A.4": OLD}, ("v6.1",)
    ),
    "memory-failure.c: soft offline moves the contents": Row(
        f"{_FULL}madvise A 5 1 soft_offline; read A 5", {"ret": 0, "A.5": OLD, "A.rss": KIB}
    ),
    "memory-failure.c: soft offline of a huge page's part": Row(
        f"{_THP}; madvise A 5 1 soft_offline; read A 5", {"ret": 0, "A.5": OLD, "A.rss": KIB, "bad": 1}
    ),
    "mkdirty.c: migration of a page": Row(
        f"{_FULL}mprotect A 0 1thp r; migrate A 0; write A 0 value=0x99", {"ret": -EFAULT, "A.0": OLD}
    ),
    "mkdirty.c: migration of a huge page": Row(
        f"{_THP}; mprotect A 0 1thp r; migrate A 0; write A 0 value=0x99", {"ret": -EFAULT, "A.0": OLD, "A.huge": KIB}
    ),
    "mkdirty.c: split of a PMD": Row(
        f"{_THP}; mprotect A 0 1thp r; split_pmd A 0; write A 0 value=0x99", {"ret": -EFAULT, "A.0": OLD, "A.huge": 0}
    ),
    "mkdirty.c: a debugger writes a page": Row(
        f"{_UNADVISED}fill A 0 1 same; mprotect A 0 1 r; write A 0 value=0x66 force=yes; write A 0 value=0x99",
        {"ret": -EFAULT, "A.0": 0x66},
    ),
    "mkdirty.c: a debugger writes a huge page": Row(
        f"{_THP}; mprotect A 0 1thp r; write A 0 value=0x66 force=yes; write A 0 value=0x99",
        {"ret": -EFAULT, "A.0": 0x66, "A.huge": KIB},
    ),
    "mkdirty.c: a debugger writes memory that nobody has read": Row(
        "mmap A prot=r; read A 0; write A 0 value=0x66 force=yes; write A 0 value=0x99", {"ret": -EFAULT, "A.0": 0x66}
    ),
    "rmap.c: a page of four generations moves": Row(
        f"{_FULL}fork A B; fork B C; fork C D; migrate B 0", {"ret": 0, "A.0": OLD, "B.0": OLD, "C.0": OLD, "D.0": OLD}
    ),
    "rmap.c: a huge page of four generations moves": Row(
        f"{_THP}; fork A B; fork B C; fork C D; migrate C 0", {"ret": 0, "A.huge": KIB, "D.huge": KIB, "A.0": OLD, "D.0": OLD}
    ),
    "rmap.c: a write goes to the writer's copy": Row(
        f"{_FULL}fork A B; migrate A 0; write B 0 value=0x99", {"ret": 0, "A.0": OLD, "B.0": NEW}
    ),
    "LTP thp03: a part that may not be used is mergeable and forked": Row(
        f"{_THP}; mprotect A 0 1 none; madvise A 0 1thp mergeable; fork A B; exit B; ksm_scan 3", {"ret": 0, _LAST: OLD}
    ),
}
for _name, (_prepare, _daemon, _advice, _swap) in BOTH_WAYS.items():
    ROWS[f"khugepaged.c, {_name}: by khugepaged"] = Row(f"{_prepare}{_BY_DAEMON}", _daemon, swap=_swap)
    ROWS[f"khugepaged.c, {_name}: by MADV_COLLAPSE"] = Row(f"{_prepare}{_BY_ADVICE}", {**_daemon, **_advice}, swap=_swap)
for _to, _at in ((0, 0), (0, 1), (1, 0), (1, 1)):
    ROWS[f"LTP thp02: mremap from page {_to} to page {_at}"] = Row(
        f"mmap A 2thp; fill A 0 2thp same; mmap A 2thp region=T; mremap A {_to} {2 * NR - 1} T {_at}",
        {"ret": 0, f"A.{_at} T": OLD, f"A.{_at + 2 * NR - 2} T": OLD, f"A.{_to}": None},
    )
for _order, _pieces in ((2, NR // 4), (0, 0)):
    ROWS[f"split_huge_page_test.c: to order {_order}"] = Row(
        f"{_THP}; split A 0 1thp how=debugfs order={_order}",
        {"ret": 0, "compound": _pieces, "A.huge": 0, "A.0": OLD, _LAST: OLD},
        KERNELS[1:],
    )
ROWS["split_huge_page_test.c: moved, to another size"] = Row(
    f"{_THP}; mmap A region=T; mremap A 0 1thp to=T at=0 size={NR // 2}; split A 0 {NR // 2} how=debugfs region=T",
    {"ret": 0, "compound": 0, "A.0 T": OLD, "A.0": None},
)
ROWS["LTP: mremap lets memory grow where it is"] = Row(
    f"{_THP}; munmap A {NR // 2} {NR // 2}; mremap A 0 {NR // 2} size={NR}; write A {NR - 1} value=0x99",
    {"ret": 0, "A.0": OLD, f"A.{NR // 2}": None, _LAST: NEW},
)


@pytest.mark.parametrize("order", range(2, 9))
@pytest.mark.parametrize("kernel", KERNELS[1:])
def test_a_split_to_each_order(kernel: str, order: int) -> None:
    """split_huge_page_test.c on 2 MiB: all of the contents is there, and nothing of the huge page."""
    ran = carried_out(kernel, f"{_THP}; split A 0 how=debugfs order={order}; write A 3 value=0x99")
    check(ran, {"ret": 0, "compound": 512 >> order, "A.huge": 0, "A.rss": 2048, "A.0": OLD, "A.3": NEW, "A.511": OLD})


@pytest.mark.parametrize(("name", "kernel"), [(name, kernel) for name, row in ROWS.items() for kernel in row.kernels])
def test_the_kernel_does_what_its_selftest_demands(name: str, kernel: str) -> None:
    row = ROWS[name]
    check(carried_out(kernel, row.scenario, row.swap, TOY.name), row.answers)
