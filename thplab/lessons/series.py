"""The series: all lessons, in the order in which they are read."""

from thplab.lessons import story

LESSONS = (story.lesson,)
