"""Exercises for a class, on nbgrader: what a teacher hands out, and how it is marked."""
