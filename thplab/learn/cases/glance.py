"""What somebody sees who looks at a machine with the usual tools, at one moment of a scenario."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from thplab.learn.lessons.places import op_end
from thplab.machine.state import State
from thplab.machine.trace import Trace
from thplab.show.proc_text import pagemap_text, smaps_text, vmstat_text


@dataclass(frozen=True)
class Glance:
    """What is looked at, and when: after the operation `op` of the trace, counted from 0, or at its end.

    `smaps` names lines of it for some processes, `events` lines of vmstat; `pagemap` is a process. `pipes` are pins
    that are read as pipes, `memory` are pages of processes: (process, page).
    """

    when: str
    op: int | None = None
    smaps: Mapping[str, Sequence[str]] = field(default_factory=dict)
    events: Sequence[str] = ()
    pagemap: str = ""
    pipes: Sequence[str] = ()
    memory: Sequence[tuple[str, int]] = ()

    def text(self, trace: Trace) -> str:
        """The commands and what they print."""
        state = trace[-1 if self.op is None else op_end(trace, self.op)].state
        return "\n".join([f"# {self.when}", *self._commands(state)]) + "\n"

    def _commands(self, state: State) -> Iterator[str]:
        for process, fields in self.smaps.items():
            yield f"$ grep -E '{'|'.join(('^[0-9a-f]+-', *(f'^{name}:' for name in fields)))}' /proc/{process}/smaps"
            yield smaps_text(state, process, fields).rstrip()
        if self.pagemap:
            start, pages = state.region(self.pagemap, "R")
            yield f"$ P={start // state.geometry.page_size:#x}  # the first page's number"
            yield f"$ dd bs=8 skip=$((P)) count={pages} if=/proc/{self.pagemap}/pagemap status=none | od -A d -t x8 -w8"
            yield pagemap_text(state, self.pagemap).rstrip()
        if self.events:
            yield f"$ grep -E '{'|'.join(f'^{name} ' for name in self.events)}' /proc/vmstat"
            yield vmstat_text(state, self.events).rstrip()
        for pin in self.pipes:
            yield "$ head -c 1 <&$PIPE | od -A n -t x1"
            yield _byte(state.pin_contents(pin)[0])
        for process, page in self.memory:
            yield f"$ dd bs=1 count=1 skip=$((PAGE{page})) if=/proc/{process}/mem status=none | od -A n -t x1"
            yield _byte(state.contents(process)[page] or 0)


def _byte(content: int) -> str:
    """As od prints a byte."""
    return f" {content & 0xFF:02x}"
