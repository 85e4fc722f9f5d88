"""The machine: what a program may ask of it, and what a user of a real kernel can observe.

Every operation is begun by `Machine.begin`, which checks the request before anything changes and hands out the routine
in progress. A plain call such as `a.write(0)` drains it at full speed; a recorder or a scheduler advances it itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from thplab.errors import ENOMEM, BadInput, ThplabError
from thplab.hardware.geometry import TOY, Geometry, geometry
from thplab.hardware.steps import Routine, drain
from thplab.kernel import kernels
from thplab.kernel.address_space import VM_HUGEPAGE, AddressSpace, Region
from thplab.kernel.policies import Kernel
from thplab.kernel.system import System
from thplab.machine.operations import FIELDS, OPERATIONS, check_types


class OutOfMemory(ThplabError):
    """A plain call found no free memory. What the call had done before that page stays done."""


class Machine:
    """A computer with one kernel, some memory, and no processes at first.

    `kernel` and `geometry` are names or records; `memory` is the number of page frames (default: 32 huge pages'
    worth). `variants` replaces routines by name (see thplab.kernel.mutants). `swap` is the kind of swap device: "swap" (a disk),
    "swapfile", "zram", or empty for none. Raises BadInput for what does not exist.
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
        shape = _geometry(geometry)
        self.system = System(record, shape, 32 * shape.nr if memory is None else memory, variants or {}, swap)

    # --- running ------------------------------------------------------------------------------------------------------

    def begin(self, op: str, **fields: Any) -> Routine[int]:
        """Check an operation of the vocabulary and start it: the routine in progress, not yet advanced.

        Page counts are in pages. Raises BadInput, with nothing changed, if the request makes no sense.
        """
        if op not in OPERATIONS:
            raise BadInput("operation", f"{op!r} is not built", "one of " + ", ".join(sorted(OPERATIONS)))
        for name in fields.keys() - FIELDS[op]:
            raise BadInput(name, f"is not built for {op}", "only " + ", ".join(FIELDS[op]))
        check_types(op, fields)
        return OPERATIONS[op](self, **fields)

    def call(self, op: str, **fields: Any) -> int:
        """Run an operation to its end and return what the kernel returns: 0 or a negative errno.

        Raises BadInput as `begin` does, and OutOfMemory where the kernel would have to kill the process.
        """
        result = drain(self.begin(op, **fields))
        if result == -ENOMEM and op not in ("mlock", "munlock"):  # which say so of a gap between VMAs, too
            buddy = self.system.frames.buddy
            raise OutOfMemory(f"{op}: no memory left ({buddy.nr_free} of {len(self.system.frames.refcount)} frames are free)")
        return result

    # --- processes and memory -------------------------------------------------------------------------------------------

    def spawn(self, name: str) -> Process:
        """A new process with no memory of its own."""
        self.call("spawn", proc=name)
        return Process(self, name)

    def __getitem__(self, name: str) -> Process:
        """The process of that name. Raises BadInput if there is none."""
        self.mm(name)
        return Process(self, name)

    def mm(self, name: str) -> AddressSpace:
        """The address space of a living process. Raises BadInput if there is none of that name."""
        try:
            return self.system.mms[name]
        except KeyError:
            known = ", ".join(self.system.mms) or "none yet"
            raise BadInput("proc", f"{name!r} is not a living process", f"one of: {known}") from None

    def split_huge_page(self, process: Process, page: int, region: str = "R") -> int:
        """split_huge_page() on the compound page that `process` maps at `page`. Returns 0 or a negative errno."""
        return self.call("split", proc=process.name, start=page, region=region)

    def swap_out(self, process: Process, page: int, region: str = "R") -> int:
        """Let reclaim try the compound page that `process` maps at `page`. Returns 0 or a negative errno."""
        return self.call("swap_out", proc=process.name, start=page, region=region)

    def unpin(self, name: str) -> int:
        """The driver that holds `name` lets go."""
        return self.call("unpin", pin=name)

    @property
    def vmstat(self) -> dict[str, int]:
        """The THP events as /proc/vmstat counts them, from the start of the machine."""
        return dict(self.system.vmstat)

    @property
    def costs(self) -> dict[str, int]:
        """What the routines have spent so far: read-modify-writes, locks, flushes."""
        return self.system.costs.as_dict()


def _geometry(value: str | Geometry) -> Geometry:
    return geometry(value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Process:
    """A handle on one process. Page numbers count from the start of a region, "R" unless another is named."""

    machine: Machine
    name: str

    def mmap(self, pages: int, advise: str = VM_HUGEPAGE, region: str = "R") -> int:
        """Map `pages` pages of private anonymous memory, aligned to a huge page, and advise on them. No fault yet."""
        return self.machine.call("mmap", proc=self.name, pages=pages, advise=advise, region=region)

    def write(self, start: int, npages: int = 1, value: int = 0x55, region: str = "R") -> int:
        """Store `value` in each page. Returns 0 or -EFAULT."""
        return self.machine.call("write", proc=self.name, start=start, npages=npages, value=value, region=region)

    def read(self, start: int, npages: int = 1, region: str = "R") -> int:
        """Load from each page. Returns 0 or -EFAULT; `contents` tells what was there."""
        return self.machine.call("read", proc=self.name, start=start, npages=npages, region=region)

    def fork(self, child: str) -> Process:
        """A child process with a copy of this one's memory."""
        self.machine.call("fork", proc=self.name, child=child)
        return Process(self.machine, child)

    def mprotect(self, start: int, npages: int, prot: str, region: str = "R") -> int:
        """Change the protection of pages to "none", "r" or "rw"."""
        return self.machine.call("mprotect", proc=self.name, start=start, npages=npages, prot=prot, region=region)

    def munmap(self, start: int, npages: int, region: str = "R") -> int:
        """Unmap pages."""
        return self.machine.call("munmap", proc=self.name, start=start, npages=npages, region=region)

    def pin(self, start: int, npages: int, pin: str, how: str = "vmsplice", region: str = "R") -> int:
        """A driver takes a reference on each page with get_user_pages and calls them `pin`. Returns 0 or -EFAULT."""
        return self.machine.call("pin", proc=self.name, start=start, npages=npages, pin=pin, how=how, region=region)

    def exit(self) -> int:
        """End the process. A pin ends with it if nobody else has its file open (vmsplice, io_uring); other pins outlive it."""
        return self.machine.call("exit", proc=self.name)

    @property
    def regions(self) -> Iterator[tuple[str, Region]]:
        """The named regions of the process."""
        return iter(self.machine.mm(self.name).regions.items())
