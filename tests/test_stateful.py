"""All operations, drawn by Hypothesis: every kernel keeps its invariants, and what a process sees depends on no kernel.

Two state machines. `LockStep` carries out the same operations on a machine for each kernel and compares what must not depend on
the bookkeeping. `OneKernel` carries out whatever the vocabulary holds on one kernel, also what others answer with -EINVAL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from random_scenarios import OFTEN, PROCESSES, Model

from thplab.errors import BadInput
from thplab.hardware.steps import drain
from thplab.hardware.swap_device import DEVICES
from thplab.kernel.kernels import DEFAULT, KERNELS
from thplab.machine.machine import Machine
from thplab.machine.operations import OPERATIONS
from thplab.machine.operations.callers import SYS_FILES
from thplab.machine.snapshot import capture
from thplab.machine.state import State
from thplab.scenario import Operation
from thplab.scenario.kinds import Choice, Flag, HugePages, Number, PageNumber, Value
from thplab.scenario.vocabulary import VOCABULARY, FieldSpec
from thplab.study.invariants import check_state

GEOMETRY = pytest.mark.parametrize(("geometry", "examples"), [("TOY", 12), ("X86_64", 3)])
THPS = 2
MEMORY = 64
"""In huge pages: it never runs out."""

BUILT = sorted(OPERATIONS.keys() & VOCABULARY.keys())
ADVICE = next(field.kind for field in VOCABULARY["madvise"].fields if field.name == "advice")
assert isinstance(ADVICE, Choice)

# --- operations -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scene:
    """What there is for operations to be about: processes that live, pins that are held, regions of `pages` pages each."""

    living: tuple[str, ...]
    pins: tuple[str, ...]
    regions: tuple[str, ...]
    nr: int

    @property
    def pages(self) -> int:
        return THPS * self.nr

    def operations(self) -> st.SearchStrategy[Operation]:
        """Any operation of the vocabulary that is built; the ones that change much more often. The last process stays."""
        if not self.living:
            return self.operation("mmap")
        lasting = [[op for op in names if op != "exit" or len(self.living) > 1] for names in (OFTEN, BUILT)]
        return st.one_of(*map(st.sampled_from, lasting)).flatmap(self.operation)

    def operation(self, op: str) -> st.SearchStrategy[Operation]:
        """Operation `op` with any values that fit its fields."""
        spec = VOCABULARY[op]
        fields = {field.name: self.field(op, field) for field in spec.fields if field.name not in spec.one_of}
        if not spec.one_of:
            return st.fixed_dictionaries(fields).map(lambda given: Operation(op, given))
        one = st.sampled_from(spec.one_of).flatmap(lambda name: st.fixed_dictionaries({name: self.field(op, spec.field(op, name))}))
        return st.tuples(st.fixed_dictionaries(fields), one).map(lambda given: Operation(op, given[0] | given[1]))

    def field(self, op: str, field: FieldSpec) -> st.SearchStrategy[Value]:
        """A value for a field, by its kind or, where that is a name, by its own name."""
        kind, nr = field.kind, self.nr
        if isinstance(kind, PageNumber):
            most = self.pages - 1 + kind.least
            usual = st.sampled_from([n for n in (0, 1, 2, nr // 2, nr - 1, nr, nr + 1, 2 * nr) if kind.least <= n <= most])
            if field.name == "size":
                return st.none() | usual
            return usual if field.required or field.name == "at" else st.just(kind.least)
        if isinstance(kind, Choice):
            return st.sampled_from(kind.words)
        if isinstance(kind, Flag):
            return st.booleans()
        if isinstance(kind, HugePages):
            return st.just(THPS)
        if isinstance(kind, Number):
            return st.just(0) if field.name == "order" else st.integers(kind.low, min(kind.high, 200))
        named = {
            "proc": PROCESSES if op in ("mmap", "spawn") and len(self.regions) > 1 else self.living or PROCESSES,
            "child": [name for name in PROCESSES if name not in self.living] or PROCESSES,
            "pin": (*self.pins, "new") if op != "pin" else [name for name in ("p", "q", "r") if name not in self.pins] or ("p",),
            "region": self.regions,
            "to": self.regions,
            "path": sorted(SYS_FILES),
            "value": ("1", "2", "3"),
        }
        return st.sampled_from(list(named[field.name]))


def scene(machine: Machine, regions: tuple[str, ...]) -> Scene:
    system = machine.system
    return Scene(tuple(system.mms), tuple(system.pins), regions, system.geometry.nr)


def perform(machine: Machine, op: Operation) -> int | None:
    """What the operation returns, or None if it makes no sense on this machine; then nothing has changed."""
    try:
        routine = machine.begin(op)
    except BadInput:
        return None
    return drain(routine)


def kept(machine: Machine, before: State | None, op: Operation) -> State:
    """The state after an operation, in which every invariant holds."""
    state = capture(machine.system)
    assert check_state(state) == [], f"{machine.system.kernel.name}: {op.label(machine.system.geometry.nr)}"
    return state


# --- what must not depend on the kernel -----------------------------------------------------------------------------------------

EVERYWHERE = frozenset.intersection(*(kernel.advice.known for kernel in KERNELS.values()))
RECLAIM = {"cold", "pageout"}
"""Advice that moves pages and changes nothing that a process sees, in kernels that know it."""
LOSES = {"free", "hwpoison", "soft_offline"}
"""What is read after MADV_FREE, who dies of bad memory, and what is moved away from it, differs for good reasons."""
BEHIND_THE_SCENES = {"split", "split_pmd", "swap_out", "migrate", "ksm_scan", "khugepaged_scan", "clear_refs", "sys", "unpin"}
"""What a process cannot see. It is carried out where it makes sense: where the page is huge still, or the pin exists."""


def compared(op: Operation) -> bool:
    """Does what the operation returns say the same in every kernel? (Why a split is refused, and whether, differs.)"""
    return op.op not in BEHIND_THE_SCENES and op.fields.get("advice") not in RECLAIM


def in_lock_step(op: Operation) -> bool:
    """May all kernels carry it out together, or may those that can?"""
    if op.op == "spawn":
        return False  # the process would have no region R
    if op.op == "madvise":
        return op.fields["advice"] in (EVERYWHERE | RECLAIM) - LOSES
    if op.op == "mremap" and (op.fields.get("size") is not None or op.fields.get("dontunmap")):
        return False  # what tests/test_verbs.py holds against recordings; the model knows plain moves
    if op.op == "dma_write":
        return False  # who sees what a device writes is what kernels differ in
    if op.fields.get("force"):
        return False  # a forced write answers by kernel: the policy gup.force
    # Not every kernel has the first three, and a refused pin faults nothing in; a raw one asks what is mapped just now.
    return op.fields.get("how") not in ("io_uring", "fsplit", "pup", "raw")


def lies_in_one_vma(machine: Machine, op: Operation) -> bool:
    """Is the source of an mremap inside one VMA? Else kernels differ in what they move of it: the policy mm.mremap_moves_vmas."""
    plain, size = op.resolve(machine.system.geometry.nr), machine.system.geometry.page_size
    mm = machine.mm(str(plain["proc"]))
    low = mm.regions["R"].start + int(plain["start"] or 0) * size
    vma = mm.find_vma(low)
    return vma is not None and low + int(plain["npages"] or 0) * size <= vma.end


def facts(state: State) -> Mapping[str, tuple[object, ...]]:
    """What each process that lives could find out by itself: what it reads from each page, and what it may do there."""
    size = state.geometry.page_size
    found: dict[str, tuple[object, ...]] = {}
    for process in state.processes:
        base = dict(process.regions)["R"].start
        contents = state.contents(process.name)
        may = {page: vma.prot for vma in process.vmas for page in range((vma.start - base) // size, (vma.end - base) // size)}
        found[process.name] = tuple((may[page], contents[page] or 0) if page in may else (None, 0) for page in range(len(contents)))
    return found


class LockStep(RuleBasedStateMachine):
    """One machine for each kernel; all have a swap device, none of the same kind as its neighbour in the list."""

    def __init__(self, geometry: str) -> None:
        super().__init__()
        devices = dict(zip(KERNELS, [*DEVICES] * len(KERNELS), strict=False))
        nr = Machine(DEFAULT, geometry).system.geometry.nr
        self.machines = {kernel: Machine(kernel, geometry, MEMORY * nr, swap=devices[kernel]) for kernel in KERNELS}
        self.states: dict[str, State] = {}
        self.model, self.nr = Model(DEFAULT), nr

    @initialize(advise=st.sampled_from(["hugepage", "hugepage", "none"]), page=st.integers(0, 1))
    def start(self, advise: str, page: int) -> None:
        self.together(Operation("mmap", {"proc": "A", "thps": THPS, "advise": advise}))
        self.together(Operation("write", {"proc": "A", "start": page, "value": 7}))

    @rule(data=st.data())
    def operation(self, data: st.DataObject) -> None:
        op = data.draw(scene(self.machines[DEFAULT], ("R",)).operations().filter(in_lock_step))
        if op.op != "mremap" or all(lies_in_one_vma(machine, op) for machine in self.machines.values()):
            self.together(op)

    def together(self, op: Operation) -> None:
        note(op.label(self.nr))
        results = {kernel: perform(machine, op) for kernel, machine in self.machines.items()}
        self.states = {kernel: kept(machine, self.states.get(kernel), op) for kernel, machine in self.machines.items()}
        if compared(op):
            assert len(set(results.values())) == 1, results
        seen = {kernel: facts(state) for kernel, state in self.states.items()}
        assert all(fact == seen[DEFAULT] for fact in seen.values()), seen
        result = results[DEFAULT]
        if result is not None:
            self.model.apply(op, self.nr, result)
        self.model.compare(self.states[DEFAULT], op.label(self.nr))


# --- one kernel, and all that it can be asked -----------------------------------------------------------------------------------


class OneKernel(RuleBasedStateMachine):
    """Any kernel with any swap device or none, two regions, all operations and all advice."""

    def __init__(self, geometry: str) -> None:
        super().__init__()
        self.geometry = geometry
        self.state: State | None = None

    @initialize(kernel=st.sampled_from(sorted(KERNELS)), swap=st.sampled_from(["", *DEVICES]))
    def start(self, kernel: str, swap: str) -> None:
        nr = Machine(kernel, self.geometry).system.geometry.nr
        self.machine = Machine(kernel, self.geometry, MEMORY * nr, swap=swap)
        for op in (Operation("mmap", {"proc": "A", "thps": THPS}), Operation("write", {"proc": "A", "start": 1, "npages": nr, "value": 7})):
            self.carry_out(op)

    @rule(data=st.data())
    def operation(self, data: st.DataObject) -> None:
        self.carry_out(data.draw(scene(self.machine, ("R", "S")).operations()))

    def carry_out(self, op: Operation) -> None:
        note(op.label(self.machine.system.geometry.nr))
        if perform(self.machine, op) is not None:
            self.state = kept(self.machine, self.state, op)

    def teardown(self) -> None:
        """Everybody goes and lets go; then nothing is mapped or pinned, and nothing_is_lost says that all is free."""
        if self.state is None:
            return
        for op in self.ends():
            self.carry_out(op)
        assert self.state.mapped == () and self.state.pins == {} and self.state.tables == {}

    def ends(self) -> Iterator[Operation]:
        yield from [Operation("exit", {"proc": name}) for name in tuple(self.machine.system.mms)]
        yield from [Operation("unpin", {"pin": name}) for name in tuple(self.machine.system.pins)]


def run(machine: Callable[[], RuleBasedStateMachine], examples: int) -> None:
    """The same runs every time, and few of them: the random scenarios of tests/test_invariants.py are for breadth."""
    bounded = settings(
        max_examples=examples,
        stateful_step_count=20,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=bounded)  # type: ignore[arg-type]  # it takes what makes one, too


@GEOMETRY
def test_what_a_process_sees_depends_on_no_kernel(geometry: str, examples: int) -> None:
    run(partial(LockStep, geometry), examples)


@GEOMETRY
def test_every_kernel_keeps_its_invariants_whatever_it_is_asked(geometry: str, examples: int) -> None:
    run(partial(OneKernel, geometry), 4 * examples)
