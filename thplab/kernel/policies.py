"""What a kernel record says: its scheme, and in groups the policies in which kernels differ. The records are in kernels.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self

from thplab.errors import BadInput
from thplab.kernel.evidence import Belief, Evidence, Own
from thplab.kernel.names import Names
from thplab.kernel.schemes import HeadCounter, Scheme

Told = Mapping[str, tuple[Any, *tuple[Evidence, ...]]]
"""Policies by name, such as "cow.splits_pmd": the value first, then the evidence for it."""


class Policies:
    """A group of policies. Routines ask its fields, and never the kernel's name. None: it does not come up, or is not on record."""

    @property
    def key(self) -> str:
        """A kernel has one record of each group."""
        return type(self).__name__


@dataclass(frozen=True)
class Split(Policies):
    """How a page split and a PMD split go."""

    refused: int
    """What a page split returns when it refuses a pinned page, or, where it takes pins along, a page that nobody maps."""
    freezes_refcount: bool | None
    """A split sets the frozen page's reference count from 1 to 0 by compare-and-swap; else it reads it and relies on the freeze."""
    drops_pmd_whole: bool | None
    """Freezing a PMD mapping takes away one mapping and one reference; else first 512 small ones are made of them."""
    clears_mlocked: bool | None
    """A PMD split takes PG_mlocked from the huge page: what PTEs map is not locked in memory as a whole (e90309c9f772)."""
    marks_dirty: bool | None
    """PTEs that come back after a page was frozen for a split are dirty."""
    frees_zero_pages: bool | None
    """A split maps zero-filled subpages to the shared zero page, which frees them."""
    invalidates_first: bool | None
    """A PMD split hides the PMD from the hardware before it does anything else; else at the end, before the table takes its place."""
    locks_page: bool | None
    """A split of a PMD holds the page lock all the while, but for a freeze, whose caller does."""
    looks_at_both: bool | None
    """Freezing a page takes the lock of the PMD and then that of the PTEs, whichever maps it; else only of that which maps it."""
    tail_reference: Literal["first", "next", "last"]
    """When a tail gets its reference in a page split: "first", "next" (it is a page of its own by then), or "last" (all of them are)."""
    remaps_by_page: bool | None
    """A frozen page is mapped again page by page, each wherever it was mapped; else VMA by VMA."""
    pmd_keeps_dirty: bool | None
    """The PTEs that a PMD split makes are dirty if the PMD was; else the page is marked dirty instead."""
    debugfs: Literal["", "range", "all"]
    """What the file split_huge_pages of debugfs splits: "all" huge pages of the machine, a "range"; empty: there is no such file."""
    debugfs_holds_all: bool | None
    """That file takes a reference on each page of a range that it looks at; else only on those that it splits."""


@dataclass(frozen=True)
class Migration(Policies):
    """How a page moves to another frame."""

    whole: bool
    """A huge page migrates as one; else it must be split first."""
    counts_before_entry: bool | None
    """A page that is mapped again counts the mapping before its PTE is there; else after."""
    split_fails: bool | None
    """A huge page that is split because it cannot move as one counts as failed, too; else only if the split is refused."""
    mlocks: bool | None
    """A page that is mapped again by a VMA that is locked in memory is marked so again; else it stays without PG_mlocked."""
    keeps_young: bool | None
    """A migration entry remembers the accessed and the dirty bit of the PTE that it stands for."""


@dataclass(frozen=True)
class Gup(Policies):
    """How drivers get references: get_user_pages and pin_user_pages."""

    foll_pin: bool
    """io_uring exists and takes FOLL_PIN references."""
    pins_slowly: bool | None
    """io_uring pins under the page table lock, which marks nothing as used; else it tries without a lock, and marks the pages."""
    counts_pin_first: bool | None
    """Under the page table lock a FOLL_PIN pin of a huge page is counted before its reference; else after it."""
    coalesces: bool | None
    """io_uring keeps one pin for each large folio of a buffer, instead of one for each page."""
    follows_protnone: bool
    """Who looks up a page for the kernel's own use (follow_page: KSM, move_pages, debugfs, smaps of a PMD) finds what is mapped
    without any right."""
    touch_dirties: bool
    """The slow way to a page under a huge PMD marks the PMD dirty also for who wants to read only."""
    unshares: bool | None
    """A FOLL_PIN pin that only reads first makes a page that may be shared the process's own, by a copy that stays read-only.
    Only where PG_anon_exclusive tells."""
    force: Literal["drops FOLL_WRITE", "FOLL_COW", "exclusive"]
    """How a forced write (FOLL_FORCE) gets a page whose entry is read-only: when a write fault has dealt with it, it asks for a page to
    read ("drops FOLL_WRITE", CVE-2016-5195), or for a dirty entry ("FOLL_COW"); or it takes a page that is PG_anon_exclusive."""


