"""Builds sdist and wheel, and tries both in each Python that is named: python .ci/release.py python3.11 python3.12

The wheel is built from the sdist. Each Python gets an environment of its own, with the wheel first, and then with
what it builds from the sdist; there the command tells a story, a machine and a widget work, and the notebooks are
found. Exit status 1 if something fails.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
TRIED = """
import importlib.metadata, sys, pathlib, thplab
from thplab import Machine
from thplab.learn.folders import notebook_folder
assert pathlib.Path(thplab.__file__).is_relative_to(sys.prefix), thplab.__file__
m = Machine(geometry="X86_64")
a = m.spawn("A"); a.mmap(); a.write(0); b = a.fork("B"); b.mprotect(256, 1, "r"); a.pin(256, 1, "dma")
assert a.split(0) == -16
notebooks = sorted(notebook_folder().rglob("*.ipynb"))
assert pathlib.Path(notebooks[0]).is_relative_to(sys.prefix) and len(notebooks) > 20
assert thplab.Stepper("mmap A; write A 0").html()
print(sys.version.split()[0], importlib.metadata.version("thplab"), len(notebooks), "notebooks")
"""


def run(*command: str | Path) -> str:
    """What a command prints; the whole ends with what it complains about if it fails."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout[-1500:]}{done.stderr[-3000:]}")
    return done.stdout.strip()


dist = ROOT / "dist"
for old in dist.glob("thplab-*"):
    old.unlink()
run(sys.executable, "-m", "build", "--outdir", dist, ROOT)
(wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
for made in (sdist, wheel):
    print(f"{made.relative_to(ROOT)}: {made.stat().st_size / 1e6:.1f} MB")
for python in sys.argv[1:]:
    with tempfile.TemporaryDirectory() as name:
        run(python, "-m", "venv", name)
        inside = Path(name) / "bin" / "python"
        for made, more in ((wheel, ()), (sdist, ("--force-reinstall", "--no-deps"))):
            run(inside, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *more, made)
            run(Path(name) / "bin" / "thplab", "run", "story")
            told = run(inside, "-I", "-c", TRIED)
            print(f"{python}, {made.name}: {told}", flush=True)
