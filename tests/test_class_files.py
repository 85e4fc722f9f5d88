"""The files of docs/class: they can be read, name what exists, and are of one mind."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.kernelmanager import MappingKernelManager
from jupyterlab.labapp import LabApp
from traitlets.config import Config

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "class"
CHART = {"hub", "proxy", "singleuser", "cull", "prePuller", "scheduling", "ingress", "custom", "debug"}


def settings(name: str, **functions: Any) -> Config:
    """What a configuration file sets, as Jupyter reads it."""
    config = Config()
    path = FOLDER / name
    code = compile(path.read_text(), str(path), "exec")
    exec(code, {"__file__": str(path), "get_config": lambda: config, **functions})
    return config


def unknown(config: Config, classes: dict[str, Any]) -> list[str]:
    return [f"{name}.{trait}" for name, given in config.items() if name in classes for trait in given if trait not in classes[name].class_trait_names()]


def test_the_servers_settings_exist() -> None:
    config = settings("jupyter_server_config.py")
    classes = {"ServerApp": ServerApp, "MappingKernelManager": MappingKernelManager, "LabApp": LabApp}
    assert config.keys() <= classes.keys() and unknown(config, classes) == []


def test_the_hubs_settings_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    app = pytest.importorskip("jupyterhub.app")
    auth, spawner, proxy = (pytest.importorskip(f"jupyterhub.{name}") for name in ("auth", "spawner", "proxy"))
    shared = pytest.importorskip("jupyterhub.authenticators.shared")
    for name in ("PASSWORD", "HOMES"):
        monkeypatch.setenv(f"THPLAB_TRIAL_{name}", "/nowhere")
    classes = {"JupyterHub": app.JupyterHub, "Authenticator": auth.Authenticator, "SharedPasswordAuthenticator": shared.SharedPasswordAuthenticator}
    classes |= {"Spawner": spawner.Spawner, "SimpleLocalProcessSpawner": spawner.SimpleLocalProcessSpawner, "ConfigurableHTTPProxy": proxy.ConfigurableHTTPProxy}
    loaded: list[str] = []
    for config in (settings("jupyterhub_config.py"), settings("trial_config.py", load_subconfig=loaded.append)):
        assert config.keys() <= classes.keys() and unknown(config, classes) == []
    assert loaded == [str(FOLDER / "jupyterhub_config.py")]


def test_the_hub_starts_servers_by_the_file_that_makes_the_folder() -> None:
    config = settings("jupyterhub_config.py")
    assert config.Spawner.cmd == [str(FOLDER / "start")] and os.access(FOLDER / "start", os.X_OK)
    assert config.Spawner.environment["JUPYTER_CONFIG_PATH"] == str(FOLDER)


@pytest.mark.parametrize("made", [True, False])
def test_a_server_starts_in_a_folder_of_the_learners_own(tmp_path: Path, made: bool) -> None:
    """Also where the folder cannot be brought up to date; not where there is none."""
    bin = tmp_path / "bin"
    bin.mkdir()
    for name, text in {"thplab": 'echo thplab "$@"; exit 1', "jupyterhub-singleuser": 'echo "$THPLAB_LEARNER:" "$@"'}.items():
        (bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (bin / name).chmod(0o755)
    if made:
        (tmp_path / "thplab" / "notebooks").mkdir(parents=True)
    env = {"PATH": f"{bin}:{os.environ['PATH']}", "HOME": str(tmp_path), "JUPYTERHUB_USER": "ada o'x"}
    done = subprocess.run([FOLDER / "start", "--port=1"], env=env, capture_output=True, text=True, check=False)
    told = [f"thplab start {tmp_path}/thplab --name ada o'x", *(["ada o'x: --port=1"] if made else [])]
    assert done.stdout.splitlines() == told and (done.returncode == 0) is made


def test_the_values_name_what_the_image_brings() -> None:
    values: dict[str, Any] = yaml.safe_load((FOLDER / "values.yaml").read_text())
    image = (FOLDER / "Dockerfile").read_text()
    assert values.keys() <= CHART
    assert f"/usr/local/bin/{values['singleuser']['cmd']}" in image and values["singleuser"]["storage"]["homeMountPath"] in image


def test_what_the_image_copies_is_there_and_is_what_a_wheel_is_made_of() -> None:
    image = (FOLDER / "Dockerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (?:--\S+ )?(.+) \S+$", image, re.M) for name in line.split()]
    assert {"pyproject.toml", "thplab", "notebooks", "assets", "tests/truth/steps"} <= {*copied}
    assert [name for name in copied if not (ROOT / name).exists()] == []
