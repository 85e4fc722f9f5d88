"""What has to be built before a kernel can be asked, and what has to be asked once: module, plugin, disk, symbols and
BTF."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from truth.recorder import initrd, packages, trace
from truth.recorder.btf import Btf
from truth.recorder.kernels import Kernel
from truth.recorder.memory import Memory
from truth.recorder.symbols import VARIABLES, Symbols
from truth.recorder.trace import Trace
from truth.recorder.view import View
from truth.recorder.vm import RAM, Vm, shared_file
from truth.recorder.work import Work, need, run

_HERE = Path(__file__).parent
_SWAP = 256 << 20


@dataclass(frozen=True)
class Guest:
    """A guest that has come up: what answers in it, what lies in its RAM, and the plugin, which is there if it was
    asked for."""

    vm: Vm
    view: View
    trace: Trace | None


@contextlib.contextmanager
def guest(work: Work, kernel: Kernel, traced: bool) -> Iterator[Guest]:
    """A guest with that kernel, for as long as the `with` lasts. What is missing is built first. Raises
    RecorderError."""
    disk = initrd.build(work, kernel, _module(work, kernel))
    symbols, btf = _symbols(work, kernel, disk)
    folder = work.kernel(kernel.name)
    with contextlib.ExitStack() as stack:
        ram = stack.enter_context(shared_file(folder, "ram", RAM))
        swap = stack.enter_context(shared_file(folder, "swap", _SWAP))
        more = ["-drive", f"file={swap},format=raw,if=virtio,cache=unsafe"]
        plugin = None
        if traced:
            plugin = Trace(stack.enter_context(shared_file(folder, "control", trace.SIZE)))
            functions = folder / "functions"
            functions.write_text("".join(f"{address:x}\n" for address in sorted(symbols.reported)))
            more += plugin.arguments(_plugin(work), ram, functions)
        vm = stack.enter_context(Vm(work.image(kernel.name), disk, folder, ram, more))
        view = View(Memory(vm.ram), kernel, symbols, btf)
        if plugin:
            plugin.watch(view)
        yield Guest(vm, view, plugin)


def _symbols(work: Work, kernel: Kernel, disk: Path) -> tuple[Symbols, Btf]:
    """The kernel's symbols and BTF; it is booted once to ask for them."""
    folder = work.kernel(kernel.name)
    symbols, btf = folder / "symbols", folder / "vmlinux.btf"
    if not btf.exists():
        with shared_file(folder, "ram", RAM) as ram, Vm(work.image(kernel.name), disk, folder, ram) as vm:
            symbols.write_bytes(vm.unpacked("symbols", variables=VARIABLES))
            btf.write_bytes(vm.unpacked("file", path="/sys/kernel/btf/vmlinux"))
    return Symbols(symbols.read_text().splitlines()), Btf(btf.read_bytes())


def _plugin(work: Work) -> Path:
    """The plugin, compiled."""
    source, made = _HERE / "plugin" / "steptrace.c", work.root / "steptrace.so"
    if _older(made, source):
        need(("gcc", "gcc"))
        run(["gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", made, source])
    return made


def _module(work: Work, kernel: Kernel) -> Path | None:
    """The recorder's own module, compiled; None where the archive had no headers for it."""
    headers = packages.headers(work, kernel)
    if headers is None:
        return None
    source, build = _HERE / "module", work.kernel(kernel.name) / "module"
    made = build / "thp_recorder.ko"
    if _older(made, source / "thp_recorder.c"):
        need(("gcc", "gcc"), ("make", "make"), ("bc", "bc"))
        flavour, common = headers
        makefile = flavour / "Makefile"  # it includes the common one where that would be installed
        text = re.sub(
            r"^include /usr/src/\S+-common/Makefile", f"include {common}/Makefile", makefile.read_text(), flags=re.M
        )
        makefile.write_text(text)
        shutil.rmtree(build, ignore_errors=True)
        shutil.copytree(source, build)
        no_btf = ["CONFIG_DEBUG_INFO_BTF=", "CONFIG_DEBUG_INFO_BTF_MODULES="]
        run(["make", "-C", flavour, f"M={build}", "CC=gcc", *no_btf, "modules"])
    return made


def _older(made: Path, source: Path) -> bool:
    return not made.exists() or made.stat().st_mtime < source.stat().st_mtime
