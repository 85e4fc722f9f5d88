"""The operations that a scenario can hold: one table, read by the text form, by JSON and by whoever runs a scenario.

Source: the op vocabulary of tests/truth/README.md (parts A, B and C) and the recorder's defaults. Kernel-only operations are
what only the simulator can be told to do; no system call asks a real kernel for exactly that.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from thplab.errors import BadInput
from thplab.scenario.kinds import Choice, Flag, HugePages, Kind, Number, PageNumber, Value, Word

NAME = Word("[A-Za-z_][A-Za-z0-9_]*", "a name of letters, digits and _")
WORD = Word(r"[^\s;=]+", "a text without spaces, ';' and '='")
PAGE = PageNumber(0)
COUNT = PageNumber(1)
THPS = HugePages()
FLAG = Flag()
BYTE = Number(0, 255, hexadecimal=True)
NUMBER = Number(0, 10**15)
ORDER = Number(0, 20)
ADVISE = Choice(("hugepage", "none"), null="none")
PROT = Choice(("none", "r", "rw"))
PATTERN = Choice(("unique", "same", "zero"))
PIN_HOW = Choice(("vmsplice", "io_uring", "raw", "gup", "gupw", "fsplit"))
SPLIT_HOW = Choice(("direct", "debugfs"))
ADVICE = Choice(
    (
        "dontneed", "free", "cold", "pageout", "collapse", "hugepage", "nohugepage", "mergeable", "unmergeable",
        "populate_write", "dontfork", "wipeonfork", "soft_offline", "hwpoison",
    )
)  # fmt: skip


@dataclass(frozen=True)
class FieldSpec:
    """One field of an operation. A field that is not `required` has a default; None means that it is left out altogether."""

    name: str
    kind: Kind
    required: bool = True
    default: Value = None
    keyed: bool = False
    """Written only as name=value, never by position."""

    def usage(self) -> str:
        """How the field is written, for a usage line: `npages`, `[npages]` or `[region=...]`."""
        text = f"{self.name}=..." if self.keyed else self.name
        return text if self.required else f"[{text}]"


@dataclass(frozen=True)
class OpSpec:
    """One operation: its fields, in the order in which the text form writes them, and who can perform it."""

    doc: str
    fields: tuple[FieldSpec, ...]
    one_of: tuple[str, ...] = ()
    """Fields of which exactly one must be given."""
    kernel_only: bool = False
    portable_equivalent: str | None = None
    """For a kernel-only operation: what to do on a real kernel instead."""

    def field(self, op: str, name: str) -> FieldSpec:
        """The field called `name`. Raises BadInput, naming near ones, if operation `op` has no such field."""
        for field in self.fields:
            if field.name == name:
                return field
        raise BadInput(op, f"has no field {name!r}", near(name, [field.name for field in self.fields]) if self.fields else op)


def spec_of(op: str) -> OpSpec:
    """The table's entry for operation `op`. Raises BadInput, naming near operations, if there is none."""
    if op not in VOCABULARY:
        raise BadInput("operation", f"{op!r} is unknown", near(op, VOCABULARY))
    return VOCABULARY[op]


def usage(op: str) -> str:
    """How operation `op` is written: `mprotect proc start npages prot [region=...]`."""
    return " ".join([op, *(field.usage() for field in VOCABULARY[op].fields)])


def near(word: str, words: Iterable[str]) -> str:
    """What to write instead of `word`, for an error message: the most similar of `words`, or all of them if none is similar."""
    every = sorted(words)
    close = difflib.get_close_matches(word, every, n=3, cutoff=0.5)
    return " or ".join(close) if close else "one of " + ", ".join(every)


def _must(name: str, kind: Kind) -> FieldSpec:
    return FieldSpec(name, kind)


def _may(name: str, kind: Kind, default: Value = None) -> FieldSpec:
    return FieldSpec(name, kind, required=False, default=kind.accept(default))


def _key(name: str, kind: Kind, default: Value = None) -> FieldSpec:
    return FieldSpec(name, kind, required=False, default=kind.accept(default), keyed=True)


_PROC, _START, _NPAGES, _ONE_PAGE = _must("proc", NAME), _must("start", PAGE), _must("npages", COUNT), _may("npages", COUNT, 1)
_REGION = _key("region", NAME, "R")
_RANGE = (_PROC, _START, _NPAGES)

