"""Sacred has no command of its own: its command line is that of a script, such as this."""

from sacred import Experiment

experiment = Experiment("bench", save_git_info=False)


@experiment.automain
def main() -> None:
    """Does nothing."""
