"""The students of a class, from a CSV file as spreadsheets write it."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from thplab.errors import BadInput
from thplab.foreign import read_text

COLUMNS = ("id", "first_name", "last_name", "email", "lms_user_id")
"""What nbgrader keeps of a student; only the first must be there."""

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}")
_RIGHT = f"a CSV file with a line of names first, which has the column id, and maybe {', '.join(COLUMNS[1:])}"


def read_students(path: Path) -> list[dict[str, str]]:
    """The students, each by the columns that nbgrader knows; other columns are left out.

    Raises BadInput that names the line if a student has no id, one that is no name of a folder, or one that another
    student has, too.
    """
    text = read_text(path, _RIGHT)
    first = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text), delimiter=";" if ";" in first and "," not in first else ",")
    try:
        found = [(rows.line_num, [value.strip() for value in row]) for row in rows if any(map(str.strip, row))]
    except csv.Error as error:
        raise BadInput("students", f"{str(path)!r} cannot be read ({error})", _RIGHT) from None
    names = [name.lower() for name in found.pop(0)[1]] if found else []
    if "id" not in names:
        raise BadInput("students", f"{str(path)!r} has the columns {', '.join(names) or 'none'}", _RIGHT)
    seen: dict[str, int] = {}
    students = []
    for line, row in found:
        kept = dict(zip(names, row, strict=False))
        where, id = f"students: {path}, line {line}", kept.get("id", "")
        if not _ID.fullmatch(id):
            raise BadInput(where, f"has the id {id!r}", "letters, digits and . _ @ -, 64 at most: it names a folder")
        if id.casefold() in seen:
            raise BadInput(where, f"has the id {id!r}, as line {seen[id.casefold()]} has", "one of their own for each")
        seen[id.casefold()] = line
        students.append({name: kept.get(name, "") for name in COLUMNS})
    if not students:
        raise BadInput("students", f"{str(path)!r} has no students", _RIGHT)
    return students


def written(students: list[dict[str, str]]) -> str:
    """The same as nbgrader reads it."""
    out = io.StringIO()
    rows = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    rows.writeheader()
    rows.writerows(students)
    return out.getvalue()
