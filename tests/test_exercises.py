"""Every exercise: a learner's variant can be solved, cannot be solved without thinking, and a wrong attempt is told why.

The solutions stand in tests/solutions.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from contextlib import suppress
from functools import cache
from typing import Any

import nbformat
import pytest
from lesson_checks import NOTEBOOKS, ROOT
from random_scenarios import operations
from solutions.model import Values, written
from solutions.split_pmd import EARLY, LATE
from solved import SOLVED

from thplab.errors import BadInput, ThplabError
from thplab.learn.exercises import EXERCISES, SETS, Exercise, exercise, learner
from thplab.learn.exercises.answers import Answers
from thplab.learn.exercises.exercise import LEVELS, ExerciseSet
from thplab.learn.exercises.facts import total_cost
from thplab.learn.exercises.notebooks import TERMS, notebook, text
from thplab.learn.exercises.sets.split_pmd import CHEAPEST
from thplab.learn.lessons.tasks import RaceTask, Task
from thplab.learn.widgets import Ledger, Quiz, RaceStepper
from thplab.machine.trace import Setup, record
from thplab.scenario import Operation, Scenario
from thplab.scenario.text import write_operation

SEEDS = [f"student {number}" for number in range(200)]
CARRIED_OUT = 4 if os.environ.get("THPLAB_SWEEP") else 3
"""How many different variants of an exercise are carried out."""


@pytest.fixture(params=EXERCISES.values(), ids=lambda each: each.id, scope="module")
def each(request: pytest.FixtureRequest) -> Exercise:
    """Every exercise. Of the module, so that all tests of one are run before the next: its variants are then still kept."""
    found: Exercise = request.param
    return found


@cache
def variants(each: Exercise) -> dict[str, str]:
    """The different variants over all seeds: what was drawn, as text, and the first seed that gives it."""
    found: dict[str, str] = {}
    for seed in SEEDS:
        found.setdefault(repr(each.variant(seed).values), seed)
    return found


def some(each: Exercise) -> list[str]:
    """Seeds of different variants, enough to be carried out: those whose numbers differ most come first."""
    return list(variants(each).values())[:CARRIED_OUT]


def values(each: Exercise, seed: str) -> Values:
    return each.variant(seed).values


def test_each_exercise_is_solved_somewhere_and_has_a_place_in_the_series() -> None:
    assert SOLVED.keys() == EXERCISES.keys()
    assert len(EXERCISES) == sum(len(series.exercises) for series in SETS)
    assert exercise("0.2").title and learner()
    with pytest.raises(BadInput, match="expected one of"):
        exercise("99")


def test_an_exercise_says_what_it_is_about(each: Exercise) -> None:
    assert each.level in LEVELS and 0 < each.minutes <= 30
    assert each.objective and each.myth and each.title
    work = each.variant("x").work
    assert len(work.hints) == len({*work.hints}) == 3 and all(hint.endswith((".", "?")) for hint in work.hints)


def test_equal_seeds_give_equal_variants_and_others_differ(each: Exercise) -> None:
    again = Exercise(**vars(each))
    for seed in SEEDS[:3]:
        assert again.make is each.make and again.variant(seed).values == each.variant(seed).values
        assert again.variant(seed).work.question == each.variant(seed).work.question
    assert len(variants(each)) >= 6


def test_a_variant_is_the_same_on_every_machine() -> None:
    """These were drawn once. If they change, every learner gets another exercise in the middle of a course."""
    assert exercise("0.2").variant("Ada").values == {"processes": ("K", "M", "A"), "a": "K", "b": "M", "c": "A", "count": 13}


def test_the_model_solution_is_accepted(each: Exercise) -> None:
    solved = SOLVED[each.id]
    for seed in some(each):
        answer = written(solved.answer, values(each, seed))
        verdict = each.attempt(answer, seed)
        assert verdict.solved and f"{each.name}: solved" in repr(verdict), (values(each, seed), answer, verdict)
        if solved.length:
            parts = answer.split("---")
            assert max(len(Scenario.parse(part).ops) for part in parts) == solved.length, answer


def test_a_wrong_attempt_is_told_which_rule_it_breaks(each: Exercise) -> None:
    for seed, (attempt, said) in itertools.product(some(each)[:5], SOLVED[each.id].wrong):
        answer = written(attempt, values(each, seed))
        verdict = each.attempt(answer, seed)
        assert not verdict.solved and said in repr(verdict), (values(each, seed), answer, verdict)


def test_an_exercise_cannot_be_solved_without_thinking(each: Exercise) -> None:
    work = each.variant("x").work
    begun = work.start if isinstance(work, Task) else ""
    a = each.variant("x").values.get("a", "A")
    hinted = [hint.partition("Begin with: ")[2].partition(". ")[0].rstrip(".") for hint in work.hints]
    silly = ("", begun, f"mmap {a}; write {a} 0", f"mmap {a}", f"{begun}; exit {a}".strip("; "), "wriet A 0", "42", "---", "0x5 1x3", *hinted)
    silly += (f"mmap {a} region=S; write {a} 0 region=S", f"mmap {a}; write {a} 0; munmap {a} 0 1thp", "mmap X 2thp; write X 0; fork X Y; exit X")
    silly += (f"mmap {a} 2thp; read {a} 0; write {a} 1thp; exit {a}", f"mmap {a}; write {a} 0; pin {a} 0 1 z; munmap {a} 0 1thp")
    for answer in silly:
        verdict = each.attempt(answer, "x")
        assert not verdict.solved and "not yet" in repr(verdict), answer


def test_the_model_solution_has_nothing_to_spare(each: Exercise) -> None:
    """So that a budget, and the number of operations that a learner needs, are what they seem."""
    if not isinstance(each.variant("x").work, Task):
        return
    for seed in some(each)[:2]:
        first, *second = written(SOLVED[each.id].answer, values(each, seed)).split("---")
        ops = first.strip().split("; ")
        for number in range(len(ops)):
            less = "\n---\n".join(["; ".join(ops[:number] + ops[number + 1 :]), *second])
            assert not each.attempt(less, seed).solved, (ops[number], less)


@pytest.mark.sweep(3)
def test_whatever_a_learner_does_the_verdict_is_a_sentence(each: Exercise) -> None:
    variant = each.variant("x")
    work, names = variant.work, dict(zip("ABC", [variant.values.get(name, name.upper()) for name in "abc"], strict=True))
    if not isinstance(work, Task):
        return
    first = list(EXERCISES).index(each.id)  # other scenarios for each exercise
    for seed in range(first, first + (1 if work.setup.geometry == "X86_64" else 3)):
        machine = work.setup.machine()
        lines = []
        for op in operations(seed, machine, count=10):
            with suppress(ThplabError):  # a mutant may meet a bug
                machine.call(op)
            people = {key: names[str(op.fields[key])] for key in ("proc", "child") if op.fields.get(key)}
            lines.append(write_operation(Operation(op.op, {**op.fields, **people})))
        assert "not yet" in repr(each.attempt("; ".join(lines), "x"))


def test_a_copied_answer_is_mostly_of_no_use(each: Exercise) -> None:
    seeds = some(each)[:6]
    answers = {seed: written(SOLVED[each.id].answer, values(each, seed)) for seed in seeds}
    pairs = list(itertools.permutations(seeds, 2))
    taken = sum(each.attempt(answers[other], seed).solved for seed, other in pairs)
    assert taken / len(pairs) <= SOLVED[each.id].copies, taken / len(pairs)


def test_an_exercise_can_be_hinted_at_and_asked(each: Exercise, capsys: pytest.CaptureFixture[str]) -> None:
    each.ask("x")
    for level in (1, 2, 3):
        each.hint(level, "x")
    printed = capsys.readouterr().out
    told, work = " ".join(printed.split()), each.variant("x").work
    assert all(" ".join(text.split()) in told for text in (work.question, *work.hints))
    assert all(len(line) <= 100 for line in printed.splitlines()), "a cell has room for it"
    with pytest.raises(BadInput, match="1 to 3"):
        each.hint(4)


KINDS = {type(each.variant("x").work): each for each in EXERCISES.values()}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_kind_of_work_has_its_widget(kind: type[Task] | type[RaceTask] | type[Answers], capsys: pytest.CaptureFixture[str]) -> None:
    each = KINDS[kind]
    widget = each.show("x")
    shown = {"Task": "Sandbox", "TwoScenarios": "Sandbox", "RaceTask": "RaceStepper", "Answers": "Quiz", "Law": "Sandbox"}[kind.__name__]
    assert type(widget).__name__ in (shown, "Ledger", "Stepper")
    printed = " ".join(capsys.readouterr().out.split())
    question = " ".join(each.variant("x").work.question.split())
    assert (question in printed) is (kind is not Task), "a sandbox has the question above it"


def test_a_ledger_asks_about_the_state_in_which_the_scenario_ends() -> None:
    ledgers = [each.show("x") for each in EXERCISES.values() if isinstance(each.variant("x").work, Answers) and each.kind == "ledger"]
    asked = [ledger for ledger in ledgers if isinstance(ledger, Ledger)]
    assert asked and all(ledger.cells > 3 for ledger in asked)


def test_a_quiz_asks_in_the_order_in_which_answers_are_written() -> None:
    for id in ("0.4", "4.1", "R5"):
        work, quiz = exercise(id).variant("x").work, exercise(id).show("x")
        assert isinstance(work, Answers) and isinstance(quiz, Quiz) and list(quiz.questions) == list(work.cells.values())


@pytest.mark.parametrize("kernel", CHEAPEST)
def test_the_cheapest_order_is_known_by_its_cost(kernel: str) -> None:
    orders = [order.format(F="mmap A; fill A 0 1thp", a="A", b="B") for order in (EARLY, LATE)]
    assert min(total_cost(record(order, Setup(kernel, "X86_64"))) for order in orders) == CHEAPEST[kernel]


def test_the_race_of_an_exercise_does_not_solve_it() -> None:
    race = exercise("R1").show("x")
    assert isinstance(race, RaceStepper) and not race.data()["finds"] and RaceStepper(race.race.pair).data()["finds"]
    with pytest.raises(BadInput, match="a schedule of your own"):
        race._find(0)


def test_a_verdict_is_shown_as_a_list_in_a_notebook() -> None:
    """Its plain text would be cut in the middle of a word."""
    shown = exercise("0.2").attempt("write <b>", "x")._repr_html_()
    assert shown.startswith("<p>0.2 Exactly so many: not yet.</p><ul><li>the scenario cannot be read") and "<b>" not in shown
    assert exercise("0.2").attempt(written(SOLVED["0.2"].answer, values(exercise("0.2"), "x")), "x")._repr_html_().startswith("<p>0.2 Exactly so many: solved.")


# --- the notebooks ----------------------------------------------------------------------------------------------------

EXERCISE_NOTEBOOKS = NOTEBOOKS / "exercises"


@pytest.mark.parametrize("series", SETS, ids=lambda series: series.notebook)
def test_a_notebook_is_the_one_that_the_series_writes(series: ExerciseSet) -> None:
    written_now = (EXERCISE_NOTEBOOKS / f"{series.notebook}.ipynb").read_text()
    assert written_now == text(series), "run python -m thplab.learn.exercises.notebooks notebooks/exercises"
    nbformat.validate(nbformat.reads(written_now, 4))
    for link in re.findall(r"\]\(([^)#]+\.ipynb)", written_now):
        assert (EXERCISE_NOTEBOOKS / link).is_file(), link


def test_what_is_linked_is_in_the_glossary() -> None:
    cells = nbformat.read(NOTEBOOKS / "glossary.ipynb", 4).cells
    headings = re.findall(r"^### (.+)$", "\n".join(cell.source for cell in cells), re.MULTILINE)
    assert {*TERMS.values()} <= {heading.replace(" ", "-") for heading in headings}


def test_no_notebook_is_left_over() -> None:
    assert {path.stem for path in EXERCISE_NOTEBOOKS.iterdir()} == {series.notebook for series in SETS}


@pytest.mark.parametrize("series", SETS, ids=lambda series: series.notebook)
def test_a_notebook_runs_from_top_to_bottom(series: ExerciseSet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As a learner meets it: each answer is empty, and the verdict says what is missing."""
    monkeypatch.setenv("THPLAB_LEARNER", "x")
    names: dict[str, object] = {}
    for cell in notebook(series)["cells"]:
        source = "".join(cell["source"])
        if source.startswith("from"):
            exec(source, names)
        elif cell["cell_type"] == "code":
            assert "attempt(" not in source or "not yet" in repr(eval(source, names)), source


