"""The helper that the browser tests stand on: it runs a notebook, it notices an error, it lets nothing out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from labserver import RunFailed, Server, is_foreign, lab, open_and_run, page, write_notebook

WIDGET = """import ipywidgets
button, count = ipywidgets.Button(description="more"), ipywidgets.Label("0 clicks")
button.on_click(lambda _: setattr(count, "value", "1 click"))
ipywidgets.VBox([button, count])"""


@pytest.mark.browser
def test_a_widget_runs_and_answers_a_click_and_an_error_in_a_cell_is_named(server: Server) -> None:
    write_notebook(server.folder / "good one.ipynb", "x = 1", WIDGET)
    write_notebook(server.folder / "bad.ipynb", "x = 1", "1 / 0")
    with page() as pg:
        open_and_run(pg, server, "good one.ipynb")
        pg.get_by_role("button", name="more").click()
        pg.get_by_text("1 click", exact=True).wait_for()
        with pytest.raises(RunFailed, match="cell 1: ZeroDivisionError"):
            open_and_run(pg, server, "bad.ipynb")


@pytest.mark.browser
def test_requests_to_other_machines_are_refused_and_recorded() -> None:
    html = "<img src='http://203.0.113.1/a.png'><script>new WebSocket('ws://203.0.113.1/socket')</script>"
    refused: list[str] = []
    with page(refused=refused) as pg:
        pg.set_content(html)
    assert sorted(refused) == ["http://203.0.113.1/a.png", "ws://203.0.113.1/socket"]
    with pytest.raises(AssertionError, match="not on this machine"), page() as pg:
        pg.set_content(html)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8888/lab", "ws://localhost/api", "http://[::1]/", "data:,x", "blob:http://127.0.0.1/1"])
def test_what_stays_on_this_machine(url: str) -> None:
    assert not is_foreign(url)


@pytest.mark.parametrize("url", ["https://example.org/", "wss://example.org/", "http://127.0.0.1.example.org/", "http://10.0.0.1/", "//x"])
def test_what_would_leave_it(url: str) -> None:
    assert is_foreign(url)


def test_a_server_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    with pytest.raises(RuntimeError, match="ended with code 1"), lab(tmp_path):
        pass
