"""Who is let in, tried on the gate alone."""

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from dp_ir.interfaces.web.gate import COOKIE, Gate

APP = Starlette(
    routes=[Route("/{rest:path}", lambda request: PlainTextResponse("in"), methods=["GET", "POST", "DELETE"])]
)


def client(token=None, host="localhost:8350"):
    return TestClient(Gate(APP, token), base_url=f"http://{host}", follow_redirects=False)


@pytest.mark.parametrize("host", ["localhost:8350", "127.0.0.1", "[::1]:99", "localhost"])
def test_the_machine_itself_needs_no_token(host):
    assert client(host=host).get("/api").text == "in"


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "192.168.0.7"])
def test_other_names_of_this_machine_are_refused_so_that_a_name_server_cannot_lead_pages_here(host):
    response = client(host=host).get("/")
    assert response.status_code == 403
    assert host.split(":")[0] in response.json()["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9999"},
        {"origin": "http://localhost:8350.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_requests_of_other_sites_are_refused(headers, method):
    assert client().request(method, "/api/photos", headers=headers).status_code == 403


def test_a_link_on_another_site_may_lead_to_the_page_but_not_post_to_it():
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client().get("/", headers=followed).text == "in"
    assert client().post("/", headers=followed).status_code == 403


def test_the_own_page_is_let_in():
    headers = {"origin": "http://localhost:8350", "sec-fetch-site": "same-origin"}
    assert client().post("/api/restore", headers=headers).text == "in"


@pytest.mark.parametrize(
    "path", ["/", "/api/jobs", "/page/main.js", "/?token=wrong", "/?token=", "/api/jobs?token=secret"]
)
def test_without_the_token_nothing_is_seen(path):
    assert client("secret", "photos.example").get(path).status_code == 401


def test_the_token_is_taken_as_a_header_and_as_the_cookie_that_the_first_visit_sets():
    outside = client("secret", "photos.example")
    assert outside.get("/api/jobs", headers={"authorization": "Bearer secret"}).text == "in"
    assert outside.get("/api/jobs", headers={"authorization": "Bearer secrets"}).status_code == 401
    first = outside.get("/?token=secret")
    assert (first.status_code, first.headers["location"]) == (303, "/")
    said = first.headers["set-cookie"].lower()
    assert COOKIE in said
    assert "httponly" in said
    assert "samesite=lax" in said  # so that a link in a message opens the page
    assert outside.get("/api/jobs").text == "in"  # the client keeps the cookie
    assert outside.get("/api/jobs", headers={"origin": "https://evil.example"}).status_code == 403


@pytest.mark.parametrize("token", [None, "secret"])
def test_every_answer_forbids_foreign_scripts_frames_and_guesses(token):
    headers = client(token).get("/").headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
