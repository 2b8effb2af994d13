"""Known secret values in the output that is kept: masked wherever it is cut; everything else is kept byte for byte."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import signal
import sys
from pathlib import Path

import pytest

from studio.run.mask import MASK, SHORT_BYTES, Mask, forms
from tests.studio_process import opened, record, start, studio, until

SECRET = "s3cr3t-canary-Zq8"
OTHER = "s3cr3t-other-one"


def fed(mask: Mask, chunks: list[tuple[int, bytes]], *, idle_after: set[int] | None = None) -> bytes:
    """What is kept of chunks of several streams."""
    out = b""
    for n, (source, data) in enumerate(chunks):
        out += mask.take(source, data)
        if n in (idle_after or ()):
            out += mask.idle()
    return out + mask.end_all()


@pytest.mark.parametrize("secret", [SECRET, "aaaaaaaa", "abababab", "aabaabaa"])
def test_a_secret_that_is_cut_anywhere_is_masked_and_the_rest_is_as_it_was(secret: str) -> None:
    text = f"before {secret} between {secret[:-1]}! {secret}{secret} after {secret[:5]}".encode()
    expected = text.replace(secret.encode(), b"*")
    pieces = [[text], [text[i : i + 1] for i in range(len(text))]]
    pieces += [[text[:cut], text[cut:]] for cut in range(len(text) + 1)]
    for cut in pieces:
        found = fed(Mask(forms([secret])), [(1, piece) for piece in cut])
        assert re.sub(rb"(\*\*\*)+", b"*", found) == re.sub(rb"\*+", b"*", expected), cut


def test_random_texts_in_random_pieces_come_out_as_a_search_and_replace_would_make_them() -> None:
    luck = random.Random(7)
    secrets = [b"abcabcab", b"bcabcabc", b"cccaaabbb", b"abcabcabxyz"]
    for _ in range(2000):
        text = b"".join(luck.choice([b"a", b"b", b"c", b"x", b"\n", *secrets, *secrets]) for _ in range(12))
        covered = [False] * len(text)
        for secret in secrets:
            for at in range(len(text)):
                if text.startswith(secret, at):
                    covered[at : at + len(secret)] = [True] * len(secret)
        expected = re.sub(
            rb"\x00+", b"*", bytes(0 if hidden else byte for hidden, byte in zip(covered, text, strict=True))
        )
        pieces, at = [], 0
        while at < len(text):
            step = luck.randint(1, 9)
            pieces.append((1, text[at : at + step]))
            at += step
        idle = {n for n in range(len(pieces)) if luck.random() < 0.2} if luck.random() < 0.5 else set()
        found = fed(Mask(secrets), pieces, idle_after=idle)
        assert not any(secret in found for secret in secrets), (text, pieces)
        if not idle:
            assert re.sub(rb"(\*\*\*)+", b"*", found) == expected, (text, pieces)


def test_only_a_tail_that_may_become_a_secret_is_held_and_no_longer_than_needed() -> None:
    mask = Mask(forms([SECRET]))
    assert mask.take(1, b"loss 0.1\n") == b"loss 0.1\n" and not mask.waiting
    assert mask.take(1, b"epochs") == b"epoch" and mask.waiting
    assert mask.idle() == b"s" and not mask.waiting and mask.idle() == b""
    assert mask.take(1, b" 5\n") == b" 5\n"
    assert mask.take(1, b"s3") == b"" and mask.idle() == b"s3"
    assert mask.take(1, SECRET[2:].encode() + b"!") == MASK + b"!", "what began before the pause is masked to its end"
    begun = SECRET[: SHORT_BYTES + 2].encode()
    assert mask.take(1, begun) == b"" and not mask.waiting and mask.idle() == b""
    assert mask.take(1, b"nothing") == begun + b"nothing"
    assert mask.take(1, begun) + mask.end(1) == begun


def test_two_streams_keep_their_order_and_do_not_mix() -> None:
    mask = Mask(forms([SECRET]))
    out = mask.take(1, b"out ends in s")
    out += mask.take(2, b"error\n")
    assert out == b"out ends in serror\n"
    first, second = SECRET[:9].encode(), SECRET[9:].encode()
    assert mask.take(1, first) == b""
    assert mask.take(2, b"between\n") == b"between\n"
    assert mask.take(1, second + b"\n") == MASK + b"\n"


def test_a_value_is_masked_in_the_forms_that_it_is_printed_in() -> None:
    secret = 'p"ä/ss w\nord-second-line-is-long'
    mask = Mask(forms([secret]))
    login = base64.b64encode(b"Aladdin:" + secret.encode() + b"!").decode()
    for printed in (
        secret, login, base64.urlsafe_b64encode(b"x" + secret.encode()).decode(), json.dumps(secret), repr(secret),
        "p%22%C3%A4%2Fss%20w%0Aord-second-line-is-long", "only ord-second-line-is-long",
    ):  # fmt: skip
        found = fed(mask, [(1, printed.encode())])
        assert MASK in found and b"second-line" not in found and len(found) < len(printed), printed


def test_whoever_takes_over_midway_masks_the_end_of_a_secret_whose_beginning_is_gone() -> None:
    for cut in range(1, len(SECRET) - SHORT_BYTES):
        mask = Mask(forms([SECRET]), midway=True)
        assert fed(mask, [(1, SECRET[cut:].encode() + b" text"), (1, b" more")]) == MASK + b" text more"
    assert fed(Mask(forms([SECRET]), midway=True), [(1, b"text"), (1, SECRET.encode())]) == b"text" + MASK


# ---- as a user sees it


SCRIPT = """
import os, sys, time
secret = os.environ["MY_API_KEY"]
print("whole", secret, flush=True)
for letter in "piecewise " + secret + " end\\n":
    os.write(1, letter.encode())
    time.sleep(0.001)
