"""What a learner operates in a notebook. Widgets hold no simulation: they show frames that were recorded before."""

from thplab.widgets.prediction import Prediction
from thplab.widgets.race import RaceStepper
from thplab.widgets.stepper import Stepper

__all__ = ["Prediction", "RaceStepper", "Stepper"]
