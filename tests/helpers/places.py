"""Where the repository is, and beside it the real data that some tests need and skip without."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
