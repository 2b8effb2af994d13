"""A secret planted in every place that a run reads or writes is nowhere in the store, the home or an answer."""

from __future__ import annotations

import base64
import json
import os
import random
import string
import subprocess
import sys
import urllib.parse
import zlib
from pathlib import Path

import pytest

from studio.run.redact import MASK, clean, redact_args, redact_params, redact_source, redact_url, secrets_of
from tests.run.test_snapshot import git
from tests.studio_process import environment, opened, record, start, studio, until

LETTERS = string.ascii_letters + string.digits

# Parameters of scikit-learn, XGBoost, CatBoost, Keras, transformers, torch and Lightning; and secrets with such names.
PARAMETERS = """
    token_pattern tokenizer tokenizers tokenize filter_passthrough passthrough may_pass scaler_score_key
    monkeypatch server_key_path num_passes bypass_rate key_dim key_dtype key_shape key_labels key_mask keyname
    mask_token oov_token max_tokens num_tokens num_key_value_heads token_document_counts include_special_tokens
    pad_to_max_tokens token_type_ids pad_token_id bos_token_id eos_token_id decoder_start_token_id
    forced_bos_token_id image_token image_token_id image_token_index suppress_tokens begin_suppress_tokens
    max_new_tokens min_new_tokens prompt_lookup_num_tokens token_healing additional_special_tokens
    extra_special_tokens special_tokens_map word_delimiter_token tokenizer_name unk_token sep_token cls_token
    boi_token eoi_token vision_start_token return_token_type_ids tokens_per_second key_padding_mask
    src_key_padding_mask memory_key_padding_mask key_fn group_key_fn authoritative_rank author
"""
CREDENTIALS = """
    token hf_token hub_token push_to_hub_token api_key access_token auth_token user_token session_token
    bearer_token new_token token_prefix token_value tokens.wandb wandb_key WANDB_API_KEY api_key_prefix
    access_key_pattern secret_token_pattern password key encryption_key private_key storage_key client_secret
    db_pass my_token2 refresh_tokens service_key TOKEN_PROD token_id
"""


def made(prefix: str, chars: int, alphabet: str = LETTERS) -> str:
    """A token of the form of a real one."""
    luck = random.Random(f"{prefix}{chars}")
    return prefix + "".join(luck.choice(alphabet) for _ in range(chars))


