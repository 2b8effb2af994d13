"""Whose value counts: what the user typed, then the script's own parser, then a library's; and which were typed."""

from __future__ import annotations

import textwrap

import pytest

ONE = """
import argparse, sys
parser = argparse.ArgumentParser()
parser.add_argument("-e", "--epochs", type=int, default=10)
parser.add_argument("-l", "--learning-rate", dest="lr", type=float, default=0.1)
parser.add_argument("-v", "--verbose", action="store_true")
parser.add_argument("-q", action="count", default=0)
parser.add_argument("--tag", action="append")
parser.add_argument("--sizes", nargs="+", type=int, default=[1])
parser.add_argument("--no-shuffle", dest="shuffle", action="store_false")
group = parser.add_mutually_exclusive_group()
group.add_argument("--adam", dest="optimizer", action="store_const", const="adam", default="sgd")
group.add_argument("--rms", dest="optimizer", action="store_const", const="rms")
"""
DEFAULTS = {
    "epochs": 10, "lr": 0.1, "verbose": False, "q": 0, "tag": None, "sizes": [1], "shuffle": True, "optimizer": "sgd",
}  # fmt: skip

FORMS = {
    "nothing": ([], {}, set()),
    "long": (["--epochs", "3", "--learning-rate", "0.5"], {"epochs": 3, "lr": 0.5}, {"epochs", "lr"}),
    "with an equals sign": (["--epochs=3", "-l=0.5"], {"epochs": 3, "lr": 0.5}, {"epochs", "lr"}),
    "short": (["-e", "3", "-l0.5"], {"epochs": 3, "lr": 0.5}, {"epochs", "lr"}),
    "abbreviated": (["--ep", "3", "--lea=0.5"], {"epochs": 3, "lr": 0.5}, {"epochs", "lr"}),
    "several letters": (["-vqqe3"], {"verbose": True, "q": 2, "epochs": 3}, {"verbose", "q", "epochs"}),
    "letters of a value": (["-e", "3", "-l", "1"], {"epochs": 3, "lr": 1.0}, {"epochs", "lr"}),
    "the default itself": (["--epochs", "10"], {}, {"epochs"}),
    "a negative value": (["--learning-rate", "-1"], {"lr": -1.0}, {"lr"}),
    "append": (["--tag", "a", "--tag=b"], {"tag": ["a", "b"]}, {"tag"}),
    "nargs": (["--sizes", "3", "4", "-v"], {"sizes": [3, 4], "verbose": True}, {"sizes", "verbose"}),
    "store_false": (["--no-shuffle"], {"shuffle": False}, {"shuffle"}),
    "an exclusive group": (["--rms"], {"optimizer": "rms"}, {"optimizer"}),
}


def shown(params: dict) -> dict:
    """As the record has them: tuples as lists."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in params.items()}


def given(ran) -> set[str]:
    return {name for event in ran.of_type("params") for name in event.get("given", ())}


@pytest.mark.parametrize("form", FORMS)
def test_every_spelling_of_an_option(bench, form):
    words, changed, typed = FORMS[form]
    ran = bench.run(ONE + "parser.parse_args()", words)
    assert (ran.code, ran.params, given(ran)) == (0, shown({**DEFAULTS, **changed}), typed), ran.err


BASE = """
import argparse, sys
def parser(**options):
    made = argparse.ArgumentParser(allow_abbrev=False)
    for name, default in options.items():
        made.add_argument("--" + name, type=type(default), default=default)
    return made
