"""`python -m evalmode` is the command line."""

from evalmode.command import app

app()
