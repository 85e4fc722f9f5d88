"""What the session of one learner takes: `python benchmarks/session.py [OTHER_CHECKOUT]`.

A JupyterLab server in a folder that `thplab start` made. Lesson 5 is opened, all its cells are run, and it is saved;
then each other lesson, with a kernel of its own. Printed are the memory of the server and of each kernel (MiB, PSS:
what is shared is divided by how many share it), and the CPU time from opening to the last cell. With another checkout
the same is measured there first. No browser takes part.

LESSONS=2 in the environment leaves it at so many other lessons.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from learner import Learner, children, cpu, memory
from tornado.httpclient import HTTPError

HERE = Path(__file__).resolve().parent.parent
FIRST = "05_when_the_split_fails"
START = "import sys, thplab.learn.lessons.series; from thplab.learn.start import start; start(sys.argv[1], 'Ada')"
"""Makes the folder, and compiles what the lessons import."""
PATIENCE = 120.0


async def session(folder: Path, environment: dict[str, str], lessons: int) -> None:
    """Measure a session in a learner's folder: lesson 5 and so many others."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={port}", f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={token}"]
    command += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    with open(folder / "server.log", "wb") as log:
        server = subprocess.Popen([*command], cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        learner = Learner(f"http://127.0.0.1:{port}", token)
        await up(learner, server)
        print(f"  {'server, nothing open':40}{memory(server.pid):8.1f} MiB{cpu([server.pid]):8.1f} s")
        names = sorted(path.stem for path in (folder / "notebooks").glob("0*.ipynb"))
        for name in [FIRST, *(name for name in names if name != FIRST)][: lessons + 1]:
            before = set(children(server.pid))
            used = cpu([server.pid])
            kernel = await learner.open(f"notebooks/{name}.ipynb")
            failed = await learner.run_all(f"notebooks/{name}.ipynb", kernel)
            await asyncio.sleep(1)
            (pid,) = set(children(server.pid)) - before
            saved = (folder / "notebooks" / f"{name}.ipynb").stat().st_size
            took = cpu([pid, server.pid]) - used
            print(f"  {name:40}{memory(pid):8.1f} MiB{took:8.1f} s  saved: {saved / 1e6:.2f} MB", *failed, flush=True)
            if name == FIRST:
                print(f"  {'server':40}{memory(server.pid):8.1f} MiB")
                print(f"  {'the session':40}{memory(pid) + memory(server.pid):8.1f} MiB")
        print(f"  {'server at the end':40}{memory(server.pid):8.1f} MiB{cpu([server.pid]):8.1f} s")
    finally:
        for kernel in await learner.ask("GET", "/api/kernels"):
            await learner.ask("DELETE", f"/api/kernels/{kernel['id']}")
        server.terminate()
        server.wait(30)


async def up(learner: Learner, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            await learner.ask("GET", "/api/status")
            return
        except (OSError, HTTPError):
            if server.poll() is not None or time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)


def main() -> int:
    """Measure each checkout."""
    for checkout in [*(Path(path).resolve() for path in sys.argv[1:2]), HERE]:
        print(f"{checkout}:", flush=True)
        with tempfile.TemporaryDirectory(prefix="thplab-session-") as name:
            environment = os.environ | {"PYTHONPATH": str(checkout)}
            folder = Path(name) / "ada"
            subprocess.run([sys.executable, "-c", START, str(folder)], env=environment, check=True)
            asyncio.run(session(folder, environment, int(os.environ.get("LESSONS", "9"))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