os.write(1, b"x" * 65530 + secret.encode() + b"\\n")
print("argument", sys.argv[2], "url", sys.argv[3], "param", os.environ["SHOWN"][::-1], flush=True)
os.write(1, secret[:10].encode())
"""


def stored() -> bytes:
    return b"".join(opened().output(record().key))


def test_the_user_sees_every_byte_and_the_store_keeps_no_secret(tmp_path: Path, home: Path) -> None:
    (tmp_path / "a.py").write_text(SCRIPT)
    words = ["--token", "canary-by-argument", "--url=https://ada:canary-in-url@example.org/x"]
    done = studio(
        "run", "--env", f"MY_API_KEY={SECRET}", "--param", "password=canary-by-param", "a.py", *words, cwd=tmp_path,
        env={"SHOWN": "canary-by-param"[::-1]},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    last = "argument {} url --url=https://{}@example.org/x param {}\n"
    seen = f"whole {SECRET}\npiecewise {SECRET} end\n{'x' * 65530}{SECRET}\n"
    seen += last.format("canary-by-argument", "ada:canary-in-url", "canary-by-param") + SECRET[:10]
    assert done.stdout == seen.encode()
    kept = stored()
    assert kept == (
        b"whole ***\npiecewise *** end\n" + b"x" * 65530 + b"***\n"
        b"argument *** url --url=https://ada:***@example.org/x param ***\n" + SECRET[:10].encode()
    )
    for path in (home / ".studioml").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            for canary in (SECRET.encode(), b"canary-by-argument", b"canary-in-url", b"canary-by-param"):
                assert canary not in data, path


def test_masking_can_be_turned_off_and_told_further_names(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os; print(os.environ['LICENCE'], os.environ['MY_TOKEN'])")
    env = {"LICENCE": "licence-canary", "MY_TOKEN": "token-canary"}
    assert studio("run", "a.py", cwd=tmp_path, env=env).stdout == b"licence-canary token-canary\n"
    assert stored() == b"licence-canary ***\n"
    (tmp_path / "studio.yaml").write_text("secret_names: [lic*, other]\n")
    done = studio("run", "--param", "licence=abc", "a.py", "--licence", "hidden-too", cwd=tmp_path, env=env)
    assert done.stdout == b"licence-canary token-canary\n", done.stderr
    assert stored() == b"*** ***\n"
    assert (record().params["licence"], record().command.args) == ("***", ("--licence", "***"))
    (tmp_path / "studio.yaml").write_text("mask_output: false\n")
    studio("run", "a.py", cwd=tmp_path, env=env)
    assert stored() == b"licence-canary token-canary\n"
    (tmp_path / "studio.yaml").write_text("mask_output: perhaps\n")
    done = studio("run", "a.py", cwd=tmp_path)
    assert done.returncode == 3 and b"neither true nor false" in done.stderr


def test_a_terminal_is_masked_too(tmp_path: Path) -> None:
    import pty

    (tmp_path / "a.py").write_text("import os, sys; print(sys.stdout.isatty(), os.environ['MY_TOKEN'])")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.environ.update(MY_TOKEN=SECRET, PYTHONPATH=str(Path(__file__).resolve().parents[2]))
        os.execv(sys.executable, [sys.executable, "-m", "studio", "run", "a.py"])
    seen = b""
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:
            break
        if not data:
            break
        seen += data
    os.waitpid(pid, 0)
    os.close(terminal)
    assert f"True {SECRET}".encode() in seen
    assert stored() == b"True ***\n"


def test_the_guard_masks_what_it_keeps_after_the_supervisors_death(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import os, pathlib, signal, sys, time\n"
        "def last(*_):\n"
        "    while os.getppid() and pathlib.Path('alive').exists(): time.sleep(0.01)\n"
        "    for letter in 'guarded ' + os.environ['MY_TOKEN'] + ' done\\n':\n"
        "        os.write(1, letter.encode())\n"
        "        time.sleep(0.002)\n"
        "    os.write(1, b'argument ' + sys.argv[2].encode() + b'\\n')\n"
        "    os._exit(0)\n"
        "signal.signal(signal.SIGTERM, last)\n"
        "pathlib.Path('alive').touch()\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(1)\n"
    )
    process = start("run", "-e", "one", "a.py", "--secret", OTHER, cwd=tmp_path, env={"MY_TOKEN": SECRET})
    until((tmp_path / "alive").exists, "the script's start")
    assert not [
        p for p in Path("/proc").glob("[0-9]*/cmdline") if b"guard.py" in _read(p) and SECRET.encode() in _read(p)
    ]
    os.kill(process.pid, signal.SIGKILL)
    process.wait(120)
    (tmp_path / "alive").unlink()
    until(lambda: record("one").status == "lost", "the guard's end")
    assert stored() == b"ready\nguarded *** done\nargument ***\n"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
