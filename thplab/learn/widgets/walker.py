"""The address walker: an address, its bits, and the entries that lead from it to a page, read bit by bit."""

from __future__ import annotations

from typing import Any

import traitlets

from thplab.errors import BadInput
from thplab.hardware.geometry import Geometry
from thplab.kernel.kernels import DEFAULT
from thplab.kernel.policies import Kernel
from thplab.learn.widgets.page import pack
from thplab.learn.widgets.payload import geometry_text, kernel_text
from thplab.learn.widgets.walker_payload import payload
from thplab.learn.widgets.widget import Widget, trace_of
from thplab.machine.state import ProcessState, State
from thplab.machine.trace import Setup, Trace
from thplab.scenario import Scenario
from thplab.show.describe.walk_text import refused, walk_text


class AddressWalker(Widget, page="walker"):
    """Walks the page tables of a state, from an address that the learner chooses. All tables are in the page:
    it needs no kernel.

    `scenario` is what thplab.scenario.load takes (a built-in name, a file, operations), or a Scenario, carried out to
    its end on `kernel` and `geometry`; or a trace, which brings its own machine and is looked at where it stands, also
    in the middle of a routine. `process` and `address` are where the walk begins: left out, the first process, and the
    first byte of its first VMA. Raises BadInput for a scenario that makes no sense, a state without processes, a
    process that is not there, and a number that is no address of a process.
    """

    traits_in_html = ("process", "address")

    process = traitlets.Unicode("").tag(sync=True)
    """The process whose tables are walked."""
    address = traitlets.Int(0).tag(sync=True)
    """The address that is walked to; set it to walk elsewhere."""

    def __init__(
        self,
        scenario: Trace | Scenario | str = "mmap A; write A 0",
        *,
        kernel: str | Kernel = DEFAULT,
        geometry: str = "X86_64",
        process: str | None = None,
        address: int | None = None,
    ) -> None:
        trace = carried_out(scenario, Setup(kernel, geometry), Setup(geometry="X86_64"))
        self.state: State = trace.frame.state
        mine = _chosen(self.state, process)
        at = (mine.vmas[0].start if mine.vmas else 0) if address is None else address
        check_address(self.state.geometry, at)
        about = {
            "kernel": kernel_text(trace.setup),
            "geometry": geometry_text(self.state.geometry),
            "scenario": trace.scenario.line(),
        }
        super().__init__(packed=pack(payload(self.state) | about), process=mine.name, address=at)

    @traitlets.validate("address")
    def _check_address(self, proposal: Any) -> int:
        address = int(proposal["value"])
        check_address(self.state.geometry, address)
        return address

    @traitlets.validate("process")
    def _check_process(self, proposal: Any) -> str:
        return self.state.process(str(proposal["value"])).name

    def still(self) -> tuple[str, str]:
        """No picture; the walk in words."""
        return "", f"{self.process}, address {self.address:#x}. {walk_text(self.state, self.process, self.address)}"


def carried_out(scenario: Trace | Scenario | str, setup: Setup, usual: Setup | None = None) -> Trace:
    """As trace_of(); a scenario is at its last frame.
    Raises BadInput also for one that cannot be carried out to its end.
    """
    trace = trace_of(scenario, setup, usual)
    if trace is scenario:
        return trace
    if trace.problem:
        raise BadInput("scenario", f"stops {trace.problem}", "operations that make sense one after the other")
    trace.seek(len(trace) - 1)
    return trace


def check_address(geometry: Geometry, address: int) -> None:
    """Raises BadInput for a number that is no address of a process."""
    first, *_ = refused(geometry)
    if address < 0:
        raise BadInput("address", f"is {address}", f"a number from 0 to {first.first - 1:#x}")
    for numbers in refused(geometry):
        if numbers.first <= address and (numbers.last is None or address <= numbers.last):
            raise BadInput("address", f"{address:#x} {numbers.why}", f"a number from 0 to {first.first - 1:#x}")


def _chosen(state: State, process: str | None) -> ProcessState:
    if process is not None:
        return state.process(process)
    if not state.processes:
        raise BadInput("scenario", "ends without a process", "operations that leave one, such as 'mmap A; write A 0'")
    return state.processes[0]
