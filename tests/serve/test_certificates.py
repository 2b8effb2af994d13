"""What is wrong with a certificate and its key is said in plain words, before anything starts."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from studio.errors import ConfigError
from studio.serve.certificates import check_pair, dates, is_for, names
from studio.serve.options import cautions

DAY = 86400.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two certificates and their keys, one of them locked, and the certificate in DER form."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    for name in ("one", "two"):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
        openssl("req", "-x509", "-key", f"{name}.key", "-days", "3", "-subj", f"/CN={name}", "-out", f"{name}.crt")
    openssl("genrsa", "-out", "rsa.key", "2048")
    openssl("pkcs8", "-topk8", "-in", "one.key", "-passout", "pass:hunter2", "-out", "locked.key")
    openssl("ec", "-in", "one.key", "-aes128", "-passout", "pass:hunter2", "-out", "old locked.key")
    openssl("x509", "-in", "one.crt", "-outform", "der", "-out", "one.der")
    (folder / "chain.crt").write_text((folder / "one.crt").read_text() + (folder / "two.crt").read_text())
    (folder / "cut.crt").write_text((folder / "one.crt").read_text()[:200] + "\n-----END CERTIFICATE-----\n")
    return folder


@pytest.mark.parametrize(
    ("cert", "key", "said"),
    [
        ("one.crt", "two.key", "two.key does not belong to the certificate in one.crt"),
        ("one.crt", "rsa.key", "rsa.key does not belong to the certificate in one.crt"),
        ("one.crt", "locked.key", "--tls-key locked.key is protected by a password"),
        ("one.crt", "old locked.key", "--tls-key old locked.key is protected by a password"),
        ("one.key", "one.crt", "--tls-cert one.key holds a private key: are --tls-cert and --tls-key swapped?"),
        ("one.crt", "two.crt", "--tls-key two.crt holds only a certificate"),
        ("one.der", "one.key", "--tls-cert one.der holds no certificate in PEM form"),
        ("one.crt", "one.der", "--tls-key one.der holds no private key in PEM form"),
        ("none.crt", "one.key", "no file none.crt"),
        ("cut.crt", "one.key", "--tls-cert cut.crt and --tls-key one.key cannot be used"),
        ("one.crt", None, "belong together"),
    ],
)
def test_a_pair_that_cannot_be_used_is_refused(
    made: Path, cert: str, key: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made)
    with pytest.raises(ConfigError) as caught:
        check_pair(cert, key)
    assert said in caught.value.message and caught.value.message.isprintable()
    check_pair("chain.crt", "one.key")


def test_dates_are_told_in_plain_words(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    now = time.time()
    assert dates("chain.crt") == []
    begins, ends = (
        time.strftime("%Y-%m-%d %H:%M", time.gmtime(ssl.cert_time_to_seconds(told)))
        for told in (
            subprocess.run(["openssl", "x509", "-in", "one.crt", "-noout", option], capture_output=True, text=True)
            .stdout.strip()
            .partition("=")[2]
            for option in ("-startdate", "-enddate")
        )
    )
    assert dates("one.crt", now + 4 * DAY) == [
        f"--tls-cert one.crt: expired on {ends} UTC; clients will refuse to connect"
    ]
    late = dates("chain.crt", now - DAY)
    assert late[0].startswith(f"--tls-cert chain.crt: not valid before {begins} UTC")
    assert "certificate 2 of the chain: not valid" in late[1]


@pytest.mark.parametrize(
    ("extension", "known", "right", "wrong"),
    [
        ("", ["plain.example"], "Plain.example", "a.plain.example"),
        ("DNS:*.example.org,DNS:example.org,IP:10.0.0.1,IP:2001:db8::1",
         ["*.example.org", "example.org", "10.0.0.1", "2001:db8::1"], "api.example.org", "a.b.example.org"),
        ("critical,DNS:localhost,IP:127.0.0.1", ["localhost", "127.0.0.1"], "127.0.0.1", "plain.example"),
        ("email:a@example.org", ["plain.example"], "plain.example", "example.org"),
    ],
)  # fmt: skip
def test_what_a_certificate_is_for(
    made: Path, extension: str, known: list[str], right: str, wrong: str, tmp_path: Path
) -> None:
    words = [
        "openssl",
        "req",
        "-x509",
        "-key",
        str(made / "one.key"),
        "-days",
        "3",
        "-subj",
        "/O=x/CN=plain.example/L=y",
    ]
    words += ["-addext", f"subjectAltName={extension}"] if extension else []
    subprocess.run([*words, "-out", str(tmp_path / "c")], check=True, capture_output=True)
    assert names(str(tmp_path / "c")) == known
    assert is_for(known, right) and not is_for(known, wrong)


def test_files_that_everybody_can_read_are_told(tmp_path: Path) -> None:
    path = tmp_path / "tok"
    path.write_text("secret")
    told = {}
    for mode in (0o600, 0o640, 0o644, 0o602):
        path.chmod(mode)
        told[mode] = cautions({"tls_cert": None, "tls_key": None, "token_file": str(path)})
    assert told[0o600] == told[0o640] == []
    assert told[0o644] == [f"--token-file {path}: every user of this machine can read it; chmod 600 {path}"]
    assert "can change it" in told[0o602][0]
