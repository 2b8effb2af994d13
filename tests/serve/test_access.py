"""Token, cookie, Host, Origin and address rules; every route against every credential."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.errors import BadInput, ConfigError, Forbidden, StudioError, Unauthorized
from studio.serve.access import Access, check_token, choose_token
from studio.serve.message import Head, make_head

from .conftest import Served


def head(method: str = "POST", path: str = "/", client: str = "127.0.0.1", **headers: str) -> Head:
    headers.setdefault("host", "localhost:5000")
    pairs = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items() if v]
    return make_head(method, (path, ""), pairs, client)


def refused(access: Access, request: Head) -> type[StudioError] | None:
    try:
        access.check(request)
    except StudioError as exc:
        return type(exc)
    return None


def test_token_rules() -> None:
    rest = {"token": None, "token_file": None, "no_token": False, "insecure": False}
    assert choose_token("127.0.0.1", **rest) == (None, False)
    made, fresh = choose_token("0.0.0.0", **rest)
    assert fresh and made is not None and len(made) >= 43
    assert choose_token("127.0.0.1", **{**rest, "token": "abc"}) == ("abc", False)
    with pytest.raises(ConfigError, match="would let anybody ask") as caught:
        choose_token("0.0.0.0", **{**rest, "no_token": True})
    assert "--insecure" in caught.value.hint
    assert choose_token("0.0.0.0", **{**rest, "no_token": True, "insecure": True}) == (None, False)
    with pytest.raises(ConfigError, match="exclude each other"):
        choose_token("127.0.0.1", **{**rest, "token": "abc", "no_token": True})
    for bad in ("", "a b", "ü", "a\nb"):
        with pytest.raises(ConfigError, match="printable ASCII"):
            choose_token("127.0.0.1", **{**rest, "token": bad})


def test_a_token_file_is_read_or_made_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "token"
    rest = {"token": None, "no_token": False, "insecure": False}
    made, fresh = choose_token("127.0.0.1", token_file=path, **rest)
    assert fresh and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert choose_token("127.0.0.1", token_file=path, **rest) == (made, False)


def test_a_token_file_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file" / "token", tmp_path):
        with pytest.raises(ConfigError, match="--token-file"):
            choose_token("127.0.0.1", token=None, token_file=bad, no_token=False, insecure=False)


def test_a_check_of_the_token_makes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    rest = {"no_token": False, "insecure": False}
    assert check_token("127.0.0.1", token=None, token_file=path, **rest) is None and not path.exists()
    with pytest.raises(ConfigError, match="exclude each other"):
        check_token("127.0.0.1", token="abc", token_file=path, **rest)


def test_a_kept_token_goes_with_its_server(serve: Callable[..., Served], home: Path) -> None:
    server = serve("--token", "correct-horse")
    assert [p.name for p in (home / ".studioml" / "serving").glob("token-*")] == [f"token-{server.port}"]
    assert server.stop() == 0
    assert not list((home / ".studioml" / "serving").glob("token-*"))


def test_hosts() -> None:
    local = Access("127.0.0.1", None, ["Proxy.example"])
    for good in ("localhost", "LOCALHOST:81", "127.0.0.1:5000", "[::1]:5000", "proxy.example", "localhost."):
        assert refused(local, head(host=good)) is None, good
    for bad in ("evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1.nip.io", "x@localhost"):
        assert refused(local, head(host=bad)) is Forbidden, bad
    assert refused(local, head(host="")) is BadInput
    assert refused(local, head(path="/healthz", host="evil.example")) is None
    wide = Access("0.0.0.0", "t")
    assert refused(wide, head(host="127.0.0.1:5000", authorization="Bearer t")) is None
    assert refused(wide, head(host="evil.example", authorization="Bearer t")) is Forbidden


def test_origins() -> None:
    access = Access("127.0.0.1")
    same = {"host": "localhost:5000", "origin": "http://localhost:5000"}
    assert refused(access, head(**same)) is None
    assert refused(access, head(host="localhost", origin="http://localhost:80")) is None
    assert refused(access, head(**same, sec_fetch_site="same-origin")) is None
    for bad in ("http://localhost:5001", "https://evil.example", "null", "http://localhost:5000.evil.example"):
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert refused(access, head(method, origin=bad)) is Forbidden, (method, bad)
        assert refused(access, head("GET", origin=bad)) is None
    for site in ("cross-site", "same-site"):
        assert refused(access, head(sec_fetch_site=site)) is Forbidden


def test_an_origin_has_the_scheme_of_the_server_too() -> None:
    """`http://host` and `https://host` are one name and two origins: the ports that both leave out differ."""
    for tls, good, bad in ((True, "https", "http"), (False, "http", "https")):
        access = Access("127.0.0.1", tls=tls)
        for host in ("localhost", "localhost:5000"):
            assert refused(access, head(host=host, origin=f"{good}://{host}")) is None
            assert refused(access, head(host=host, origin=f"{good.upper()}://{host}")) is None
            assert refused(access, head(host=host, origin=f"{bad}://{host}")) is Forbidden
    behind = Access("127.0.0.1", None, ["model.example"])  # a proxy that ends TLS, or does not
    for scheme, said in (("https", None), ("http", None), ("ftp", Forbidden)):
        assert refused(behind, head(host="model.example", origin=f"{scheme}://model.example")) is said
    assert refused(behind, head(host="localhost:5000", origin="https://localhost:5000")) is Forbidden


def test_networks() -> None:
    access = Access("0.0.0.0", None, (), ["10.0.0.0/8", "2001:db8::/32"])
    for good in ("10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"):
        assert refused(access, head(client=good)) is None
    for bad in ("11.0.0.1", "::1", ""):
        assert refused(access, head(client=bad)) is Forbidden
    with pytest.raises(ConfigError, match="--allow"):
        Access("0.0.0.0", None, (), ["10.0.0.0/99"])


def test_credentials() -> None:
    access = Access("127.0.0.1", "secret")
    assert refused(access, head(authorization="Bearer secret")) is None
    assert refused(access, head(authorization="bearer  secret")) is None
    assert refused(access, head(cookie=f"a=b; studio_token={access.cookie_value()}")) is None
    for bad in ({}, {"authorization": "Bearer secre"}, {"authorization": "Basic secret"}, {"authorization": "secret"},
                {"cookie": "studio_token=secret"}, {"authorization": "Bearer sécret"}):  # fmt: skip
        assert refused(access, head(**bad)) is Unauthorized, bad


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({}, "a token is needed"),
        ({"cookie": "other=1"}, "a token is needed"),
        ({"authorization": "Bearer "}, "no Bearer token"),
        ({"authorization": "Bearer secre"}, "the token is wrong"),
        ({"authorization": "Basic secret"}, "no Bearer token"),
        ({"cookie": "a=b; studio_token=0"}, "the cookie is of another token"),
    ],
)
def test_a_missing_token_and_a_wrong_one_are_told_apart(sent: dict[str, str], said: str) -> None:
    with pytest.raises(Unauthorized, match=said) as caught:
        Access("127.0.0.1", "secret").check(head(**sent))
    assert caught.value.hint and "secret" not in str(caught.value)


def test_every_route_needs_the_token_but_health(serve: Callable[..., Served], tmp_path: Path) -> None:
    path = tmp_path / "token"
    server = serve("--token-file", path)
    token = path.read_text().strip()
    right = {"Authorization": f"Bearer {token}"}
    for method, route in (("GET", "/"), ("GET", "/metadata"), ("GET", "/static/serve.js"), ("GET", "/none"),
                          ("POST", "/"), ("PUT", "/"), ("GET", "/metadata?token=" + token)):  # fmt: skip
        body = b"{}" if method != "GET" else None
        answer = server.ask(method, route, body)
        assert answer.status == 401 and answer.headers["www-authenticate"] == "Bearer", (method, route)
        assert server.ask(method, route, body, Authorization="Bearer x" + token[1:]).status == 401
        assert server.ask(method, route, body, **right).status != 401
    for route in ("/healthz", "/readyz"):
        assert server.ask("GET", route).status == 200
    assert token not in server.errors
    assert str(path) in server.errors


def test_the_page_takes_the_token_once_into_a_cookie(serve: Callable[..., Served], tmp_path: Path) -> None:
    path = tmp_path / "token"
    server = serve("--token-file", path)
    token = path.read_text().strip()
    assert server.ask("GET", "/?token=wrong").status == 401
    answer = server.ask("GET", f"/?x=1&token={token}")
    assert (answer.status, answer.headers["location"]) == (303, "/?x=1")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and token not in cookie
    pair = cookie.partition(";")[0]
    assert server.ask("GET", "/", Cookie=pair).status == 200
    assert server.post({"a": 1}, Cookie=pair).json == {"a": 1}
    assert server.post({"a": 1}, Cookie=pair, Origin="http://evil.example").status == 403


def test_a_token_given_on_the_command_line_is_not_printed(serve: Callable[..., Served]) -> None:
    server = serve("--token", "correct-horse")
    assert "correct-horse" not in server.errors + server.line
    assert server.post({}, Authorization="Bearer correct-horse").status == 200
