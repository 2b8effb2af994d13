"""`python -m studio` is the `studio` command."""

from .cli.main import main

main()
