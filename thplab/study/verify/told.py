"""`thplab steps`: what a kernel did inside an operation, as recorded, and what the machine does there, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any

from thplab.errors import BadInput
from thplab.hardware.geometry import X86_64
from thplab.kernel import kernels
from thplab.study.verify.fold import Folded
from thplab.study.verify.records import kernel_name
from thplab.study.verify.steps import Followed, follow, operation, side_by_side
from thplab.study.verify.stores import read_recordings

_LEGEND = (
    "F0[8]: page 8 of the first huge page. PMD A[0], PTE A#0[8]: entries of A's page tables. W writable, A accessed, D dirty, INVALID:"
    " marked not present. ✓: the simulator does the same; ≠: it does something else; |: only one side does it. In brackets: the function."
)


def told(wanted: str, name: str, width: int) -> tuple[str, bool]:
    """All recordings on kernel `name` of an operation (`mprotect`) or of that name (`split_pmd_sole`), beside the machine's own steps.

    Returns the text, and whether all steps agree. Raises BadInput if nothing fits.
    """
    on = kernels.kernel(name)
    recorded = {str(record["name"]): record for path in sorted(recordings_folder().glob("*.jsonl")) for record in _of(path, name)}
    if not recorded:
        raise BadInput("kernel", f"{name!r} has no recorded steps", "one of " + ", ".join(sorted(_kernels())))
    found = [record for key, record in recorded.items() if wanted in (key, record["op"]["op"])]
    if not found:
        operations = sorted({str(record["op"]["op"]) for record in recorded.values()})
        raise BadInput("operation", f"{wanted!r} is not recorded", f"one of {', '.join(operations)}, or of {', '.join(recorded)}")
    followed = [(record, follow(record, on)) for record in found]
    text = "\n".join("\n".join(_one(record, one, name, width)) for record, one in followed)
    return f"{text}\n\n{_wrapped(_LEGEND, width)}\n", all(one.agrees for _, one in followed)


def recordings_folder() -> Path:
    """Where the recordings of steps are: in the package if it was installed from a wheel, else beside it in the checkout."""
    package = Path(__file__).parents[2]
    folder = package / "truth" / "steps"
    return folder if folder.is_dir() else package.parent / "tests" / "truth" / "steps"


def _of(path: Path, name: str) -> list[dict[str, Any]]:
    return [record for record in read_recordings(path) if kernel_name(record["kernel"]) == name]


def _kernels() -> set[str]:
    return {kernel_name(record["kernel"]) for path in recordings_folder().glob("*.jsonl") for record in read_recordings(path)}


def _wrapped(text: str, width: int) -> str:
    return "\n".join(wrap(text, max(40, width)))


def _one(record: Mapping[str, Any], one: Followed, name: str, width: int) -> Iterator[str]:
    before = ", ".join(operation(op).label(X86_64.nr) for op in record["setup"])
    yield _wrapped(f"{one.name}: {operation(record['op']).label(X86_64.nr)}, after {before}", width)
    if one.not_modelled:
        yield f"not modelled: {one.not_modelled}"
        return
    column = max(30, (width - 4) // 2)
    yield f"    {'recorded on Linux ' + str(record['kernel']):{column}}{'simulator ' + name}"
    for same, wanted, seen in side_by_side(one.expected, one.got):
        left, right = ([row for line in lines for row in _rows(line, column - 2)] for lines in (wanted, seen))
        for number in range(max(len(left), len(right))):
            mark = "✓" if same else "≠" if wanted and seen else "|"
            here, there = (side[number] if number < len(side) else "" for side in (left, right))
            yield f"  {mark} {here:{column}}{there}".rstrip()
    crowded = [difference for difference in one.differences if difference.position.startswith(("one step", "ret"))]
    yield from (_wrapped(f"  ≠ {each.position}: expected {each.expected}, got {each.got}", width) for each in crowded)


def _rows(line: Folded, width: int) -> Iterator[str]:
    inner = "  " if len(line.body) > 1 else ""
    if inner:
        yield f"{line.times} times:"
    times = f" (×{line.times})" if line.times > 1 and not inner else ""
    for text, by in zip(line.body, line.by, strict=True):
        for row in wrap(f"{text}{times} [{by}]", width - len(inner), subsequent_indent="    ") or [""]:
            yield inner + row
