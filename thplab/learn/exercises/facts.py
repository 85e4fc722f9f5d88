"""What exercises read from a state, and how they say that it is not what is wanted."""

from __future__ import annotations

from collections.abc import Iterator

from thplab.learn.lessons.places import frames_in_use, in_smaps, op_end, op_start
from thplab.machine.state import State
from thplab.machine.trace import Frame, Trace
from thplab.scenario import Operation

W = "mmap {0}; write {0} 0"
F = "mmap {0}; fill {0} 0 1thp"
"""A huge page of a process: written in one place, and filled."""
PRESSURE = "sys /proc/sys/vm/drop_caches 2"
ATOMIC = ("rmw", "bit_rmw")


def head_of(state: State) -> int:
    """The head of the first compound page; 0, which is none, if there is not any."""
    return next(iter(state.compound_pages()), 0)


def count(state: State) -> int:
    """The reference count of the head of the compound page; 0 if there is no such page."""
    head = head_of(state)
    return state.field("refcount", head) if head else 0


def pmds(state: State) -> int:
    """How many huge PMDs map the compound page."""
    return len(state.pmd_maps.get(head_of(state), ()))


def ptes(state: State) -> list[int]:
    """For each subpage of the compound page how many PTEs map it."""
    head = head_of(state)
    return [int(n) for n in state.pte_maps[head : head + state.geometry.nr]] if head else [0] * state.geometry.nr


def raw(state: State, page: int) -> int:
    """The _mapcount of a subpage of the compound page, as it is stored."""
    return state.field("mapcount", head_of(state) + page)


def pages(state: State, process: str, field: str = "Rss") -> int:
    """What smaps says of a process, in pages; 0 if it does not live."""
    return in_smaps(state, process, field) * 1024 // state.geometry.page_size


def base_of(state: State, process: str) -> int:
    """Where the first region of a process begins; 0 if there is none."""
    regions = dict(state.process(process).regions) if process in living(state) else {}
    return regions["R"][0] if "R" in regions else 0


def pfn_of(state: State, process: str, page: int) -> int | None:
    """The page frame behind a page of a process's first region; None if nothing is mapped there."""
    base = base_of(state, process)
    for m, first, number in state.mapped_in(process, base, page + 1) if base else ():
        if m.kind == "page" and first <= page < first + number:
            return m.pfn + page - first
    return None


def living(state: State) -> tuple[str, ...]:
    """The processes that live."""
    return tuple(process.name for process in state.processes)


def done(trace: Trace, *names: str) -> list[Operation]:
    """The operations of a scenario that are called so."""
    return [op for op in trace.scenario.ops if op.op in names]


def unmapped(trace: Trace) -> int:
    """How many pages all munmaps name together."""
    nr = trace[0].state.geometry.nr
    return sum(int(op.resolve(nr)["npages"] or 0) for op in done(trace, "munmap"))


def cost(trace: Trace, index: int = -1) -> int:
    """What an operation cost in atomic operations; the last one if no other is named."""
    number = range(len(trace.scenario.ops))[index]
    before, after = trace[op_start(trace, number) - 1].state.costs, trace[op_end(trace, number)].state.costs
    return sum(after.get(name, 0) - before.get(name, 0) for name in ATOMIC)


def total_cost(trace: Trace) -> int:
    """What all operations cost in atomic operations."""
    return sum(trace[-1].state.costs.get(name, 0) for name in ATOMIC)


def used(trace: Trace) -> list[int]:
    """The page frames in use before the first operation and after each, page tables not counted."""
    return [frames_in_use(trace[0]), *(frames_in_use(frame) for frame in trace if frame.result is not None)]


def ended(trace: Trace) -> list[Frame]:
    """The last frame of each operation."""
    return [frame for frame in trace if frame.result is not None]


def need(what: str, found: object, wanted: object) -> Iterator[str]:
    """A sentence with both numbers, if they differ."""
    if found != wanted:
        yield f"{what} must be {wanted}; it is {found}"


def need_events(state: State, **wanted: int) -> Iterator[str]:
    """A sentence for each event of vmstat that has another value."""
    for event, number in wanted.items():
        yield from need(event, state.vmstat.get(event, 0), number)


def need_one_page(state: State) -> Iterator[str]:
    """There must be exactly one compound page."""
    yield from need("the number of compound pages", len(state.compound_pages()), 1)