TOKENS = {
    "aws": made("AKIA", 16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
    "github": made("ghp_", 36),
    "github-server": made("ghs_", 36),
    "github-fine": made("github_pat_", 40),
    "gitlab": made("glpat-", 20),
    "slack": made("xoxb-", 30, "0123456789abcdef"),
    "openai": made("sk-proj-", 40),
    "openai-old": made("sk-", 48),
    "anthropic": made("sk-ant-api03-", 60),
    "router": made("sk-or-v1-", 64, "0123456789abcdef"),
    "hugging-face": made("hf_", 34),
    "google": made("AIza", 35),
    "google-oauth": made("ya29.", 60),
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0." + made("", 43),
    "npm": made("npm_", 36),
    "pypi": made("pypi-AgEIcHlwaS5vcmc", 60),
    "stripe": made("sk_live_", 24),
    "sendgrid": made("SG.", 22) + made(".", 43),
    "databricks": made("dapi", 32, "0123456789abcdef"),
    "vault": made("hvs.", 24),
    "pem": "-----BEGIN PRIVATE KEY-----\n"
    + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEA\n" * 3
    + "-----END PRIVATE KEY-----",
}
TEXTS = {
    "database": ("postgres://ada:hunter2-canary@db.example.org:5432/x", "hunter2-canary"),
    "at-in-password": ("mysql://ada:hunter2@canary@db.example.org/x", "hunter2"),
    "slash-in-password": ("redis://:hunter2/canary@db.example.org/0", "hunter2"),
    "index": ("https://canary-token@pypi.example.org/simple", "canary-token"),
    "git": ("git+https://canary-token@example.org/a/b.git@v1.2", "canary-token"),
    "query": ("https://example.org/x?page=2&access_token=canary99&y=1", "canary99"),
    "azure": (
        f"DefaultEndpointsProtocol=https;AccountName=ada;AccountKey={made('', 86)}==;EndpointSuffix=x",
        made("", 86),
    ),
    "server": ("Server=tcp:example.org;User Id=ada;Password=canary;Encrypt=true", "canary"),
    "shell": ("export API_KEY=canary77 && python train.py", "canary77"),
    "header": ("Authorization: Bearer canary.canary.canary", "canary.canary"),
    "document": ("{'db': [{'user': 'ada', 'password': 'canary'}]}", "canary"),
    "json": ('{"client_secret": "canary", "n": 1}', "canary"),
}
ORDINARY = [
    "d41d8cd98f00b204e9800998ecf8427e", "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "123e4567-e89b-12d3-a456-426614174000",
    "/home/ada/data/train@2026/images.npz", "s3://bucket/path/a@b/x.parquet", "gs://bucket/checkpoints/step-100",
    "https://example.org:8080/a/b@v1.2.3?page=2&size=30", "ssh://git@example.org/a/b.git", "git@example.org:a/b.git",
    "hdfs://ada@namenode:8020/data", "bert-base-uncased", "sk-learn-pipeline-with-many-words", "hf_internal_testing",
    "2026-11-20T16:59:48Z", "Adam(lr=0.001, betas=(0.9, 0.999))", "sort(key=len)", "max_tokens=512",
    "resnet50-0676ba61.pth", "AKIA", "eyJ", "tokenizer=bert-base-uncased", "http://[::1]:8080/x@y", "1e-3",
    "C:\\data\\x",
    "20261120-131502-k3x7qa", "user@example.org", "monkey=banana", "image_key=pixels", "password=", "token=None",
    "$HOME/x",
]  # fmt: skip


@pytest.mark.parametrize("kind", TOKENS)
def test_tokens_are_known_by_what_they_look_like(kind: str) -> None:
    token = TOKENS[kind]
    for text in (token, f"see {token} there", f"--x={token}", f"'{token}'", f"https://example.org/{token}/x"):
        assert token not in clean(text) and MASK in clean(text), text
    assert redact_params({"name": token, "note": f"a {token}"}) == {"name": MASK, "note": f"a {MASK}"}
    assert redact_args(["--name", token]) == ("--name", MASK)
    if kind != "pem":
        assert token.encode() not in redact_source("a.py", f"x = load('{token}')\n".encode())[0]


@pytest.mark.parametrize("kind", TEXTS)
def test_passwords_in_texts_are_found(kind: str) -> None:
    text, secret = TEXTS[kind]
    assert secret not in clean(text) and MASK in clean(text)
    assert secret not in " ".join(redact_args(["-c", text]))
    assert any(secret in value or value in secret for value in secrets_of(["-c", text + secret], {}, {"X": text})) or (
        len(secret) < 8
    )


def test_what_is_ordinary_stays_as_it_is() -> None:
    for text in ORDINARY:
        assert clean(text) == text
        assert redact_params({"value": text}) == {"value": text}
        assert redact_args(["--value", text, text]) == ("--value", text, text)
    names = {
        "pad_token": "[PAD]", "eos_token": "</s>", "image_key": "pixels", "label_key": "y", "max_tokens": 512,
        "tokenizer": "bert", "key_dim": 64, "num_heads": 8, "password_file": "/run/secret", "monkey": "x",
        "use_auth_token": True, "primary_key": "id", "early_stopping": None, "lr": 0.1,
        "forward_pass": "fp16", "pw_conv": "yes", "bypass": "x",
    }  # fmt: skip
    assert redact_params(names) == names
    kept = dict.fromkeys(PARAMETERS.split(), "[a-z]{3}")
    assert redact_params(kept) == kept
    assert redact_params({f"sklearn.pipeline.vectors.{name}": text for name, text in kept.items()}).keys() == {
        f"sklearn.pipeline.vectors.{name}" for name in kept
    }
    hidden = dict.fromkeys(CREDENTIALS.split(), "[a-z]{3}")
    assert redact_params(hidden) == dict.fromkeys(hidden, MASK)
    assert redact_args(["--max-tokens", "512", "--pad_token=[PAD]", "--token-file", "x", "--use-auth-token"]) == (
        "--max-tokens", "512", "--pad_token=[PAD]", "--token-file", "x", "--use-auth-token",
    )  # fmt: skip


def test_short_names_of_passwords_are_names_of_secrets() -> None:
    names = dict.fromkeys(("pw", "pwd", "pass", "DB_PASS", "smtp-pass", "MYSQL_PASS", "user_pw"), "hunter2hunter")
    assert redact_params(names) == dict.fromkeys(names, MASK)
    assert redact_args(["--pw", "hunter2hunter"]) == ("--pw", MASK)
    assert set(secrets_of([], {}, {"DB_PASS": "hunter2hunter"})) == {"hunter2hunter"}


def test_options_hide_their_values_whatever_these_look_like() -> None:
    words = ["--token", "-canary-with-dash", "--api-key=x", "password=y", "--auth-token", "z", "--pin", "1"]
    assert redact_args(words) == (
        "--token",
        MASK,
        f"--api-key={MASK}",
        f"password={MASK}",
        "--auth-token",
        MASK,
        "--pin",
        "1",
    )
    assert redact_args(["--token", "--lr", "0.1"]) == ("--token", "--lr", "0.1")
    assert secrets_of(words, {"password": "canary-param"}, {"A_SECRET": "canary-in-env", "PLAIN": "canary-plain"}) == [
        "-canary-with-dash", "canary-param", "canary-in-env",
    ]  # fmt: skip


def test_the_address_of_a_remote_has_no_login() -> None:
    for given in ("https://ada:pw@example.org/a.git", "https://tok@example.org/a.git"):
        assert redact_url(given) == "https://example.org/a.git"
    for plain in ("ssh://git@example.org/a.git", "git@example.org:a/b.git", "https://example.org/a.git", "/srv/a.git"):
        assert redact_url(plain) == plain


# ---- a whole run

SCRIPT = """
import argparse, logging, os, sys, warnings
import studio

parser = argparse.ArgumentParser()
for name in ("--api-key", "--url", "--lr", "--deep-secret"):
    parser.add_argument(name)
args, rest = parser.parse_known_args()
env = os.environ
studio.params(config={"db": {"password": env["C_NESTED_PASSWORD"]}, "n": 1})
studio.params(listed=[{"secret": env["C_LISTED_SECRET"]}])
studio.params(plain=env["C_VALUE_TOKEN"], sentence="it is " + env["C_VALUE_TOKEN"] + "!")
studio.note("deployed with " + env["C_NOTE_TOKEN"])
studio.tags(env["C_TAG_TOKEN"])
studio.log({"loss": 1.0, "metric/" + env["C_METRIC_TOKEN"]: 2.0})
studio.log_text("sample", "the model said " + env["C_TEXT_TOKEN"])
studio.log_table("rows", [{"prompt": env["C_TABLE_TOKEN"], "n": 1}], caption="by " + env["C_CAPTION_TOKEN"])
studio.log_text("name " + env["C_NAME_TOKEN"], "x")
warnings.warn(env["C_WARNING_TOKEN"])
logging.error("logged %s", env["C_LOGGED_TOKEN"])
print("printed", env["C_PRINTED_TOKEN"], args.api_key)
raise RuntimeError("failed with " + env["C_RAISED_TOKEN"])
"""
VARIABLES = (
    "METRIC_TOKEN", "NESTED_PASSWORD", "LISTED_SECRET", "VALUE_TOKEN", "NOTE_TOKEN", "TAG_TOKEN", "TEXT_TOKEN",
    "TABLE_TOKEN",
    "CAPTION_TOKEN", "NAME_TOKEN", "WARNING_TOKEN", "LOGGED_TOKEN", "PRINTED_TOKEN", "RAISED_TOKEN",
)  # fmt: skip


def canary(place: str) -> str:
    """A secret of its own for each place, of no known shape."""
    return f"Canary-{place.replace('_', '-')}-{zlib.crc32(place.encode()):08x}"


def forms(secret: str) -> list[bytes]:
    """What is looked for: as it is, quoted, reversed, in base64 at each of the three offsets."""
    found = {secret, secret[::-1], urllib.parse.quote(secret, safe=""), secret.replace("-", "%2D"), secret.upper()}
    for pad in range(3):
        code = base64.b64encode(b"x" * pad + secret.encode()).decode()
        found.add(code[4 if pad else 0 : -4])
    return [text.encode() for text in found]


def leaks(where: dict[str, bytes], secrets: list[str]) -> list[str]:
    return [
        f"{secret} in {name}"
        for secret in secrets
        for form in forms(secret)
        for name, data in where.items()
        if form in data
    ]


def unpacked(data: bytes) -> bytes:
    """The bytes, and what is compressed in them."""
    out = data
    for at in (0, *(n for n in range(len(data)) if data[n : n + 2] in (b"\x78\x9c", b"\x1f\x8b"))):
        try:
            out += zlib.decompressobj(wbits=47).decompress(data[at:])
        except zlib.error:
            continue
    return out


def planted(folder: Path) -> dict[str, str]:
    """A project with a secret in every kind of place; canary by place."""
    git(folder, "init", "-q", "-b", "main")
    (folder / "a.py").write_text(SCRIPT)
    (folder / "settings.yaml").write_text("db: 1\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    spots = {
        place: canary(place)
        for place in (
            "remote", "remote_user", "dotenv", "netrc", "pem", "id_rsa", "aws",
            "service", "changed_yaml", "untracked_py", "arg", "arg_equals",
            "arg_url", "arg_sh", "param", "param_url", "note", "env_option", "config_env", "unset",
        )
    }  # fmt: skip
    git(folder, "remote", "add", "origin", f"https://{spots['remote_user']}:{spots['remote']}@example.org/a.git")
    key = base64.b64encode(spots["pem"].encode() * 8).decode()
    block = f"-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n"
    for name, text in {
        ".env": f"TOKEN={spots['dotenv']}", ".netrc": f"password {spots['netrc']}", "server.pem": spots["pem"],
        "key.txt": block,
        "id_rsa": spots["id_rsa"], ".aws/credentials": spots["aws"],
        "service.json": json.dumps({"type": "service_account", "private_key": block, "id": spots["service"]}),
        "settings.yaml": f"db:\n  password: {spots['changed_yaml']}\n",
        "helper.py": f'API_TOKEN = "{spots["untracked_py"]}"\n',
    }.items():  # fmt: skip
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "studio.yaml").write_text(f"env:\n  CONFIG_TOKEN: {spots['config_env']}\n")
    return spots


