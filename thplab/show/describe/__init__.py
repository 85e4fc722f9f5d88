"""A state, and a whole trace, in words: pure functions that a screen reader, a terminal and a test can use."""

from thplab.show.describe.compare_text import side_by_side
from thplab.show.describe.footprint_text import footprint_table, reading
from thplab.show.describe.kernel_text import kernel_text, kernels_text, policy_row, policy_rows, policy_text
from thplab.show.describe.narrate import narrate
from thplab.show.describe.operation_text import sentence
from thplab.show.describe.race_text import columns, story, summary
from thplab.show.describe.state_text import describe
from thplab.show.describe.walk_text import walk, walk_text

__all__ = [
    "columns",
    "describe",
    "footprint_table",
    "kernel_text",
    "kernels_text",
    "narrate",
    "policy_row",
    "policy_rows",
    "policy_text",
    "reading",
    "sentence",
    "side_by_side",
    "story",
    "summary",
    "walk",
    "walk_text",
]
