"""The Flask application beside the lane: the page, the metadata, static files; never an inference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask, Response, jsonify, render_template, request

from ..errors import NotFound, StudioError
from .message import error_reply

if TYPE_CHECKING:
    from werkzeug.exceptions import HTTPException

    from .facts import Facts

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def make_pages(facts: Facts) -> Flask:
    """The application; `facts` tells what is served."""
    app = Flask("studio.serve", static_folder="static", template_folder="templates", root_path=_folder())
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 3600
    app.json.sort_keys = False  # type: ignore[attr-defined]

    @app.get("/")
    def index() -> str:
        return render_template("serve.html", m=facts.metadata(), url=_own_url(), example=facts.example(), facts=facts)

    @app.get("/metadata")
    def metadata() -> Response:
        return jsonify(facts.metadata())

    @app.after_request
    def harden(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = CSP
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    from werkzeug.exceptions import HTTPException

    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, lambda exc: _any_error(exc, facts.debug))
    return app


def _folder() -> str:
    from pathlib import Path

    return str(Path(__file__).parent)


def _own_url() -> str:
    return request.host_url.rstrip("/")


def _http_error(exc: HTTPException) -> Response:
    code = exc.code or 500
    error = NotFound(f"nothing answers {request.method} {request.path[:200]}", hint="GET / shows what does")
    body = {**error.as_json(), "kind": exc.name.replace(" ", ""), "request_id": request.headers.get("X-Request-ID", "")}
    response = jsonify(body)
    response.status_code = code
    allowed: Any = getattr(exc, "valid_methods", None)
    if allowed:
        response.headers["Allow"] = ", ".join(sorted({*allowed, *(("POST",) if request.path == "/" else ())}))
    return response


def _any_error(exc: Exception, debug: bool) -> Response:
    import logging

    if not isinstance(exc, StudioError):
        logging.getLogger(__name__).error("a page failed", exc_info=exc)
        failure = StudioError("the page could not be made", hint="the server's log has the traceback")
        failure.__cause__ = exc
        exc = failure
    reply = error_reply(exc, request.headers.get("X-Request-ID", ""), debug=debug)
    return Response(reply.body, reply.status, content_type="application/json")
