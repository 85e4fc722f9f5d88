"""The guest's disk: busybox, this machine's own Python, the guest's program, and modules of the kernel.

It comes in two archives, one behind the other, as the kernel allows: what is the same for all kernels, and what is not.
"""

from __future__ import annotations

import gzip
import json
import lzma
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import thplab.study.live.agent
from truth.recorder.kernels import Kernel
from truth.recorder.work import RecorderError, Work, need, run

_HERE = Path(__file__).parent
_PYTHON = "/usr/bin/python3"
_LIBRARY = ("collections", "ctypes", "encodings", "importlib", "json", "re", "urllib")
"""The folders of Python's library that the guest needs; of the files beside them it gets all."""
_DRIVERS = ("virtio_pci", "virtio_blk", "lzo-rle", "zram")
_ASK = """
import json, os, sys, sysconfig
print(json.dumps([sys.version_info[:2], os.path.realpath(sys.executable), sysconfig.get_path("stdlib")]))
"""


def build(work: Work, kernel: Kernel, module: Path | None) -> Path:
    """The guest's disk for a kernel; `module` is the recorder's own, if there is one. Raises RecorderError."""
    need(("busybox", "busybox-static"), ("modprobe", "kmod"), ("ldd", "libc-bin"))
    base = work.root / "base.cpio.gz"
    if not base.exists():
        with tempfile.TemporaryDirectory() as folder:
            _base(Path(folder))
            _pack(Path(folder), base)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _program(root)
        _modules(root / "modules", work, kernel, module)
        _pack(root, work.kernel(kernel.name) / "own.cpio.gz")
    disk = work.kernel(kernel.name) / "initrd"
    disk.write_bytes(base.read_bytes() + (work.kernel(kernel.name) / "own.cpio.gz").read_bytes())
    return disk


def _base(root: Path) -> None:
    """busybox and Python, with what they need."""
    version, python, library = json.loads(run([_PYTHON, "-I", "-c", _ASK]))
    if version < [3, 11]:
        raise RecorderError(f"{_PYTHON} is {version[0]}.{version[1]}; the guest needs 3.11 or newer")
    for name in ("bin", "dev", "proc", "sys", "usr/bin"):
        (root / name).mkdir(parents=True)
    shutil.copy2(str(shutil.which("busybox")), root / "bin" / "busybox")
    (root / "bin" / "sh").symlink_to("busybox")
    _copy(root, python)
    (root / "usr/bin/python3").symlink_to(Path(python).name)
    source = Path(library)
    extensions = [path for name in ("_ctypes", "_json") for path in (source / "lib-dynload").glob(f"{name}.*.so")]
    for path in (*source.glob("*.py"), *source.glob("__pycache__/*.pyc"), *extensions):
        _copy(root, str(path))
    for name in _LIBRARY:
        shutil.copytree(source / name, root / library.lstrip("/") / name)
    for needed in sorted({path for each in (python, *map(str, extensions)) for path in _libraries(each)}):
        _copy(root, needed)


def _libraries(path: str) -> list[str]:
    """The shared libraries that a program needs, and the loader."""
    return re.findall(r"(/\S+) \(0x", run(["ldd", path]))


def _copy(root: Path, path: str) -> None:
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, target)  # with its time, by which Python knows that what it has compiled still holds


def _program(root: Path) -> None:
    """The guest's program, compiled by the Python that will run it, and the first process."""
    code = root / "code"
    agent = Path(thplab.study.live.agent.__file__).parent
    for source, target in ((agent, "thplab/study/live/agent"), (_HERE / "guest", "truth/recorder/guest")):
        (code / target).mkdir(parents=True)
        for path in source.glob("*.py"):
            shutil.copy2(path, code / target)
    run([_PYTHON, "-m", "compileall", "-q", "-s", root, code])
    shutil.copy2(_HERE / "guest" / "init", root / "init")
    (root / "init").chmod(0o755)


def _modules(target: Path, work: Work, kernel: Kernel, own: Path | None) -> None:
    """Modules in the order in which they are to be loaded: drivers of the disks that are swapped to, and the
    recorder's."""
    target.mkdir()
    files, release = work.files(kernel.name), work.release(kernel.name)
    if not (files / "lib" / "modules" / release / "modules.dep").exists():
        run(["depmod", "-b", files, release])
    order: list[str] = []
    for driver in _DRIVERS:
        shown = subprocess.run(
            ["modprobe", "-d", files, "-S", release, "--show-depends", driver],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )  # a driver that is built in has no file
        for path in (Path(line.split()[1]) for line in shown.stdout.splitlines() if line.startswith("insmod ")):
            name = path.name.removesuffix(".xz")
            if name not in order:
                data = path.read_bytes()
                (target / name).write_bytes(lzma.decompress(data) if path.suffix == ".xz" else data)
                order.append(name)
    if own is not None:
        shutil.copy2(own, target)
        order.append(own.name)
    (target / "order").write_text("\n".join(order) + "\n")


def _pack(root: Path, archive: Path) -> None:
    """Write a folder as an archive that the kernel unpacks (cpio, newc), all of it root's."""
    with gzip.open(archive, "wb", compresslevel=1) as file:
        for path in sorted(root.rglob("*")):
            status = path.lstat()
            data = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
            file.write(_entry(str(path.relative_to(root)), status.st_mode, int(status.st_mtime), data))
        file.write(_entry("TRAILER!!!", 0, 0, b""))


def _entry(name: str, mode: int, time: int, data: bytes) -> bytes:
    text = name.encode() + b"\0"
    head = b"070701" + b"".join(b"%08x" % field for field in _header(mode, time, len(data), len(text)))
    return _padded(head + text) + _padded(data)


def _header(mode: int, time: int, size: int, name_size: int) -> Iterable[int]:
    """ino, mode, uid, gid, nlink, mtime, filesize, two numbers of devices, namesize, check."""
    return 0, mode, 0, 0, 1, time, size, 0, 0, 0, 0, name_size, 0


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
