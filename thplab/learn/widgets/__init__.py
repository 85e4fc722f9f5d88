"""What a learner operates in a notebook. Widgets hold no simulation: they show frames that were recorded before."""

from thplab.learn.widgets.compare import Compare
from thplab.learn.widgets.footprint import FootprintLab
from thplab.learn.widgets.ledger import Ledger
from thplab.learn.widgets.live import LiveLab
from thplab.learn.widgets.prediction import Prediction
from thplab.learn.widgets.question import Question
from thplab.learn.widgets.quiz import Quiz
from thplab.learn.widgets.race import RaceStepper
from thplab.learn.widgets.sandbox import Sandbox
from thplab.learn.widgets.stepper import Stepper
from thplab.learn.widgets.walker import AddressWalker

__all__ = [
    "AddressWalker",
    "Compare",
    "FootprintLab",
    "Ledger",
    "LiveLab",
    "Prediction",
    "Question",
    "Quiz",
    "RaceStepper",
    "Sandbox",
    "Stepper",
]
