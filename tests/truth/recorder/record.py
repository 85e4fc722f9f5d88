#!/usr/bin/env python3
"""record.py fetch|steps|state KERNEL ...: asks a real kernel; see README.md or --help."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from truth.recorder.command import main

if __name__ == "__main__":
    sys.exit(main())
