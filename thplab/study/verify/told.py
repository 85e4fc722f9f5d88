"""`thplab steps`: what a kernel did inside an operation, as recorded, and what the machine does there, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import wrap

from thplab.errors import BadInput
from thplab.hardware.geometry import X86_64
from thplab.kernel import kernels
from thplab.scenario import Scenario
from thplab.study.verify.fold import Folded
from thplab.study.verify.recorded import Recording, followed, recorded_kernels, recording_of, recordings, rows

_LEGEND = (
    "F0[8]: page 8 of the first huge page. PMD A[0], PTE A#0[8]: entries of A's page tables. W writable, A accessed, D"
    " dirty, INVALID: marked not present. ✓: the simulator does the same; ≠: it does something else; |: only one "
    "side does"
    " it. In brackets: the function."
)


def told(wanted: str, name: str, width: int) -> tuple[str, bool]:
    """Recordings on kernel `name` beside the machine's own steps: all of an operation (`mprotect`), the one of a name
    (`split_pmd_sole`), or those of the operations of a scenario. Nothing wanted: what there is.

    Returns the text, and whether all steps agree. Raises BadInput if nothing fits.
    """
    kernels.kernel(name)
    known = recordings(name)
    if not known:
        raise BadInput("kernel", f"{name!r} has no recorded steps", "one of " + ", ".join(recorded_kernels()))
    if not wanted:
        return "\n".join(_listed(known.values(), width)) + "\n", True
    found = [each for key, each in known.items() if wanted in (key, each.op.op)] or _of_scenario(wanted, name)
    if not found:
        operations = ", ".join(sorted({each.op.op for each in known.values()}))
        raise BadInput("operation", f"{wanted!r} is not recorded", f"one of {operations}, or of {', '.join(known)}")
    ones = [(each, followed(name, each.name)) for each in found]
    head = [f"{len(found)} recorded on {name}:", *_listed(found, width), ""] if len(found) > 1 else []
    text = "\n".join([*head, *(line for each, _ in ones for line in _one(each, name, width))])
    return f"{text}\n\n{_wrapped(_LEGEND, width)}\n", all(one.agrees for _, one in ones)


def _of_scenario(text: str, name: str) -> list[Recording]:
    """The recordings of the operations of a scenario, in their order; of one that cannot be read none."""
    try:
        ops = Scenario.parse(text).ops
    except BadInput:
        return []
    return [found for end in range(1, len(ops) + 1) if (found := recording_of(ops[:end], X86_64.nr, name))]


def _listed(found: Iterable[Recording], width: int) -> Iterator[str]:
    for each in found:
        yield from wrap(f"{each.name}: {each.label}", max(40, width), initial_indent="  ", subsequent_indent="      ")


def _wrapped(text: str, width: int) -> str:
    return "\n".join(wrap(text, max(40, width)))


def _one(recording: Recording, name: str, width: int) -> Iterator[str]:
    one = followed(name, recording.name)
    yield _wrapped(f"{one.name}: {recording.label}", width)
    if one.not_modelled:
        yield f"not modelled: {one.not_modelled}"
        return
    column = max(30, (width - 4) // 2)
    yield f"    {'recorded on Linux ' + recording.release:{column}}{'simulator ' + name}"
    for row in rows(one):
        sides = (row.recorded, row.here)
        left, right = ([text for line in lines for text in _rows(line, column - 2)] for lines in sides)
        for number in range(max(len(left), len(right))):
            mark = "✓" if row.agrees else "≠" if row.recorded and row.here else "|"
            here, there = (side[number] if number < len(side) else "" for side in (left, right))
            yield f"  {mark if number == 0 or not row.agrees else ' '} {here:{column}}{there}".rstrip()
    crowded = [each for each in one.differences if each.position.startswith(("one step", "ret"))]
    yield from (_wrapped(f"  ≠ {each.position}: expected {each.expected}, got {each.got}", width) for each in crowded)


def _rows(line: Folded, width: int) -> Iterator[str]:
    inner = "  " if len(line.body) > 1 else ""
    if inner:
        yield f"{line.times} times:"
    times = f" (×{line.times})" if line.times > 1 and not inner else ""
    for text, by in zip(line.body, line.by, strict=True):
        for row in wrap(f"{text}{times} [{by}]", width - len(inner), subsequent_indent="    ") or [""]:
            yield inner + row
