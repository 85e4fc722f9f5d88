"""The step protocol: what a kernel routine yields, and how locks, flushes and the grain of a change look as steps.

A routine is a generator. Advancing it once does *one* atomic access and yields a `Step` that says what was done. The
rules that make a routine steppable, raceable and drainable with the same code are in docs/architecture.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import update_wrapper
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, Protocol, TypeVar

from thplab.errors import Deadlock

READ, CHANGE, LOCK, UNLOCK, FLUSH, WAIT = "read", "change", "lock", "unlock", "flush", "wait"


class Step(NamedTuple):
    """One atomic step of a routine: its kind, what was done, and why (one sentence, may be empty)."""

    kind: str
    text: str
    why: str = ""


class HasVariants(Protocol):
    """A system, in so far as the step protocol knows it: `variants` replaces routines by name."""

    variants: Mapping[str, Callable[..., Any]]


P = ParamSpec("P")
S = TypeVar("S", bound=HasVariants)
T = TypeVar("T")
Routine = Generator[Step, None, T]
"""A kernel routine in progress: yields steps, returns what the kernel's function returns."""

ROUTINES: dict[str, routine[Any, ..., Any]] = {}
"""All routines of the modules that are loaded, by name."""


class routine(Generic[S, P, T]):
    """Marks a function of the kernel's. A system may run a variant of it instead, by name:
    that is how mutants are put in.

    `right` is the routine as it is written, whatever the system runs in its place. `phrase` is empty, but for a part.
    """

    def __init__(self, right: Callable[Concatenate[S, P], Routine[T]], phrase: str = "") -> None:
        self.right = right
        self.phrase = phrase
        self.key = right.__name__
        update_wrapper(self, right)
        if self.key in ROUTINES:
            raise TypeError(f"two routines are called {self.key}")
        ROUTINES[self.key] = self

    def __call__(self, system: S, /, *args: P.args, **kwargs: P.kwargs) -> Routine[T]:
        run: Callable[Concatenate[S, P], Routine[T]] = system.variants.get(self.key, self.right)
        return run(system, *args, **kwargs)


def phrase(text: str) -> Callable[[Callable[Concatenate[S, P], Routine[T]]], routine[S, P, T]]:
    """Marks a part of a function of the kernel's:
    a routine with a name of our own, which the call tree shows as `text`.
    """
    if text.isidentifier():
        raise TypeError(f"{text!r} looks like a function")
    return lambda right: routine(right, text)


def read(text: str, why: str = "") -> Step:
    return Step(READ, text, why)


def change(text: str, why: str = "") -> Step:
    return Step(CHANGE, text, why)


def wait(text: str, why: str = "") -> Step:
    """Nothing was changed: the routine cannot go on until the condition named by `text` holds, and tests it again."""
    return Step(WAIT, text, why)


def drain(routine: Routine[T]) -> T:
    """Exhaust `routine` at full speed and return what it returns.

    Raises Deadlock at the first wait: alone on the machine, what it waits for can never come.
    """
    try:
        while True:
            step = next(routine)
            if step[0] == WAIT:
                raise Deadlock(f"{step.text}: nobody else is running, so this never ends")
    except StopIteration as end:
        result: T = end.value
        return result


@dataclass
class Costs:
    """What routines spend: counted as they run, in the terms of the cost tables of docs/KERNEL.md."""

    rmw: int = 0
    """Locked read-modify-writes on counters and flags of struct pages."""
    bit_rmw: int = 0
    """Locked read-modify-writes of bit locks: one to take, one to release."""
    locks: dict[str, int] = field(default_factory=dict)
    """Acquisitions by class of lock: "ptl", "mmap_sem", "anon_vma_lock", "lru_lock", ..."""
    flushes: int = 0
    """TLB flushes."""
    irqs_off: int = 0
    """Sections with interrupts off."""

    def as_dict(self) -> dict[str, int]:
        """All counters flat, locks as "lock:ptl"."""
        flat = {"rmw": self.rmw, "bit_rmw": self.bit_rmw, "flushes": self.flushes, "irqs_off": self.irqs_off}
        return flat | {f"lock:{name}": n for name, n in self.locks.items()}

    @classmethod
    def from_dict(cls, flat: dict[str, int]) -> Costs:
        """The inverse of as_dict."""
        locks = {name[5:]: n for name, n in flat.items() if name.startswith("lock:")}
        return cls(flat["rmw"], flat["bit_rmw"], locks, flat["flushes"], flat["irqs_off"])


class Translation(NamedTuple):
    """What a CPU's TLB knows while it makes an access: a process's addresses [start, end) are at page frame `pfn`."""

    process: str
    start: int
    end: int
    pfn: int


