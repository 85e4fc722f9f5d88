"""What a population of huge pages holds when parts of it are unmapped:
memory mapped against memory held (docs/rfc.txt).

The cover letter warns that munmap() of a part of a huge page does not free that part at once. Here that can be
measured, for thousands of huge pages: `population()` says what is unmapped, shared, pinned and zero-filled, and two
functions tell what a kernel then holds.

- `simulate()` puts the question to the machine: it maps, forks, pins and unmaps huge page after huge page with the
  kernel's own routines, lets the shrinker run, and recounts the frames that are allocated.
- `project()` gives the same answer in closed form, over arrays. It is a projection of the routines and no second
  simulator: each of its steps asks what the routines ask, the kernel record and its scheme, and never a kernel's
  name. tests/test_footprint.py holds the two equal, huge page for huge page and byte for byte, on random populations,
  on every kernel and on kernels with a policy turned over. A rule that changes in a routine, but not here, fails
  there.

Four questions decide:
- does splitting a PMD split the page (`Scheme.pmd_split_is_local`)? Then a partial munmap frees at once, and a pin
  keeps its page only;
- does the scheme have a deferred split queue (`Scheme.raw_fields`), and are new huge pages on it, too
  (`queue.takes_new`)?
- does a page split free what is zero-filled (`split.frees_zero_pages`)?
- is a huge page that is pinned and not mapped any more queued (`queue.takes_unmapped`)?

Only what backs the huge pages counts as held, page tables do not. A page is mapped while some process has a present
entry for it, also one of the shared zero page: so where zero-filled pages were given back, less is held than is mapped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import floor

import numpy as np
import numpy.typing as npt

from thplab.errors import BadInput, shown
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import COLUMNS, PG_reserved, PG_table, PG_used
from thplab.hardware.geometry import X86_64, Geometry
from thplab.hardware.geometry import geometry as geometry_named
from thplab.hardware.steps import drain
from thplab.kernel import kernels
from thplab.kernel.policies import Kernel
from thplab.kernel.routines.vmscan import deferred_split_scan
from thplab.kernel.routines.walk import pmd_at
from thplab.machine.machine import Machine

Array = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

NO_PIN = -1
MAX_PAGES = 1 << 26
"""As many subpages as fit in an ordinary computer's memory: 256 GiB of what is asked about."""


# --- the question -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Population:
    """Huge pages, each faulted in by one process, and what then happens to them. Arrays are copied and read-only.

    Raises BadInput for arrays and numbers that do not fit together.
    """

    geometry: Geometry
    unmapped: Mask
    """[thps, nr]: the subpages that are unmapped, those of a huge page before those of the next."""
    zero_filled: Mask
    """[thps, nr]: the subpages that hold nothing but zeroes."""
    pins: Array
    """[thps]: the subpage through which somebody holds a reference for good (FOLL_GET), taken before the munmap;
    NO_PIN for none.
    """
    sharing: int = 1
    """How many processes map each huge page: the one that made it, and its children."""
    unmapping: int = 1
    """How many of them unmap; the others keep the whole."""

    def __post_init__(self) -> None:
        nr = self.geometry.nr
        for name, kind, width in (
            ("unmapped", np.bool_, (nr,)),
            ("zero_filled", np.bool_, (nr,)),
            ("pins", np.int64, ()),
        ):
            right = (
                f"an array of {np.dtype(kind).name}, one {'row of ' + str(nr) if width else 'number'} for each "
                "huge page"
            )
            try:
                array = np.array(getattr(self, name))
            except ValueError:
                raise BadInput(name, "has rows of different lengths", right) from None
            if (
                array.ndim != 1 + len(width)
                or array.shape[1:] != width
                or not 0 < len(array) == len(self.unmapped)
                or array.dtype != kind
            ):
                raise BadInput(name, f"has the shape {array.shape} and holds {array.dtype}", right)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.pins.min() < NO_PIN or self.pins.max() >= nr:
            raise BadInput(
                "pins", f"has {self.pins.min()} to {self.pins.max()}", f"subpages 0 to {nr - 1}, or {NO_PIN} for no pin"
            )
        _check_whole("sharing", self.sharing, 1)
        _check_whole("unmapping", self.unmapping, 0, self.sharing)

    def __repr__(self) -> str:
        return f"<Population of {self.thps} huge pages, {self.unmapped.mean():.0%} unmapped>"

    @property
    def thps(self) -> int:
        """How many huge pages there are."""
        return len(self.pins)

    @property
    def mapped(self) -> Mask:
        """[thps, nr]: the subpages that some process still maps."""
        return ~self.unmapped | (self.unmapping < self.sharing)


