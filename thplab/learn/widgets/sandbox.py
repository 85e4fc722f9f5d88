"""The sandbox: the learner drives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from thplab.errors import BadInput
from thplab.kernel import kernels
from thplab.kernel.policies import Kernel
from thplab.learn.widgets.conversation import asked
from thplab.learn.widgets.payload import kernel_text
from thplab.learn.widgets.pictured import Pictured
from thplab.learn.widgets.sandbox_form import Spot, operation_of
from thplab.learn.widgets.sandbox_payload import SandboxPayload
from thplab.machine.branches import Branches, read_share
from thplab.machine.trace import Setup, Trace
from thplab.scenario import Operation, Scenario
from thplab.scenario.text import write_operation
from thplab.show.diagrams import SIMPLE, Sheet

if TYPE_CHECKING:
    from thplab.learn.lessons.tasks import Task


class Sandbox(Pictured, page="sandbox"):
    """The learner chooses what is done next: with a form, in the picture, or by going back and doing something else.

    `scenario` is what has been done already: what thplab.scenario.load takes, or a Scenario, or a line that the sandbox
    shared, which names its own machine. `kernel` is a name, or a record of the reader's own; `mutant` names something
    that it gets wrong, `swap` a kind of swap device. `task` (of thplab.learn.lessons) is asked above it, on its own
    kernel and geometry, and checked. `lecture` is for a projector: what a class calls out is typed, too. Raises
    BadInput for what does not exist, and NoEngine if no pictures can be drawn.
    """

    _branches: Branches
    _payload: SandboxPayload
    _spot: Spot
    _step_shown: int | None = None
    """A step of the last operation, if it is shown instead of its end."""
    _all_moves = False

    def __init__(
        self,
        scenario: Scenario | str = "",
        *,
        kernel: str | Kernel = kernels.DEFAULT,
        geometry: str = "TOY",
        mutant: str = "",
        swap: str = "",
        task: Task | None = None,
        lecture: bool = False,
    ) -> None:
        if task and (kernel, geometry, mutant, swap) != (kernels.DEFAULT, "TOY", "", ""):
            raise BadInput("task", "brings a machine of its own", "no kernel, geometry, mutant or swap beside it")
        self._task = task
        setup = task.setup if task else Setup(kernel, geometry, mutant=mutant, swap=swap)
        self._take(scenario, setup)
        super().__init__(packed=self.packed_now(), lecture=lecture)

    # --- for Python ---------------------------------------------------------------------------------------------------

    @property
    def trace(self) -> Trace:
        """What is done so far, with all its steps, at the last one: to be opened in a Stepper, or checked."""
        return self._branches.trace

    @property
    def scenario(self) -> str:
        """The operations done so far, on one line. Set it to begin anew with others on the same machine;
        BadInput leaves all as it is.
        """
        return self.trace.scenario.line()

    @scenario.setter
    def scenario(self, text: str) -> None:
        self._take(text, self._branches.setup)
        with self.at_once():
            self._show()
            self.tell("")

    # --- asked by the page --------------------------------------------------------------------------------------------

    def way_back(self) -> Callable[[], None]:
        """To the branches before."""
        before = replace(self._branches, all=list(self._branches.all)), self._payload, self._spot

        def back() -> None:
            self._branches, self._payload, self._spot = before
            self._payload.branches = self._branches

        return back

    @asked("op")
    def _do(self, op: str, fields: dict[str, str]) -> str:
        """Carry out an operation that a form describes."""
        return self._carry_out(operation_of(op, fields))

    @asked("type")
    def _type(self, line: str) -> str:
        """Carry out the operations of a line, after those that are done."""
        return self._carry_out(*Scenario.parse(line).ops)

    @asked("go")
    def _go(self, at: int) -> None:
        """Undo or redo, until `at` operations are done."""
        self._branches.go(at)
        self._show()

    @asked("switch")
    def _switch(self, branch: int) -> None:
        """Go to another branch."""
        self._branches.switch(branch)
        self._show()

    @asked("machine")
    def _move(self, kernel: str, geometry: str) -> str:
        """Carry out everything again on another machine."""
        old = self._branches.setup
        self._branches.move_to(
            replace(old, kernel=old.kernel if kernel == old.kernel_name else kernel, geometry=geometry)
        )
        self._payload = SandboxPayload(self._branches, self._task.processes if self._task else ())
        self._show()
        return self._stopped() or f"Carried out again on {kernel}, {geometry}."

    @asked("load")
    def _load(self, line: str) -> str:
        """Begin anew with what a line says."""
        self._take(line, self._branches.setup)
        self._show()
        return f"Loaded: {self._branches.done} operations. {self._stopped()}".strip()

    @asked("choose")
    def _choose(self, proc: str, region: str, start: str) -> None:
        """Say what can be done with a page."""
        self._spot = Spot(proc, region, start)
        self._show()

    @asked("step")
    def _step(self, step: int) -> None:
        """Show a step of the last operation."""
        self._show(step)

    @asked("check")
    def _check(self) -> str:
        """Check the task."""
        if self._task is None:
            raise BadInput("task", "is missing", "a sandbox with a task")
        shown, wanted = self._branches.setup, self._task.setup
        if replace(shown, geometry=wanted.geometry) != wanted:
            raise BadInput("kernel", f"is {kernel_text(shown)} here", f"{kernel_text(wanted)}, the machine of the task")
        return repr(self._task.attempt("task", self.scenario, self._branches.setup.geometry))

    def _carry_out(self, *operations: Operation) -> str:
        for operation in operations:
            self._branches.do(operation)
            fields = operation.fields
            self._spot = self._spot._replace(
                **{name: str(fields[name]) for name in Spot._fields if fields.get(name) is not None}
            )
        self._show()
        return self._stopped()

    def _stopped(self) -> str:
        """Where and why the branch stopped; "" if it did not."""
        if self._branches.stopped is None:
            return ""
        index, why = self._branches.stopped
        return (
            f"Operation {index + 1}, {write_operation(self._branches.whole.scenario.ops[index])}, could not be "
            f"carried out: {why}."
        )

    def _take(self, scenario: Scenario | str, setup: Setup) -> None:
        self._branches = Branches.of(*(read_share(scenario, setup) if isinstance(scenario, str) else (scenario, setup)))
        self._payload = SandboxPayload(self._branches, self._task.processes if self._task else ())
        self._spot = Spot()

    # --- shown --------------------------------------------------------------------------------------------------------

    def data(self) -> dict[str, Any]:
        """What the payload has of what was done so far, and the task."""
        task = {"question": self._task.question, "hints": self._task.hints} if self._task else None
        return self._payload.data(self._spot, self._step_shown, self._all_moves) | {"task": task}

    def sheets(self, detail: str) -> list[Sheet]:
        """One, with a picture for each frame."""
        return [self._payload.sheet(detail, self._step_shown, self._all_moves)]

    def _show(self, step: int | None = None) -> None:
        before, self._step_shown = self._step_shown, step
        try:
            self.packed = self.packed_now()
        except Exception:
            self._step_shown = before
            raise

    def packed_for_html(self) -> str:
        """Every operation in detail: the moves so far can be looked at without a kernel, forwards and backwards."""
        self._all_moves = True
        try:
            return super().packed_for_html()
        finally:
            self._all_moves = False

    def still(self) -> tuple[str, str]:
        """The picture after the last operation, and what it was."""
        setup = self._branches.setup
        about = f"{setup.kernel_name}, {setup.geometry}: {self.scenario or 'nothing done yet'}"
        return self.sheets(SIMPLE)[0].svg(), about
