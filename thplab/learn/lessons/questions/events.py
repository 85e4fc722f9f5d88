"""Questions about splits and what comes of them: events, results, memory that is given back."""

from __future__ import annotations

import random

from thplab.errors import EBUSY, BadInput, errname
from thplab.learn.lessons.questions.scene import USUAL, Scene, draw, slips
from thplab.learn.widgets.question import Question
from thplab.machine.trace import Setup
from thplab.show.ledger import small_pages


def pmd_splits(rng: random.Random, setup: Setup) -> Question:
    """How often was a PMD split? Refused where that is no event."""
    scene = draw(rng, setup, lambda s: _event(s, "thp_split_pmd") > 0 or rng.random() < 0.1)
    actual = _event(scene, "thp_split_pmd")
    with_page = sum(
        after.vmstat["thp_split_pmd"] - before.vmstat["thp_split_pmd"]
        for op, before, after in zip(scene.trace.scenario.ops, scene.states, scene.states[1:], strict=False)
        if op.op == "split"
    )
    cuts = sum(op.op in ("mprotect", "munmap") for op in scene.trace.scenario.ops)
    return Question(
        scene.line,
        setup,
        "How often does the event thp_split_pmd occur?",
        actual,
        why=f"{_told(scene, 'thp_split_pmd')} It counts PMDs that become tables of PTEs, one by one.",
        slips=slips(
            actual,
            (
                actual - with_page,
                "That leaves out the split of the page. It first splits every PMD that maps the page.",
            ),
            *(
                [(0, "Changing a part of a huge page needs PTEs: the PMD of that process has to be split.")]
                if cuts
                else []
            ),
            (
                _event(scene, "thp_split_page"),
                "That is how many pages were split. Splitting a mapping and splitting the page are two things.",
            ),
            (
                cuts,
                "That counts every operation on a part. Where a process has PTEs already, there is no PMD left "
                "to split.",
            ),
        ),
    )


def page_splits(rng: random.Random, setup: Setup) -> Question:
    """How often was the page itself split? Before the RFC there is one event for everything, thp_split."""
    some = rng.random() < 0.5
    scene = draw(rng, setup, lambda s: _event(s, _page_split(s)) > 0 if some else s.end.vmstat != s.states[2].vmstat)
    event = _page_split(scene)
    actual = _event(scene, event)
    known = [(_asked(scene), "That is how often somebody asked. A split that is refused does not count as one.")]
    if event == "thp_split_page":
        mappings = (
            "That counts split mappings. split_huge_pmd() splits one process's mapping and leaves the page in "
            "one piece."
        )
        known = [(_event(scene, "thp_split_pmd"), mappings), *known]
        rule = "It counts pages that fell apart, not mappings that did."
    else:
        asked = _asked(scene)
        again = "That is how often somebody asked. The second time the page was small already."
        alone = "That counts split_huge_page() alone. Before the RFC, to change a part is to split the page, too."
        known = [(asked, again if asked > actual else alone)]
        rule = "Before the RFC whoever changes a part of a huge page splits all of it, for everybody."
    return Question(
        scene.line,
        setup,
        f"How often does the event {event} occur?",
        actual,
        why=f"{_told(scene, event)} {rule}",
        slips=slips(actual, *known),
    )


def refused_splits(rng: random.Random, setup: Setup) -> Question:
    """How often was a split of the page refused? Makes no sense where that is no event."""
    scene = draw(rng, setup, lambda s: _asked(s) > 0 and (_event(s, "thp_split_page_failed") > 0 or rng.random() < 0.2))
    actual = _event(scene, "thp_split_page_failed")
    return Question(
        scene.line,
        setup,
        "How often does the event thp_split_page_failed occur?",
        actual,
        why=f"{_told(scene, 'thp_split_page_failed')} A split is refused while somebody holds a reference that no "
        "mapping explains.",
        slips=slips(
            actual,
            (0, "A refused split leaves a trace: it changes no page, but it is counted."),
            (_asked(scene), "That is how often somebody asked. Without a pin the split is done."),
        ),
    )


