"""Kernels out of Debian's archive: fetched with apt into the work folder and unpacked there, never installed.

apt works here with lists of its own; the mirrors are those that this machine uses already.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from truth.recorder.kernels import Kernel
from truth.recorder.work import RecorderError, Work, need, run

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def fetch(work: Work, kernel: Kernel) -> str:
    """Fetch the newest image of a kernel, and its headers where the archive has them; the release. What was there
    before is replaced.

    Raises RecorderError if there is no image, or apt fails.
    """
    need(("apt-get", "apt"), ("dpkg", "dpkg"))
    env = _apt(work, kernel)
    run(["apt-get", "update", "-qq"], env)
    images = _names(env, kernel.image)
    if not images:
        raise RecorderError(
            f"the archive has no image of {kernel.name} in {kernel.suite} that is called {kernel.image}"
        )
    abi = images[-1].removeprefix("linux-image-").split("-amd64")[0]
    headers = [f"linux-headers-{abi}-amd64", f"linux-headers-{abi}-common", kernel.kbuild.format(abi=abi)]
    if not all(_names(env, f"^{name.replace('.', '[.]').replace('+', '[+]')}$") for name in headers):
        headers = []
    folder = work.kernel(kernel.name)
    shutil.rmtree(folder)
    debs = folder / "debs"
    debs.mkdir(parents=True)
    for name in (images[-1], *headers):
        run(["apt-get", "download", "-q", name], env, cwd=debs)
    for package in sorted(debs.glob("*.deb")):
        run(["dpkg", "-x", package, work.files(kernel.name)])
    shutil.rmtree(debs)
    library = work.files(kernel.name) / "lib"
    if not library.exists():  # newer packages have everything in /usr, where depmod and modprobe do not look
        library.symlink_to("usr/lib")
    return work.release(kernel.name)


def headers(work: Work, kernel: Kernel) -> tuple[Path, Path] | None:
    """The unpacked headers of a kernel: of its flavour, and those common to all. None if the archive had none."""
    source = work.files(kernel.name) / "usr" / "src"
    flavour, common = sorted(source.glob("linux-headers-*-amd64")), sorted(source.glob("linux-headers-*-common"))
    return (flavour[-1], common[-1]) if flavour and common else None


def _apt(work: Work, kernel: Kernel) -> dict[str, str]:
    """The environment in which apt knows the suite of a kernel, and nothing of this machine's packages."""
    folder = work.root / "apt" / kernel.suite
    for name in ("lists/partial", "cache/archives/partial", "etc/preferences.d", "etc/apt.conf.d", "state"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    sources = folder / "etc" / "sources.list"
    sources.write_text(f"deb [signed-by={_KEYRING}] {_mirror(kernel.suite)} {kernel.suite} main\n")
    places = {"State": "state", "State::lists": "lists", "State::status": "status", "Cache": "cache", "Etc": "etc"}
    lines = [f'Dir::{key} "{folder / name}";' for key, name in places.items()]
    lines += [f'Dir::Etc::sourcelist "{sources}";', 'Dir::Etc::sourceparts "-";', 'APT::Sandbox::User "root";']
    config = folder / "apt.conf"
    config.write_text("\n".join(lines) + "\n")
    return os.environ | {"APT_CONFIG": str(config)}


def _mirror(suite: str) -> str:
    """The mirror that this machine takes Debian from, or its security updates."""
    wanted = suite.endswith("-security")
    found = run(["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"]).split("\n")
    mirrors = [
        uri for name, _, uri in (line.partition(" ") for line in found) if name and name.endswith("-security") == wanted
    ]
    if not mirrors:
        raise RecorderError(
            "apt knows no mirror of Debian" + (" for security updates" if wanted else "") + " (apt-get update first?)"
        )
    return mirrors[0]


def _names(env: dict[str, str], pattern: str) -> list[str]:
    """The packages whose names fit, the newest version last."""
    names = [
        line.split()[0] for line in run(["apt-cache", "search", "--names-only", pattern], env).splitlines() if line
    ]
    return sorted(names, key=_version)


def _version(name: str) -> list[int]:
    return [int(part) for part in "".join(char if char.isdigit() else " " for char in name).split()]
