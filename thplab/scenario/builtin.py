"""The built-in scenarios, as text, and how a scenario is found by name, by file or by its own text."""

from __future__ import annotations

import re
from pathlib import Path

from thplab.errors import BadInput, shown
from thplab.foreign import read_lines, read_text
from thplab.scenario.scenario import RECORD, Scenario
from thplab.scenario.vocabulary import near

# The story follows the RFC's cover letter (9 June 2014) phase by phase.
_TEXTS = {
    "story": """
scenario story: the RFC's own story: one huge page, two processes, two kinds of split
phase A maps a huge page
why A asks for memory and writes one byte. The kernel puts a whole huge page there and maps all of it with one PMD.
mmap A
write A 0
phase A forks B
why B gets a page table of its own, over the same memory. Watch what the head counts and what the tails count.
fork A B
phase B splits one PMD
why B makes a single page in the middle read-only. Its VMA falls into three, and one PMD cannot serve all three. split_huge_pmd()
why turns B's PMD into a table of PTEs. It leaves A's PMD alone and the page in one piece, and it cannot fail.
mprotect B 1/2thp 1 r
phase Two ways to the same memory
why A and B read the same page, A through its PMD and B through a PTE. Look at the counters while nothing changes: each tail counts
why B's PTE; the head counts A's PMD and B's PTE of its first small page in one field.
read B 1/2thp
read A 1/2thp
phase A pin, then swap-out
why A driver takes a reference on one small page of A: a pin. Then memory runs short, and reclaim asks for a split of the page itself.
pin A 1/2thp 1 dma
swap_out A 0
phase The pin is gone
why The driver lets go. Then somebody asks for the split of the page again.
unpin dma
split A 0
phase Unmap and exit
why B unmaps one small page. Then B exits, and then A.
munmap B 1/2thp 1
exit B
exit A
""",
    "cow": """
scenario cow: parent and child both write to the page they share after fork
mmap A
write A 0
fork A B
write B 1/2thp
write A 1/2thp
exit B
exit A
""",
    "partial_munmap": """
scenario partial_munmap: one small page in the middle is unmapped; does its memory come back?
mmap A
write A 0
munmap A 1/2thp 1
exit A
""",
    "last_pmd": """
scenario last_pmd: B splits its PMD and exits; A's PMD is the last mapping, and what B left in the counters shows
mmap A
write A 0
fork A B
mprotect B 1/2thp 1 r
exit B
exit A
""",
    "small_pages": """
scenario small_pages: no huge page anywhere: each small page is counted on its own
mmap A advise=none
write A 0 1/2thp
fork A B
write B 0
exit B
exit A
""",
    "zero_page": """
scenario zero_page: reading untouched memory maps the shared huge zero page; the first write replaces it
mmap A
read A 1/2thp
write A 0
exit A
""",
    "pinned_munmap": """
scenario pinned_munmap: the whole region is unmapped while one small page is pinned; the pin keeps all of it
mmap A
write A 0
pin A 1/2thp 1 dma
munmap A 0 1thp
unpin dma
exit A
""",
    "pinned_split": """
scenario pinned_split: advice about a part of a huge page asks for its split; a pin refuses it, and then no longer
mmap A
fill A 0 1thp
pin A 1 1 dma
madvise A 1/2thp 2 cold
unpin dma
madvise A 1/2thp 2 cold
exit A
""",
}


def builtin() -> tuple[str, ...]:
    """The names of the built-in scenarios, the story first."""
    return tuple(_TEXTS)


def load(source: str) -> Scenario:
    """The scenario that `source` names.

    It is, in this order: a built-in name; FILE.jsonl:NAME, a record of a truth file; the path of a file that holds the
    text form; the text itself, if it contains a space, a line break or a ';'. Raises BadInput if it is none of these,
    or cannot be read.
    """
    if source in _TEXTS:
        return Scenario.parse(_TEXTS[source])
    path, name = _file_and_name(source)
    if path is not None:
        return _load_record(path, name) if name else Scenario.parse(read_text(path, "a text file in UTF-8"))
    if re.search(r"\s|;", source):
        return Scenario.parse(source)
    raise BadInput(
        "scenario",
        f"{shown(source)} is neither built in nor a file nor operations",
        f"{near(source, _TEXTS)}, a file or operations",
    )


def source_file(source: str) -> Path | None:
    """The file that load() reads for `source`; None for a built-in name or operations."""
    return None if source in _TEXTS else _file_and_name(source)[0]


def _file_and_name(source: str) -> tuple[Path | None, str]:
    """The file that `source` names, if it names one, and the record in it, if it is a truth file."""
    record = re.fullmatch(r"(.+\.jsonl):([^:\s]+)", source)
    if record is not None:
        return Path(record.group(1)), record.group(2)
    # A text is no path, and may be longer than one can be.
    return (Path(source) if _is_file(source) else None), ""


def _is_file(source: str) -> bool:
    try:
        return Path(source).is_file()
    except (OSError, ValueError):  # a name too long, or with a NUL
        return False


def _load_record(path: Path, name: str) -> Scenario:
    names: list[str] = []
    for where, record in read_lines(path, RECORD, "a truth file"):
        found = record.get("name")
        if found == name:
            try:
                return Scenario.from_record(record)
            except BadInput as wrong:
                raise BadInput(f"{where}: {wrong.argument}", wrong.wrong, wrong.right) from None
        names.append(str(found))
    raise BadInput("scenario", f"{name!r} is not in {path}", near(name, names))
