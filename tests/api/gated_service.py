"""The service as a user starts it, with audits that do what the variable ODD says."""

import sys

from api.__main__ import main

if __name__ == "__main__":
    sys.exit(main(child="tests.api.odd_child"))
