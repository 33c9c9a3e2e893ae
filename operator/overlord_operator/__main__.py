"""Starts the operator: `python -m overlord_operator`, settings from the environment alone."""

import sys

from overlord_operator.main import main

if __name__ == "__main__":
    sys.exit(main())
