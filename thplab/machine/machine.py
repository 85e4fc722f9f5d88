"""The machine: what a program may ask of it, and what a user of a real kernel can observe.

Every operation is begun by `Machine.begin`, which checks the request before anything changes and hands out the routine
in progress. A plain call such as `a.write(0)` drains it at full speed; a recorder or a scheduler advances it itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from thplab.errors import ENOMEM, BadInput, ThplabError
from thplab.hardware import geometry as geometries
from thplab.hardware.geometry import TOY, Geometry
from thplab.hardware.steps import Routine, drain
from thplab.kernel import kernels
from thplab.kernel.address_space import AddressSpace, Region
from thplab.kernel.policies import Kernel
from thplab.kernel.system import System
from thplab.machine.operations import OPERATIONS
from thplab.machine.operations.checks import check_process
from thplab.machine.operations.memory import spawn
from thplab.machine.snapshot import capture, refill
from thplab.machine.state import State
from thplab.scenario import VOCABULARY, Operation, Pages
from thplab.scenario.kinds import Value
from thplab.scenario.pages import AnyPages

_SAY_SO = ("madvise", "mlock", "mprotect", "munlock", "mremap")
"""The operations that answer -ENOMEM to a hole, or where there is no room to grow."""


class OutOfMemory(ThplabError):
    """A plain call found no free memory. What the call had done before that page stays done."""


class Machine:
    """A computer with one kernel, some memory, and no processes at first.

    `kernel` and `geometry` are names or records; `memory` is the number of page frames (default: 32 huge pages' worth).
    `variants` replaces routines by name (see thplab.kernel.mutants). `swap` is the kind of swap device: "swap" (a
    disk), "swapfile", "zram", or empty for none. Raises BadInput for what does not exist.
    """

    def __init__(
        self,
        kernel: str | Kernel = kernels.DEFAULT,
        geometry: str | Geometry = TOY,
        memory: int | None = None,
        variants: Mapping[str, Callable[..., Any]] | None = None,
        swap: str = "",
    ) -> None:
        record = kernels.kernel(kernel) if isinstance(kernel, str) else kernel
        shape = geometries.geometry(geometry) if isinstance(geometry, str) else geometry
        self.system = System(record, shape, 32 * shape.nr if memory is None else memory, variants or {}, swap)

    @classmethod
    def restored(cls, state: State, variants: Mapping[str, Callable[..., Any]] | None = None) -> Machine:
        """A machine in `state`, which must be at rest: it goes on exactly as the one that the state was taken from.

        Raises BadInput for a state in the middle of a routine, whose position a state does not hold.
        """
        machine = cls(state.kernel, state.geometry, state.nframes, variants, state.swap.kind if state.swap else "")
        refill(machine.system, state)
        return machine

    def __repr__(self) -> str:
        return f"<Machine {self.system}>"

    # --- running ------------------------------------------------------------------------------------------------------

    def begin(self, op: Operation) -> Routine[int]:
        """Start an operation: the routine in progress, not yet advanced.

        Raises BadInput, with nothing changed, if it makes no sense here and now, or is not built.
        """
        spec = VOCABULARY[op.op]
        if not spec.built:
            raise BadInput("operation", f"{op.op!r} is not built", "one of " + ", ".join(sorted(OPERATIONS)))
        plain = op.resolve(self.system.geometry.nr)
        return OPERATIONS[op.op](self.system, **{field.name: plain[field.name] for field in spec.simulated})

    def call(self, op: Operation) -> int:
        """Run an operation to its end and return what the kernel returns: 0 or a negative errno.

        Raises BadInput as `begin` does, and OutOfMemory where the kernel would have to kill the process.
        """
        return self._drained(op.op, self.begin(op))

    def _drained(self, op: str, routine: Routine[int]) -> int:
        result = drain(routine)
        if result == -ENOMEM and op not in _SAY_SO:
            buddy = self.system.frames.buddy
            raise OutOfMemory(
                f"{op}: no memory left ({buddy.nr_free} of {len(self.system.frames.refcount)} frames are free)"
            )
        return result

    # --- processes ----------------------------------------------------------------------------------------------------

    def spawn(self, name: str) -> Process:
        """A new process with no memory of its own."""
        self._drained("spawn", spawn(self.system, name))
        return Process(self, name)

    def __getitem__(self, name: str) -> Process:
        """The process of that name. Raises BadInput if there is none."""
        self.mm(name)
        return Process(self, name)

    def mm(self, name: str) -> AddressSpace:
        """The address space of a living process. Raises BadInput if there is none of that name."""
        return check_process(self.system, name)

    # --- operations that are about no process; the others are methods of Process --------------------------------------

    def dma_read(self, pin: str, start: AnyPages = 0) -> int:
        """The device of the driver that holds `pin` reads a byte of page `start` of it;
        `machine.state.pin_contents(pin)` has them all.
        """
        return self.call(Operation("dma_read", {"pin": pin, "start": start}))

    def dma_write(self, pin: str, start: AnyPages = 0, *, value: int = 0xAA) -> int:
        """The device of the driver that holds `pin` writes a byte into page `start` of it."""
        return self.call(Operation("dma_write", {"pin": pin, "start": start, "value": value}))

    def unpin(self, pin: str) -> int:
        """The driver that holds `pin` lets go."""
        return self.call(Operation("unpin", {"pin": pin}))

    def khugepaged_scan(self, scans: int) -> int:
        """khugepaged makes full scans of all that is registered with it."""
        return self.call(Operation("khugepaged_scan", {"scans": scans}))

    def ksm_scan(self, scans: int = 3) -> int:
        """ksmd makes full scans of all that is mergeable."""
        return self.call(Operation("ksm_scan", {"scans": scans}))

    def sys(self, path: str, value: str) -> int:
        """Write `value` to a file of /proc or /sys."""
        return self.call(Operation("sys", {"path": path, "value": value}))

    # --- what can be observed -----------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Everything about the machine now, as read-only data."""
        return capture(self.system)

    @property
    def vmstat(self) -> dict[str, int]:
        """The THP events as /proc/vmstat counts them, from the start of the machine."""
        return dict(self.system.vmstat)

    @property
    def costs(self) -> dict[str, int]:
        """What the routines have spent so far: read-modify-writes, locks, flushes."""
        return self.system.costs.as_dict()


@dataclass(frozen=True)
class Process:
    """A handle on one process. Its methods are the operations of the vocabulary,
    with the same fields in the same order.

    Page numbers and counts are ints or parts of a huge page, such as "1/2thp"; they count from the start of a region,
    "R" unless another is named, and may go beyond it. A method returns what the kernel returns, 0 or a negative errno,
    and raises BadInput, with nothing changed, for a request that makes no sense.
    """

    machine: Machine
    name: str

    def __repr__(self) -> str:
        return f"<Process {self.name} of {self.machine.system}>"

    def _call(self, op: str, **fields: Value) -> int:
        return self.machine.call(Operation(op, {"proc": self.name, **fields}))

    # --- memory -------------------------------------------------------------------------------------------------------

    def mmap(
        self, thps: int | str = 1, advise: str = "hugepage", *, prot: str = "rw", region: str = "R"
    ) -> int:
        """Map private anonymous memory for `thps` huge pages (2 or "2thp") and advise on it: "hugepage" or "none".
        No fault yet. `prot` is what may be done with it: "none", "r" or "rw".
        """
        return self._call("mmap", thps=thps, advise=advise, prot=prot, region=region)

    def write(
        self, start: AnyPages, npages: AnyPages = 1, *, value: int = 0x55, force: bool = False, region: str = "R"
    ) -> int:
        """Store the byte `value` in each page. -EFAULT where that is not allowed.

        `force`: through /proc/PID/mem, whatever the protection is (FOLL_FORCE); -EIO where no memory is to be had.
        """
        return self._call("write", start=start, npages=npages, value=value, force=force, region=region)

    def read(self, start: AnyPages, npages: AnyPages = 1, *, region: str = "R") -> int:
        """Load a byte from each page, which may fault it in. -EFAULT where that is not allowed.
        `contents` tells what is there.
        """
        return self._call("read", start=start, npages=npages, region=region)

    def fill(self, start: AnyPages, npages: AnyPages, pattern: str = "unique", *, region: str = "R") -> int:
        """Write whole pages: "unique" (every page different), "same" (all alike) or "zero"."""
        return self._call("fill", start=start, npages=npages, pattern=pattern, region=region)

    def mprotect(self, start: AnyPages, npages: AnyPages, prot: str, *, region: str = "R") -> int:
        """Change the protection of pages to "none", "r" or "rw". -ENOMEM at the first that is not mapped."""
        return self._call("mprotect", start=start, npages=npages, prot=prot, region=region)

    def munmap(self, start: AnyPages, npages: AnyPages, *, region: str = "R") -> int:
        """Unmap pages."""
        return self._call("munmap", start=start, npages=npages, region=region)

    def mlock(self, start: AnyPages, npages: AnyPages, *, region: str = "R") -> int:
        """Lock pages in memory, all of which are faulted in. -ENOMEM if some are not mapped."""
        return self._call("mlock", start=start, npages=npages, region=region)

    def munlock(self, start: AnyPages, npages: AnyPages, *, region: str = "R") -> int:
        """Undo mlock. -ENOMEM if some pages are not mapped."""
        return self._call("munlock", start=start, npages=npages, region=region)

    def madvise(self, start: AnyPages, npages: AnyPages, advice: str, *, region: str = "R") -> int:
        """Give advice about pages, such as "dontneed", "cold" or "collapse". -EINVAL if the kernel does not know it.

        -ENOMEM if some pages are not mapped; it is followed for the others.
        """
        return self._call("madvise", start=start, npages=npages, advice=advice, region=region)

    def mremap(
        self,
        start: AnyPages,
        npages: AnyPages,
        to: str | None = None,
        at: AnyPages = 0,
        *,
        size: AnyPages | None = None,
        dontunmap: bool = False,
        region: str = "R",
    ) -> int:
        """Move pages to page `at` of region `to`, in place of what is mapped there; without `to` they stay where they
        are. They are `size` pages from then on, as many as they were unless it is given. `dontunmap`: the old pages
        stay mapped, but empty.
        """
        return self._call(
            "mremap", start=start, npages=npages, to=to, at=at, size=size, dontunmap=dontunmap, region=region
        )

    # --- processes and pins -------------------------------------------------------------------------------------------

    def fork(self, child: str) -> Process:
        """A child process with a copy of this one's memory."""
        self._call("fork", child=child)
        return Process(self.machine, child)

    def exit(self) -> int:
        """End the process. A pin ends with it if nobody else has its file open (vmsplice, io_uring);
        other pins outlive it.
        """
        return self._call("exit")

    def pin(self, start: AnyPages, npages: AnyPages, pin: str, how: str = "vmsplice", *, region: str = "R") -> int:
        """A driver takes a reference on each page and calls them `pin`, until Machine.unpin. -EFAULT where it may not.

        `how`: "vmsplice", "io_uring" (FOLL_PIN), "raw" (get_page), "gup" and "gupw" (to read and to write),
        "fsplit" (FOLL_SPLIT), "pup" (FOLL_PIN, to read only).
        """
        return self._call("pin", start=start, npages=npages, pin=pin, how=how, region=region)

    # --- what the kernel does to the process's pages ------------------------------------------------------------------

    def split(
        self,
        start: AnyPages | None = None,
        npages: AnyPages = 1,
        how: str = "direct",
        *,
        order: int | None = None,
        pin: str | None = None,
        region: str = "R",
    ) -> int:
        """split_huge_page() on the huge page at `start`, or on the one that `pin` holds a part of.

        `how`: "direct", or "debugfs" for the file split_huge_pages, which splits all huge pages among `npages` pages.
        """
        return self._call("split", start=start, npages=npages, how=how, order=order, pin=pin, region=region)

    def split_pmd(self, start: AnyPages, *, region: str = "R") -> int:
        """split_huge_pmd() on the mapping of page `start`."""
        return self._call("split_pmd", start=start, region=region)

    def swap_out(self, start: AnyPages, *, region: str = "R") -> int:
        """Reclaim tries to swap out the huge page at `start`, which it has to split first."""
        return self._call("swap_out", start=start, region=region)

    def migrate(self, start: AnyPages, *, region: str = "R") -> int:
        """Move the page at `start`, or the huge page that it is part of, to another frame."""
        return self._call("migrate", start=start, region=region)

    def clear_refs(self, value: int) -> int:
        """Write to the process's file clear_refs. 1: all pages; 2: anonymous ones, all there are here; 3: those of
        files, none; 4: write-protect all, so that the next write shows (soft-dirty).
        """
        return self._call("clear_refs", value=value)

    # --- what can be observed -----------------------------------------------------------------------------------------

    @property
    def regions(self) -> Iterator[tuple[str, Region]]:
        """The named regions of the process."""
        return iter(self.machine.mm(self.name).regions.items())

    def contents(
        self, start: AnyPages = 0, npages: AnyPages | None = None, *, region: str = "R"
    ) -> tuple[int | None, ...]:
        """What is in each page, by default from `start` to the region's end, without a fault: content tags;
        None where nothing is mapped.

        Raises BadInput for a region that does not exist and for pages that are not in it.
        """
        found = self.machine.state.contents(self.name, region)
        first = Pages.of(start).resolve(self.machine.system.geometry.nr)
        count = (
            max(len(found) - first, 1) if npages is None else Pages.of(npages).resolve(self.machine.system.geometry.nr)
        )
        if first + count > len(found):
            raise BadInput(
                "start", f"is page {first} with npages {count}", f"pages 0 to {len(found) - 1} of region {region}"
            )
        return found[first : first + count]