"""
SCRIPTS = {
    "defaults of a second parser": (
        "parser(lr=0.1).parse_known_args(); parser(lr=0.7, depth=2).parse_known_args()",
        ["--lr", "0.5"], {"lr": 0.5, "depth": 2}, {"lr"}),
    "a second parser that was not told": (
        "_, rest = parser(lr=0.1).parse_known_args(); parser(lr=0.7, depth=2).parse_args(rest)",
        ["--lr", "0.5"], {"lr": 0.5, "depth": 2}, {"lr"}),
    "an empty rest": (
        "_, rest = parser(lr=0.1).parse_known_args(); parser(depth=2).parse_args(rest)", [], {"lr": 0.1, "depth": 2},
        set()),
    "a copy of the rest": (
        "_, rest = parser(lr=0.1).parse_known_args(); parser(depth=2).parse_args(list(rest))",
        ["--depth", "4"], {"lr": 0.1, "depth": 4}, {"depth"}),
    "words of its own": (
        "parser(lr=0.1).parse_args(); parser(lr=0.7).parse_args(['--lr', '0.9'])", ["--lr", "0.5"], {"lr": 0.5},
        {"lr"}),
    "words of its own, nothing typed": (
        "parser(lr=0.1).parse_args(); parser(lr=0.7).parse_args(['--lr', '0.9'])", [], {"lr": 0.1}, set()),
    "no words, after": ("parser(lr=0.1).parse_args(); parser(lr=0.7).parse_args([])", ["--lr", "0.5"], {"lr": 0.5},
                        {"lr"}),
    "no words at all, as in a notebook": ("parser(lr=0.1).parse_args([])", [], {"lr": 0.1}, set()),
    "a rest after two dashes": (
        "p = argparse.ArgumentParser(); p.add_argument('--lr', default='0'); p.add_argument('rest', nargs='*');"
        "p.parse_args()", ["--", "--lr", "1"], {"lr": "0", "rest": ["--lr", "1"]}, {"rest"}),
    "a parser with parents": (
        "argparse.ArgumentParser(parents=[argparse.ArgumentParser(add_help=False)]).parse_args(); "
        "argparse.ArgumentParser(parents=[(lambda p: (p.add_argument('--lr', type=float, default=1.), p)[1])"
        "(argparse.ArgumentParser(add_help=False))]).parse_args()", [], {"lr": 1.0}, set()),
    "a configuration file": (
        "a = parser(lr=0.1, depth=2).parse_args(); a.lr = 0.3; a.depth = 5", ["--depth", "5"], {"lr": 0.3, "depth": 5},
        {"depth"}),
    "a configuration file against what was typed": (
        "a = parser(lr=0.1, depth=2).parse_args(); vars(a).update(lr=0.3, depth=7)", ["--depth", "5"],
        {"lr": 0.3, "depth": 5}, {"depth"}),
    "defaults set before": (
        "p = parser(lr=0.1, depth=2); p.set_defaults(lr=0.3, depth=9); p.parse_args()", ["--depth", "5"],
        {"lr": 0.3, "depth": 5}, {"depth"}),
    "a namespace that was there": (
        "parser(lr=0.1).parse_args(namespace=argparse.Namespace(lr=0.3))", [], {"lr": 0.3}, set()),
    "intermixed": (
        "p = parser(lr=0.1); p.add_argument('data', nargs='*'); p.parse_intermixed_args()",
        ["a", "--lr", "0.5", "b"], {"lr": 0.5, "data": ["a", "b"]}, {"lr", "data"}),
}  # fmt: skip


@pytest.mark.parametrize("what", SCRIPTS)
def test_what_counts_more_stays(bench, what):
    source, words, params, typed = SCRIPTS[what]
    ran = bench.run(BASE + source, words)
    assert (ran.code, ran.params, given(ran)) == (0, shown(params), typed), ran.err


SUB = """
import argparse
top = argparse.ArgumentParser()
top.add_argument("--seed", type=int, default=1)
below = top.add_subparsers(dest="command")
train = below.add_parser("train", aliases=["t"])
train.add_argument("--lr", type=float, default=0.1)
train.add_argument("data")
train.add_argument("more", nargs="?", default="none")
kinds = train.add_subparsers(dest="kind")
deep = kinds.add_parser("deep")
deep.add_argument("-l", "--layers", type=int, default=2)
below.add_parser("test").add_argument("--lr", type=float, default=0.9)
print(top.parse_args())
"""


def test_sub_parsers(bench):
    ran = bench.run(SUB, ["--seed", "4", "train", "--lr=0.5", "d.csv", "m", "deep", "-l", "7"])
    assert ran.params == {
        "seed": 4, "command": "train", "lr": 0.5, "data": "d.csv", "more": "m", "kind": "deep", "layers": 7,
    }  # fmt: skip
    assert given(ran) == set(ran.params)


def test_sub_parsers_by_default(bench):
    ran = bench.run(SUB, ["test"])
    assert (ran.params, given(ran)) == ({"seed": 1, "command": "test", "lr": 0.9}, {"command"})


def library(bench, source: str) -> dict[str, str]:
    """A package `lib` that stands where installed packages do."""
    folder = bench.folder / "site-packages" / "lib"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(textwrap.dedent(source))
    return {"PYTHONPATH": f"{bench.env()['PYTHONPATH']}:{folder.parent}"}


LIBRARY = """
    import argparse
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--lr", type=float, default=0.9)
    parser.add_argument("--of-lib", type=int, default=1)
    def own(*words): return parser.parse_args(list(words))
    def known(): return parser.parse_known_args()
    class Parser(argparse.ArgumentParser):
        def parse_into(self):
            known, rest = self.parse_known_args()
            return known, rest
