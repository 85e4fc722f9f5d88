"""The operations: one table, read by the text form, by JSON, by the machine and its processes,
by live runs and by the sandbox.

Source: the op vocabulary of tests/truth/README.md (parts A, B and C) and the recorder's defaults. What a row says is
said nowhere else; what only a machine can know (does the process live, is the page mapped) its starter checks
(thplab.machine.operations).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from thplab.errors import BadInput, shown
from thplab.scenario.kinds import Choice, Flag, HugePages, Kind, Number, PageNumber, Value, Word

NAME = Word("[A-Za-z_][A-Za-z0-9_]*", "a name of letters, digits and _", 64)
WORD = Word(r"[^\s;=]+", "a text without spaces, ';' and '='", 200)
PAGE = PageNumber(0)
COUNT = PageNumber(1)
THPS = HugePages()
FLAG = Flag()
BYTE = Number(0, 255, hexadecimal=True)
SCANS = Number(0, 1000)
SECONDS = Number(0, 3600)
BYTES = Number(0, 10**15)
CLEAR_REFS = Number(0, 255)
ORDER = Number(0, 20)
ADVISE = Choice(("hugepage", "none"), null="none")
PROT = Choice(("none", "r", "rw"))
PATTERN = Choice(("unique", "same", "zero"))
PIN_HOW = Choice(("vmsplice", "io_uring", "raw", "gup", "gupw", "fsplit", "pup"))
SPLIT_HOW = Choice(("direct", "debugfs"))
ADVICE = Choice(
    (
        "dontneed", "free", "cold", "pageout", "collapse", "hugepage", "nohugepage", "mergeable", "unmergeable",
        "populate_write", "dontfork", "dofork", "wipeonfork", "soft_offline", "hwpoison",
        "guard_install", "guard_remove",
    )
)  # fmt: skip


class Refusal(NamedTuple):
    """Why a live run on a real kernel does not perform something, and what to write instead."""

    why: str
    instead: str


@dataclass(frozen=True)
class FieldSpec:
    """One field of an operation. A field that is not `required` has a default;
    None means that it is left out altogether.
    """

    name: str
    kind: Kind
    required: bool = True
    default: Value = None
    keyed: bool = False
    """Written only as name=value, never by position."""
    note: str = ""
    """Who understands the field, if not everybody does."""
    simulated: bool = True
    """A machine is told of it; else only the recorder of real kernels understands it."""
    not_live: Mapping[Any, Refusal] = field(default_factory=dict, hash=False)
    """Values with which a live run does not perform the operation."""

    def usage(self) -> str:
        """How the field is written, for a usage line: `npages`, `[npages]` or `[region=...]`."""
        text = f"{self.name}=..." if self.keyed else self.name
        return text if self.required else f"[{text}]"


@dataclass(frozen=True)
class OpSpec:
    """One operation: what it is about, its fields in the order in which they are written, and who can perform it.

    One that names its process first is a method of `Process`, any other that is built one of `Machine`.
    """

    group: str
    """One of GROUPS."""
    doc: str
    fields: tuple[FieldSpec, ...] = ()
    one_of: tuple[str, ...] = ()
    """Two fields of which exactly one must be given."""
    built: bool = True
    """A simulated kernel can perform it, if not every one."""
    not_live: Refusal | None = None
    """Why a live run does not perform it; None if it does."""

    @property
    def kernel_only(self) -> bool:
        """Only a simulated kernel can be told so: no system call asks a real one for exactly that."""
        return self.not_live is not None and self.not_live.why == _KERNEL_ALONE

    @property
    def of_process(self) -> bool:
        """A process does it, or it is done to one: it is named first."""
        return self.fields[:1] == (_PROC,)

    @property
    def simulated(self) -> tuple[FieldSpec, ...]:
        """The fields that a machine is told of."""
        return tuple(field for field in self.fields if field.simulated)

    def field(self, op: str, name: str) -> FieldSpec:
        """The field called `name`. Raises BadInput, naming near ones, if operation `op` has no such field."""
        for each in self.fields:
            if each.name == name:
                return each
        raise BadInput(
            op, f"has no field {shown(name)}", near(name, [each.name for each in self.fields]) if self.fields else op
        )


def spec_of(op: str) -> OpSpec:
    """The table's entry for operation `op`. Raises BadInput, naming near operations, if there is none."""
    if op not in VOCABULARY:
        raise BadInput("operation", f"{shown(op)} is unknown", near(op, VOCABULARY))
    return VOCABULARY[op]


