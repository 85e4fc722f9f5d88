"""Questions about page tables: who maps how, whose mapping is split, where an address leads."""

from __future__ import annotations

import random
from itertools import combinations

from thplab.hardware.geometry import LEVEL_NAMES
from thplab.learn.lessons.questions.scene import USUAL, Scene, draw, names, slips
from thplab.learn.widgets.question import Question
from thplab.machine.state import State
from thplab.machine.trace import Setup

MOST_CHOICES = 5


def mapped_by_pmd(rng: random.Random, setup: Setup) -> Question:
    """Which processes map the huge page by a PMD in the end?"""
    scene = draw(rng, setup, _two_processes, usual=USUAL | {"split": 0, "fork": 6})
    living = [process.name for process in scene.end.processes]
    actual = names(scene.pmds())
    mappings = _mappings(scene, scene.end)
    callers = {str(op.fields["proc"]) for op in scene.trace.scenario.ops if op.op in ("mprotect", "munmap")}
    others = names([name for name in living if name not in callers])
    local = scene.kernel.scheme.pmd_split_is_local
    child = "a child gets the kind of mapping that its parent has"
    same = (
        f"A PMD maps all of a huge page with the same rights. Who changes a part of it needs PTEs instead, and {child}."
    )
    known = [(names(living), same)]
    rule = (
        "Who changes a part gets PTEs, the others keep their PMD"
        if local
        else "Who changes a part splits the page for all"
    )
    if not local:
        known.append(
            (
                others,
                "Before the RFC a part can only be changed by splitting the page itself, for everybody who maps it.",
            )
        )
    elif any(how == "PTEs" for _, how in mappings):
        known.append(
            (
                names([]),
                "That lets a split spread to other processes. A PMD is split in the page table of one process only.",
            )
        )
    mistakes = slips(actual, *known)
    return Question(
        scene.line,
        setup,
        "Which processes map A's huge page by a PMD in the end?",
        actual,
        _choices(rng, living, actual, *mistakes),
        f"In the end: {_told(mappings)}. {rule}; {child}.",
        mistakes,
    )


def pmd_split_touches(rng: random.Random, setup: Setup) -> Question:
    """In whose page tables does the last operation turn a PMD into PTEs?"""
    scene = draw(
        rng, setup, lambda s: _two_processes(s) and bool(s.before.pmd_maps.get(s.head)), last=("mprotect", "munmap")
    )
    before = scene.before.pmd_maps[scene.head]
    touched = [name for name in before if name not in scene.pmds()]
    living = [process.name for process in scene.end.processes]
    actual = names(touched)
    caller = str(scene.trace.scenario.ops[-1].fields["proc"])
    local = scene.kernel.scheme.pmd_split_is_local
    rule = (
        "A PMD is split in one page table: that of the process whose mapping changes. The others keep theirs, and the "
        "page stays whole."
        if local
        else "Before the RFC a PMD is split by splitting the page itself, so everybody who maps it by a PMD is touched."
    )
    everybody = (
        "That lets the split spread. split_huge_pmd() splits one process's mapping, not the page: the other PMDs stay."
    )
    alone = (
        "Before the RFC no process can have PTEs over a page that another maps by a PMD: the page has to be split "
        "for all."
    )
    mistakes = slips(
        actual,
        (names(before), everybody) if local else (names([caller]), alone),
        (names([caller]), f"{caller} has PTEs already, so there is no PMD of its own to split."),
        (names([]), "A PMD maps all of the page alike. To change a part of it, the caller needs PTEs."),
    )
    return Question(
        scene.line,
        setup,
        f"The last operation is {scene.label()}. In whose page tables does it turn a PMD into a table of PTEs?",
        actual,
        _choices(rng, living, actual, *mistakes),
        f"Before it: {_told(_mappings(scene, scene.before))}. {rule}",
        mistakes,
    )


def table_index(rng: random.Random, setup: Setup) -> Question:
    """Which index has an address in the table of some level?"""
    geometry = setup.machine().system.geometry
    thps = rng.randrange(2, min(4, geometry.address_limit // geometry.huge_size + 1))
    pages = sorted(rng.sample(range(thps * geometry.nr), 2))
    line = f"mmap A {thps}thp advise=none; " + "; ".join(f"write A {page}" for page in pages)
    scene = Scene.of(line, setup)
    base, _ = dict(scene.end.process("A").regions)["R"]
    page, offset = rng.choice(pages), rng.randrange(geometry.page_size)
    address = base + page * geometry.page_size + offset
    level = rng.randrange(min(geometry.levels, 3))  # the PGD index is the same for all of a region
    actual = geometry.index(address, level)
    walk = [f"{LEVEL_NAMES[up]} {geometry.index(address, up)}" for up in reversed(range(geometry.levels))]
    others = [up for up in range(geometry.levels) if up != level]
    known = [(geometry.index(address, up), f"That is the index in the {LEVEL_NAMES[up]} table.") for up in others]
    return Question(
        line,
        setup,
        f"A's region begins at {base:#x}. Which index has the address {address:#x} (page {page}) in the "
        f"{LEVEL_NAMES[level]} table? "
        f"The offset has {geometry.shift(0)} bits, and each index {geometry.order}.",
        actual,
        why=f"{address:#x} is {', '.join(walk)} and offset {offset:#x}: the lowest bits are the offset, the next the "
            "PTE index, and so on.",
        slips=slips(actual, *known, (page, "That is the number of the page in its region. An index begins again at 0 "
                                           "in each table.")),
    )  # fmt: skip


def _two_processes(scene: Scene) -> bool:
    return len(scene.end.processes) > 1


def _choices(rng: random.Random, processes: list[str], *kept: int | str) -> tuple[str, ...]:
    """Sets of processes, the small ones first: those that are kept, and others up to MOST_CHOICES."""
    every = [names(group) for size in range(len(processes) + 1) for group in combinations(processes, size)]
    more = [choice for choice in every if choice not in kept]
    added = rng.sample(more, min(len(more), MOST_CHOICES - len(every) + len(more)))
    return tuple(choice for choice in every if choice in kept or choice in added)


def _mappings(scene: Scene, state: State) -> list[tuple[str, str]]:
    """Who maps the pages that were the huge page, and how."""
    found: dict[str, str] = dict.fromkeys(state.pmd_maps.get(scene.head, ()), "a PMD")
    for m in state.mapped:
        if m.level == 0 and m.kind == "page" and scene.head <= m.pfn < scene.head + scene.nr:
            found.setdefault(m.process, "PTEs")
    return sorted(found.items())


def _told(mappings: list[tuple[str, str]]) -> str:
    return "; ".join(f"{name} by {how}" for name, how in mappings) or "nobody maps any part of it"