def test_secrets_planted_everywhere_are_nowhere_afterwards(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    spots = planted(folder)
    (folder / "a.py").write_text(f"# {TOKENS['github']}\n" + SCRIPT)
    env = {f"C_{name}": canary(name) for name in VARIABLES} | {"AWS_SECRET_ACCESS_KEY": canary("unread")}
    done = studio(
        "run", "-e", "one", "--param", f"password={spots['param']}", "--param",
        f"dsn=postgres://a:{spots['param_url']}@h/d",
        "--note", f"token={spots['note']}", "--env", f"OPTION_TOKEN={spots['env_option']}", "a.py",
        "--api-key", spots["arg"],
        f"--deep-secret={spots['arg_equals']}", "--url", f"https://x:{spots['arg_url']}@example.org",
        f"sh -c 'PASSWORD={spots['arg_sh']} x'",
        cwd=folder, env=env,
    )  # fmt: skip
    assert done.returncode == 1 and b"failed with Canary-RAISED-TOKEN" in done.stderr
    assert f"printed {env['C_PRINTED_TOKEN']} {spots['arg']}".encode() in done.stdout, "the user's own terminal has all"
    said = done.stderr.partition(b"submitted experiment")[0]
    studio("runs", "note", "one", f"again {TOKENS['gitlab']}", cwd=folder)
    assert studio("runs", "tag", "one", TOKENS["github"], cwd=folder).returncode == 3
    expired = studio(
        "run", "-e", "late", "--lifetime", "0.000001", "a.py", "--token", spots["unset"], cwd=folder, env=env
    )
    assert expired.returncode == 1
    studio("runs", "rerun", "one", cwd=folder, env=env)

    found = record("one")
    assert found.params["config.n"] == 1 and found.params["config.db.password"] == MASK
    assert found.params["sentence"] == "it is ***!" and found.notes == "again ***"
    assert found.git is not None and found.git.url == "https://example.org/a.git"
    answers = {"what was said before it began": said}
    for words in (
        ["runs", "show", "one"], ["runs", "show", "one", "--json"], ["runs", "list"], ["runs", "list", "--json"],
        ["runs", "compare", "one", "late"], ["runs", "compare", "one", "late", "--json"], ["runs", "logs", "one"],
        ["runs", "export", "out.json"], ["runs", "export", "out.csv"], ["runs", "media", "one"], ["config"],
        ["config", "--json"],
        ["config", "env"], ["doctor"], ["runs", "list", "params.lr = 1"], ["run", "one"],
    ):  # fmt: skip
        done = studio(*words, cwd=folder)
        answers[" ".join(words)] = done.stdout + done.stderr
    for path in (*(home / ".studioml").rglob("*"), folder / "out.json", folder / "out.csv"):
        if path.is_file() and not path.is_symlink():
            answers[str(path)] = unpacked(path.read_bytes())
    secrets = [*spots.values(), *env.values(), TOKENS["github"], TOKENS["gitlab"]]
    assert len(answers) > 20 and leaks(answers, secrets) == []


WRITTEN = {
    "index": 'os.environ["WANDB_API_KEY"] = "SECRET"',
    "spaced-index": "os.environ[ 'X_TOKEN' ]='SECRET'",
    "setdefault": 'os.environ.setdefault("DB_PASSWORD", "SECRET")',
    "getenv": 'os.getenv("MY_TOKEN", "SECRET")',
    "raw": 'PASSWORD = r"SECRET"',
    "bytes": 'dict(password = b"SECRET")',
    "annotated": 'api_key: str = "SECRET"',
    "optional": 'token: Optional[str] = "SECRET"',
    "header": 'headers = {"Authorization": "Bearer SECRET"}',
    "option": 'p.add_argument("--db-password", type=str, default="SECRET")',
    "option-with-help": 'p.add_argument("--token",\n    help="the (API) token",\n    default="SECRET",\n)',
    "notebook": '{"source": ["API_KEY = \\"SECRET\\"\\n"]}',
    "notebook-index": '{"source": ["os.environ[\\"HF_TOKEN\\"] = \\"SECRET\\""]}',
}
UNWRITTEN = (
    'names = ["api_key", "region_us_east_1"]',
    'p.add_argument("--token")\np.add_argument("--name", default="abc123def456x")',
    'os.environ["TOKENIZERS_PARALLELISM"] = "false_12345678"',
    'tokens: list[str] = load("data_2024_v12")',
    'if token == "abc123def456x": pass',
    'headers = {"Authorization": f"Bearer {token}"}',
)


@pytest.mark.parametrize("form", WRITTEN)
def test_secrets_written_in_code_are_found_however_they_are_written(form: str) -> None:
    secret = canary(form)
    code = WRITTEN[form].replace("SECRET", secret)
    kept, where = redact_source("a.ipynb" if form.startswith("notebook") else "a.py", code.encode())
    assert kept.decode() == code.replace(secret, MASK) and "line" in where


IN_FLOW = (
    "env: {API_KEY: SECRET}\n",
    "db: {host: h, 'password': SECRET, port: 1}\n",
    'db: {"password":SECRET}\n',
    "env: {\n  API_KEY: SECRET,\n  a: {token: SECRET}}\n",
    "db: {password:\n    SECRET # why\n  }\n",
    "[password: SECRET]\n",
    "db: {password: !!str SECRET}\n",
    "db: {? password : SECRET}\n",
    'db: {password: "SECRET"}\n',
    "passwords: [SECRET, SECRET]\n",
    "a: 1, API_KEY: SECRET}\n",
    "licence: SECRET # why\n",
    "x: {door-pin: SECRET}\n",
)
OWN = (
    'licence = "SECRET"\n',
    "self.licence: str = 'SECRET'\n",
    'f(n=1, door_pin="SECRET")\n',
    'x = {"licence": "SECRET"}\n',
    'os.environ["LICENCE"] = "SECRET"\n',
)


def test_settings_in_flow_form_and_the_users_own_names_are_secrets_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIOML_SECRET_NAMES", "licence,*_pin")
    for path, texts in (("a.yaml", IN_FLOW), ("a.py", OWN)):
        for text in texts:
            for secret in ("s3kr1tZZ-9871 of#two:words", "1234")[: 2 if "licence" in text else 1]:
                kept, where = redact_source(path, text.replace("SECRET", secret).encode())
                assert kept.decode() == text.replace("SECRET", MASK) and "line" in where
    for text in (
        'secret_names: [licence, "*_pin"]\n',
        "a: {licence: none, token: ${TOKEN_12345}, url: {b: 1}}\n",
        "licence:\n  a: 1\n",
        "a: {max_tokens: 512, pad_token: abc-123456, password_file: a1b2c3d4e5}\n",
        "x: {password: }\n",
        'x: {"tokens": ["COVID-19", "a"], "out_token": "see page 12 of b"}\n',
    ):
        assert redact_source("a.yaml", text.encode()) == (text.encode(), "")
    assert clean("db={user: ada, password: s3kr1tZZ-1}") == "db={user: ada, password: ***}"
    assert clean("see {1}, the token: it is there") == "see {1}, the token: it is there"


IN_HTTP = (
    ["-H", "X-Api-Key: SECRET"], ["-HX-Api-Key: SECRET"], ["--header=X-Api-Key:SECRET"],
    ["--header", "Cookie: a=SECRET; b=1"],
    ["-H", "Authorization: Basic SECRET"], ["-H", "authorization: token SECRET"], ["--header", "apikey: SECRET"],
    ["Ocp-Apim-Subscription-Key: SECRET"], ["x-goog-api-key: SECRET"], ["-H", "Set-Cookie: sid=SECRET; Path=/"],
    ["sh -c 'curl -H X-Auth-Token:SECRET -u ada:SECRET https://example.org'"], ["-u", "ada:SECRET"],
    ["--user", "ada:SECRET"],
    ["curl -H 'X-Api-Key: SECRET' -H \"Cookie: a=SECRET\" x"], ["[('X-Api-Key', 'SECRET'), ('A', 'b')]"],
    ["{'X-Api-Key': 'SECRET', 'Cookie': 'SECRET'}"], ["https://example.org/x?X-Amz-Signature=SECRET&X-Amz-Date=2026"],
    ["https://example.org/x?sv=1&sig=SECRET&se=2"], ["https://example.org/x?access_token=SECRET"],
    ["ada:SECRET@db.example.org"],
    ["scp ada:SECRET@10.0.0.7:/x ."], ["password: SECRET"], ["--cookie",
    "session=SECRET"], ["see Cookie: a=SECRET; b=SECRET."],
)  # fmt: skip
NOT_IN_HTTP = (
    "Accept: text/html", "Content-Type: application/json", "X-Token-Count: 5", "time: 12:30", "lr: 0.1",
    "a:b", "1000:1000",
    "model:best@epoch.5", "img:1.2@sha256:0123456789ab", "mailto:ada@example.org", "token: hello", "sort-key: name",
    "secret: be nice to people", "KeyError: 'api_key'", "TokenError: abc123def4", "cache-key: v1", "x?a=b&key=abc",
    "note: the password: is long", "?sigma=0.12345", "Authorization: $TOKEN", "X-Api-Key: {key}", "12:30@example.org",
)  # fmt: skip


@pytest.mark.parametrize("words", IN_HTTP, ids=" ".join)
def test_headers_signatures_and_logins_are_masked(words: list[str]) -> None:
    for secret in ("abc", "s3kr1tZZ9871"):
        if len(secret) < 4 and "&" in words[-1]:
            continue
        given = [word.replace("SECRET", secret) for word in words]
        kept = redact_args(given)
        assert secret not in " ".join(kept) and MASK in kept[-1]
        if len(words) == 1:  # a message, a note, a parameter, one in a list or in an object
            assert secret not in clean(given[0])
            shown = redact_params({"a": given[0], "b": given, "c": [{"d": given}]})
            assert secret not in json.dumps(shown)
    assert any("s3kr1tZZ9871" in value for value in secrets_of(given, {}, {})), "the output is searched for it"


def test_what_only_looks_like_a_header_stays() -> None:
    for text in NOT_IN_HTTP:
        assert clean(text) == text and redact_args(["--x", text]) == ("--x", text)
    plain = {"a": ["--lr", "0.1", 1, None, [2.5, {"b": "c: d"}]], "layers": [64, 64]}
    assert redact_params(plain) == plain
    assert redact_params({"cmd": ["curl", "--token", "abc", "-n"]}) == {"cmd": ["curl", "--token", MASK, "-n"]}
    assert redact_url("ada:s3kr1t@example.org:a/b.git") == "example.org:a/b.git"


BLOCKS = {
    "a.yaml": (
        "password: |\n  ONE\n  TWO\nx: PLAIN\n", "db:\n  password: >-\n    ONE\n\n    TWO\n  host: PLAIN\n",
        "passwords:\n  - ONE\n  - \"TWO\"\nx: PLAIN\n", "passwords:\n- ONE\n- TWO\nx: PLAIN\n",
        "- password: !!str |  # why\n    ONE\n  x: PLAIN\n", "secrets: [\n  ONE,\n  'TWO'\n]\nx: PLAIN\n",
        "credentials:\n  name: PLAIN\n  prod: ONE\n  sub:\n    dev: TWO\nx: PLAIN\n",
        "password: ONE\n  TWO\nx: PLAIN\n",
        '"password": |\r\n  ONE\r\nx: PLAIN\r\n', "token: |\n  ONE\n", "api_tokens:\n  - ONETWO\n",
        "password: 'a ONE\n  TWO'\nx: PLAIN\n", "secret: {a: ONETWO}\nx: PLAIN\n", "tokens: [ONETWO, x]\n",
        "- api_keys: {prod: ONETWO, dev: 'ONETWO'}\n  x: {y: PLAIN}\n",
        "password: {\n  prod: ONE,\n  name: PLAIN, a: [TWO]}\n",
    ),
    "a.toml": (
        'password = """\nONE\nTWO"""\nx = "PLAIN"\n', "api_key = '''\nONE\n'''\n",
        'passwords = [\n  "ONE",\n  "TWO",\n]\nx = "PLAIN"\n',
        'credentials = { user = "PLAIN", prod = "ONE" }\n',
    ),
    "a.json": (
        '{"passwords": ["ONE", "TWO"], "x": "PLAIN"}', '{\n "secret": [\n  "ONE"\n ]\n}',
        '{"credentials": {"user": "PLAIN", "a": {"b": "ONE"}, "c": ["TWO"]}, "x": "PLAIN"}',
    ),
    "a.ini": ("[a]\npassword = ONE\n    TWO\nx = PLAIN\n", "password=ONE\\\nTWO\nx=PLAIN\n"),
    "b.env": ('PASSWORD="ONE\nTWO"\nX=PLAIN\n', "export API_KEY=ONE\\\nTWO\n"),
    "a.py": (
        'PASSWORD = """ONE\nTWO"""\n', "passwords = ['ONE', 'TWO']\n", 'SECRETS = {"prod": "ONE", "dev": "TWO"}\n',
        "s.run('curl -H \"X-Api-Key: ONE\" -H \"Cookie: session=TWO\"')\n", "h = [('X-Api-Key', 'ONE')]\n",
        "u = 'https://x/y?X-Amz-Signature=ONE&a=1'\n", "h = 'Authorization: Basic TWO'\n",
        "x = 'ada:ONE@db.example.org'\n",
    ),
    "a.sh": ("curl -H 'X-Api-Key: ONE' -u ada:TWO https://x\n", "curl -H X-Api-Key:ONE x\n"),
}  # fmt: skip
NO_BLOCKS = {
    "a.yaml": (
        "password:\n  type: string\n  description: at least 8chars1 long\n", "tokens:\n  - COVID-19\n  - hello\n",
        "secretKeyRef:\n  name: mysecret1\n  key: password1\n", "secrets:\n  db:\n    file: ./db_password1.txt\n",
        "password: |\n  $PASSWORD1\n", "tokenizer: |\n abc12345\n", "max_tokens:\n  - 12345678\n",
        "password: ${PW}\n  x1: abc12345\n", "key: |\n  abc12345\n", "vocab_keys:\n - abc12345\n",
        "secret: {file: ./a1b2c3d4e5f6g7h8i9, type: x}\n",
        "password: {valueFrom: {secretKeyRef: {name: mysecret1, key: password1}}}\n",
    ),
    "a.py": (
        'PASSWORD_HELP = """Type 8characters1 or\nmore of them"""\n', 'secret_names = ["api_key", "password"]\n',
        "def f(cookie: Optional[str1234] = None): pass\n", "authorization: Annotated[str, Header(max_length=64)]\n",
        'print("Authorization: Bearer {token}")\n', 'x = {"password": {"type": "string", "min": 8}}\n',
        'get_secret(secrets=[Secret("name_12345")])\n', 'password = data["abc"]["password12"]\n',
    ),
    "a.json": ('{"tokens": ["a1b2c3d4", "COVID-19"]}', '{"added_tokens": [{"id": 1, "content": "<|im_start12|>"}]}'),
    "a.txt": ("password\n  reset12345\n", "Password: choose one with 8characters\n"),
}  # fmt: skip


@pytest.mark.parametrize("path", BLOCKS)
def test_values_of_several_lines_lists_and_tables_are_masked_whole(path: str) -> None:
    names = {"ONE": "s3kr1tZZ9871", "TWO": "q0w9e8r7t6y5", "PLAIN": "abc123456"}
    for form in BLOCKS[path]:
        text = form
        for name, value in names.items():
            text = text.replace(name, value)
        kept = redact_source(path, text.encode())[0].decode()
        assert names["ONE"] not in kept and names["TWO"] not in kept, form
        assert kept.count(names["PLAIN"]) == form.count("PLAIN") and kept.count("\n") == form.count("\n"), form
    for text in NO_BLOCKS.get(path, ()):
        assert redact_source(path, text.encode()) == (text.encode(), "")


@pytest.mark.parametrize(
    "unit",
    ["token", "key:", "password: |\n", '{"password": [', "X-Api-Key: a ", "http://a:b", "a: {b: ", "password='",
     "secret: {", "-----BEGIN PRIVATE KEY-----\n"],
)  # fmt: skip
def test_a_text_that_wants_to_be_slow_takes_time_in_proportion(unit: str) -> None:
    """Each was quadratic, or would be if it were read again for each name: it took minutes."""
    text = (unit * 60_000)[:60_000]
    redact_source("a.yaml", text.encode())
    clean(text)


def test_code_without_secrets_is_kept_as_it_is() -> None:
    for code in UNWRITTEN:
        assert redact_source("a.py", code.encode()) == (code.encode(), "")


def test_a_secret_that_the_script_has_written_down_is_masked_where_it_prints_it(tmp_path: Path, home: Path) -> None:
    secret = canary("default")
    (tmp_path / "a.py").write_text(
        "import argparse\nparser = argparse.ArgumentParser()\n"
        f'parser.add_argument("--db-password", default="{secret}")\nprint(parser.parse_args())\n'
    )
    done = studio("run", "-e", "one", "a.py", cwd=tmp_path)
    assert secret.encode() in done.stdout, "the user's own terminal has all"
    assert studio("runs", "logs", "one", cwd=tmp_path).stdout == b"Namespace(db_password='***')\n"
    where = {str(p): unpacked(p.read_bytes()) for p in (home / ".studioml").rglob("*") if p.is_file()}
    assert leaks(where, [secret]) == [] and record("one").params["db_password"] == MASK


def test_a_tag_with_a_token_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    done = studio("run", "--tag", TOKENS["github"], "a.py", cwd=tmp_path)
    assert done.returncode == 3 and b"a tag holds" in done.stderr and TOKENS["github"].encode() not in done.stderr


def test_an_address_that_cannot_be_fetched_is_told_without_its_password(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    done = studio("run", "--capture-once", f"http://ada:{canary('fetch')}@127.0.0.1:1/x:x", "a.py", cwd=tmp_path)
    assert done.returncode == 5 and b"cannot fetch http://***@127.0.0.1:1/x" in done.stderr
    assert canary("fetch").encode() not in done.stdout + done.stderr


def test_a_process_that_tracks_itself_keeps_no_secret_either(tmp_path: Path, home: Path) -> None:
    (tmp_path / "notebook.py").write_text(
        "import os, sys, studio\n"
        "run = studio.start(notes='with ' + os.environ['C_TOKEN'])\n"
        "studio.params(dsn='mysql://a:' + os.environ['C_TOKEN'] + '@h/d', key_count=2)\n"
        "studio.log_text('t', os.environ['C_TOKEN'])\n"
        "studio.note('and ' + os.environ['C_TOKEN'])\n"
        "run.finish()\n"
    )
    words = [sys.executable, "notebook.py", "--password", canary("own-arg")]
    subprocess.run(words, cwd=tmp_path, env=environment(C_TOKEN=canary("own-env")), check=True, capture_output=True)
    assert record().command.args == ("--password", MASK)
    assert record().notes == "with ***\nand ***"
    where = {str(p): p.read_bytes() for p in (home / ".studioml").rglob("*") if p.is_file()}
    assert leaks(where, [canary("own-arg"), canary("own-env")]) == []
    assert os.environ.get("C_TOKEN") is None


def test_a_server_s_token_is_nowhere_once_it_ended(tmp_path: Path, home: Path) -> None:
    (tmp_path / "w.py").write_text("def create_model(modeldir):\n    return lambda x: x\n")
    process = start("serve", "--wrapper", "w.py", "--token", canary("serve"), cwd=tmp_path)
    until(lambda: [e for e in opened().experiments() if e.kind == "serving"], "the server's record")
    key = opened().experiments()[0].key
    output = home / ".studioml" / "experiments" / key / ".studio" / "output"
    until(lambda: output.exists() and b"Serving" in output.read_bytes(), "the server's start")
    assert studio("runs", "stop", key, cwd=tmp_path).returncode == 0
    assert process.wait(120) == 0
    assert canary("serve") not in " ".join(record(key).command.args)
    where = {str(p): p.read_bytes() for p in (home / ".studioml").rglob("*") if p.is_file()}
    where["answer"] = studio("runs", "show", key, "--json", cwd=tmp_path).stdout
    assert leaks(where, [canary("serve")]) == []


def test_a_notebook_s_cell_and_values_leave_no_secret(tmp_path: Path, home: Path) -> None:
    (tmp_path / "notebook.py").write_text(
        "import os\n"
        "from studio.magics import studio_run\n"
        "class Shell:\n"
        "    user_ns = {'password': os.environ['C_TOKEN']}\n"
        "    user_ns_hidden = {}\n"
        "    def push(self, values): self.user_ns.update(values)\n"
        f"studio_run('', 'api_token = \"{canary('cell')}\"\\nimport studio\\n"
        "studio.params(given=password)\\nprint(len(password), password)', Shell())\n"
    )
    done = subprocess.run(
        [sys.executable, "notebook.py"], cwd=tmp_path, env=environment(C_TOKEN=canary("value")), capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert canary("value").encode() in done.stdout and record().params["given"] == MASK
    where = {str(p): unpacked(p.read_bytes()) for p in (home / ".studioml").rglob("*") if p.is_file()}
    assert leaks(where, [canary("cell"), canary("value")]) == []
