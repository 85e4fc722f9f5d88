"""A class on JupyterHub, all at once: `python benchmarks/classroom.py [LEARNERS] [CONFIGURABLE_HTTP_PROXY]`.

Starts the trial hub of docs/class with homes in a temporary folder. Each learner logs in, gets a server, opens lesson
5, runs all its cells, and the notebook is saved: everybody at the same time. Then nobody does anything until kernels
and servers have ended; one learner comes back, and what she did has to be there. Printed are times, CPU time, and
memory (MiB, PSS). Exit status 1: something was lost, or was somebody else's.

Needs thplab, jupyterhub and jupyterhub-idle-culler in one environment, and configurable-http-proxy (npm).
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from learner import Learner, children, cpu, memory
from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest

CONFIG = Path(__file__).resolve().parent.parent / "docs" / "class" / "trial_config.py"
PORT = 8765
HUB = f"http://127.0.0.1:{PORT}"
LESSON = "notebooks/05_when_the_split_fails.ipynb"
EXERCISE = "from thplab.learn.exercises import exercise; from thplab.learn.exercises.learner import learner"
SAY = f"{EXERCISE}; print(learner()); print(exercise('0.2').variant().values)"
TASK = "late, and yet nothing lost"
TRY = f"lesson.attempt({TASK!r}, '0x3 1x6')"
IDLE = 45
PATIENCE = 600.0


async def wait_for(what: Any, says: str) -> Any:
    """What `what()` returns, once that is something."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if found := await what():
                return found
        except (OSError, HTTPError):
            pass  # it does not answer yet
        await asyncio.sleep(0.5)
    raise RuntimeError(f"after {PATIENCE:.0f} s still not: {says}")


async def answers(hub: subprocess.Popen[bytes]) -> Any:
    """What the hub says of itself."""
    if hub.poll() is not None:
        raise RuntimeError("the hub has ended")
    return await Learner(HUB, "").ask("GET", "/hub/api/")


async def log_in(name: str, password: str) -> Learner:
    """Log in by the form, as a browser does; then the learner with a token of hers."""
    client = AsyncHTTPClient(max_clients=100)
    form = await client.fetch(f"{HUB}/hub/login", request_timeout=300)
    cookies = [cookie.partition(";")[0] for cookie in form.headers.get_list("Set-Cookie")]
    xsrf = next(cookie.partition("=")[2] for cookie in cookies if cookie.startswith("_xsrf="))
    body = urlencode({"username": name, "password": password, "_xsrf": xsrf.strip('"')})
    sent = HTTPRequest(
        f"{HUB}/hub/login", "POST", {"Cookie": "; ".join(cookies)}, body, follow_redirects=False, request_timeout=300
    )
    answer = await client.fetch(sent, raise_error=False)
    if answer.code != 302:
        raise RuntimeError(f"{name} cannot log in: {answer.code}")
    who = json.dumps({"auth": {"username": name, "password": password}})
    answer = await client.fetch(f"{HUB}/hub/api/users/{name}/tokens", method="POST", body=who, request_timeout=300)
    return Learner(f"{HUB}/user/{name}", json.loads(answer.body)["token"])


async def begin(name: str, learner: Learner) -> None:
    """Have the hub start a learner's server, and wait for it."""
    hub = Learner(HUB, learner.token)

    async def ready() -> bool:
        servers = (await hub.ask("GET", f"/hub/api/users/{name}"))["servers"]
        return bool(servers and servers[""]["ready"])

    await hub.ask("POST", f"/hub/api/users/{name}/server", {})
    await wait_for(ready, f"{name}'s server is ready")


async def lesson(name: str, password: str) -> dict[str, Any]:
    """One learner's part: times from the beginning of the class, and what her notebook said."""
    start = time.monotonic()
    learner = await log_in(name, password)
    await begin(name, learner)
    ready = time.monotonic() - start
    kernel = await learner.open(LESSON)
    failed = await learner.run_all(LESSON, kernel)
    done = time.monotonic() - start
    said = await learner.run(kernel, SAY)
    return {"learner": learner, "ready": ready, "done": done, "failed": failed, "said": said}


def below(pid: int) -> list[int]:
    """All processes that a process has started, at any remove."""
    return [each for child in children(pid) for each in (child, *below(child))]


