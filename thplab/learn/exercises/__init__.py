"""Exercises, of which each learner has a variant of her own: what the notebooks in exercises/ show and check."""

from thplab.learn.exercises.exercise import Exercise, ExerciseSet, Variant
from thplab.learn.exercises.learner import learner
from thplab.learn.exercises.series import EXERCISES, SETS, exercise

__all__ = ["EXERCISES", "SETS", "Exercise", "ExerciseSet", "Variant", "exercise", "learner"]