class Cpus:
    """The CPUs and what they exclude each other with:
    locks by name, sections with interrupts off, and what stands in their TLBs.

    `cpu` is the one that is running now; whoever advances a routine sets it first. A lock is a plain string whose
    first word is its class ("ptl 0x5"), so that routines may keep one in a local.
    """

    def __init__(self, costs: Costs, marks: Callable[[str, bool], None]) -> None:
        self.cpu = 0
        self.costs = costs
        self.marks = marks
        """Told of each lock that is taken (True) or free again: some locks are a bit of what they lock."""
        self.held: dict[str, tuple[str, tuple[int, ...]]] = {}
        """Lock -> (mode "exclusive" or "shared", CPUs that hold it)."""
        self.irqs_off: dict[int, int] = {}
        """CPU -> how many times it has turned interrupts off without turning them on again."""
        self.tlb: dict[int, Translation] = {}
        """CPU -> the translation that it is about to use; it need not look at the page table again.
        A flush of its addresses waits.
        """

    def _blocked(self, lock: str, mode: str) -> bool:
        held = self.held.get(lock)
        return held is not None and not (mode == held[0] == "shared")

    def _take(self, lock: str, mode: str) -> None:
        holders = self.held.get(lock, (mode, ()))[1]
        self.held[lock] = (mode, (*holders, self.cpu))
        self.marks(lock, True)
        kind = lock.split()[0]
        self.costs.locks[kind] = self.costs.locks.get(kind, 0) + 1

    def _drop(self, lock: str) -> None:
        mode, holders = self.held.pop(lock)
        rest = list(holders)
        rest.remove(self.cpu)
        if rest:
            self.held[lock] = (mode, tuple(rest))
        else:
            self.marks(lock, False)

    def holds(self, lock: str) -> bool:
        """Does the CPU that is running hold `lock`, in any mode?"""
        return self.cpu in self.held.get(lock, ("", ()))[1]

    def others_hold(self, lock: str) -> bool:
        """Does another CPU than the one that is running hold `lock`, in any mode?"""
        return any(cpu != self.cpu for cpu in self.held.get(lock, ("", ()))[1])

    def lock(self, lock: str, mode: str = "exclusive", why: str = "") -> Routine[None]:
        """Take `lock`; waits while it is held in a mode that excludes `mode`."""
        while self._blocked(lock, mode):
            yield wait(f"waits for {lock}, held by CPU {self._holder(lock)}")
        self._take(lock, mode)
        yield Step(LOCK, f"lock {lock}" + (" (shared)" if mode == "shared" else ""), why)

    def unlock(self, lock: str, why: str = "", event: str = "") -> Routine[None]:
        """Release `lock`, which this CPU holds. `event` names what the caller has counted in /proc/vmstat beside it."""
        self._drop(lock)
        yield Step(UNLOCK, f"unlock {lock}" + (f"; {event} += 1" if event else ""), why)

    def hand_over(self, lock: str, other: str, why: str = "") -> Routine[None]:
        """Release `lock`, and hold `other` from now on, which nobody else could take until now."""
        self.held[other] = self.held.pop(lock)
        self.marks(lock, False)
        self.marks(other, True)
        yield change(f"unlock {lock}; {other} stays locked", why)

    def trylock(self, lock: str, why: str = "") -> Routine[bool]:
        """Take `lock` if it is free; returns whether it was taken. Never waits."""
        if self._blocked(lock, "exclusive"):
            yield read(f"trylock {lock}: busy")
            return False
        self._take(lock, "exclusive")
        yield Step(LOCK, f"trylock {lock}: taken", why)
        return True

    def bit_lock_irqsave(self, lock: str, times: int = 1, why: str = "") -> Routine[None]:
        """Take a bit lock with interrupts off. `times` counts the takes that a vectorised step stands for."""
        while self._blocked(lock, "exclusive"):
            yield wait(f"spins on {lock}, held by CPU {self._holder(lock)}")
        self._take(lock, "exclusive")
        self._irqs_off()
        self.costs.locks[lock.split()[0]] += times - 1
        self.costs.bit_rmw += times
        self.costs.irqs_off += times
        yield Step(LOCK, f"interrupts off, lock {lock}", why)

    def bit_unlock_irqrestore(self, lock: str, times: int = 1) -> Routine[None]:
        """Release a bit lock taken by bit_lock_irqsave; interrupts are on again if they were on before it was taken."""
        self._drop(lock)
        self.costs.bit_rmw += times
        yield Step(UNLOCK, f"unlock {lock}" + (", interrupts on" if self._irqs_restore() else ""))

    def local_irq_disable(self, why: str = "") -> Routine[None]:
        """Interrupts off on this CPU: until they are on again it answers no IPI, so no TLB flush completes."""
        self._irqs_off()
        self.costs.irqs_off += 1
        yield Step(LOCK, "interrupts off", why)

    def local_irq_enable(self) -> Routine[None]:
        """Interrupts on again on this CPU."""
        self._irqs_restore()
        yield Step(UNLOCK, "interrupts on")

    def flush_tlb(
        self, what: str, why: str = "", process: str = "", start: int = 0, end: int = sys.maxsize
    ) -> Routine[None]:
        """Flush `what` from every TLB: the addresses [start, end) of `process`, of all if it is left out.

        Waits for CPUs with interrupts off, which must answer the IPI first,
        and for those in the middle of an access there.
        """
        while self._deaf():
            yield wait(f"TLB flush waits for CPU {self._deaf()[0]}, which has interrupts off")
        while self._accessing(process, start, end):
            yield wait(
                f"TLB flush waits for CPU {self._accessing(process, start, end)[0]}, which is in the middle of "
                "an access"
            )
        self.costs.flushes += 1
        yield Step(FLUSH, f"flush the TLB: {what}", why)

    def _irqs_off(self) -> None:
        self.irqs_off[self.cpu] = self.irqs_off.get(self.cpu, 0) + 1

    def _irqs_restore(self) -> bool:
        """Undo the last turning off; True if interrupts are on now."""
        self.irqs_off[self.cpu] -= 1
        if not self.irqs_off[self.cpu]:
            del self.irqs_off[self.cpu]
        return self.cpu not in self.irqs_off

    def _deaf(self) -> tuple[int, ...]:
        """The other CPUs that cannot answer an IPI now."""
        return tuple(sorted(self.irqs_off.keys() - {self.cpu}))

    def _accessing(self, process: str, start: int, end: int) -> tuple[int, ...]:
        """The CPUs in the middle of an access to what is being flushed."""
        return tuple(
            sorted(cpu for cpu, t in self.tlb.items() if process in ("", t.process) and t.start < end and start < t.end)
        )

    def _holder(self, lock: str) -> str:
        return ", ".join(map(str, self.held[lock][1]))