def test_nothing_of_the_package_knows_a_solution() -> None:
    """Neither the sets nor the notebooks hold an answer that a variant accepts, whole, as one text."""
    for each in EXERCISES.values():
        answer = written(SOLVED[each.id].answer, values(each, "x"))
        work = each.variant("x").work
        assert answer not in work.question and not any(answer in hint for hint in work.hints), each.id


# --- real numbers -----------------------------------------------------------------------------------------------------


def recorded(kernel: str, name: str, after: int) -> dict[str, Any]:
    """What a real kernel showed after an operation of a recording, counted from 0."""
    lines = (ROOT / "tests" / "truth" / f"linux-{kernel.removeprefix('v')}.jsonl").read_text().splitlines()
    row: dict[str, Any] = next(row for row in map(json.loads, lines) if row.get("name") == name)["after"][after]
    return row


@pytest.mark.parametrize("kernel", ["v4.5", "v5.10", "v6.1"])
def test_the_numbers_of_two_culprits_were_recorded(kernel: str) -> None:
    for after, (ref, flag, sub) in ((3, (513, 1, 1)), (4, (1, 1, 0))):
        page = recorded(kernel, "x_dm_split_b_exit_b", after)["frames"]["F0"]
        assert (page["ref"], page["compound_mapcount_raw"], page["double_map"], page["sub"][1][4]) == (ref, 0, flag, sub)


@pytest.mark.parametrize("kernel", ["v5.10", "v6.1", "v6.12"])
def test_the_numbers_of_512_small_pages_were_recorded(kernel: str) -> None:
    row = recorded(kernel, "pin_dma_then_fork", 3)
    page, child = row["frames"]["F0"], row["proc"]["B"]["R"]["runs"]
    assert (page["ref"], page["pincount"]) == (513, 1)
    assert page.get("compound_mapcount_raw", page.get("entire_mapcount_raw")) == -1
    assert len(child) == 1 and child[0][1] == 512 and child[0][3].startswith("s:small ref=1 ")


def test_the_numbers_of_tails_and_of_zeros_were_recorded() -> None:
    tails = recorded("v3.16", "l_pin_tails_mixed", 4)["frames"]["F0"]
    assert tails["ref"] == 4 and tails["kpc"] == [[0, 2, 1], [2, 509, 0], [511, 1, 1]]
    before, after = (recorded("v6.12", "x_split_unpinned", number)["proc"]["A"]["R"]["rss"] for number in (1, 2))
    assert (before, after) == (2048, 4)
