"""What a learner operates in a notebook. Widgets hold no simulation: they show frames that were recorded before."""

from thplab.widgets.compare import Compare
from thplab.widgets.footprint import FootprintLab
from thplab.widgets.ledger import Ledger
from thplab.widgets.live import LiveLab
from thplab.widgets.prediction import Prediction
from thplab.widgets.question import Question
from thplab.widgets.quiz import Quiz
from thplab.widgets.race import RaceStepper
from thplab.widgets.sandbox import Sandbox
from thplab.widgets.stepper import Stepper
from thplab.widgets.walker import AddressWalker

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
