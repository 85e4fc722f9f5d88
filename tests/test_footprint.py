"""What a population of huge pages holds after a partial munmap: the closed form against the machine, and both against plain facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from thplab import cli
from thplab.errors import BadInput
from thplab.hardware.geometry import MINI, TOY, X86_64, Geometry
from thplab.kernel.kernels import KERNELS
from thplab.kernel.policies import Kernel
from thplab.show.describe import reading
from thplab.study.footprint import NO_PIN, PATTERNS, Footprint, Population, population, project, simulate

each_kernel = pytest.mark.parametrize("kernel", KERNELS)
PAGE, NR = TOY.page_size, TOY.nr
QUEUES = [k for k in KERNELS.values() if k.scheme.page_split == "freeze"]
"""The kernels with a deferred split queue."""


def drawn(seed: int, geometry: Geometry) -> tuple[Population, float, int | None]:
    """A few huge pages, each with its own share of pages that are unmapped and zero-filled, a pressure and max_ptes_none.

    In a large geometry the pages come in runs: the machine takes a munmap for each.
    """
    rng = np.random.default_rng(seed)
    thps = int(rng.integers(1, 4 if geometry is MINI else 7))

    def mask() -> np.ndarray:
        run = max(1, geometry.nr // 16)
        pieces = np.repeat(rng.random((thps, geometry.nr // run)) < rng.random((thps, 1)), run, axis=1)
        pages = np.roll(pieces, int(rng.integers(run)), axis=1)
        whole = rng.random((thps, 1))
        return (pages | (whole < 0.25)) & (whole < 0.75)

    pins = np.where(rng.random(thps) < 0.4, rng.integers(geometry.nr, size=thps), NO_PIN)
    sharing = int(rng.integers(1, 4))
    question = Population(geometry, mask(), mask(), pins, sharing, int(rng.integers(sharing + 1)))
    limit = None if rng.random() < 0.5 else int(rng.integers(geometry.nr))
    return question, float(rng.choice((0, 0.3, 0.5, 1))), limit


def told(answer: Footprint) -> tuple[object, ...]:
    return answer.mapped_by_thp.tolist(), answer.held_by_thp.tolist(), answer.split, answer.refused, answer.queued


# --- the closed form is what the routines do ----------------------------------------------------------------------------


@each_kernel
@pytest.mark.parametrize(("geometry", "seeds"), [(TOY, 50), (MINI, 30), (X86_64, 6)], ids=lambda value: getattr(value, "name", None))
def test_the_closed_form_is_the_machine(kernel: str, geometry: Geometry, seeds: int) -> None:
    for seed in range(seeds):
        asked = drawn(seed, geometry)
        assert told(project(kernel, *asked)) == told(simulate(kernel, *asked)), f"seed {seed}"


@pytest.mark.parametrize("pattern", PATTERNS)
def test_it_is_so_for_every_pattern(pattern: str) -> None:
    question = population(5, 0.3, pattern, TOY, sharing=2, zero_filled=0.4, pinned=0.4, seed=3)
    for kernel in KERNELS:
        assert told(project(kernel, question, 0.5)) == told(simulate(kernel, question, 0.5))


def flipped() -> dict[str, Kernel]:
    """Kernels with a queue, one policy turned over. (Only v4.5's scheme asks `queue.takes_unmapped`.)"""
    found = {}
    for kernel in QUEUES:
        unmapped = ("queue.takes_unmapped",) if kernel.scheme.name == "double_map" else ()
        for policy in ("split.frees_zero_pages", "queue.takes_new", *unmapped):
            found[f"{kernel.name} {policy}"] = kernel.but({policy: not kernel.policy(policy)}, name="flipped")
    return found


@pytest.mark.parametrize("kernel", flipped().values(), ids=flipped())
def test_it_asks_the_record_and_not_the_name(kernel: Kernel) -> None:
    original = next(k for k in QUEUES if k.source == kernel.source)
    differ = 0
    for seed in range(60):
        asked = drawn(seed, TOY)
        answer = told(project(kernel, *asked))
        assert answer == told(simulate(kernel, *asked)), f"seed {seed}"
        differ += answer != told(project(original, *asked))
    assert differ, "the policy makes a difference in none of these populations"


def test_the_populations_above_meet_every_case() -> None:
    answers = [(asked[0], project("v6.12", *asked)) for asked in (drawn(seed, TOY) for seed in range(50))]
    assert all(any(getattr(answer, count) for _, answer in answers) for count in ("split", "refused", "queued"))
    assert any((answer.held_by_thp < answer.mapped_by_thp).any() for _, answer in answers), "zero-filled pages are given back"
    assert any((answer.held_by_thp > answer.mapped_by_thp).any() for _, answer in answers), "unmapped pages are held"
    assert any(question.unmapping < question.sharing for question, _ in answers)
    assert any((question.unmapped.all(axis=1) & (question.pins != NO_PIN)).any() for question, _ in answers)


# --- plain facts --------------------------------------------------------------------------------------------------------

HELD = {
    "v3.16": (4, 4, 5),
    "rfc-2014": (8, 8, 8),
    "v4.5": (8, 4, 8),
    "v5.10": (8, 4, 8),
    "v6.1": (8, 4, 8),
    "v6.12": (8, 4, 8),
    "v6.18": (8, 4, 8),
}
"""Pages held of a huge page of 8 that lost its first half: at once, after pressure, and after pressure if page 0 is pinned."""


@each_kernel
def test_half_of_a_huge_page(kernel: str) -> None:
    question = population(3, 0.5, "first", TOY)
    pinned = Population(TOY, question.unmapped, question.zero_filled, np.zeros(3, np.int64))
    for held, asked, pressure in zip(HELD[kernel], (question, question, pinned), (0.0, 1.0, 1.0), strict=True):
        answer = project(kernel, asked, pressure)
        assert answer.mapped_by_thp.tolist() == [4 * PAGE] * 3 and answer.mapped == 12 * PAGE
        assert answer.held_by_thp.tolist() == [held * PAGE] * 3 and answer.held == 3 * held * PAGE


@each_kernel
def test_whole_huge_pages_are_free_at_once(kernel: str) -> None:
    answer = project(kernel, population(4, 0.5, "front", TOY))
    assert answer.held_by_thp.tolist() == [0, 0, 8 * PAGE, 8 * PAGE] and answer.held == answer.mapped and answer.split == 0


@each_kernel
def test_what_another_process_keeps_stays(kernel: str) -> None:
    answer = project(kernel, population(4, 0.5, "spread", TOY, sharing=2, unmapping=1), 1.0)
    assert answer.held == answer.mapped == 32 * PAGE


@pytest.mark.parametrize("kernel", QUEUES, ids=lambda kernel: kernel.name)
def test_the_shrinker_gets_to_a_share_of_the_queue_from_its_front(kernel: Kernel) -> None:
    answer = project(kernel, population(4, 0.25, "same", TOY), 0.5)
    assert answer.held_by_thp.tolist() == [6 * PAGE, 6 * PAGE, 8 * PAGE, 8 * PAGE]
    assert (answer.split, answer.queued) == (2, 2)


@pytest.mark.parametrize("kernel", QUEUES, ids=lambda kernel: kernel.name)
def test_a_pin_makes_the_shrinker_fail(kernel: Kernel) -> None:
    answer = project(kernel, population(10, 0.5, "spread", TOY, pinned=0.3), 1.0)
    assert (answer.split, answer.refused, answer.queued) == (7, 3, 3)
    assert sorted(answer.held_by_thp.tolist()) == [4 * PAGE] * 7 + [8 * PAGE] * 3


@pytest.mark.parametrize("kernel", QUEUES, ids=lambda kernel: kernel.name)
def test_zero_filled_pages_share_one_since_6_12(kernel: Kernel) -> None:
    zeroes = np.zeros((1, NR), np.bool_)
    zeroes[0, 2:7] = True
    question = Population(TOY, np.arange(NR)[None] >= 6, zeroes, np.array([NO_PIN]))
    reclaims = kernel.name in ("v6.12", "v6.18")
    assert project(kernel, question, 1.0).held == (2 if reclaims else 6) * PAGE
    whole = Population(TOY, np.zeros((1, NR), np.bool_), zeroes, np.array([NO_PIN]))
    assert project(kernel, whole, 1.0).held == 8 * PAGE, "nothing tells that it is hardly used"
    assert project(kernel, whole, 1.0, 5).held == 8 * PAGE, "5 zero-filled pages are allowed"
    assert project(kernel, whole, 1.0, 4).held == (3 if reclaims else 8) * PAGE


# --- populations --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "rows"),
    [
        ("front", ["11111111", "10000000", "00000000"]),
        ("first", ["11100000", "11100000", "11100000"]),
        ("last", ["00000111", "00000111", "00000111"]),
        ("spread", ["00100101", "00100101", "00100101"]),
    ],
)
def test_a_pattern(pattern: str, rows: list[str]) -> None:
    question = population(3, 0.375, pattern, TOY)
    assert ["".join("01"[page] for page in row.tolist()) for row in question.unmapped] == rows