@dataclass(frozen=True)
class Cow(Policies):
    """What a write fault does where others may share the page."""

    splits_pmd: bool
    """A write fault on a shared huge page splits the writer's PMD and copies 4 KiB; else it copies the huge page."""
    zero_splits_pmd: bool
    """A write fault on the huge zero page splits the PMD and gives the writer 4 KiB; else it gets a huge page."""
    zero_ignores_advice: bool | None
    """A write fault on the huge zero page gives a huge page even where the VMA has lost its advice since."""
    huge_asks_mapcount: bool
    """A write fault reuses a huge page in place if it is mapped once; else only if its reference count is 1."""
    pte_asks_mapcount: bool
    """A write fault reuses a small page that is mapped once, a part of a compound page never; else both if the reference count is 1."""
    reuses_large: bool | None
    """A write fault reuses a part of a large folio in place if one mm has all its mappings and nobody else refers to it."""
    huge_page_lock: Literal["", "reuse", "question"]
    """A write fault locks the huge page, to ask whether it may be written in place: for the "question", or until the PMD is writable
    ("reuse"). Empty: under the page table lock alone."""
    reuse_unlocks_first: bool
    """A small page that turns out to be one process's own is marked so when its lock is given up; else under that."""
    puts_inside_ptl: bool | None
    """The reference of a small mapping that was copied away is dropped under the page table lock; else after it."""
    anon_exclusive: bool
    """PG_anon_exclusive marks what one process has for itself: such a page is written in place, whoever else holds it."""


@dataclass(frozen=True)
class Mm(Policies):
    """What fork, mprotect and mremap do to an address space."""

    fault_deposits_first: bool | None
    """A fault deposits the table for a new huge page first, and then counts its mapping; else after that."""
    fork_keeps_zero_young: bool
    """The child's PMD over the huge zero page starts out accessed."""
    mprotect_makes_writable: Literal["", "dirty PTEs", "all"] | None
    """Which entries of exclusive pages mprotect makes writable at once; the next write fault does the others."""
    mprotect_clears: Literal["", "each", "batch"]
    """mprotect clears an entry for a moment, so that no CPU sets its dirty bit while it is changed: "each" by itself, or all those of
    a large folio as a "batch"; empty: it is one store."""
    mprotect_flushes: Literal["always", "touched", "changed"]
    """When mprotect flushes the TLB at its end: "always", if it "touched" an entry (and a huge PMD while it is cleared), or if what the
    hardware may do with one has "changed"."""
    mprotect_pmd_forgets_dirty: bool
    """mprotect takes the dirty bit of a huge PMD away, which 6.18's pmd_modify loses."""
    mprotect_uncharges: bool | None
    """mprotect stops accounting for a VMA without pages that it makes unwritable, which differs from one with pages from then on."""
    merges_into_unfaulted: bool | None
    """A VMA with pages of its own and a neighbour without any become one VMA; else only the other way round, as the change comes."""
    mremap_looks_first: bool
    """mremap looks for a VMA at the source before anything else; else only after it has cleared the destination."""
    mremap_flushes_locked: bool
    """mremap flushes the TLB before it lets go of the page table lock under which entries moved; else at its end (CVE-2018-18281)."""
    zap_counts_first: bool
    """A zap counts the mapping of a huge PMD away before it withdraws the deposited table; else after it."""
    fork_holds_first: bool
    """fork takes the reference for a mapping of the child's before it asks whether a pin forbids to share the page; else after that."""
    mlocks: Literal["found", "walked"]
    """How mlock tells pages: each that it has "found" for populating, which it takes off the LRU for a moment under its lock; the last
    mapping that goes takes PG_mlocked along. Or all that it has "walked" over before that; then each mapping of the VMA counts."""
    mlocks_large: Literal["PMD", "walked", "whole"] | None
    """What marks a huge page as locked in memory: a "PMD" alone, whose going unmarks it; or mlock if it has "walked" over all of it, by a
    PMD or PTEs, or these and mappings of the "whole" of it that are added at once. With both any mapping that goes unmarks it."""
    fork_protects_last: bool
    """fork makes the parent's entry read-only when it has counted the child's mapping; else before that, or, of a PMD, before it
    deposits the child's table."""
    mremap_moves_vmas: bool | None
    """mremap to a fixed place moves all VMAs in a range; else the range must lie in one."""
    mremap_growth_merges: bool | None
    """A VMA that grows becomes one with the next, if they do not differ; else they stay two."""
    dontunmap: Literal["", "keeps", "unlinks"]
    """What MREMAP_DONTUNMAP does to a VMA that it leaves empty as a whole: it "keeps" its reverse map, or "unlinks" from it.
    Empty: there is no such flag."""