def usage(op: str) -> str:
    """How operation `op` is written: `mprotect proc start npages prot [region=...]`."""
    return " ".join([op, *(field.usage() for field in VOCABULARY[op].fields)])


def near(word: str, words: Iterable[str]) -> str:
    """What to write instead of `word`, for an error message:
    the most similar of `words`, or all of them if none is similar.
    """
    every = sorted(words)
    close = difflib.get_close_matches(word[:100], every, n=3, cutoff=0.5)
    return " or ".join(close) if close else "one of " + ", ".join(every)


def _must(name: str, kind: Kind, not_live: Mapping[Any, Refusal] | None = None) -> FieldSpec:
    return FieldSpec(name, kind, not_live=not_live or {})


def _may(
    name: str, kind: Kind, default: Value = None, keyed: bool = False, not_live: Mapping[Any, Refusal] | None = None
) -> FieldSpec:
    return FieldSpec(name, kind, required=False, default=kind.accept(default), keyed=keyed, not_live=not_live or {})


def _key(name: str, kind: Kind, default: Value = None) -> FieldSpec:
    return _may(name, kind, default, keyed=True)


def _recorder(field: FieldSpec, note: str) -> FieldSpec:
    return replace(field, note=f"only the recorder of real kernels {note}", simulated=False)


SETTING = "changes a setting of the whole system, which a live run never does"
_KERNEL_ALONE = "is done by the kernel alone: no system call asks for it"
_MODULE = "needs a module in the kernel"
_OFFLINE = Refusal("takes a page frame away from the whole system", "the simulator (thplab run)")
_SOFT_DIRTY = Refusal("does what the kernel is configured to do (CONFIG_MEM_SOFT_DIRTY)", "clear_refs ... 1")
_PAGEOUT = Refusal(SETTING, "madvise ... pageout")

_PROC, _START, _NPAGES, _ONE_PAGE = (
    _must("proc", NAME),
    _must("start", PAGE),
    _must("npages", COUNT),
    _may("npages", COUNT, 1),
)
_REGION = _key("region", NAME, "R")
_RANGE = (_PROC, _START, _NPAGES)

