"""The command of this checkout, called from anywhere, without the caller's folder in its path."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])

from auditor.cli import main  # noqa: E402 - the path comes first

main()
