"""Recorded steps (tests/truth/steps/README.md) as a flat row of stores, flushes and locks,
in the words in which a machine is compared.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from thplab.errors import BadInput
from thplab.foreign import parse, read_lines, read_text
from thplab.kernel.schemes.folio import ENTIRELY_MAPPED
from thplab.study.verify.records import kernel_name
from thplab.study.verify.shapes import RECORDING

Value = int | str


class Store(NamedTuple):
    """One store of a word, a TLB flush (place FLUSH), or a lock that lies in a struct page taken or given back.

    `place` is a struct page (`F0[8]`), an entry (`PMD A[0]`) or the page of a table.
    Of flags `new` says which are set and cleared.
    """

    place: str
    field: str
    old: Value
    new: Value


FLUSH = Store("FLUSH", "", "", "")


class Event(NamedTuple):
    """A store, and where it was: the function that did it,
    and the step of the recording or of the machine that it is (part of).
    """

    store: Store
    by: str
    step: int


class Raw(NamedTuple):
    """A recorded step, one of those that a loop or a repeat stands for."""

    by: str
    place: str
    field: str
    old: Value
    new: Value
    step: int


NOT_COMPARED = {
    "CALL": "a function was entered: no store",
    "mapping, index, private": "tails have them all the time here; they are for the reverse map, which is compared by "
    "what it finds",
    "page_type, compound_dtor, compound_order, compound_nr, _nr_pages": "what a page is allocated as",
    "memcg_data, lru, pt_list, pt_mm": "memory cgroups, and lists and owners that the simulator does not have",
    "flags uptodate, large_rmappable, error": "say nothing that is not known by other means",
    "flags lru, active, workingset, unevictable, reclaim": "the LRU, of which the simulator has one flag and "
    "no lists",
    "flags that mark_page_accessed sets": "the LRU's, by which pages age; that GUP-fast sets PG_referenced is compared",
    "the allocator's stores": "a page is made or given back (prep_compound_page, free_unref_page ...): one step here",
    "references of LRU batches": "a page that waits in a CPU's batch has one until that is carried out; taken off "
    "all counts",
    "_refcount of page tables": "5.10's debugfs file takes one for a moment on each page frame of the machine",
    "struct page of hugezero": "made and freed when earlier scenarios want it; the entries that map it are compared",
    "deferred list, moved": "to the shrinker's own list and back: it is on a list all the time; on and off are "
    "compared",
    "special bit of a huge PMD": "6.18 marks the huge zero PMD with it; the simulator knows the page by its pfn",
    "dirty bit of a read-only entry that is not present": "_PAGE_SAVED_DIRTY of 6.12 and 6.18 is not recorded",
    "accessed and dirty bits set by the hardware": "no stores of the kernel; the values that it stores later are "
    "compared",
    "ptl let go in the middle of a zap": "wherever the time was up (need_resched)",
    "flush after an entry of another memory": "the recorder's own pages: ptep_clear_flush without a store to a table "
    "of the scenario",
}
"""What of recorded steps is not compared -> why. docs/verify.md shows this table; a test compares the two."""

_NO_FIELDS = re.compile(
    r"mapping|index|private|page_type|compound_dtor|compound_order|compound_nr|_nr_pages|_folio_nr_pages|memcg_data|"
    r"lru\.\w+|pt_list\.\w+|pt_mm|tail@16"
)
_FIELDS = re.compile(
    r"_refcount|_mapcount|compound_mapcount|_entire_mapcount|_large_mapcount|_nr_pages_mapped|_mm_id\[\d\]|"
    r"_mm_id_mapcount\[\d\]"
    r"|_pincount|compound_pincount|hpage_pinned_refcount|compound_head|_?deferred_list\.(?:next|prev)|flags|entry|ptl|"
    r"pmd_huge_pte"
)
_PLACES = re.compile(r"F\d+\[\d+\]|[no]\d+|pfn[0-9a-f]+|hugezero\[0\]|(?:PMD|PTE) \S+\[\d+\]|page of (?:PMD|PTE) \S+")
_FLUSHES = {"flush_tlb_mm_range", "arch_tlbbatch_flush", "flush_tlb_batched_pending", "tlb_remove_table_sync_one"}
"""What does flush. Other functions of the recordings' FLUSH (pmdp_invalidate ...) have one of these inside,
if they do.
"""
_FLUSHES_AN_ENTRY = {"ptep_clear_flush", "pmdp_huge_clear_flush", "pmdp_invalidate", "pmdp_collapse_flush"}

FLAGS = frozenset(
    [
        *(
            "head",
            "anon_exclusive",
            "partially_mapped",
            "double_map",
            "maybe_shared",
            "locked",
            "dirty",
            "swapbacked",
            "swapcache",
        ),
        *("referenced", "hwpoison", "has_hwpoisoned", "mlocked"),
    ]
)
"""The page flags that are compared, as the kernel calls them."""
_NO_FLAGS = frozenset(
    ["uptodate", "large_rmappable", "error", "lru", "active", "workingset", "unevictable", "reclaim"]
)
_ALIASES = {"owner_priv_1": "swapcache", "owner_2": "swapcache"}

_ALLOCATES = re.compile(
    r"get_page_from_freelist|prep_\w+|_*rmqueue\w*|try_to_claim_block|\w*alloc\w*|mm_get_huge_zero_folio"
)
_FREES = re.compile(
    r"free_pcp_prepare|free_pages_prepare|_*free_unref_\w+|free_tail_page_prepare|_*free_frozen_pages|__free_pages\w*|"
    r"__free_one_page"
    r"|_*page_cache_release|destroy_\w+|pagetable_dtor|tlb_remove_table\w*|_+p[tm][ed]_free_tlb|"
    r"shrink_huge_zero_page_scan"
)
_INTO_BATCH = re.compile(
    r"lru_cache_add\w*|folio_add_lru\w*|_*folio_batch_add_and_move|(?:folio_)?activate(?:_page)?|deactivate_\w+|"
    r"(?:mark_page|folio_mark)_\w+"
    r"|m(?:un)?lock_(?:folio|page)|mlock_new_(?:folio|page)"
)
_DRAINS_BATCH = re.compile(
    r"pagevec_lru_move_fn|folio_batch_move_lru|_*pagevec_lru_add_fn|lru_\w+_fn|lru_gen_add_folio|lru_(?:add|lazyfree|"
    r"activate|deactivate)"
    r"|mlock_(?:folio_batch|pagevec)"
)
_PUTS_BATCH = re.compile(r"release_pages|folios_put\w*")
_AGES = re.compile(r"(?:folio_)?mark_(?:page_)?accessed")
_ZAPS = re.compile(r"unmap_page_range|zap_pte_range|copy_page_range|copy_pte_range")

_SWAP_TYPES = {
    "v5.10": {"migr29": "hwpoison", "migr30": "migration read", "migr31": "migration write"},
    "v6.1": {
        "migr26": "hwpoison",
        "migr27": "migration read",
        "migr28": "migration read-exclusive",
        "migr29": "migration write",
    },
    "v6.12": {
        "migr27": "hwpoison",
        "migr28": "migration read",
        "migr29": "migration read-exclusive",
        "migr30": "migration write",
    },
    "v6.18": {
        "migr24": "hwpoison",
        "migr25": "migration read",
        "migr26": "migration read-exclusive",
        "migr27": "migration write",
    },
}
"""Kernel -> what the types of its non-present entries are (include/linux/swapops.h, as it was configured)."""


def hides_dirty(kernel: str) -> bool:
    """Is the dirty bit of a read-only entry of this kernel where the recorder sees it only if the entry is present
    (_PAGE_SAVED_DIRTY)?
    """
    return kernel in ("v6.12", "v6.18")


_RANGE = re.compile(r"(.*)\[(\d+)\.\.(\d+)\]$")


_FILE = "a file such as tests/truth/steps/steps-6.12.jsonl"
_MOST = 100_000
"""Steps that a recording unfolds to."""


def read_recordings(path: str | Path) -> list[dict[str, Any]]:
    """The recordings of a file of tests/truth/steps.
    Raises BadInput that names the line if one is none, or the file cannot be read.
    """
    records = [_checked(record, where) for where, record in read_lines(Path(path), RECORDING, _FILE)]
    if not records:
        raise BadInput("steps", f"{str(path)!r} holds no recording", "an object a line (tests/truth/steps/README.md)")
    return records


def read_recording(path: Path, line: int) -> dict[str, Any]:
    """The recording in one line, counted from 1, of such a file. Raises BadInput as read_recordings does."""
    where = f"{path}, line {line}"
    return _checked(parse(read_text(path, _FILE).split("\n")[line - 1], RECORDING, where), where)


def _checked(record: dict[str, Any], where: str) -> dict[str, Any]:
    if sum(step[1] * len(step[2]) if len(step) == 3 else step[5] for step in record["steps"]) > _MOST:
        raise BadInput(f"{where}: steps", "stand for too many", f"{_MOST:,} at most")
    try:
        list(unfold(record["steps"]))
    except ValueError as error:
        raise BadInput(f"{where}: steps", f"cannot be read ({error})", "E+n for ENTIRELY_MAPPED + n") from None
    return record


# --- unfolding --------------------------------------------------------------------------------------------------------


def unfold(steps: list[list[Any]]) -> Iterator[Raw]:
    """All steps of a recording one by one:
    loops and repeats as often as they were done, each with the values that it had then.
    """
    for number, step in enumerate(steps, 1):
        if len(step) == 3:
            yield from _repeated(step[2], step[1], number)
        else:
            yield from _repeated([step], step[5], number)


def _repeated(body: list[list[Any]], times: int, number: int) -> Iterator[Raw]:
    """A counter that stays the same place is written as from its first to its last value;
    what it gained each time follows from that.
    """
    totals: Counter[tuple[str, str]] = Counter()
    count: Counter[tuple[str, str]] = Counter()
    ranges = [_RANGE.match(place) for _, place, *_ in body]
    fixed = [
        times > 1 and isinstance(old, int) and isinstance(new, int) and not found
        for (_, _, _, old, new, _), found in zip(body, ranges, strict=True)
    ]
    for (_, place, field, old, new, _), is_fixed in zip(body, fixed, strict=True):
        if is_fixed:
            totals[place, field] += new - old
            count[place, field] += 1
    for turn in range(times):
        for (by, place, field, old, new, _), found, is_fixed in zip(body, ranges, fixed, strict=True):
            if is_fixed:
                gain = totals[place, field] // (1 + count[place, field] * (times - 1))
                yield Raw(by, place, field, old + turn * gain, new - (times - 1 - turn) * gain, number)
            elif found:
                first, last = int(found[2]), int(found[3])
                index = first + turn if last >= first else first - turn
                yield Raw(
                    by, f"{found[1]}[{index}]", field, _moved(old, first, index), _moved(new, first, index), number
                )
            elif times > 1 and field == "_nr_pages_mapped":
                gain = _number(new) - _number(old)
                yield Raw(by, place, field, _number(old) + turn * gain, _number(new) + turn * gain, number)
            else:
                yield Raw(by, place, field, old, new, number)


def _moved(value: Value, first: int, index: int) -> Value:
    return value.replace(f"[{first}]", f"[{index}]") if isinstance(value, str) else value


def _number(value: Value) -> int:
    """A count as it is stored: the recordings write ENTIRELY_MAPPED as E."""
    return value if isinstance(value, int) else ENTIRELY_MAPPED + int(value[2:])


# --- in the words of a comparison -------------------------------------------------------------------------------------


class Reading(NamedTuple):
    """What a recording says, in order, and what in it is of no kind that is known -> how many stores."""

    events: list[Event]
    unknown: Counter[str]


def recorded_events(record: Mapping[str, Any]) -> Reading:
    """The stores of a recording that are compared."""
    reader = _Reader(kernel_name(record["kernel"]))
    raws = tuple(unfold(record["steps"]))
    for at, raw in enumerate(raws):
        reader.read(raw, raws, at)
    return Reading(reader.events, reader.unknown)


class _Reader:
    def __init__(self, kernel: str) -> None:
        self.swap_types = _SWAP_TYPES.get(kernel, {})
        self.hides_dirty = hides_dirty(kernel)
        self.events: list[Event] = []
        self.unknown: Counter[str] = Counter()
        self.batched: Counter[str] = Counter()
        """Page -> references that a CPU's batches hold now; they are in every count that was recorded."""
        self.drained: set[str] = set()

    def read(self, raw: Raw, raws: tuple[Raw, ...], at: int) -> None:
        """Take in one step. `raws` are all, of which it is number `at`."""
        if raw.place in ("CALL", "FLUSH"):
            if _DRAINS_BATCH.fullmatch(raw.by):
                self.drained |= set(self.batched)
            if raw.by in _FLUSHES and not (
                at and raws[at - 1].place == "FLUSH" and raws[at - 1].by in _FLUSHES_AN_ENTRY
            ):
                self._add(FLUSH, raw)
        elif not _PLACES.fullmatch(raw.place) or not (_FIELDS.fullmatch(raw.field) or _NO_FIELDS.fullmatch(raw.field)):
            kind = re.sub(r"\d+", "#", raw.place)
            self.unknown[f"{kind} {raw.field}"] += 1
        elif raw.field == "entry":
            self._add(Store(raw.place, "entry", self.entry(str(raw.old)), self.entry(str(raw.new))), raw)
        elif raw.field == "ptl":
            if not _is_resched(raws, at):
                self._add(Store(raw.place, "ptl", raw.old, raw.new), raw)
        elif raw.field == "pmd_huge_pte":
            into = "withdraw" not in raw.by
            self._add(Store(raw.place, raw.field, "none" if into else "table", "table" if into else "none"), raw)
        elif not raw.place.startswith(("page of", "hugezero")) and not _NO_FIELDS.fullmatch(raw.field):
            self._struct_page(raw, raws, at)

    def _add(self, store: Store, raw: Raw) -> None:
        self.events.append(Event(store, raw.by, raw.step))

    def _struct_page(self, raw: Raw, raws: tuple[Raw, ...], at: int) -> None:
        by, place, field = raw.by, raw.place, raw.field
        if _DRAINS_BATCH.fullmatch(by):
            self.drained.add(place)
        if _ALLOCATES.fullmatch(by) or _FREES.fullmatch(by) or (field == "flags" and _AGES.fullmatch(by)):
            return
        if field == "flags":
            self._flags(raw)
        elif field.endswith(("deferred_list.next", "deferred_list.prev")):
            self._deferred(raw, raws, at)
        elif field == "compound_head":
            self._add(
                Store(
                    place,
                    field,
                    "tail" if "tail" in str(raw.old) else "none",
                    "tail" if "tail" in str(raw.new) else "none",
                ),
                raw,
            )
        elif field == "_refcount":
            self._refcount(raw)
        elif field == "_nr_pages_mapped":
            self._add(Store(place, field, _number(raw.old), _number(raw.new)), raw)
        else:
            self._add(Store(place, field, raw.old, raw.new), raw)

    def _refcount(self, raw: Raw) -> None:
        """References of batches are left out, of all values that follow, too."""
        place, old, new = raw.place, int(raw.old), int(raw.new)
        if _INTO_BATCH.fullmatch(raw.by) and new == old + 1:
            self.batched[place] += 1
            self.drained.discard(place)
        elif _PUTS_BATCH.fullmatch(raw.by) and new == old - 1 and self.batched[place] and place in self.drained:
            self.batched[place] -= 1
        else:
            self._add(Store(place, "_refcount", old - self.batched[place], new - self.batched[place]), raw)

    def _flags(self, raw: Raw) -> None:
        words = str(raw.old).replace("mm_ids lock", "mm_ids_lock").replace("mm_ids unlock", "mm_ids_unlock").split()
        if any(word[1:] == "large_rmappable" for word in words):
            # the second word of a folio's flags, in which its order is where other pages have locked and uptodate
            return
        for word in words:
            if word.startswith("mm_ids"):
                self._add(Store(raw.place, "mm_ids", *((0, 1) if word == "mm_ids_lock" else (1, 0))), raw)
        names = [word[0] + _ALIASES.get(word[1:], word[1:]) for word in words if not word.startswith("mm_ids")]
        for name in names:
            if name[1:] not in FLAGS | _NO_FLAGS:
                self.unknown[f"flag {name[1:]}"] += 1
        kept = sorted(name for name in names if name[1:] in FLAGS)
        if kept == ["+swapbacked"] and re.search("new_anon_rmap", raw.by):
            return  # of a page that nobody else sees yet: part of its making
        if kept:
            self._add(Store(raw.place, "flags", "", " ".join(kept)), raw)

    def _deferred(self, raw: Raw, raws: tuple[Raw, ...], at: int) -> None:
        """Two stores put a page on a list or take it off; they count at the first of them.
        One alone is a neighbour's link.
        """
        other = raws[at + 1] if at + 1 < len(raws) else raw
        if other.place != raw.place or other.by != raw.by or not other.field.endswith(("list.next", "list.prev")):
            return
        if at and raws[at - 1][:2] == raw[:2] and raws[at - 1].field.endswith(("list.next", "list.prev")):
            return  # the second of the two
        was_off, is_off = _is_off(raw.old, other.old), _is_off(raw.new, other.new)
        if was_off != is_off:
            self._add(Store(raw.place, "_deferred_list", *(("off", "on") if was_off else ("on", "off"))), raw)

    def entry(self, text: str) -> str:
        """A page-table entry as it is compared: what it is, what it names, and its bits in one order."""
        found = re.match(
            r"(none)|(table\([^)]*\))|((?:INVALID )?huge |protnone |swp\d+ |migr\d+ )?(\S+)(?: (\S*))?$", text
        )
        if not found:
            return text
        if found[1] or found[2]:
            return found[1] or found[2]
        kind, page, bits = (found[3] or "").strip(), found[4], found[5] or ""
        if kind.startswith("migr"):
            return f"{self.swap_types.get(kind, kind)} {page}"
        if kind.startswith("swp"):
            return "swap" + (" excl" if bits == "excl" else "")
        bits = "".join(letter for letter in "WADs" if letter in bits)
        if "huge" in kind:
            bits = bits.replace("s", "")
        if kind in ("INVALID huge", "protnone") and self.hides_dirty and "W" not in bits:
            bits = bits.replace("D", "")
        return " ".join(word for word in (kind, page, bits) if word)


def _is_off(one: Value, two: Value) -> bool:
    """Do the two links of a list say that the page is on none? They are poison, of no list yet,
    or point to the page itself.
    """
    unused = any(isinstance(link, int) or link.startswith("0xdead") for link in (one, two))
    return unused or (one == two and str(one).startswith("0xffffea"))


def _is_resched(raws: tuple[Raw, ...], at: int) -> bool:
    """Is it one of an unlock and a lock, one after the other, in the middle of a zap?"""
    first = at if raws[at].new == 0 else at - 1
    if not 0 < first < len(raws) - 2:
        return False
    unlock, lock, after = raws[first : first + 3]
    pair = (unlock.field, unlock.new, lock.field, lock.new) == ("ptl", 0, "ptl", 1) and unlock.place == lock.place
    return pair and after.field == "entry" and bool(_ZAPS.fullmatch(after.by)) and bool(re.match("PTE", after.place))