VOCABULARY: dict[str, OpSpec] = {
    "mmap": OpSpec(
        "map a private anonymous region of whole huge pages, 2 MiB aligned, and advise it; nothing is faulted in",
        (_PROC, _may("thps", THPS, 1), _may("advise", ADVISE, "hugepage"), _REGION),
    ),
    "write": OpSpec("write one byte into each page", (_PROC, _START, _ONE_PAGE, _key("value", BYTE, 0x55), _REGION)),
    "read": OpSpec("read one byte of each page", (_PROC, _START, _ONE_PAGE, _REGION)),
    "fill": OpSpec(
        "write whole pages: every page different, all alike, or all zero", (*_RANGE, _may("pattern", PATTERN, "unique"), _REGION)
    ),
    "fork": OpSpec("fork a process; the child gets the same regions", (_PROC, _must("child", NAME))),
    "exit": OpSpec("end a process and reap it", (_PROC,)),
    "mprotect": OpSpec("change what may be done with pages", (*_RANGE, _must("prot", PROT), _REGION)),
    "munmap": OpSpec("unmap pages", (*_RANGE, _REGION)),
    "mlock": OpSpec("lock pages in memory", (*_RANGE, _REGION)),
    "munlock": OpSpec("undo mlock", (*_RANGE, _REGION)),
    "madvise": OpSpec("give the kernel advice about pages", (*_RANGE, _must("advice", ADVICE), _REGION)),
    "mremap": OpSpec("move pages to page `at` of region `to`", (*_RANGE, _must("to", NAME), _must("at", PAGE), _REGION)),
    "pin": OpSpec(
        "take a reference on pages and give it a name, as a driver would",
        (*_RANGE, _must("pin", NAME), _may("how", PIN_HOW, "vmsplice"), _REGION),
    ),
    "unpin": OpSpec("give back a named pin; proc need not be named", (_must("pin", NAME), _key("proc", NAME))),
    "split": OpSpec(
        "split_huge_page() on the page under `start`, or on the head of the page that a pin holds",
        (_PROC, _may("start", PAGE), _ONE_PAGE, _may("how", SPLIT_HOW, "direct"), _key("order", ORDER), _key("pin", NAME), _REGION),
        one_of=("start", "pin"),
    ),
    "sys": OpSpec(
        "write a system setting; it is put back at the end unless restore=no",
        (_must("path", WORD), _must("value", WORD), _key("restore", FLAG, True)),
    ),
    "clear_refs": OpSpec("write to the process's clear_refs file", (_PROC, _must("value", NUMBER))),
    "ksm_scan": OpSpec("let ksmd make full scans, for at most `timeout` seconds", (_may("scans", NUMBER, 3), _may("timeout", NUMBER, 5))),
    "khugepaged_scan": OpSpec("let khugepaged make full scans", (_must("scans", NUMBER),)),
    "memcg_new": OpSpec("put a process into a memory cgroup of its own", (_PROC,)),
    "memcg_force_empty": OpSpec("reclaim all that the memory cgroup holds", ()),
    "memcg_limit": OpSpec("limit the memory cgroup", (_must("bytes", NUMBER),)),
    "swap_out": OpSpec(
        "reclaim tries to swap out the huge page under `start`, which it has to split first",
        (_PROC, _START, _REGION),
        kernel_only=True,
        portable_equivalent="madvise ... pageout of part of the THP",
    ),
    "migrate": OpSpec(
        "move the page under `start`, or the huge page that it is part of, to another frame",
        (_PROC, _START, _REGION),
        kernel_only=True,
        portable_equivalent="sys /proc/sys/vm/compact_memory 1, which moves small pages",
    ),
    "split_pmd": OpSpec(
        "split_huge_pmd() on the mapping of `start`",
        (_PROC, _START, _REGION),
        kernel_only=True,
        portable_equivalent="mprotect of one page",
    ),
}

GROUPS: dict[str, tuple[str, ...]] = {
    "processes": ("fork", "exit"),
    "memory": ("mmap", "write", "read", "fill", "mprotect", "munmap", "mlock", "munlock", "madvise", "mremap"),
    "pins": ("pin", "unpin"),
    "splits": ("split", "split_pmd"),
    "callers": ("swap_out", "migrate", "khugepaged_scan", "ksm_scan", "clear_refs", "sys", "memcg_new", "memcg_limit", "memcg_force_empty"),
}
"""All operations by what they are about, in the order in which a reader is offered them. Callers are those who ask for splits."""
