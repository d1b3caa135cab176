"""Measures how fast the service is, as ratios that hold on any machine."""

import os
import sys
from pathlib import Path

# The package need not be installed, here or in the processes that are started.
_SOURCE = str(Path(__file__).parents[1] / "src")
sys.path.insert(0, _SOURCE)
os.environ["PYTHONPATH"] = _SOURCE
