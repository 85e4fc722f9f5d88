"""Questions about counters: what the head and the tails of a huge page count."""

from __future__ import annotations

import random

from thplab.errors import BadInput
from thplab.hardware.frames import PG_double_map
from thplab.kernel.policies import Kernel
from thplab.learn.lessons.questions.scene import PIN, USUAL, Scene, draw, slips
from thplab.learn.widgets.question import Question
from thplab.machine.trace import Setup


def head_refcount(rng: random.Random, setup: Setup) -> Question:
    """How many references has the head?"""
    scene = draw(rng, setup, lambda s: s.compound and s.count() > 1)
    account, actual = scene.account(scene.kernel.refcount_name), scene.count()
    mappings = [row for row in account.rows if row.what.endswith(("PMD", "PTE", "PTEs"))]
    table = any(row.what.endswith("PTEs") for row in mappings)
    pins = actual - sum(row.count for row in mappings)
    pmds = len(scene.pmds())
    others = "pins of any page" if scene.kernel.scheme.tail_mapcount == "pins" else "PTEs of tails and pins"
    return Question(
        scene.line,
        setup,
        f"How many references has the head of the huge page in the end (its {scene.kernel.refcount_name})?",
        actual,
        why=f"{account.text}. Each entry that maps the page or a part of it holds one reference, and so does each pin.",
        slips=slips(
            actual,
            (
                scene.mapcount(),
                f"That is the head's mapcount, which is not its refcount: {others} refer to the head, too.",
            ),
            *(
                [
                    (
                        len(mappings) + pins,
                        "That counts a table of PTEs once. Each PTE in it holds a reference of its own.",
                    )
                ]
                if table
                else []
            ),
            *(
                [
                    (
                        actual - pins,
                        "That leaves out a pin. It does not raise a tail's count: it is a reference to the head.",
                    )
                ]
                if pins
                else []
            ),
            (
                actual + pmds * (scene.nr - 1),
                f"That takes a PMD for {scene.nr} references. It is one entry, and holds one.",
            ),
        ),
    )


def head_mapcount(rng: random.Random, setup: Setup) -> Question:
    """What is the logical mapcount in the head's own field?"""
    scene = draw(rng, setup, lambda s: s.compound and s.count() > 1)
    actual = scene.mapcount()
    return Question(
        scene.line,
        setup,
        "What is the head's own mapcount in the end? The logical count is asked: the raw field _mapcount plus 1.",
        actual,
        why=f"{scene.account('mapcount').text}. {_what_the_head_counts(scene.kernel)}",
        slips=slips(
            actual,
            (actual - 1, "That is the raw field. It is stored as one less than the count, so that -1 stands for none."),
            (
                scene.count(),
                "That is the head's refcount, which is not its mapcount: pins and the PTEs of tails are in the "
                "refcount only.",
            ),
            (
                len(scene.pmds()),
                "That counts PMDs only. Which entries the head's own field counts depends on the kernel.",
            ),
            *_without_the_offset(scene, actual),
        ),
    )


def tail_mapcount(rng: random.Random, setup: Setup) -> Question:
    """What is the logical mapcount of a tail? Refused before the RFC, where a tail's field counts no mappings."""
    scene, page = _with_tail(rng, setup)
    if scene.kernel.scheme.tail_mapcount != "mappings":
        raise BadInput(
            "kernel",
            f"is {scene.kernel.name}, in which a tail's _mapcount counts pins",
            "one in which it counts mappings",
        )
    actual = scene.mapcount(page)
    return Question(
        scene.line,
        setup,
        f"What is the mapcount of page {page}, a tail, in the end? The logical count is asked: the raw field "
        "_mapcount plus 1.",
        actual,
        why=f"{scene.account('mapcount', page).text}. A tail counts the PTEs that map it. A PMD is counted "
        f"{_where_pmds(scene.kernel)}.",
        slips=slips(
            actual,
            (actual + len(scene.pmds()), _too_many(scene.kernel)),
            (
                actual + scene.end.pinned[scene.head + page],
                "That lets a pin raise the tail's count. A pin is no mapping: it is in the head's refcount.",
            ),
            *_without_the_offset(scene, actual),
            (actual - 1, "That is the raw field. It is stored as one less than the count, so that -1 stands for none."),
        ),
    )


