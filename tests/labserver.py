"""A private JupyterLab on loopback, and a page of a real Chromium that looks at it.

    with lab("notebooks") as server, page() as pg:
        open_and_run(pg, server, "01-first.ipynb")
        pg.get_by_role("button", name="Next step").click()

Nothing here sleeps for a fixed time where something can be waited for, and nothing leaves this machine: each server has its own port,
token, settings and workspaces and serves a copy of the notebooks; the browser is refused whatever is not on loopback.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from playwright.sync_api import Page, Route, WebSocketRoute, expect, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")  # .ci/chromium looks for the same names
LOOPBACK = ("127.0.0.1", "localhost", "::1")
INSIDE_THE_PAGE = ("about", "blob", "data", "file")  # schemes that open no connection

# A machine that has other things to do, too, is slow and not wrong.
expect.set_options(timeout=30_000)

PYTHON = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
# Longer than a window: something to scroll over below a widget.
LONG = new_markdown_cell("\n\n".join(f"line {n}" for n in range(80)))

# What keeps Chromium from calling home at every start. Names are not looked up at all; pages are fetched by address.
CHROMIUM_FLAGS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    "--no-first-run",
)

# No question about news, no look for updates: a pop-up would lie over what the tests click.
# Cells out of sight stay in the page: a test looks for the third widget of a notebook, and not for the third of those in sight.
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"checkForUpdates": False, "doNotDisturbMode": True, "fetchNews": "false"},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}

READY = """() => {
    const panel = window.jupyterapp?.shell?.currentWidget;
    return Boolean(panel?.context?.isReady && panel.sessionContext?.session?.kernel?.status === "idle");
}"""
OPEN_INSTEAD = """async path => {
    const { shell, commands } = window.jupyterapp;
    for (const open of [...shell.widgets("main")]) {
        await open.sessionContext?.shutdown();
        open.dispose();
    }
    await commands.execute("docmanager:open", { path });
}"""
RUN_ALL = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
# Read from the notebook's model: cells that are scrolled out of view may not be in the page.
ERRORS = """() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells.flatMap((cell, index) =>
    (cell.toJSON().outputs ?? []).filter(output => output.output_type === "error")
        .map(output => `cell ${index}: ${output.ename}: ${output.evalue}`))"""

# The contrast of every piece of text below an element that can be seen, outside of pictures, the least first: [contrast, which].
CONTRASTS = """root => {
    const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    const ground = e => { for (; e; e = e.parentElement) {
        const c = numbers(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
    return [...root.querySelectorAll("*")]
        .filter(e => !e.closest("svg, option") && e.checkVisibility() && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
        .map(e => { const [a, b] = [light(numbers(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
            return [(a + .05) / (b + .05), e.className + ": " + e.textContent.slice(0, 30)]; })
        .sort((x, y) => x[0] - y[0]);
}"""

# What the kernel of the notebook in front prints when it runs `code`.
ASK = """async code => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const future = kernel.requestExecute({ code });
    let text = "";
    future.onIOPub = message => { if (message.header.msg_type === "stream") text += message.content.text; };
    await future.done;
    return text;
}"""


class Server(NamedTuple):
    """Where a private JupyterLab is: its address without a final slash, its token, and the folder it serves (a copy)."""

    base: str
    token: str
    folder: Path


class RunFailed(AssertionError):
    """A notebook did not run to its end without an error."""


@contextlib.contextmanager
def lab(root: str | os.PathLike[str], timeout: float = 60) -> Iterator[Server]:
    """A JupyterLab of this Python that serves a copy of the folder `root`, ready to answer; gone when the block is left.

    `window.jupyterapp` is there in its pages. Raises RuntimeError with the end of the server's log if it dies or does not answer
    within `timeout` seconds. Reads and writes no settings of the user's.
    """
    with tempfile.TemporaryDirectory(prefix="thplab-lab-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        folder = home / "notebooks"
        shutil.copytree(root, folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__"))
        (home / "app-settings").mkdir()
        (home / "app-settings" / "overrides.json").write_text(json.dumps(SETTINGS))
        port, token = _free_port(), secrets.token_hex(16)
        server = Server(f"http://127.0.0.1:{port}", token, folder)
        log = home / "lab.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                _command(port, token, home), cwd=folder, env=_environment(home), stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        try:
            _wait_until_up(server, process, log, timeout)
            yield server
        finally:
            _stop(server, process)


@contextlib.contextmanager
def page(width: int = 1280, height: int = 800, refused: list[str] | None = None, **context: Any) -> Iterator[Page]:
    """A page of a fresh headless Chromium; `context` goes to Playwright's new_context (color_scheme="dark", ...).

    A request to anything but loopback is aborted and its URL appended to `refused`. Without a list to append to, such a request
    makes the block fail when it ends: a page of thplab works offline. Raises RuntimeError if there is no Chromium.
    """
    urls: list[str] = [] if refused is None else refused

    def refuse(route: Route) -> None:
        urls.append(route.request.url)
        route.abort()

    def refuse_socket(route: WebSocketRoute) -> None:
        urls.append(route.url)
        route.close()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=list(CHROMIUM_FLAGS))
        try:
            # A service worker would fetch past the routes below.
            ctx = browser.new_context(viewport={"width": width, "height": height}, service_workers="block", **context)
            ctx.route(is_foreign, refuse)
            ctx.route_web_socket(is_foreign, refuse_socket)
            yield ctx.new_page()
        finally:
            browser.close()
    if refused is None and urls:
        raise AssertionError(f"the page asked for what is not on this machine: {urls}")


def write_notebook(path: Path, *cells: str | nbformat.NotebookNode, **metadata: Any) -> Path:
    """Writes a Python notebook, and its folder where there is none, and answers its path; a text is the source of a code cell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = [new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    nbformat.write(new_notebook(cells=made, metadata=PYTHON | metadata), path)
    return path


def open_alone(page: Page, folder: Path, html: str) -> None:
    """Opens a page of nothing but `html` from a file in `folder`, in a column about as wide as a notebook's, in the light theme."""
    path = folder / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><body data-jp-theme-light=true style='width: 900px'>{html}<p>below</p></body>")
    page.goto(path.as_uri())


def open_once(page: Page, server: Server, notebook: str) -> None:
    """`open_and_run`, unless the page shows that notebook already."""
    if urlsplit(page.url).path != f"/lab/tree/{quote(notebook)}":
        open_and_run(page, server, notebook)


def open_and_run(page: Page, server: Server, notebook: str, timeout: float = 120) -> None:
    """Opens `notebook` (a path below the server's folder) in JupyterLab and runs all its cells; returns when the last one is done.

    A page that shows JupyterLab already goes on with it: what is open is closed with its kernel, and not saved.
    Raises RunFailed, which names each failing cell (counted from 0), if there was an error, and Playwright's TimeoutError if the
    notebook is not open with an idle kernel, or not done, after `timeout` seconds.
    """
    limit = timeout * 1000
    if page.url.startswith(f"{server.base}/lab"):
        page.evaluate(OPEN_INSTEAD, notebook)
    else:
        page.goto(f"{server.base}/lab/tree/{quote(notebook)}?token={server.token}&reset", timeout=limit)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=limit)
    page.wait_for_function(READY, timeout=limit)
    page.evaluate(f"() => {{ window.thplabRun = 'running'; ({RUN_ALL})().then(ok => {{ window.thplabRun = ok ? 'done' : 'failed'; }}); }}")
    page.wait_for_function("() => window.thplabRun !== 'running'", timeout=limit)
    errors = page.evaluate(ERRORS)
    if errors or page.evaluate("() => window.thplabRun") != "done":
        raise RunFailed(f"{notebook}: " + ("; ".join(errors) or "not all cells were run"))


def ask(page: Page, code: str) -> str:
    """What the kernel of the notebook that `page` shows prints when it runs `code`."""
    told: str = page.evaluate(ASK, code)
    return told


def assert_told(page: Page, code: str, expected: str) -> None:
    """The kernel prints this, once the page's last word has reached it: it sends the next one when the one before is answered."""
    seen = next((told for told in (ask(page, code) for _ in range(20)) if told == expected), None) or ask(page, code)
    assert seen == expected


def find_browser() -> str:
    """The Chromium to drive: $CHROMIUM, else the first of BROWSERS on PATH. Raises RuntimeError if there is none."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise RuntimeError("no Chromium on PATH: install it (make chromium), or name one in the variable CHROMIUM")
    return found


def is_foreign(url: str) -> bool:
    """Whether fetching `url` would leave this machine."""
    parts = urlsplit(url)
    return parts.scheme not in INSIDE_THE_PAGE and parts.hostname not in LOOPBACK


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _command(port: int, token: str, home: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"),
        "--ServerApp.port_retries=0",  # another port than the one asked for would never be found
        f"--ServerApp.root_dir={home / 'notebooks'}",
        f"--IdentityProvider.token={token}",
        "--LabApp.expose_app_in_browser=True",
        f"--LabApp.app_settings_dir={home / 'app-settings'}",
        "--LabApp.extension_manager=readonly",  # the default one asks a package index
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]


def _environment(home: Path) -> dict[str, str]:
    own = {
        "IPYTHONDIR": "ipython",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "user-settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }
    return os.environ | {name: str(home / folder) for name, folder in own.items()}


def _wait_until_up(server: Server, process: subprocess.Popen[bytes], log: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{server.base}/api?token={server.token}", timeout=1):
            return
        time.sleep(0.1)
    state = "does not answer" if process.poll() is None else f"ended with code {process.returncode}"
    raise RuntimeError(f"JupyterLab {state}:\n{log.read_text(errors='replace')[-3000:]}")


def _stop(server: Server, process: subprocess.Popen[bytes]) -> None:
    """Ends the server, kernels included: by its own shutdown, else by SIGTERM, else by SIGKILL (its kernels then notice and leave)."""
    request = urllib.request.Request(f"{server.base}/api/shutdown?token={server.token}", method="POST")
    with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5):
        pass
    for end in (process.terminate, process.kill):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
            return
        end()
    process.wait()
