"""Where the notebooks of the series are, and the command that opens them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from thplab.errors import BadInput

_SETTINGS = Path(__file__).parent / "jupyter"
_PACKAGE = Path(__file__).parent.parent


def notebook_folder() -> Path:
    """Where the notebooks are: in the package if it was installed from a wheel, else beside it in the checkout.

    Raises BadInput if they are in neither place.
    """
    for folder in (_PACKAGE / "notebooks", _PACKAGE.parent / "notebooks"):
        if folder.is_dir():
            return folder
    raise BadInput(
        "notebooks", f"are neither in {_PACKAGE} nor beside it", "thplab as installed from its wheel or from a checkout"
    )


def lab_environment() -> dict[str, str]:
    """The environment for that command: JupyterLab asks nothing about news, unless its user has it so."""
    found = [str(_SETTINGS), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    return os.environ | {"JUPYTER_CONFIG_PATH": os.pathsep.join(found)}


def lab_command(folder: Path, extra: Sequence[str]) -> list[str]:
    """The command that starts JupyterLab in `folder` on loopback, at the notebook that comes first if there is one.

    The folder above is what is served: the notebooks show figures from `../assets`.
    """
    first = sorted(folder.glob("00_*.ipynb"))
    at = f"{folder.name}/{first[0].name}" if len(first) == 1 else folder.name
    command = [sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={folder.parent}"]
    command.append(f"--LabApp.default_url=/lab/tree/{at}")
    # Nothing here needs the internet: JupyterLab neither asks about its news nor looks for a newer version of itself.
    command += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # JupyterLab refuses to run as root unless told so
    return [*command, *extra]