@dataclass(frozen=True)
class Queue(Policies):
    """Which huge pages wait on the deferred split queue, and what empties it."""

    takes_new: bool | None
    """A new huge page goes on the deferred split queue at once: it may turn out to be hardly used."""
    takes_unmapped: bool | None
    """A huge page that lost its last mapping but is pinned goes on the deferred split queue."""
    shrinker_keeps_tail: bool | None
    """The shrinker's lock and reference end on the second tail of a page that it splits, by which it holds the page; else on the head."""
    drop_caches_rounds: int | None
    """How often drop_caches runs the shrinkers: again while they freed much, of which the rest of the kernel always has some."""


@dataclass(frozen=True)
class Reclaim(Policies):
    """How a kernel swaps, and throws away what MADV_FREE gave up."""

    out_whole: bool
    """A huge page goes out in one piece if the device takes it so; else it is always split first."""
    splits_pte_mapped: bool
    """Even then it is split first if no PMD maps it; else only if a part of it is mapped no more."""
    out_notes_zeroes: bool
    """A page that holds nothing but zeroes is not written: a bit for each slot says so (zeromap)."""
    in_skips_cache: bool
    """What one entry alone names on a device that needs no waiting comes back without passing through the swap cache."""
    in_whole: bool
    """All of a huge page that is still in the swap cache is mapped by one fault; else its head alone, and its tails are copied."""
    in_writable: bool
    """A page that is the process's own comes back writable also when it is only read."""
    in_forgets_mlock: bool | None
    """A page that is read from the device is mapped as a new one, and not marked as locked in memory, though its VMA is."""
    splits_lazyfree: bool
    """A huge page whose contents MADV_FREE has given up is split before it is thrown away."""
    puts_back_last: bool
    """Pages that reclaim could not free go back to the LRU together, when it has tried all of its list; else each at once."""
    discards_at_once: bool
    """All PTEs of a huge page that is thrown away are cleared at once; else one by one, so that it is partially mapped in passing."""
    keeps_lazyfree: bool
    """A page that MADV_FREE has given up and that somebody else holds stays given up; else reclaim gives it its contents back."""


@dataclass(frozen=True)
class Advice(Policies):
    """What madvise knows and does."""

    known: frozenset[str]
    """What madvise knows; anything else is -EINVAL. Not all of it is built."""
    free_needs_swap: bool | None
    """MADV_FREE is MADV_DONTNEED while there is no swap."""
    free_stops_at_split: bool
    """MADV_FREE of a part of a huge page only splits it; else the part is freed, too."""
    free_asks_head: bool
    """MADV_FREE under PTEs asks the head of a huge page whether others map it; else the page itself."""
    populate_stops: bool | None
    """MADV_POPULATE_WRITE goes no further than to the first hole of a range; else over it, as any advice does."""
    takes_large_folios: bool
    """Advice for the pages under PTEs takes a large folio that is meant whole as one; else every huge page is split."""
    pageout_clears_young: bool
    """MADV_PAGEOUT takes the accessed bit away before reclaim tries the page."""
    free_locks: bool
    """MADV_FREE locks a page that it marks as clean, or that it splits, which it leaves alone if somebody else has the lock; and changes
    an entry by way of an empty one, or of a PMD that is not present. Else none of that."""
    free_empties_pmd: bool
    """MADV_FREE changes a huge PMD by way of an empty one, in which others see that nothing is mapped; else, where it does not store at
    once, of one that is not present but still huge."""
    cold_invalidates: bool
    """A huge PMD loses its accessed bit by way of one that is not present; else the bit alone is cleared."""
    cold_trylocks: bool
    """MADV_COLD and MADV_PAGEOUT lock the page that they split under the page table lock, if it is free; else after that."""
    clears_to_age: bool
    """An entry loses its accessed bit by way of an empty one; else the bit alone is cleared."""
    flushes: bool
    """Advice flushes the TLB at its end if it has changed an entry."""
    dontneed_frees_tables: bool | None
    """MADV_DONTNEED of all that a PTE table maps frees the table: the next fault may bring a huge page."""


