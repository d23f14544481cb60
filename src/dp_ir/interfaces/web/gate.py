"""Who is let in, and what every answer says to the browser: a plain ASGI layer before everything else.

A page of another site must neither read photos nor start work: requests that a browser marks as another origin's are
refused, and so are names of this machine that only a foreign name server knows.
"""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "dp-ir-token"

LOCAL = ("localhost", "127.0.0.1", "::1")
"""Names and addresses of this machine that need no token."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SAID = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Gate:
    """Refuses requests of other origins, under foreign names, and without the token.

    Args:
        app: what stands behind it.
        token: what programs send as `Authorization: Bearer TOKEN`, and browsers after a visit of `/?token=TOKEN`; None
            where none is needed, and then the server must be called by one of `LOCAL`.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on a request, as ASGI says."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SAID.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        answer = self._refusal(scope, Headers(scope=scope))
        await (self._app if answer is None else answer)(scope, receive, sealed)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            name = None
        if self._token is None and name not in LOCAL:
            return _problem(403, f"The server was called {host[:80]!r}: expected one of {', '.join(LOCAL)}.")
        origin = headers.get("origin")
        navigates = headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET"
        foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not navigates
        if foreign or (origin is not None and origin not in (f"http://{host}", f"https://{host}")):
            return _problem(403, "The request comes from a page of another site: expected this server's own page.")
        if self._token is None:
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and given and self._matches(given):
            response = RedirectResponse("/", 303)
            response.set_cookie(COOKIE, self._token, httponly=True, samesite="lax")
            return response
        if self._matches(headers.get("authorization", "").removeprefix("Bearer ")) or self._matches(_cookie(headers)):
            return None
        return _problem(
            401, "The token of this server is missing: open the address that `dp-ir serve` printed, or send the token."
        )

    def _matches(self, given: str) -> bool:
        return self._token is not None and hmac.compare_digest(given.encode(), self._token.encode())


def _cookie(headers: Headers) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value


def _problem(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)
