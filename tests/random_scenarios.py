"""Random scenarios, and a model of what every process must read: facts that no kernel's bookkeeping may change."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from thplab.errors import KILLED_BY_SIGBUS, BadInput
from thplab.kernel import kernels
from thplab.machine.machine import Machine
from thplab.machine.state import State
from thplab.scenario import Operation

PROCESSES = ("A", "B", "C")

OFTEN = ["write"] * 3 + ["fork", "mprotect", "pin"] * 2 + ["read", "fill", "exit", "munmap", "unpin", "split", "split_pmd", "swap_out"]
OFTEN += ["madvise", "mremap"] * 2 + ["pin", "mlock", "munlock", "sys", "ksm_scan", "khugepaged_scan", "migrate"]
"""What is proposed, as often as it stands here."""

ADVICES = ["dontneed"] * 3 + ["nohugepage", "hugepage", "dontfork", "wipeonfork", "mergeable", "unmergeable", "populate_write"]
ADVICES += ["dofork", "guard_install", "guard_remove", "mergeable", "collapse", "soft_offline", "hwpoison"]

EFAULT, ENOMEM, EINVAL, EIO = -14, -12, -22, -5


def propose(rng: random.Random, pages: int, serial: int) -> Operation:
    """Any operation of the core vocabulary, sensible or not, on a region of `pages` pages, or a little beyond it."""
    proc = rng.choice(PROCESSES)
    beyond = rng.choice((0,) * 12 + (2,))
    start = rng.randrange(pages + beyond)
    npages = min(pages + beyond - start, rng.choice((1, 1, 1, 2, 3, pages)))
    where: dict[str, Any] = {"proc": proc, "start": start, "npages": npages}
    op = rng.choice(OFTEN)
    fields: dict[str, Any] = {
        "write": {**where, "value": rng.randrange(1, 200), "force": rng.random() < 0.15},
        "read": where,
        "fill": {**where, "pattern": rng.choice(("unique", "same", "zero"))},
        "fork": {"proc": proc, "child": rng.choice(PROCESSES)},
        "exit": {"proc": proc},
        "mprotect": {**where, "prot": rng.choice(("none", "r", "rw"))},
        "munmap": where,
        "pin": {**where, "pin": f"p{serial}", "how": rng.choice(("vmsplice", "io_uring", "gupw", "pup"))},
        "unpin": {"pin": f"p{rng.randrange(serial + 1)}"},
        "split": {"proc": proc, "start": start, "order": rng.choice((0, 0, 2))},
        "split_pmd": {"proc": proc, "start": start},
        "swap_out": {"proc": proc, "start": start},
        "madvise": {**where, "advice": rng.choice(ADVICES)},
        "mremap": {**where, "to": "R", "at": rng.randrange(max(pages - npages, 0) + beyond + 1), "dontunmap": rng.random() < 0.2},
        "mlock": where,
        "munlock": where,
        "sys": {"path": rng.choice(("/proc/sys/vm/drop_caches", "/proc/sys/vm/compact_memory")), "value": "2"},
        "ksm_scan": {"scans": rng.randrange(3)},
        "khugepaged_scan": {"scans": 0},
        "migrate": {"proc": proc, "start": start},
    }[op]
    return Operation(op, fields)


def operations(seed: int, machine: Machine, thps: int = 2, count: int = 14) -> Iterator[Operation]:
    """`count` operations that make sense where they come, mmap first. The caller runs each before asking for the next."""
    rng = random.Random(seed)
    nr = machine.system.geometry.nr
    yield Operation("mmap", {"proc": "A", "thps": thps, "advise": rng.choice(("hugepage", "hugepage", "hugepage", "none"))})
    yield Operation("write", {"proc": "A", "start": rng.randrange(thps * nr), "value": 7})
    made = 0
    while made < count and machine.system.mms:
        op = propose(rng, thps * nr, made)
        try:
            machine.begin(op)  # checks only: a routine that is never advanced touches nothing
        except BadInput:
            continue
        made += 1
        yield op


Content = tuple[int | None, int | None]
"""What the first eight bytes of a page are: the upper seven as a number, and the lowest; None where only the fill knows."""
ZERO: Content = (0, 0)


class Model:
    """What each process reads and may do, kept without pages, tables or counters."""

    def __init__(self, kernel: str) -> None:
        self.knows_guards = "guard_install" in kernels.kernel(kernel).advice.known
        self.moves_vmas = bool(kernels.kernel(kernel).mm.mremap_moves_vmas)
        self.looks_first = kernels.kernel(kernel).mm.mremap_looks_first
        self.dontunmap = bool(kernels.kernel(kernel).mm.dontunmap)
        self.contents: dict[str, dict[int, Content]] = {}
        self.prot: dict[str, dict[int, str]] = {}
        self.flags: dict[str, dict[int, set[str]]] = {}
        """What each page remembers of madvise and mlock, as far as it matters: dontfork, wipeonfork, locked."""
        self.guards: dict[str, set[int]] = {}
        """Where guard markers stand."""

    def apply(self, op: Operation, nr: int, result: int) -> None:
        """Follow one operation that returned `result`."""
        f = op.resolve(nr)
        proc = str(f.get("proc"))
        first, npages = int(f.get("start") or 0), int(f.get("npages") or 1)
        pages = range(first, first + npages)
        if result == KILLED_BY_SIGBUS or op.op == "exit":
            del self.prot[proc], self.contents[proc], self.flags[proc], self.guards[proc]
        elif op.op == "mmap":
            self.prot[proc] = dict.fromkeys(range(int(f["thps"] or 0) * nr), "rw")
            self.contents[proc] = dict.fromkeys(self.prot[proc], ZERO)
            self.flags[proc] = {page: set() for page in self.prot[proc]}
            self.guards[proc] = set()
        elif op.op == "fork" and result == 0:
            self._fork(proc, str(f["child"]))
        elif op.op == "mprotect":
            for page in pages:
                if page not in self.prot[proc]:
                    assert result == ENOMEM, "mprotect jumps over a hole"
                    break
                self.prot[proc][page] = str(f["prot"])
        elif op.op == "madvise":
            self._madvise(proc, pages, str(f["advice"]), result)
        elif op.op in ("mlock", "munlock"):
            self._mlock(proc, pages, op.op == "mlock", result)
        elif op.op == "mremap":
            at = int(f["at"] or 0)
            self._mremap(proc, pages, range(at, at + npages), bool(f["dontunmap"]), result)
        elif op.op == "munmap":
            self._unmap(proc, pages)
        elif op.op in ("write", "fill"):
            force = bool(f.get("force"))
            for page in pages:
                if page not in self.prot[proc] or page in self.guards[proc] or (self.prot[proc][page] != "rw" and not force):
                    assert result == (EIO if force else EFAULT), f"{op} ignores a protection"
                    break
                self.contents[proc][page] = self._stored(op, f, self.contents[proc][page])

    def compare(self, state: State, where: str) -> None:
        """Assert that every process reads what it should, on each page of its region R."""
        assert {p.name for p in state.processes} == set(self.contents), where
        for process, pages in self.contents.items():
            seen = state.contents(process)
            bad = _poisoned(state, process)
            pages = {page: content for page, content in pages.items() if page < len(seen) and page not in bad}
            for page, (rest, byte) in pages.items():
                found = seen[page]
                if found is None:
                    assert (rest, byte) == ZERO, f"{where}: {process} page {page}"
                    continue
                assert found >> 32 if rest is None else found >> 8 == rest, f"{where}: {process} page {page}"
                assert byte in (None, found & 0xFF), f"{where}: {process} page {page}"

    def _unmap(self, proc: str, pages: Iterable[int]) -> None:
        for page in pages:
            for kept in (self.prot, self.contents, self.flags):
                kept[proc].pop(page, None)
            self.guards[proc].discard(page)

    def _fork(self, proc: str, child: str) -> None:
        copied = [page for page in self.prot[proc] if "dontfork" not in self.flags[proc][page]]
        self.prot[child] = {page: self.prot[proc][page] for page in copied}
        self.guards[child] = {page for page in copied if page in self.guards[proc] and "wipeonfork" not in self.flags[proc][page]}
        self.flags[child] = {page: self.flags[proc][page] - {"locked"} for page in copied}
        self.contents[child] = {page: ZERO if "wipeonfork" in self.flags[proc][page] else self.contents[proc][page] for page in copied}

    def _madvise(self, proc: str, pages: range, advice: str, result: int) -> None:
        mapped = [page for page in pages if page in self.prot[proc]]
        if advice in ("dontfork", "dofork", "wipeonfork") and result != EINVAL:
            assert result == (0 if len(mapped) == len(pages) else ENOMEM), "a hole is told of"
            for page in mapped:
                self.flags[proc][page] = self.flags[proc][page] - {"dontfork"} if advice == "dofork" else self.flags[proc][page] | {advice}
        elif advice == "guard_install" and self.knows_guards:
            for page in mapped:
                if "locked" in self.flags[proc][page]:
                    assert result == EINVAL, "locked memory is thrown away"
                    break
                self.contents[proc][page] = ZERO
                self.guards[proc].add(page)
        elif advice == "guard_remove" and self.knows_guards:
            self.guards[proc] -= set(mapped)
        elif advice == "dontneed":
            for page in mapped:
                if "locked" in self.flags[proc][page]:
                    assert result == EINVAL, "locked memory is thrown away"
                    break
                self.contents[proc][page] = ZERO

    def _mlock(self, proc: str, pages: range, locks: bool, result: int) -> None:
        for page in pages:
            if page not in self.flags[proc]:
                assert result == ENOMEM, "nothing is locked"
                break
            self.flags[proc][page] = self.flags[proc][page] - {"locked"} | ({"locked"} if locks else set())

    def _mremap(self, proc: str, pages: range, to: range, dontunmap: bool, result: int) -> None:
        unknown = dontunmap and not self.dontunmap
        nothing = not unknown and self.looks_first and pages.start not in self.prot[proc]
        if nothing or unknown or set(pages) & set(to):
            assert result == (EFAULT if nothing else EINVAL)
            return
        if self.moves_vmas and result == EFAULT:
            return
        pairs = [(old, new) for old, new in zip(pages, to, strict=True) if old in self.prot[proc] or not self.moves_vmas]
        self._unmap(proc, [new for _, new in pairs])
        if result == EFAULT:
            return
        for old, new in pairs:
            self.prot[proc][new] = self.prot[proc][old]
            self.contents[proc][new] = self.contents[proc][old]
            self.flags[proc][new] = self.flags[proc][old]
            if old in self.guards[proc]:
                self.guards[proc].add(new)
        if not dontunmap:
            self._unmap(proc, [old for old, _ in pairs])
            return
        for old, _ in pairs:
            self.contents[proc][old] = ZERO
            self.flags[proc][old] = self.flags[proc][old] - {"locked"}
            self.guards[proc].discard(old)

    @staticmethod
    def _stored(op: Operation, f: Mapping[str, object], before: Content) -> Content:
        if op.op == "write":
            return before[0], int(str(f["value"]))
        return {"zero": ZERO, "same": (0x77777777777777, 0x77), "unique": (None, None)}[str(f["pattern"])]


def _poisoned(state: State, process: str) -> set[int]:
    """The pages of a process that nobody can read any more."""
    base, size = dict(state.process(process).regions)["R"].start, state.geometry.page_size
    bad = [m for m in state.mapped if m.process == process and m.kind == "hwpoison"]
    return {(m.address - base) // size + i for m in bad for i in range(m.count)}