@dataclass(frozen=True)
class Proc(Policies):
    """What /proc shows, and what writing to it does."""

    events: tuple[str, ...]
    """The THP events of /proc/vmstat."""
    huge_zero_in_rss: bool
    """smaps counts a PMD over the huge zero page as resident memory."""
    hwpoison_in_rss: bool
    """smaps counts a hwpoison entry as resident memory."""
    defrag_defers: bool
    """The file defrag takes "defer" and "defer+madvise", too, and holds "madvise" at first; else "always"."""
    clear_refs_splits: bool
    """Writing to /proc/PID/clear_refs splits every huge PMD of the process; else it changes the PMD."""
    clear_refs_flushes: bool
    """Writing to /proc/PID/clear_refs flushes the TLB at the end, whatever is written; else only for soft-dirty bits."""
    soft_dirty_spares_pins: bool | None
    """Clearing the soft-dirty bits leaves PTEs writable over what may have FOLL_PIN pins; else it protects all."""


@dataclass(frozen=True)
class Khugepaged(Policies):
    """What khugepaged and MADV_COLLAPSE collapse, and how."""

    preallocates: bool
    """khugepaged keeps a free huge page ready, counts it in thp_collapse_alloc when it gets it, and gives it back unused."""
    asks_writable: Literal["all", "one", "none"]
    """How many PTEs of a range must be writable before it is collapsed."""
    takes_shared: bool
    """A collapse takes parts of compound pages, and pages that others map as well (khugepaged: up to half of the range)."""
    isolates: bool
    """A collapse locks the old pages and takes them off the LRU, with a reference; then it copies, and then takes them from their PTEs,
    one hold of the page table lock after the other. Else all is done under one hold."""
    flushes_twice: bool
    """When it has cleared the PMD and flushed the TLB, a collapse makes sure that no GUP-fast is under way (tlb_remove_table_sync_one)."""
    batches: bool
    """A collapse takes the mappings of a compound page away together; else it is partially mapped for a moment."""


@dataclass(frozen=True)
class KsmPolicies(Policies):
    """How KSM merges equal pages."""

    splits_after: bool
    """KSM splits a huge page that holds both of two equal pages after its merge has failed, so that the next one succeeds."""
    scan_walks: bool | None
    """The scan finds its pages by itself, those mapped without any right, too; the trees look them up. None: both find the same."""
    max_sharing: int
    """How many addresses share one page of KSM's before it makes another; 0: any number."""
    uses_zero_pages: bool
    """There is a file use_zero_pages: with 1 in it KSM maps the shared zero page in the place of zero-filled ones."""
    marks_zero: bool
    """An entry in which KSM maps the zero page is dirty. By that unmerging finds it, and gives the process a page of its own."""
    unshares: bool
    """Breaking a KSM page up gives the process a read-only copy; else it is done by a write fault."""


@dataclass(frozen=True)
class Hwpoison(Policies):
    """What memory failure does: MADV_HWPOISON and MADV_SOFT_OFFLINE."""

    size_first: bool
    """madvise goes on behind the page as it was before it was split, so behind the huge page; else behind the one page."""
    answer: Literal["ignored", "errno", "kills"]
    """What MADV_HWPOISON answers: "ignored" (always 0), "errno", or "kills" (the caller gets SIGBUS at once)."""
    unsplit: Literal["nothing", "held", "page", "both"]
    """What stays where the huge page cannot be split: "nothing", "held" (PG_hwpoison, and the caller's reference), "page" (PG_hwpoison),
    or "both" (that, and its head's PG_has_hwpoisoned)."""
    filters_first: bool
    """Memory failure locks the page for a moment when it has marked it: hwpoison_filter may want to leave it out."""
    frozen_by: Literal["", "head", "page"] | None
    """Whose PG_hwpoison makes a PTE that a split freezes a hwpoison entry at once, that of the page or of its head; empty: nobody's."""
    unmaps_ksm: bool
    """A poisoned page of KSM's is taken from all who map it; else it stays mapped."""
    keeps_known: bool | None
    """MADV_HWPOISON of a page that is known to be bad answers 0 and never drops its reference; else -EHWPOISON."""
    counts_users: bool
    """Whoever else refers to a poisoned page makes memory failure report that it failed."""
    soft_offline_keeps: bool
    """The page that was soft offlined is kept with one reference; else it is freed, never to be used again."""
    shakes_slab: bool
    """Soft offline runs the shrinkers before it gives up a page that is on no LRU, and says -EBUSY of the huge zero page; else -EIO."""
    checks_new: bool | None
    """The allocator looks at what it hands out: a block with a bad frame, freed with its huge page, is left out. Else
    it is handed out, bad as it is. (A bad page that is freed by itself stays out for ever.)"""
    soft_offline_failed: int
    """What a soft offline returns whose migration fails."""