def command(pid: int) -> str:
    """The command line of a process; "" if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def told(hub: int, learners: int) -> None:
    """Print what the class takes now."""
    kinds: dict[str, list[float]] = {"kernels": [], "servers": [], "hub, proxy and culler": [memory(hub)]}
    for pid in below(hub):
        line = command(pid)
        kind = "kernels" if "ipykernel" in line else "servers" if "singleuser" in line else "hub, proxy and culler"
        if line:
            kinds[kind].append(memory(pid))
    for kind, each in kinds.items():
        if each:
            print(f"  {kind:24}{len(each):4}  {sum(each):8.1f} MiB  {statistics.mean(each):6.1f} each")
    total = sum(sum(each) for each in kinds.values())
    print(f"  {'all':28}  {total:8.1f} MiB  {total / learners:6.1f} a learner", flush=True)


async def course(hub: int, homes: Path, count: int, password: str) -> list[str]:
    """The whole class; what was wrong."""
    names = [f"learner{number:02}" for number in range(count)]
    print(f"{count} learners, lesson 5, all at once:")
    class_ = await asyncio.gather(*(lesson(name, password) for name in names))
    for what in ("ready", "done"):
        times = sorted(each[what] for each in class_)
        print(f"  {what}: {times[0]:.1f} to {times[-1]:.1f} s, median {statistics.median(times):.1f}")
    await asyncio.sleep(2)
    print(f"  CPU time: {cpu([hub, *below(hub)]):.1f} s")
    told(hub, count)
    wrong = [f"{name}: {failure}" for name, each in zip(names, class_, strict=True) for failure in each["failed"]]
    who, variants = zip(*(each["said"].strip().splitlines()[-2:] for each in class_), strict=True)
    if list(who) != names:
        wrong.append(f"learners are {who}")
    print(f"  {len(set(variants))} variants of exercise 0.2")
    ids = {json.loads((homes / name / "thplab" / "thplab-progress.json").read_text())["learner"] for name in names}
    if len(ids) != count:
        wrong.append("learners share an id")

    first = class_[0]["learner"]
    kernels = await first.ask("GET", "/api/kernels")
    await first.run(kernels[0]["id"], TRY)
    kept = [tries(homes / name) for name in names]
    if kept[0] != {TASK: 1} or any(kept[1:]):
        wrong.append(f"after one has tried a task: {kept}")

    print(f"Then nobody does anything for {IDLE} s:")

    async def gone() -> bool:
        return not any(kind in command(pid) for pid in below(hub) for kind in ("ipykernel", "singleuser"))

    await wait_for(gone, "all servers have ended")
    told(hub, count)
    await begin(names[0], first)
    saved = await first.ask("GET", f"/api/contents/{LESSON}?content=1")
    shown = sum(bool(cell.get("outputs")) for cell in saved["content"]["cells"])
    again = await first.open(LESSON)
    await first.run_all(LESSON, again)
    print(f"One comes back: {shown} cells show what they showed; tried: {', '.join(tries(homes / names[0]))}")
    if not shown or tries(homes / names[0]) != kept[0]:
        wrong.append("what was saved is not there")
    return wrong


def tries(home: Path) -> dict[str, int]:
    """How often a learner has tried each task, by her file."""
    kept = json.loads((home / "thplab" / "thplab-progress.json").read_text())
    return {each["id"]: each["tries"] for each in kept["work"]}


def main() -> int:
    """Start the hub, hold the class, end the hub."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    proxy = sys.argv[2] if len(sys.argv) > 2 else "configurable-http-proxy"
    with tempfile.TemporaryDirectory(prefix="thplab-class-") as name:
        homes, password = Path(name) / "homes", secrets.token_hex(8)
        homes.mkdir()
        own = {"PASSWORD": password, "HOMES": str(homes), "IDLE": str(IDLE), "PORT": str(PORT)}
        environment = os.environ | {f"THPLAB_TRIAL_{key}": value for key, value in own.items()}
        found = shutil.which(proxy)
        if found is None:
            raise SystemExit(f"{proxy} is not there: npm install configurable-http-proxy, and name it")
        environment["PATH"] = os.pathsep.join((str(Path(found).absolute().parent), os.environ["PATH"]))
        with open(Path(name) / "hub.log", "wb") as log:
            hub = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "--config", str(CONFIG)],
                cwd=name, env=environment, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            asyncio.run(wait_for(lambda: answers(hub), "the hub answers"))
            wrong = asyncio.run(course(hub.pid, homes, count, password))
        except Exception:
            print((Path(name) / "hub.log").read_text()[-6000:])
            raise
        finally:
            hub.terminate()
            hub.wait(60)
    print(*wrong, sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