def population(
    thps: int,
    unmapped: float,
    pattern: str = "random",
    geometry: str | Geometry = X86_64,
    sharing: int = 1,
    unmapping: int | None = None,
    zero_filled: float = 0.0,
    pinned: float = 0.0,
    seed: int = 0,
) -> Population:
    """A population of `thps` huge pages of which the share `unmapped` is unmapped, in a `pattern` of PATTERNS.

    `sharing` processes map each, `unmapping` of them unmap (None: all). `zero_filled` is the share of subpages that
    were never written with anything but zeroes, `pinned` the share of huge pages that somebody has pinned, through a
    subpage drawn by `seed` as everything else that is random. Shares go from 0 to 1; counts are rounded. Raises
    BadInput for what makes no sense.
    """
    shape = geometry_named(geometry) if isinstance(geometry, str) else geometry
    _check_whole("thps", thps, 1, MAX_PAGES // shape.nr)
    _check_whole("seed", seed, 0)
    for name, share in (("unmapped", unmapped), ("zero_filled", zero_filled), ("pinned", pinned)):
        _check_share(name, share)
    if pattern not in PATTERNS:
        raise BadInput("pattern", f"{pattern!r} is unknown", "one of " + ", ".join(PATTERNS))
    rng = np.random.default_rng(seed)
    pins = np.full(thps, NO_PIN)
    chosen = np.flatnonzero(_drawn(rng, thps, pinned))
    pins[chosen] = rng.integers(shape.nr, size=len(chosen))
    return Population(
        shape,
        PATTERNS[pattern](rng, (thps, shape.nr), unmapped),
        _drawn(rng, thps * shape.nr, zero_filled).reshape(thps, shape.nr),
        pins,
        sharing,
        sharing if unmapping is None else unmapping,
    )


def _check_whole(name: str, value: int, low: int, high: int | None = None) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < low or (high is not None and value > high):
        right = f"a whole number from {low} " + ("on" if high is None else f"to {high}")
        raise BadInput(name, f"is {shown(value)}", right)


def _check_share(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise BadInput(name, f"is {shown(value)}", "a share from 0 to 1")


def _part(share: float, count: int) -> int:
    """That share of `count`, rounded."""
    return floor(share * count + 0.5)


def _drawn(rng: np.random.Generator, count: int, share: float) -> Mask:
    """Which of `count` things are drawn, if exactly that share of them is."""
    drawn = np.zeros(count, np.bool_)
    drawn[rng.choice(count, _part(share, count), replace=False, shuffle=False)] = True
    return drawn


def _each_alike(row: Mask, shape: tuple[int, int]) -> Mask:
    return np.broadcast_to(row, shape)


def _front(rng: np.random.Generator, shape: tuple[int, int], share: float) -> Mask:
    count = shape[0] * shape[1]
    return (np.arange(count) < _part(share, count)).reshape(shape)


def _first(rng: np.random.Generator, shape: tuple[int, int], share: float) -> Mask:
    return _each_alike(np.arange(shape[1]) < _part(share, shape[1]), shape)


def _last(rng: np.random.Generator, shape: tuple[int, int], share: float) -> Mask:
    return _each_alike(np.arange(shape[1]) >= shape[1] - _part(share, shape[1]), shape)


def _spread(rng: np.random.Generator, shape: tuple[int, int], share: float) -> Mask:
    steps = np.arange(shape[1] + 1) * _part(share, shape[1]) // shape[1]
    return _each_alike(np.diff(steps) > 0, shape)


def _same(rng: np.random.Generator, shape: tuple[int, int], share: float) -> Mask:
    return _each_alike(_drawn(rng, shape[1], share), shape)


def _random(rng: np.random.Generator, shape: tuple[int, int], share: float) -> Mask:
    return _drawn(rng, shape[0] * shape[1], share).reshape(shape)


PATTERNS: dict[str, Callable[[np.random.Generator, tuple[int, int], float], Mask]] = {
    "front": _front,  # one piece from the start: whole huge pages, and a part of at most one
    "first": _first,  # the first pages of each
    "last": _last,  # the last pages of each
    "spread": _spread,  # every so many pages of each
    "same": _same,  # some pages, the same ones of each
    "random": _random,  # any pages of all
}
"""What is unmapped: name -> how it is drawn."""


# --- the answer -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Footprint:
    """What a kernel holds in the end. Memory is in bytes."""

    kernel: str
    mapped_by_thp: Array
    """[thps]: what some process still maps of each huge page, wherever the entry leads."""
    held_by_thp: Array
    """[thps]: what is still allocated of each huge page."""
    split: int
    """Huge pages that were split into ordinary ones."""
    refused: int
    """Huge pages that the shrinker tried to split in vain."""
    queued: int
    """Huge pages that are still on the deferred split queue."""

    def __repr__(self) -> str:
        return f"<Footprint on {self.kernel}: {self.held} of {self.mapped} bytes mapped are held>"

    @property
    def mapped(self) -> int:
        """What is still mapped, of all huge pages together."""
        return int(self.mapped_by_thp.sum())

    @property
    def held(self) -> int:
        """What is still allocated, of all huge pages together."""
        return int(self.held_by_thp.sum())


def project(
    kernel: str | Kernel, question: Population, pressure: float = 0.0, max_ptes_none: int | None = None
) -> Footprint:
    """What the kernel holds of the population, in closed form.

    `pressure` is the share of the deferred split queue, from its front, to which the shrinker gets once. With
    `max_ptes_none` (as in /sys; None: nr - 1, which turns it off) a kernel that queues new huge pages also splits those
    with more zero-filled pages. Raises BadInput for what makes no sense.
    """
    record = _checked(kernel, question, pressure, max_ptes_none)
    nr, page_size = question.geometry.nr, question.geometry.page_size
    mapped, pinned = question.mapped, question.pins != NO_PIN
    some_mapped = mapped.any(axis=1)
    some_unmapped = question.unmapped.any(axis=1) & (question.unmapping > 0)
    partly_unmapped = some_unmapped & ~question.unmapped.all(axis=1)

    # A munmap splits the PMD of whoever unmaps a part. The page goes as one, when nobody refers to any part of it, or
    # is split as well.
    held = np.where(some_mapped | pinned, nr, 0)
    split = partly_unmapped & (not record.scheme.pmd_split_is_local)
    pinned_only = pinned & ~mapped[np.arange(question.thps), question.pins]
    held[split] = (mapped.sum(axis=1) + pinned_only)[split]

    # The queue: in the order of the huge pages in any case, whether they come at the fault or when a part has lost its
    # last mapping.
    lost_some = question.unmapping == question.sharing
    partial = partly_unmapped | (some_unmapped & pinned & bool(record.queue.takes_unmapped))
    partial &= lost_some and queues(record)
    queued = partial | ((some_mapped | pinned) & bool(record.queue.takes_new))

    # The shrinker.
    reached = queued & (np.cumsum(queued) <= _part(pressure, int(queued.sum())))
    new = ~partial & bool(record.queue.takes_new)
    limit = nr - 1 if max_ptes_none is None else max_ptes_none
    underused = (limit != nr - 1) & (question.zero_filled.sum(axis=1) > limit)
    tried = reached & (~new | underused)
    refused = tried & pinned  # what nobody maps is refused, too, and on the queue only while pinned
    shrunk = tried & ~refused
    kept = mapped & ~question.zero_filled if record.split.frees_zero_pages else mapped
    held[shrunk] = kept.sum(axis=1)[shrunk]

    return Footprint(
        record.name,
        mapped.sum(axis=1) * page_size,
        held * page_size,
        split=int((split | shrunk).sum()),
        refused=int(refused.sum()),
        queued=int((queued & ~shrunk & ~(reached & new)).sum()),
    )


def _checked(kernel: str | Kernel, question: Population, pressure: float, max_ptes_none: int | None) -> Kernel:
    record = kernels.kernel(kernel) if isinstance(kernel, str) else kernel
    _check_share("pressure", pressure)
    if max_ptes_none is not None:
        _check_whole("max_ptes_none", max_ptes_none, 0, question.geometry.nr - 1)
    return record


def queues(record: Kernel) -> bool:
    """Does the scheme queue a huge page of which a part has lost its last mapping? Then its fields say whether it is
    queued.
    """
    return "deferred" in record.scheme.raw_fields(dict.fromkeys(COLUMNS, 0), True)


# --- the machine's answer ---------------------------------------------------------------------------------------------


def simulate(
    kernel: str | Kernel, question: Population, pressure: float = 0.0, max_ptes_none: int | None = None
) -> Footprint:
    """The same, carried out on a machine with the kernel's routines and recounted from its frames and page tables.

    Raises BadInput as `project` does, and if the geometry's address space is too small.
    """
    record = _checked(kernel, question, pressure, max_ptes_none)
    machine = Machine(record, question.geometry, _memory(question))
    if max_ptes_none is not None:
        machine.system.settings["max_ptes_none"] = max_ptes_none
    heads = _faulted_in(machine, question)
    processes = ["A", *(f"A{number}" for number in range(1, question.sharing))]
    for child in processes[1:]:
        machine["A"].fork(child)
    nr = question.geometry.nr
    for thp in np.flatnonzero(question.pins != NO_PIN).tolist():
        machine["A"].pin(thp * nr + int(question.pins[thp]), 1, f"pin{thp}", "raw")
    for thp in range(question.thps):
        for process in processes[: question.unmapping]:
            for start, stop in _runs(question.unmapped[thp]):
                machine[process].munmap(thp * nr + start, stop - start)
    drain(deferred_split_scan(machine.system, _part(pressure, len(machine.system.deferred))))
    vmstat, page_size = machine.vmstat, question.geometry.page_size
    return Footprint(
        record.name,
        _recount_mapped(machine, question.thps) * page_size,
        _recount_held(machine, heads) * page_size,
        split=sum(vmstat.get(event, 0) for event in ("thp_split", "thp_split_page")),
        refused=vmstat.get("thp_split_page_failed", 0),
        queued=len(machine.system.deferred),
    )


def _memory(question: Population) -> int:
    """Frames for the huge pages and, in each process, a deposited table for each and the tables above."""
    nr, levels = question.geometry.nr, question.geometry.levels
    tables = question.sharing * (question.thps + levels * (2 + question.thps // nr))
    return nr * (question.thps + tables // nr + 2)


def _faulted_in(machine: Machine, question: Population) -> Array:
    """A faults all huge pages in and writes what is not zero-filled. Returns their heads."""
    a = machine.spawn("A")
    a.mmap(question.thps)
    a.write(0, f"{question.thps}thp", value=0)
    for start, stop in _runs(~question.zero_filled.reshape(-1)):
        a.write(start, stop - start)
    return np.array([pt.pte_pfn(pmd) for pmd in _pmds(machine, "A", question.thps)], np.int64)


def _runs(row: Mask) -> Iterator[tuple[int, int]]:
    """Where the mask is set: [start, stop) of each run."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], row, [False]))))
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _pmds(machine: Machine, process: str, thps: int) -> Iterator[int]:
    """The PMDs over a process's region, in order; 0 for none."""
    mm, geometry = machine.mm(process), machine.system.geometry
    base = mm.regions["R"].start
    for thp in range(thps):
        found = pmd_at(machine.system, mm, base + thp * geometry.huge_size)
        yield found.entry if found else 0


def _recount_mapped(machine: Machine, thps: int) -> Array:
    """[thps]: for how many pages of each some process has a present entry."""
    mapped = np.zeros((thps, machine.system.geometry.nr), np.bool_)
    for process in machine.system.mms:
        for thp, pmd in enumerate(_pmds(machine, process, thps)):
            if pt.pmd_trans_huge(pmd):
                mapped[thp] = True
            elif pmd:
                mapped[thp] |= (machine.system.tables.table[pt.pte_pfn(pmd)] & pt._PAGE_PRESENT) != 0
    counts: Array = mapped.sum(axis=1)
    return counts


def _recount_held(machine: Machine, heads: Array) -> Array:
    """[thps]: how many frames of each are allocated.
    A frame that was freed and is a page table by now is none of them.
    """
    frames, geometry = machine.system.frames, machine.system.geometry
    in_use = (frames.flags[:] & (PG_used | PG_table | PG_reserved)) == PG_used
    held: Array = in_use.reshape(-1, geometry.nr)[heads >> geometry.order].sum(axis=1)
    assert held.sum() == in_use.sum(), "nothing but the huge pages was ever allocated"
    return held