@dataclass(frozen=True)
class Kernel:
    """One kernel. Routines ask these fields and never the name."""

    name: str
    scheme: Scheme
    names: Names
    """What it calls what was renamed over the years."""
    source: str
    """Where the record was read."""
    split: Split
    migration: Migration
    gup: Gup
    cow: Cow
    mm: Mm
    queue: Queue
    reclaim: Reclaim
    advice: Advice
    proc: Proc
    khugepaged: Khugepaged
    ksm: KsmPolicies
    hwpoison: Hwpoison
    beliefs: Mapping[str, Belief] = field(default_factory=dict, compare=False, repr=False)
    """What each policy was told to be, and by which evidence; `evidence` answers for what it is now."""

    def __repr__(self) -> str:
        return f"<Kernel {self.name}, scheme {self.scheme.name}>"

    @classmethod
    def of(cls, told: Told, **own: Any) -> Self:
        """A kernel from all its policies by name, each a value and its evidence, and the fields that are no policies."""
        groups = {group: GROUPS[group](**values) for group, values in _grouped(_values(told)).items()}
        return cls(**own, **groups, beliefs=_beliefs(told, own["name"]))

    def later(self, told: Told, **own: Any) -> Self:
        """The kernel that comes after this one: what its record says anew, each a value and its evidence. It inherits the rest."""
        return self.but(_values(told), **own, beliefs={**self.beliefs, **_beliefs(told, own["name"])})

    def but(self, policies: Mapping[str, object], **own: Any) -> Self:
        """This kernel with some policies changed, by name. Raises BadInput for a policy that does not exist."""
        groups = {group: replace(getattr(self, group), **values) for group, values in _grouped(policies).items()}
        return replace(self, **own, **groups)

    def policy(self, name: str) -> Any:
        """What this kernel does in a policy, such as "cow.splits_pmd". Raises BadInput for one that does not exist."""
        ((group, (policy,)),) = _grouped({name: None}).items()
        return getattr(getattr(self, group), policy)

    def evidence(self, name: str) -> Belief:
        """What this kernel does in a policy, and why that is believed. Raises BadInput for a policy that does not exist."""
        value, belief = self.policy(name), self.beliefs.get(name)
        if belief is not None and belief.value == value:
            return belief
        changed = f", where {belief.kernel} has {belief.value}" if belief else ""
        return Belief(value, (Own(f"a record of somebody's own says so{changed}"),), self.name)

    @property
    def refcount_name(self) -> str:
        """What struct page calls the reference count: `_count` until 4.6, `_refcount` since 4.7."""
        return self.names.of("_count")

    @property
    def head_counters(self) -> tuple[HeadCounter, ...]:
        """The counters that a compound page has once: the scheme's, and the count of FOLL_PIN pins where there are any."""
        return (*self.scheme.head_counters, *((HeadCounter("pincount", "pincount", 0),) if self.gup.foll_pin else ()))


_TYPES = (Split, Migration, Gup, Cow, Mm, Queue, Reclaim, Advice, Proc, Khugepaged, KsmPolicies, Hwpoison)
GROUPS: dict[str, type[Any]] = {f.name: t for t in _TYPES for f in fields(Kernel) if f.type == t.__name__}
"""Field of Kernel -> the type of that group."""
POLICIES = tuple(f"{group}.{field.name}" for group, kind in GROUPS.items() for field in fields(kind))
"""All policies by name."""


def _values(told: Told) -> dict[str, object]:
    return {name: value for name, (value, *_) in told.items()}


def _beliefs(told: Told, kernel: str) -> dict[str, Belief]:
    return {name: Belief(value, tuple(evidence), kernel) for name, (value, *evidence) in told.items()}


def _grouped(policies: Mapping[str, object]) -> dict[str, dict[str, object]]:
    groups: dict[str, dict[str, object]] = {}
    for name, value in policies.items():
        group, _, policy = name.partition(".")
        if name not in POLICIES:
            known = ", ".join(known for known in POLICIES if known.startswith(f"{group}."))
            groups_known = f"GROUP.NAME, the group one of {', '.join(GROUPS)}"
            raise BadInput("policy", f"{name!r} is unknown", f"one of {known}" if known else groups_known)
        groups.setdefault(group, {})[policy] = value
    return groups
