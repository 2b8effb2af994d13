"""Addresses: what `--allow` and `--allowed-host` take, which of this machine's count, and which one is printed."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

import pytest

from studio.cli.main import run
from studio.errors import ConfigError, StudioError
from studio.serve.access import Access
from studio.serve.address import listen
from studio.serve.networks import (
    address_to_ask,
    canonical,
    check_networks,
    own_addresses,
    parse_hosts,
    parse_networks,
)
from tests.serve.test_access import head
from tests.studio_process import studio

NEVER = [
    ("0.0.0.0", "::ffff:10.0.0.0/104", "--allow 10.0.0.0/8"),
    ("0.0.0.0", "::ffff:10.1.2.3", "--allow 10.1.2.3/32"),
    ("0.0.0.0", "10.0.0.1:5000", "--allow 10.0.0.1"),
    ("0.0.0.0", "[2001:db8::1]:5000", "--allow 2001:db8::1"),
    ("0.0.0.0", "2001:db8::/32", "--host ::"),
    ("127.0.0.1", "10.0.0.0/8", "--host 0.0.0.0"),
    ("localhost", "192.168.0.0/16", "--host"),
    ("0.0.0.0", "224.0.0.0/4", "for example"),
    ("0.0.0.0", "0.0.0.0/32", "for example"),
    ("0.0.0.0", "255.255.255.255", "for example"),
    ("0.0.0.0", "a..b", "for example"),
    ("0.0.0.0", "intranet", "for example"),
]


@pytest.mark.parametrize(("host", "network", "hint"), NEVER)
def test_a_network_that_no_client_is_in_is_refused(host: str, network: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_networks(host, parse_networks([network]))
    assert network[:7] in caught.value.message and hint in caught.value.hint


def test_networks_that_clients_are_in_are_taken() -> None:
    for host, network in (
        ("0.0.0.0", "10.0.0.5/8"), ("127.0.0.1", "127.0.0.0/8"), ("127.0.0.1", "0.0.0.0/0"), ("0.0.0.0", "127.0.0.1"),
    ):  # fmt: skip
        check_networks(host, parse_networks([network]))
    if socket.has_ipv6:
        check_networks("::", parse_networks(["10.0.0.0/8", "2001:db8::/32", "::/0"]))


HOSTS = [
    ("proxy.example:8080", "--allowed-host proxy.example"),
    ("https://Proxy.example/path", "--allowed-host proxy.example"),
    ("[2001:db8::1]:443", "--allowed-host 2001:db8::1"),
    ("::ffff:10.0.0.1", "--allowed-host 10.0.0.1"),
    ("10.0.0.1:80", "--allowed-host 10.0.0.1"),
    ("bücher.example", "--allowed-host xn--bcher-kva.example"),
    ("*.example.org", "for example"),
    ("", "for example"),
    ("a b", "for example"),
    *(
        (name, "for example")
        for name in (
            "a..b",
            ".a",
            "a..",
            "*.",
            ".",
            "-a.example",
            "a-.example",
            "x" * 64 + ".example",
            "a." * 126 + "bc",
            "256.1.1.1",
            "0.0.0.0",
            "::",
            "[::]",
            "0",
            "http://0.0.0.0:80",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        )
    ),
    ("0:0:0:0:0:ffff:10.0.0.1", "--allowed-host 10.0.0.1"),
    ("127.1", "--allowed-host 127.0.0.1"),
    ("0x7f000001", "--allowed-host 127.0.0.1"),
    ("[fe80::1%25eth0]", "--allowed-host fe80::1"),
]


@pytest.mark.parametrize(("name", "hint"), HOSTS)
def test_a_host_name_that_no_request_carries_is_refused(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match="can never match") as caught:
        parse_hosts([name])
    assert hint in caught.value.hint and "\n" not in caught.value.message


def test_every_name_that_is_taken_passes(home: Path) -> None:
    for name, host in (
        ("Proxy.example.", "proxy.EXAMPLE:8080"), ("[2001:DB8:0::1]", "[2001:db8::1]"), ("my_host-1", "my_host-1."),
        ("2001:db8::2", "[2001:db8::2]:5000"), ("203.0.113.7", "203.0.113.7:80"),
        ("x" * 63 + ".a-b", "X" * 63 + ".a-b"),
        ("_a.1.x1", "_a.1.x1"), ("fe80::1", "[fe80::1]"), ("a." * 126 + "b", "a." * 126 + "b"),
    ):  # fmt: skip
        Access("127.0.0.1", None, [name]).check(head(host=host))


def test_off_loopback_only_addresses_of_this_machine_pass() -> None:
    own = own_addresses()
    assert "127.0.0.1" in own
    for host in ("0.0.0.0", "::"):
        access = Access(host)
        for address in own:
            access.check(head(host=f"[{address}]:5000" if ":" in address else f"{address}:5000"))
        access.check(head(host="[::ffff:127.0.0.1]:5000"))
        for bad in ("203.0.113.7", "[2001:db8::7]:5000", "0.0.0.0:5000", "[::]", "evil.example", "255.255.255.255"):
            assert canonical(bad) not in own
            with pytest.raises(StudioError, match="is not known here") as caught:
                access.check(head(host=bad))
            possible = bad in ("203.0.113.7", "[2001:db8::7]:5000", "evil.example")
            assert ("--allowed-host" in caught.value.hint) is possible, "what it says can be typed"


def test_the_printed_address_is_one_that_is_allowed() -> None:
    sock, _ = listen("0.0.0.0", 0)
    other, _ = listen("127.0.0.1", 0)
    with sock, other:
        assert address_to_ask(sock, "0.0.0.0", []) == ("127.0.0.1", True)
        for address in (a for a in own_addresses() if ":" not in a):
            allowed = parse_networks(["198.51.100.0/24", f"{address}/32"])
            assert address_to_ask(sock, "0.0.0.0", allowed) == (address, True)
        assert address_to_ask(sock, "0.0.0.0", parse_networks(["198.51.100.0/24"]))[1] is False
        assert address_to_ask(other, "127.0.0.1", parse_networks(["127.0.0.0/8"])) == ("127.0.0.1", True)
        assert address_to_ask(other, "localhost", parse_networks(["127.0.0.9/32"])) == ("localhost", False)
    assert ipaddress.ip_address(canonical("::FFFF:1.2.3.4")) == ipaddress.ip_address("1.2.3.4")


SWALLOWED = [
    (["serve", "x", "--token", "--port", "5000"], "--token needs a value, and --port is an option"),
    (["serve", "x", "--token", "--prot"], "--token needs a value; write --token=--VALUE if that is the value"),
    (["serve", "-w", "--port=80"], "-w needs a value, and --port is an option"),
    (["predict", "http://h", "-i", "-o", "out.json"], "-i needs a value, and -o is an option"),
    (["run", "--note", "--param", "a=1", "a.py"], "--note needs a value, and --param is an option"),
    (["runs", "list", "--columns", "--json"], "--columns needs a value, and --json is an option"),
]


@pytest.mark.parametrize(("words", "said"), SWALLOWED)
def test_an_option_in_the_place_of_a_value_is_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(words) == 2
    told = capsys.readouterr().err
    assert said in told and "--prot" not in told


def test_a_value_that_looks_like_an_option_can_be_meant(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import sys\nsys.exit(len(sys.argv))\n")
    words = ["run", "--no-workspace", "--note=--param", "--param", "a=-1", "a.py", "--token", "--port"]
    assert studio(*words, cwd=tmp_path).returncode == 3