"""
MINE = """
mine = argparse.ArgumentParser()
mine.add_argument("--lr", type=float, default=0.1)
"""
OF_LIBRARY = {
    "it parses words of its own": ("lib.own('--lr', '5'); mine.parse_args(); lib.own(); lib.own('--of-lib', '2')",
                                   ["--lr", "0.5"], {"lr": 0.5}),
    "it takes what is its": ("lib.known(); mine.parse_known_args()", ["--lr", "0.5", "--of-lib", "3"],
                             {"lr": 0.5, "of_lib": 3}),
    "its defaults are not the script's": ("mine.parse_args(); lib.known()", [], {"lr": 0.1}),
    "its class is the script's parser": (
        "p = lib.Parser(); p.add_argument('--depth', type=int, default=2); p.parse_into()", ["--depth", "3"],
        {"depth": 3}),
}  # fmt: skip


@pytest.mark.parametrize("what", OF_LIBRARY)
def test_a_librarys_parser(bench, what):
    source, words, params = OF_LIBRARY[what]
    ran = bench.run(f"import argparse, lib\n{MINE}{source}", words, **library(bench, LIBRARY))
    assert (ran.code, ran.params) == (0, params), ran.err


def test_the_parser_of_dataclasses(bench):
    """As in transformers' HfArgumentParser: a subclass in a library, several dataclasses, words left over."""
    env = library(
        bench,
        """
        import argparse, dataclasses
        class Parser(argparse.ArgumentParser):
            def __init__(self, *kinds):
                super().__init__()
                self.kinds = kinds
                for kind in kinds:
                    for field in dataclasses.fields(kind):
                        names = {"--" + field.name, "--" + field.name.replace("_", "-")}
                        self.add_argument(*sorted(names), type=type(field.default), default=field.default)
            def parse_args_into_dataclasses(self, args=None):
                namespace, rest = self.parse_known_args(args=args)
                found = []
                for kind in self.kinds:
                    keys = {f.name for f in dataclasses.fields(kind)}
                    found.append(kind(**{k: v for k, v in vars(namespace).items() if k in keys}))
                    for k in keys:
                        delattr(namespace, k)
                if rest:
                    raise ValueError(rest)
                return found
        """,
    )
    ran = bench.run(
        """
        import dataclasses, lib
        @dataclasses.dataclass
        class Model:
            name: str = "bert"
        @dataclasses.dataclass
        class Training:
            learning_rate: float = 0.1
            num_epochs: int = 3
        print(lib.Parser(Model, Training).parse_args_into_dataclasses())
        """,
        ["--num-epochs", "5", "--learning_rate", "0.5"],
        **env,
    )
    assert ran.params == {"name": "bert", "learning_rate": 0.5, "num_epochs": 5}, ran.err
    assert given(ran) == {"learning_rate", "num_epochs"}


CLICK = """
import click
@click.group(chain={chain}, invoke_without_command=True)
@click.option("--seed", type=int, default=1)
@click.pass_context
def main(context, seed): pass
@main.command()
@click.option("--lr", type=float, default=0.1)
@click.argument("data", default="none")
def train(lr, data): pass
@main.command()
@click.option("--metric", "-m", multiple=True)
@click.option("--fast/--slow", default=True)
def test(metric, fast): pass
main()
"""


