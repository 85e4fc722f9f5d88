"""What a learner operates and reads: widgets, lessons, pages made of them, and what is kept of it."""

EXPORTING = "THPLAB_EXPORTING"
"""Environment variable: set while a notebook is run to be exported."""