def test_random_patterns_are_drawn_by_the_seed() -> None:
    same, random = (population(50, 0.375, pattern, TOY, seed=1).unmapped for pattern in ("same", "random"))
    assert same.sum() == random.sum() == 150
    assert len(np.unique(same, axis=0)) == 1 and len(np.unique(random, axis=0)) > 10
    assert (population(50, 0.375, "random", TOY, seed=1).unmapped == random).all()
    assert (population(50, 0.375, "random", TOY, seed=2).unmapped != random).any()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_share_is_a_share(pattern: str, share: float) -> None:
    question = population(20, share, pattern, "toy", zero_filled=share, pinned=share)
    assert question.zero_filled.sum() == round(160 * share) and np.count_nonzero(question.pins != NO_PIN) == round(20 * share)
    assert question.unmapped.sum() in (round(160 * share), 20 * round(8 * share))


def test_question_and_answer_do_not_change() -> None:
    question = population(2, 0.5)
    with pytest.raises(ValueError, match="read-only"):
        question.unmapped[0] = False
    with pytest.raises(FrozenInstanceError):
        question.sharing = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        project("v4.5", question).split = 1  # type: ignore[misc]


def by_hand(**changed: object) -> Population:
    fields: dict[str, object] = {
        "geometry": TOY,
        "unmapped": np.zeros((2, NR), np.bool_),
        "zero_filled": np.zeros((2, NR), np.bool_),
        "pins": np.full(2, NO_PIN),
    }
    return Population(**{**fields, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("argument", "ask"),
    [
        ("thps", lambda: population(0, 0.5)),
        ("thps", lambda: population(1 << 18, 0.5)),
        ("thps", lambda: population(2.5, 0.5)),  # type: ignore[arg-type]
        ("unmapped", lambda: population(1, 1.1)),
        ("unmapped", lambda: population(1, float("nan"))),
        ("pattern", lambda: population(1, 0.5, "most")),
        ("geometry", lambda: population(1, 0.5, geometry="vast")),
        ("sharing", lambda: population(1, 0.5, sharing=0)),
        ("unmapping", lambda: population(1, 0.5, sharing=2, unmapping=3)),
        ("zero_filled", lambda: population(1, 0.5, zero_filled=-0.1)),
        ("pinned", lambda: population(1, 0.5, pinned="all")),  # type: ignore[arg-type]
        ("seed", lambda: population(1, 0.5, seed=-1)),
        ("unmapped", lambda: by_hand(unmapped=np.zeros((2, 4), np.bool_))),
        ("unmapped", lambda: by_hand(unmapped=np.zeros((0, NR), np.bool_))),
        ("unmapped", lambda: by_hand(unmapped=[[True] * NR, [True]])),
        ("zero_filled", lambda: by_hand(zero_filled=np.zeros((2, NR)))),
        ("zero_filled", lambda: by_hand(zero_filled=np.zeros((3, NR), np.bool_))),
        ("pins", lambda: by_hand(pins=np.full(2, NR))),
        ("pins", lambda: by_hand(pins=np.full(3, NO_PIN))),
        ("kernel", lambda: project("v7", by_hand())),
        ("pressure", lambda: project("v4.5", by_hand(), 2.0)),
        ("pressure", lambda: simulate("v4.5", by_hand(), -1.0)),
        ("max_ptes_none", lambda: project("v6.12", by_hand(), 1.0, NR)),
        ("thps", lambda: simulate("v4.5", population(10, 0.5, geometry=MINI))),
    ],
)
def test_bad_input_names_the_argument(argument: str, ask: Callable[[], object]) -> None:
    with pytest.raises(BadInput) as error:
        ask()
    assert error.value.argument == argument


# --- the command --------------------------------------------------------------------------------------------------------


def test_the_command_prints_a_row_for_each_kernel_and_how_to_read_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["footprint", "--kernels", "rfc-2014", "v4.5", "v6.12", "--zero-filled", "0.25", "--pattern", "first"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1,000 huge pages (2,000.0 MiB), each mapped by 1 process."
    rows = [line.split() for line in lines if line.startswith(("rfc", "v"))]
    question = population(1000, 0.5, "first", zero_filled=0.25)
    for row, kernel in zip(rows, ("rfc-2014", "v4.5", "v6.12"), strict=True):
        answer = project(kernel, question, 1.0)
        sizes = [float(word.replace(",", "")) for word in row[1:7:2]]
        assert row[0] == kernel and sizes == [1000.0, 2000.0, round(answer.held / (1 << 20), 1)]
        assert row[7:] == [f"{answer.held / answer.mapped:.2f}", f"{answer.split:,}", str(answer.refused), str(answer.queued)]
    assert lines[-1].startswith("In the end rfc-2014 holds 1,000.0 MiB more than is mapped; v4.5 holds as much as is mapped; v6.12 holds ")
    assert lines[-1].endswith("MiB less than is mapped.")


def test_the_command_passes_on_what_it_was_told(capsys: pytest.CaptureFixture[str]) -> None:
    words = "--thps 7 --unmapped 0.25 --pattern spread --pressure 0.5 --sharing 3 --unmapping 2 --zero-filled 0.5 --pinned 0.3"
    assert cli.main(["footprint", *words.split(), "--max-ptes-none", "2", "--geometry", "toy", "--seed", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "7 huge pages (224 KiB), each mapped by 3 processes.",
        "munmap by 2 of them: 25.0% of the pages. Pinned: 2 huge pages.",
        "Zero-filled: 50.0% of the pages.",
        "Pressure: the shrinker gets to 50% of the deferred split queue.",
    ]
    question = population(7, 0.25, "spread", TOY, sharing=3, unmapping=2, zero_filled=0.5, pinned=0.3, seed=4)
    assert lines[-1] == reading([project(kernel, question, 0.5, 2) for kernel in KERNELS])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--unmapped", "2"], "unmapped is 2.0; expected a share from 0 to 1"),
        (["--kernels", "v7"], "kernel 'v7' is unknown"),
        (["--pattern", "most"], "pattern 'most' is unknown; expected one of front, "),
        (["--geometry", "vast"], "geometry 'vast' is unknown"),
    ],
)
def test_the_command_explains_bad_input(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["footprint", *words]) == 2
    assert message in capsys.readouterr().err