VOCABULARY: dict[str, OpSpec] = {
    "mmap": OpSpec(
        "memory",
        "map a private anonymous region of whole huge pages, 2 MiB aligned, and advise it; nothing is faulted in",
        (_PROC, _may("thps", THPS, 1), _may("advise", ADVISE, "hugepage"), _key("prot", PROT, "rw"), _REGION),
    ),
    "write": OpSpec(
        "memory",
        "write one byte into each page; by force through the process's file mem, whatever its protection is",
        (_PROC, _START, _ONE_PAGE, _key("value", BYTE, 0x55), _key("force", FLAG, False), _REGION),
    ),
    "read": OpSpec("memory", "read one byte of each page", (_PROC, _START, _ONE_PAGE, _REGION)),
    "fill": OpSpec(
        "memory",
        "write whole pages: every page different, all alike, or all zero",
        (*_RANGE, _may("pattern", PATTERN, "unique"), _REGION),
    ),
    "fork": OpSpec("processes", "fork a process; the child gets the same regions", (_PROC, _must("child", NAME))),
    "exit": OpSpec("processes", "end a process and reap it", (_PROC,)),
    "mprotect": OpSpec("memory", "change what may be done with pages", (*_RANGE, _must("prot", PROT), _REGION)),
    "munmap": OpSpec("memory", "unmap pages", (*_RANGE, _REGION)),
    "mlock": OpSpec("memory", "lock pages in memory", (*_RANGE, _REGION)),
    "munlock": OpSpec("memory", "undo mlock", (*_RANGE, _REGION)),
    "madvise": OpSpec(
        "memory",
        "give the kernel advice about pages",
        (*_RANGE, _must("advice", ADVICE, dict.fromkeys(("soft_offline", "hwpoison"), _OFFLINE)), _REGION),
    ),
    "mremap": OpSpec(
        "memory",
        "move pages to page `at` of region `to`, or leave them where they are; they are `size` pages from then on",
        (*_RANGE, _may("to", NAME), _may("at", PAGE, 0), _key("size", COUNT), _key("dontunmap", FLAG, False), _REGION),
    ),
    "pin": OpSpec(
        "pins",
        "take a reference on pages and give it a name, as a driver would",
        (
            *_RANGE,
            _must("pin", NAME),
            _may(
                "how",
                PIN_HOW,
                "vmsplice",
                not_live=dict.fromkeys(PIN_HOW.words[2:], Refusal(_MODULE, "vmsplice or io_uring")),
            ),
            _REGION,
        ),
    ),
    "dma_read": OpSpec(
        "pins",
        "let a driver's device read one byte of a page that a pin holds: page `start` of the pin, not of the process",
        (_must("pin", NAME), _may("start", PAGE, 0)),
    ),
    "dma_write": OpSpec(
        "pins",
        "let a driver's device write one byte into a page that a pin holds: page `start` of the pin, not of "
        "the process",
        (_must("pin", NAME), _may("start", PAGE, 0), _key("value", BYTE, 0xAA)),
    ),
    "unpin": OpSpec(
        "pins",
        "give back a named pin; proc need not be named",
        (_must("pin", NAME), _recorder(_key("proc", NAME), "asks who took the pin")),
    ),
    "split": OpSpec(
        "splits",
        "split_huge_page() on the page under `start`, or on the head of the page that a pin holds",
        (
            _PROC,
            _may("start", PAGE),
            replace(_ONE_PAGE, note="a direct split is of one page, whatever is written here"),
            _may("how", SPLIT_HOW, "direct"),
            replace(_key("order", ORDER), note="nobody looks at it where pages are split into single ones only"),
            _key("pin", NAME),
            _REGION,
        ),
        one_of=("start", "pin"),
        not_live=Refusal(_MODULE, "madvise ... cold of part of the THP"),
    ),
    "split_pmd": OpSpec(
        "splits",
        "split_huge_pmd() on the mapping of `start`",
        (_PROC, _START, _REGION),
        not_live=Refusal(_KERNEL_ALONE, "mprotect of one page"),
    ),
    "swap_out": OpSpec(
        "callers",
        "reclaim tries to swap out the huge page under `start`, which it has to split first",
        (_PROC, _START, _REGION),
        not_live=Refusal(_KERNEL_ALONE, "madvise ... pageout of part of the THP"),
    ),
    "migrate": OpSpec(
        "callers",
        "move the page under `start`, or the huge page that it is part of, to another frame",
        (_PROC, _START, _REGION),
        not_live=Refusal(_KERNEL_ALONE, "sys /proc/sys/vm/compact_memory 1, which moves small pages"),
    ),
    "khugepaged_scan": OpSpec(
        "callers",
        "let khugepaged make full scans",
        (_must("scans", SCANS),),
        not_live=Refusal(SETTING, "madvise ... collapse"),
    ),
    "ksm_scan": OpSpec(
        "callers",
        "let ksmd make full scans, for at most `timeout` seconds",
        (_may("scans", SCANS, 3), _recorder(_may("timeout", SECONDS, 5), "waits for ksmd")),
        not_live=Refusal(SETTING, "madvise ... mergeable, and the simulator for the scan (thplab run)"),
    ),
    "clear_refs": OpSpec(
        "callers",
        "write to the process's clear_refs file: 1 or 2 forgets what was used, 4 what was written (soft-dirty)",
        (_PROC, _must("value", CLEAR_REFS, {4: _SOFT_DIRTY})),
    ),
    "sys": OpSpec(
        "callers",
        "write a system setting; it is put back at the end unless restore=no",
        (_must("path", WORD), _must("value", WORD), _recorder(_key("restore", FLAG, True), "puts it back")),
        not_live=Refusal(SETTING, "madvise ... pageout, which splits a THP that is mapped in part"),
    ),
    "memcg_new": OpSpec(
        "callers", "put a process into a memory cgroup of its own", (_PROC,), built=False, not_live=_PAGEOUT
    ),
    "memcg_limit": OpSpec(
        "callers", "limit the memory cgroup", (_must("bytes", BYTES),), built=False, not_live=_PAGEOUT
    ),
    "memcg_force_empty": OpSpec("callers", "reclaim all that the memory cgroup holds", built=False, not_live=_PAGEOUT),
}

GROUPS: dict[str, tuple[str, ...]] = {
    group: tuple(op for op, spec in VOCABULARY.items() if spec.group == group)
    for group in ("processes", "memory", "pins", "splits", "callers")
}
"""All operations by what they are about, in the order in which a reader is offered them.
Callers are those who ask for splits.
"""
