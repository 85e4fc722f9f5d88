"""A key's model solution is played in the learner's folder, and only hers; a file that is no key is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ipywidgets import VBox
from solutions.model import written
from solved import SOLVED

from thplab.errors import BadInput
from thplab.learn.exercises import exercise
from thplab.learn.exercises.key import answer_of, key_text
from thplab.learn.progress import FILE, read
from thplab.learn.start import start
from thplab.learn.widgets import Ledger, Quiz, RaceStepper, Stepper

PLAYED = {"0.1": Ledger, "0.2": Stepper, "0.4": Quiz, "4.2": VBox, "5.1": Stepper, "R1": RaceStepper}


def answers(learner: str) -> dict[str, str]:
    return {id: written(SOLVED[id].answer, exercise(id).variant(learner).values) for id in PLAYED}


@pytest.fixture
def ada(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ada works in a folder of her own, and her teacher's key for her and Linus lies there."""
    start(tmp_path / "ada", "Ada")
    monkeypatch.chdir(tmp_path / "ada" / "notebooks")
    (tmp_path / "ada" / "thplab-key-00.json").write_text(key_text({name: answers(name) for name in ("Ada", "Linus")}))
    return tmp_path / "ada"


def test_each_form_of_answer_is_played_and_is_no_work_of_hers(ada: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = {id: exercise(id).solution() for id in PLAYED}
    assert all(isinstance(shown[id], PLAYED[id]) for id in PLAYED)
    assert answers("Ada")["0.2"] in capsys.readouterr().out
    stepper, race, both, ledger, quiz = (shown[id] for id in ("0.2", "R1", "4.2", "0.1", "0.4"))
    assert isinstance(stepper, Stepper) and stepper.trace.scenario.line() == answers("Ada")["0.2"]
    assert isinstance(race, RaceStepper) and race.race.line.startswith(answers("Ada")["R1"][:-1]), "its last return may follow"
    assert isinstance(both, VBox) and len(both.children) == 2
    assert isinstance(ledger, Ledger) and ledger.cells == 0, "it is filled in"
    assert isinstance(quiz, Quiz) and quiz.data()["told"] and not quiz.data()["more"] and not quiz.asks_now()
    quiz.answers = {question.id: str(question.actual) for question in quiz.questions}
    kept = read(ada / FILE)
    assert not kept["work"] and not kept["answers"], "looking at a solution solves nothing"


def test_a_stepper_opens_at_the_step_that_is_asked_for(ada: Path) -> None:
    stepper = exercise("5.1").solution()
    assert isinstance(stepper, Stepper) and stepper.step == int(answers("Ada")["5.1"].split()[0])


def test_without_a_key_it_is_told_how_to_get_one(ada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match=r"solution of 1\.1 for 'Ada' is in no file thplab-key\*\.json .*--learner 'Ada'"):
        exercise("1.1").solution()
    monkeypatch.setenv("THPLAB_LEARNER", "Grace")
    with pytest.raises(BadInput, match="for 'Grace'"):
        exercise("0.2").solution()


def test_a_key_names_nobody(ada: Path) -> None:
    text = (ada / "thplab-key-00.json").read_text()
    assert "Ada" not in text and "Linus" not in text
    assert answer_of("0.2", "Linus", ada) == answers("Linus")["0.2"] != answers("Ada")["0.2"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "expected an object"),
        ('{"answers": {}}', "lacks thplab key"),
        ('{"thplab key": 2, "answers": {}}', "expected 1"),
        ('{"thplab key": 1, "answers": {"x": []}}', "answers.x"),
        ('{"thplab key": 1, "answers": {"x": {"0.2": 7}}}', "answers.x.0.2"),
        ('{"thplab key": 1, "answers": {}, "run": "rm"}', "thplab-key.json"),
    ],
)
def test_what_is_no_key_is_refused_by_its_name(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "thplab-key.json").write_text(text)
    with pytest.raises(BadInput, match=r"thplab-key\.json") as refused:
        answer_of("0.2", "Ada", tmp_path)
    assert said in str(refused.value)


def test_an_answer_that_solves_nothing_is_not_played(ada: Path) -> None:
    kept = json.loads((ada / "thplab-key-00.json").read_text())
    for of_her in kept["answers"].values():
        of_her["0.2"] = "mmap A; write A 0"
    (ada / "thplab-key-00.json").write_text(json.dumps(kept))
    with pytest.raises(BadInput, match=r"the key has an answer to 0\.2 that does not solve it"):
        exercise("0.2").solution()
