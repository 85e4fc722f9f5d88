"""Builds the site into a folder; exit status 1 if a notebook fails or a link is dead, and then nothing is written."""

import argparse
import sys
import time
from pathlib import Path

from thplab.errors import BadInput
from thplab.learn.export import ExportFailed
from website.build import SiteFailed, build

parser = argparse.ArgumentParser(prog="website", description=__doc__)
parser.add_argument("folder", metavar="DIR", type=Path, help="a new or empty folder")
parser.add_argument("--no-execute", action="store_true", help="run no notebook: show the results that they have")
options = parser.parse_args()
start = time.monotonic()
try:
    built = build(options.folder, execute=not options.no_execute)
except BadInput as error:
    print(f"website: {error}", file=sys.stderr)
    sys.exit(2)
except (ExportFailed, SiteFailed) as error:
    print(f"website: {error}", file=sys.stderr)
    sys.exit(1)
print(f"{built.front}: {built.pages} pages, {built.links:,} links, none of them dead, {built.bytes / 1e6:.1f} MB")
print(f"{time.monotonic() - start:.0f} seconds")
