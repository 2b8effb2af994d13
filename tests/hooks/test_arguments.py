"""Parsed command lines and seeds are parameters; secrets are not shown."""

from __future__ import annotations

import pytest


def test_argparse(bench):
    ran = bench.run(
        """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("data")
        parser.add_argument("--lr", type=float, default=0.1)
        parser.add_argument("--api-key")
        parser.add_argument("--verbose", action="store_true")
        print(parser.parse_args().lr)
        argparse.ArgumentParser().parse_known_args(["--not", "mine"])
        """,
        ["d.csv", "--lr", "0.5", "--api-key", "hush"],
    )
    assert ran.out == "0.5\n"
    assert ran.params == {"data": "d.csv", "lr": 0.5, "api_key": "***", "verbose": False}
    assert "hush" not in (ran.spool / "events").read_text()


def test_a_second_parser_of_what_the_first_has_left(bench):
    source = """
        import argparse
        first, second = argparse.ArgumentParser(), argparse.ArgumentParser()
        first.add_argument("--config")
        second.add_argument("--lr", type=float, default=0.1)
        known, rest = first.parse_known_args()
        second.parse_args(rest)
        argparse.ArgumentParser().parse_known_args(["--not", "mine"])
        other = argparse.ArgumentParser()
        other.add_argument("--of-a-library", default=1)
        other.parse_args(["--of-a-library", "2"])
        """
    assert bench.run(source, ["--config", "c", "--lr", "0.5"]).params == {"config": "c", "lr": 0.5}
    assert bench.run(source, []).params == {"config": None, "lr": 0.1}


def test_a_parser_of_a_part_of_the_command_line(bench):
    ran = bench.run(
        """
        import argparse, sys
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float)
        parser.parse_args(sys.argv[2:])
        """,
        ["train", "--lr", "0.5"],
    )
    assert ran.params == {"lr": 0.5}


def test_a_wrong_command_line_is_told_as_ever(bench):
    source = "import argparse; argparse.ArgumentParser(prog='p').parse_args()"
    ran, bare = bench.run(source, ["--no"]), bench.run(source, ["--no"], PYTHONPATH=None)
    assert (ran.code, ran.err) == (bare.code, bare.err) and ran.code == 2


def test_click(bench):
    bench.needs("click")
    ran = bench.run(
        """
        import click
        @click.group()
        @click.option("--depth", type=int, default=3)
        def main(depth): pass
        @main.command()
        @click.option("--lr", type=float)
        @click.option("--secret", hide_input=True)
        def train(lr, secret): click.echo(lr)
        main()
        """,
        ["train", "--lr", "0.25", "--secret", "hush"],
    )
    assert ran.out == "0.25\n"
    assert ran.params == {"depth": 3, "lr": 0.25, "secret": "***"}


@pytest.mark.parametrize("words", [["--api-key", "hush-hush-1"], ["-k", "hush-hush-1"], ["-khush-hush-1"], []])
def test_any_word_of_an_option_may_say_that_it_is_a_secret(bench, words):
    ran = bench.run(
        """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("-k", "--api-key", dest="cred", default="hush-hush-2")
        parser.add_argument("-m", "--max-tokens", dest="most", type=int, default=5)
        parser.add_argument("-n", "--token", dest="none")
        parser.parse_args()
        """,
        words,
    )
    assert ran.params == {"cred": "***", "most": 5, "none": None}
    assert len(ran.of_type("sealed")) == len(words[:1]) and "hush" not in str(ran.of_type("params"))


def test_absl(bench):
    bench.needs("absl")
    ran = bench.run(
        """
        from absl import app, flags
        flags.DEFINE_float("lr", 0.1, "rate")
        flags.DEFINE_string("name", None, "name")
        app.run(lambda argv: print(flags.FLAGS.lr))
        """,
        ["--lr=0.5"],
    )
    assert ran.out == "0.5\n" and ran.params == {"lr": 0.5, "name": None}


def test_a_command_line_that_nothing_parses(bench):
    ran = bench.run("print(1)", ["--epochs", "3", "opt.lr=0.5", "--fast", "--name=x", "file.csv", "--password", "hush"])
    assert ran.params == {"epochs": 3, "opt.lr": 0.5, "fast": True, "name": "x", "password": "***"}


def test_the_command_line_of_a_notebooks_kernel_is_none_of_the_scripts(bench):
    bench.needs("ipykernel")
    ran = bench.run("import ipykernel", ["-f", "kernel.json", "--HistoryManager.hist_file=:memory:"])
    assert (ran.code, ran.params) == (0, {})


def test_seeds(bench):
    ran = bench.run(
        """
        import random
        random.seed(3)
        first = random.random()
        random.seed(3)
        assert first == random.random() == random.Random(3).random()
        import numpy as np
        np.random.seed(11)
        assert np.random.rand() == np.random.RandomState(11).rand()
        """
    )
    assert (ran.code, ran.err) == (0, "")
    assert ran.params == {"seed.random": 3, "seed.numpy": 11}
