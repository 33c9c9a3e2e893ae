"""`python -m nemeton`: the same command, for children that `nemeton up` starts with its own interpreter."""

from nemeton.main import app

app()