@pytest.mark.parametrize(
    ("chain", "words", "params", "typed"),
    [
        (False, [], {"seed": 1}, set()),
        (False, ["--seed", "2", "train", "--lr", "0.5"], {"seed": 2, "lr": 0.5, "data": "none"}, {"seed", "lr"}),
        (False, ["train", "d.csv"], {"seed": 1, "lr": 0.1, "data": "d.csv"}, {"data"}),
        (True, ["train", "a", "test", "-m", "x", "-m", "y", "--slow"],
         {"seed": 1, "lr": 0.1, "data": "a", "metric": ("x", "y"), "fast": False}, {"data", "metric", "fast"}),
    ],
)  # fmt: skip
def test_click(bench, chain, words, params, typed):
    bench.needs("click")
    ran = bench.run(CLICK.format(chain=chain), words)
    assert (ran.code, ran.params, given(ran)) == (0, shown(params), typed), ran.err


def test_a_click_command_that_is_called_with_words_of_its_own(bench):
    bench.needs("click")
    source = CLICK.format(chain=False).replace("\nmain()\n", "\nmain(['train', '--lr', '3'], standalone_mode=False)\n")
    ran = bench.run("import argparse\n" + MINE + "mine.parse_args()\n" + source, ["--lr", "0.5"])
    assert (ran.params["lr"], given(ran)) == (0.5, {"lr"}), ran.err


def test_absl(bench):
    bench.needs("absl")
    ran = bench.run(
        """
        from absl import app, flags
        flags.DEFINE_float("lr", 0.1, "rate")
        flags.DEFINE_multi_string("tag", [], "tags")
        flags.DEFINE_boolean("fast", True, "fast")
        app.run(lambda argv: None)
        """,
        ["--tag=a", "--tag=b", "--nofast"],
    )
    assert ran.params == shown({"lr": 0.1, "tag": ["a", "b"], "fast": False}), ran.err
    assert given(ran) == {"tag", "fast"}


def test_words_from_a_file(bench):
    (bench.folder / "words").write_text("--lr\n0.5\n")
    ran = bench.run(
        """
        import argparse
        p = argparse.ArgumentParser(fromfile_prefix_chars="@")
        p.add_argument("--lr", type=float, default=0.1)
        p.add_argument("--depth", type=int, default=2)
        p.parse_args()
        """,
        ["@words"],
    )
    assert (ran.params, given(ran)) == ({"lr": 0.5, "depth": 2}, {"lr"})


def test_click_options_of_several_values_are_those_of_the_script(bench):
    bench.needs("click")
    ran = bench.run(
        """
    import click
    @click.command()
    @click.option("--layer", multiple=True, type=int)
    @click.option("--size", nargs=2, type=int, default=(1, 1))
    @click.option("--rate", default=.1)
    @click.argument("names", nargs=-1)
    def train(**values): print(values)
    train()
    """,
        args=["--layer", "1", "--layer", "2", "--size", "3", "4", "one", "two"],
    )
    assert ran.code == 0, ran.err
    assert ran.params == {"layer": [1, 2], "size": [3, 4], "rate": 0.1, "names": ["one", "two"]}
    assert given(ran) == {"layer", "size", "names"}


def test_what_one_parser_was_told_in_full_is_not_what_another_takes_it_for(bench):
    ran = bench.run(
        """
    import argparse
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default="a"); parser.add_argument("--n", type=int, default=5)
    parser.parse_args()
    other = argparse.ArgumentParser()
    other.add_argument("--name", default="lib")
    other.parse_known_args()  # to it, --n is the beginning of --name
    """,
        args=["--name", "q", "--n", "3"],
    )
    assert ran.code == 0, ran.err
    assert ran.params == {"name": "q", "n": 3}


def test_the_options_of_a_library_that_starts_the_script_are_not_its_parameters(bench):
    bench.needs("hydra")
    ran = bench.run(
        """
        import hydra
        @hydra.main(version_base=None, config_path=None)
        def main(config): print(config.lr)
        main()
        """,
        ["+lr=0.5"],
    )
    assert (ran.code, ran.out, ran.params) == (0, "0.5\n", {"lr": 0.5}), ran.err
