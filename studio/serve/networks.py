"""Addresses of clients and of this machine: `--allow`, `--allowed-host`, and where the server is reached."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence

from ..errors import ConfigError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LONGEST_NAME = 253
_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104
_LOOPBACK = {4: ipaddress.ip_network("127.0.0.0/8"), 6: ipaddress.ip_network("::1/128")}
_MAPPED_BITS = 96


def parse_networks(texts: Sequence[str]) -> list[Network]:
    """The client networks of `--allow`.

    Raises:
        ConfigError: one is no network, or no client ever has such an address.
    """
    return [_network(text) for text in texts]


def check_networks(host: str, networks: Iterable[Network]) -> None:
    """Refuses networks that no client of a server on `host` can be in.

    Raises:
        ConfigError: one of them.
    """
    found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    address = ipaddress.ip_address(str(found[4][0]).partition("%")[0])
    both = address.is_unspecified and address.version == 6
    for network in networks:
        if network.version != address.version and not both:
            raise ConfigError(
                f"--allow {network} can never match: clients reach {host} by IPv{address.version} only",
                hint="--host :: takes clients of both kinds" if address.version == 4 else "allow an IPv6 network",
            )
        if address.is_loopback and not network.overlaps(_LOOPBACK[network.version]):
            raise ConfigError(
                f"--allow {network} can never match: only this machine itself reaches a server on {host}",
                hint="add --host 0.0.0.0 to serve the network",
            )


def parse_hosts(texts: Sequence[str]) -> frozenset[str]:
    """The names of `--allowed-host`, as `canonical` gives them.

    Raises:
        ConfigError: no `Host` header is ever compared as equal to one of them.
    """
    return frozenset(_host(text) for text in texts)


def canonical(name: str) -> str:
    """An address in the one form in which addresses are compared; a name in lower case, without the dot at its end."""
    name = name.strip().lower()
    try:
        found = ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return name.rstrip(".")
    return str(getattr(found, "ipv4_mapped", None) or found)


def own_addresses() -> list[str]:
    """The addresses that this machine has now, in canonical form; IPv4 first."""
    import psutil

    families = (socket.AF_INET, socket.AF_INET6)
    found = [one for interface in psutil.net_if_addrs().values() for one in interface if one.family in families]
    found.sort(key=lambda one: families.index(one.family))
    return list(dict.fromkeys(canonical(one.address.partition("%")[0]) for one in found))


def is_wildcard(host: str) -> bool:
    """Whether a server on `host` listens on every address."""
    return canonical(host) in _WILDCARDS


def address_to_ask(sock: socket.socket, host: str, networks: Sequence[Network]) -> tuple[str, bool]:
    """The name or address to type for a server that is bound to `host`, and whether this machine itself is allowed.

    Whoever asks an address of his own machine does so from that very address.
    """
    if not is_wildcard(host):
        return host, not networks or _within(str(sock.getsockname()[0]), networks)
    version = ipaddress.ip_address(canonical(host)).version
    loopback = ["127.0.0.1"] if version == 4 else ["::1", "127.0.0.1"]
    own = [a for a in own_addresses() if version == 6 or ":" not in a]
    candidates = [*loopback, *(a for a in own if not ipaddress.ip_address(a).is_link_local)]
    allowed = next((address for address in candidates if not networks or _within(address, networks)), None)
    if allowed is not None:
        return allowed, True
    return next((a for a in candidates if not ipaddress.ip_address(a).is_loopback), candidates[0]), False


def _within(address: str, networks: Iterable[Network]) -> bool:
    found = ipaddress.ip_address(canonical(address.partition("%")[0]))
    return any(found in network for network in networks)


def _network(text: str) -> Network:
    example = "for example --allow 10.0.0.0/8"
    try:
        found = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError as exc:
        if re.search(r"\]?:\d+$", text) and _is_address(text.rpartition(":")[0].strip("[]")):
            bare = text.rpartition(":")[0].strip("[]")
            raise ConfigError(f"--allow {text[:100]}: a network has no port", hint=f"--allow {bare}") from exc
        raise ConfigError(f"--allow: {exc}", hint=example) from exc
    mapped = getattr(found.network_address, "ipv4_mapped", None)
    if mapped is not None and found.prefixlen >= _MAPPED_BITS:
        raise ConfigError(
            f"--allow {text} can never match: IPv4 clients are compared by their IPv4 address",
            hint=f"--allow {mapped}/{found.prefixlen - _MAPPED_BITS}",
        )
    alone = found.prefixlen == found.max_prefixlen
    if found.is_multicast or (alone and (found.is_unspecified or str(found.network_address) == "255.255.255.255")):
        raise ConfigError(f"--allow {text} can never match: no client has such an address", hint=example)
    return found


def _host(text: str) -> str:
    name = text.strip().lower()
    found = canonical(name)
    if _is_address(found):
        return _address(text, name, found)
    if _is_name(name.removesuffix(".")):
        return found
    bare = re.sub(r"^[a-z+]+://", "", name).partition("/")[0].rpartition("@")[2]
    bare = re.sub(r":\d*$", "", bare).strip("[]")
    if not bare.isascii():
        try:
            bare = bare.encode("idna").decode()
        except UnicodeError:
            bare = ""
    bare = _as_ipv4(bare) or bare
    known = (_is_address(bare) or _is_name(bare)) and canonical(bare) not in _WILDCARDS
    raise ConfigError(
        f"--allowed-host {text[:100]!r} can never match: {_fault(name)}",
        hint=f"--allowed-host {bare}" if known else "for example --allowed-host proxy.example.org",
    )


def _address(text: str, name: str, found: str) -> str:
    """An address that may stand in a Host header."""
    address, zone = ipaddress.ip_address(found.partition("%")[0]), "%" in found
    why, hint = "", "for example --allowed-host 192.0.2.7"
    if ":" in name and ":" not in found:
        why, hint = "addresses are compared as IPv4", f"--allowed-host {found}"
    elif address.is_unspecified:
        why = "it stands for every address, and nobody sends it"
    elif address.is_multicast or found == "255.255.255.255":
        why = "nobody connects to such an address"
    elif zone:
        why, hint = "clients leave the zone out", f"--allowed-host {address}"
    if why:
        raise ConfigError(f"--allowed-host {text[:100]} can never match: {why}", hint=hint)
    return found


def _is_name(name: str) -> bool:
    """Whether it can be a host's name; one whose last part is a number is taken for an address by every client."""
    labels = name.split(".")
    return len(name) <= _LONGEST_NAME and all(map(_LABEL.fullmatch, labels)) and _NUMBER.fullmatch(labels[-1]) is None


def _fault(name: str) -> str:
    """Why a text is no name."""
    labels = name.removesuffix(".").split(".")
    if all(re.fullmatch(r"[\w-]*", label, re.ASCII) for label in labels) and name.strip("."):
        if len(name) > _LONGEST_NAME or max(map(len, labels)) > 63:
            return f"a name has at most {_LONGEST_NAME} characters, and 63 between two dots"
        if "" in labels:
            return "two dots follow each other, or it begins with one"
        if _as_ipv4(name):
            return "clients send an address in full"
        if _NUMBER.fullmatch(labels[-1]):
            return "it ends in a number like an address, and is none"
        return "no part of a name begins or ends with -"
    return "give a name or an address, without scheme, port, path or *"


def _as_ipv4(name: str) -> str:
    """The address that clients make of `127.1` or `0x7f000001`; "" if they make none."""
    if not re.fullmatch(r"[0-9a-fx.]+", name):
        return ""
    try:
        return socket.inet_ntoa(socket.inet_aton(name))
    except OSError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