def raw_tail_mapcount(rng: random.Random, setup: Setup) -> Question:
    """What does the raw field `_mapcount` of a tail hold? Before the RFC it counts pins."""
    scene, page = _with_tail(rng, setup)
    pins = scene.kernel.scheme.tail_mapcount == "pins"
    actual = scene.end.field("mapcount", scene.head + page)
    account = scene.account("pins" if pins else "mapcount", page)
    mapped = len(scene.pmds()) + int(scene.end.pte_maps[scene.head + page])
    counts = "the pins that were taken through it" if pins else "the PTEs that map it"
    confused = (
        "That counts mappings. Before the RFC a tail's field counts the pins that were taken through it, for "
        "nobody else needs it."
    )
    return Question(
        scene.line,
        setup,
        f"What is stored in the field _mapcount of page {page}, a tail, in the end? The raw value is asked: -1 stands "
        "for none.",
        actual,
        why=f"{account.text}, stored as {actual}. In {scene.kernel.name} a tail's field counts {counts}.",
        slips=slips(
            actual,
            (actual + 1, "That is the logical count. The field is stored as one less, so that -1 stands for none."),
            (mapped - 1, confused if pins else _too_many(scene.kernel)),
        ),
    )


def _where_pmds(kernel: Kernel) -> str:
    return "in a counter of its own" if kernel.scheme.head_counters else "on the head"


def _too_many(kernel: Kernel) -> str:
    return f"That counts PMDs, too. A PMD is counted once for all of the page, {_where_pmds(kernel)}."


def pin_leaves(rng: random.Random, setup: Setup) -> Question:
    """Where are the references that a driver's pin takes: on the head, or on the page itself?"""
    own = setup.machine().system.kernel
    whole = rng.random() < 0.65 or bool(
        own.split.frees_zero_pages
    )  # where a split puts the zero page, a tail is no page of its own
    scene = draw(
        rng, setup, lambda s: _pins_tails(s) and s.compound == whole, last=("pin",), usual=USUAL | {"split": 5}
    )
    pages = scene.end.pins[PIN].pages
    page = pages[-1] - scene.head

    def left(head: int, own: int) -> str:
        return f"{head} on page 0, {own} on page {page}"

    actual = left(*(scene.count(p) - scene.before.field("refcount", scene.head + p) for p in (0, page)))
    on_head, on_tail, on_both = left(len(pages), 0), left(0, 1), left(len(pages), 1)
    name = scene.kernel.refcount_name
    if scene.compound:
        noted = scene.kernel.scheme.tail_mapcount == "pins"
        which = (
            "That the pin was for this tail is noted in the tail's _mapcount."
            if noted
            else "Nobody notes which tail it was for."
        )
        why = f"Every reference to a part of a compound page is on its head: {scene.account(name).text}. {which}"
    else:
        why = "The huge page was split before: its pages are ordinary ones, and each counts its own references."
    return Question(
        scene.line,
        setup,
        f"The last operation is {scene.label()}. How many references does it add to the {name} of page 0, and to that "
        f"of page {page}?",
        actual,
        (on_head, on_tail, on_both),
        why,
        slips(
            actual,
            (
                on_tail,
                "That lets a pin raise the count of a tail. While the page is compound, all references to it are on "
                "the head.",
            ),
            (
                on_head,
                "That is so for a compound page. Here the page was split before, so each page counts its own "
                "references.",
            ),
            (on_both, "That counts the pin twice. It is one reference for each page that it is about."),
        ),
    )


def _pins_tails(scene: Scene) -> bool:
    pages = scene.end.pins[PIN].pages if PIN in scene.end.pins else ()
    return bool(pages) and all(scene.head < page < scene.head + scene.nr for page in pages) and scene.result == 0


def _with_tail(rng: random.Random, setup: Setup) -> tuple[Scene, int]:
    """A scene whose page is compound, and a tail: one that is pinned or that PTEs map, if there is any."""
    scene = draw(rng, setup, lambda s: s.compound and s.count() > 1)
    special = [p for p in range(1, scene.nr) if scene.end.pinned[scene.head + p] or scene.mapcount(p)]
    return scene, rng.choice(special or range(1, scene.nr))


def _without_the_offset(scene: Scene, actual: int) -> list[tuple[int, str]]:
    if not scene.end.field("flags", scene.head) & PG_double_map:
        return []
    return [
        (
            actual - 1,
            "That leaves an offset out. While PMDs and PTEs map the page, PageDoubleMap adds 1 to every "
            "subpage's count.",
        )
    ]


def _what_the_head_counts(kernel: Kernel) -> str:
    if kernel.scheme.tail_mapcount == "pins":
        return "Only PMDs map a huge page before the RFC, and each counts there."
    if not kernel.scheme.head_counters:
        return "The head's one field counts PMDs and the PTEs of page 0 together, so it cannot tell them apart."
    return "The head's own field counts the PTEs of page 0. PMDs have a counter of their own."