def split_result(rng: random.Random, setup: Setup) -> Question:
    """What does split_huge_page() return in the end?"""
    refused = rng.random() < 0.5

    def suits(scene: Scene) -> bool:
        whole = scene.head in scene.before.compound_pages()
        return whole and (scene.kernel.scheme.page_split == "tails" or (scene.result < 0) == refused)

    scene = draw(rng, setup, suits, last=("split",))
    kernel = scene.kernel
    keeps = kernel.scheme.page_split == "tails"
    no = errname(-EBUSY if keeps else kernel.split.refused)
    held = scene.account(kernel.refcount_name, state=scene.before).text
    if scene.result < 0:
        why = (
            f"Before it: {held}. A pin is a reference that no mapping explains, and the kernel cannot tell which "
            "page it is about."
        )
    elif keeps:
        why = (
            f"Before it: {held}. The tails know their pins, so a split moves each to its page and is never refused "
            "for one."
        )
    else:
        why = f"Before it: {held}. Mappings explain every reference, so nobody else uses the page."
    return Question(
        scene.line,
        setup,
        f"The last operation is {scene.label()}. What does split_huge_page() return?",
        errname(scene.result),
        ("0", no),
        why,
        slips(
            errname(scene.result),
            ("0", "That takes a pin for harmless: its holder still uses a part of the page."),
            (
                no,
                "A mapping is no reason to refuse, however many there are: it is split. "
                + ("Nor is a pin before the RFC." if keeps else "A pin would be one."),
            ),
        ),
    )


def freed_by_munmap(rng: random.Random, setup: Setup) -> Question:
    """How many page frames does a munmap of a part set free?"""
    some = rng.random() < 0.5
    scene = draw(
        rng, setup, lambda s: not some or s.in_use[0] > s.in_use[1], last=("munmap",), usual=USUAL | {"split": 6}
    )
    actual = scene.in_use[0] - scene.in_use[1]
    unmapped = int(scene.trace.scenario.ops[-1].resolve(scene.nr)["npages"] or 1)
    if scene.compound:
        held = scene.account(scene.kernel.refcount_name).text
        no = (
            "Unmapping is not freeing. Memory comes back when its last reference goes, and a compound page only as "
            "a whole."
        )
        why = f"The huge page is in one piece, and is freed as one when its last reference goes. What is left: {held}."
    else:
        left = "; ".join(
            account.text for account in small_pages(scene.end) if account.name.endswith(scene.kernel.refcount_name)
        )
        why = (
            "The pages are ordinary ones by then, each freed when its own last reference goes. What is left: "
            f"{left or 'none'}."
        )
        no = "Unmapping is not freeing. Each page goes when its own last reference does."
        if scene.kernel.split.frees_zero_pages:
            no += (
                " Those that held only zeros were freed by the split already: their PTEs led to the one shared page "
                "of zeros."
            )
            why += (
                " The split has put the shared zero page in the place of pages that held only zeros, and freed "
                "those at once."
            )
    return Question(
        scene.line,
        setup,
        f"The last operation is {scene.label()}. How many page frames does it set free at once? Page tables do "
        "not count.",
        actual,
        why=why,
        slips=slips(
            actual,
            (unmapped, no),
            (0, "These pages are no part of a compound page any more: each goes when nobody maps or pins it."),
            (
                scene.nr,
                "That is the whole huge page. It is freed as one only when nobody refers to any part of it."
                if scene.compound
                else "The huge page was split before. Only pages that are unmapped here can go, and each for itself.",
            ),
        ),
    )


def _event(scene: Scene, event: str) -> int:
    """How often an event has occurred. Raises BadInput if the kernel has none of that name."""
    if event not in scene.end.vmstat:
        raise BadInput("kernel", f"is {scene.kernel.name}, which has no event {event}", "a kernel that counts it")
    return scene.end.vmstat[event]


def _page_split(scene: Scene) -> str:
    """The event that counts split pages. Before the RFC there is one for everything."""
    return "thp_split" if "thp_split" in scene.end.vmstat else "thp_split_page"


def _asked(scene: Scene) -> int:
    return sum(op.op == "split" for op in scene.trace.scenario.ops)


def _told(scene: Scene, event: str) -> str:
    """In which operations an event occurred, in words."""
    moved = [
        after.vmstat[event] - before.vmstat[event]
        for before, after in zip(scene.states, scene.states[1:], strict=False)
    ]
    parts = [f"{scene.label(number)}: {count}" for number, count in enumerate(moved) if count]
    return f"{'; '.join(parts)}." if parts else "No operation causes it."
