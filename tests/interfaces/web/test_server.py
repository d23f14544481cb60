"""The server as programs see it: what comes back, what is refused, what happens to the queue."""

import io
import json
import shlex
import signal
import socket
import time

import httpx
import numpy as np
import pytest
from dng_files import write_dng
from PIL import Image, ImageOps
from web_server import PATIENCE, Client, photo_bytes, pixels, serving, until

BIG = 420  # side of a photo that takes a while


def command_line(command, folder, monkeypatch, dp_ir):
    monkeypatch.chdir(folder)
    words = shlex.split(command)
    assert words[0] == "dp-ir"
    result = dp_ir(*words[1:])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("name", "kind", "content_type", "wish"),
    [
        ("a.jpg", "JPEG", "image/jpeg", {}),
        ("-b c'd.PNG", "PNG", "image/png", {"detail": 0.1, "seed": 5}),
        ("ü.tif", "TIFF", "image/tiff", {"scale": 2}),
        ("e.webp", "WEBP", "image/webp", {"task": "clean", "detail": 1}),
        ("f.avif", "AVIF", "image/avif", {}),
    ],
)
def test_the_file_is_the_one_that_the_command_line_makes(
    client, tmp_path, monkeypatch, dp_ir, name, kind, content_type, wish
):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "A camera", 6  # turned by a quarter
    content = photo_bytes(kind=kind, exif=exif)
    (tmp_path / name).write_bytes(content)
    photo = client.upload(content, name, content_type).json()
    job = client.restored(photo["id"], **wish)
    assert job["state"] == "done", job
    response = client.get(f"/api/jobs/{job['id']}/result")
    command_line(job["command"], tmp_path, monkeypatch, dp_ir)
    made = tmp_path / job["result"]
    assert response.content == made.read_bytes()
    assert made.suffix.lower() == f".{name.rpartition('.')[2].lower()}"
    assert "attachment" in response.headers["content-disposition"]
    shown = ImageOps.exif_transpose(Image.open(made))
    assert shown.size == (job["width"], job["height"])
    assert shown.height > shown.width  # the photo is upright
    assert job["bytes"] == len(response.content)


def test_a_photo_in_a_format_that_is_not_written_comes_back_as_png(client, tmp_path, monkeypatch, dp_ir):
    content = photo_bytes(kind="GIF")
    (tmp_path / "a.gif").write_bytes(content)
    photo = client.upload(content, "a.gif", "image/gif").json()
    job = client.restored(photo["id"])
    assert job["result"] == "a-restored.png"
    command_line(job["command"], tmp_path, monkeypatch, dp_ir)
    assert client.get(f"/api/jobs/{job['id']}/result").content == (tmp_path / job["result"]).read_bytes()


def test_raw_files_become_one_photo_as_on_the_command_line(client, tmp_path, monkeypatch, dp_ir):
    pytest.importorskip("rawpy")
    folder, noise = tmp_path / "night1", np.random.default_rng(0)
    folder.mkdir()
    for index in (1, 2, 3):
        mosaic = noise.integers(500, 9000, (24, 28)).astype(np.uint16)
        write_dng(folder / f"night{index}.dng", mosaic, matrix=np.eye(3), neutral=(0.6, 1.0, 0.7), orientation=6)
    first, *others = sorted(folder.iterdir())
    photo = client.upload(first.read_bytes(), first.name, "application/octet-stream").json()
    for path in others:
        photo = client.upload(path.read_bytes(), path.name, "application/octet-stream", burst=photo["id"]).json()
    assert (photo["burst"], photo["frames"], photo["task"]) == (True, 3, "burst")
    facts, parts = strip(client, photo=photo["id"])
    assert (facts["wholeWidth"], facts["wholeHeight"]) == (4 * 24, 4 * 28)  # upright
    assert len(parts) == 3
    job = client.restored(photo["id"])
    assert (job["state"], job["result"], job["width"], job["height"]) == ("done", "night1-restored.png", 96, 112), job
    command_line(job["command"], tmp_path, monkeypatch, dp_ir)
    assert client.get(f"/api/jobs/{job['id']}/result").content == (tmp_path / job["result"]).read_bytes()


def strip(client, **view):
    response = client.post("/api/preview", json=view)
    assert response.status_code == 200, response.text
    facts = json.loads(response.headers["x-preview"])
    image = np.asarray(Image.open(httpx_file(response)))
    assert image.shape[0] % facts["height"] == 0
    return facts, list(image.reshape(-1, facts["height"], facts["width"], 3))


def httpx_file(response):
    return io.BytesIO(response.content)


def test_a_preview_of_the_whole_is_what_files_of_these_details_hold(client, tmp_path, monkeypatch, dp_ir):
    content = photo_bytes(kind="PNG")
    (tmp_path / "a.png").write_bytes(content)
    photo = client.upload(content, "a.png", "image/png").json()
    facts, parts = strip(client, photo=photo["id"], width=1024, height=1024, seed=3, full=True)
    assert [facts[name] for name in ("x", "y", "width", "height")] == [0, 0, 96, 64]
    monkeypatch.chdir(tmp_path)
    files = {}
    for detail in (0, 0.25, 1, 0.1):
        dp_ir("restore", "a.png", "-o", f"{detail}.png", "--task", "photo", "--seed", 3, "--detail", detail)
        files[detail] = np.asarray(Image.open(f"{detail}.png")).astype(float)
    for detail, part in zip((0, facts["detail"], 1), parts[1:], strict=True):
        assert np.abs(part - files[detail]).max() <= 1, detail
    line = parts[1] + (parts[2].astype(float) - parts[1]) * 0.1 / facts["detail"]  # what the page draws at 0.1
    assert np.abs(line - files[0.1]).max() <= 2
    assert np.abs(parts[2].astype(float) - parts[1]).max() > 8  # the dial does something


@pytest.mark.parametrize("place", [(0, 0), (0.5, 0.5), (1, 1), (0.3, 0.9)])
def test_a_preview_lies_where_it_says(client, place):
    photo = client.upload(photo_bytes(200, 300, kind="PNG"), "a.png", "image/png").json()
    facts, parts = strip(client, photo=photo["id"], x=place[0], y=place[1], width=120, height=80)
    assert (facts["wholeWidth"], facts["wholeHeight"]) == (1200, 800)
    assert (facts["width"], facts["height"]) == (120, 80)
    whole = Image.fromarray(pixels(200, 300)).resize((1200, 800), Image.BICUBIC)
    expected = np.asarray(whole)[facts["y"] : facts["y"] + 80, facts["x"] : facts["x"] + 120].astype(float)
    assert np.abs(parts[0] - expected).mean() < 2
    assert np.abs(parts[1] - expected).mean() < 20
    centre = [facts["x"] + 60, facts["y"] + 40]
    wanted = [min(max(1200 * place[0], 60), 1140), min(max(800 * place[1], 40), 760)]
    assert np.abs(np.subtract(centre, wanted)).max() <= 8


def test_layers_are_what_the_dial_needs_and_further_samples_are_drawn_when_asked_for(client):
    photo = client.upload(photo_bytes(40, 48)).json()
    job = client.restored(photo["id"])
    assert job["layers"] == ["restored", "image"]
    assert job["levels"] == 1

    def tile(layer):
        response = client.get(f"/api/jobs/{job['id']}/layers/{layer}/0/0/0")
        return np.asarray(Image.open(httpx_file(response))).astype(float) if response.status_code == 200 else None

    assert tile("image").shape == (160, 192, 3)
    assert tile("full") is None
    assert client.post(f"/api/jobs/{job['id']}/spread").json()["spread"] == "queued"
    more = until(lambda: (now := client.get(f"/api/jobs/{job['id']}").json())["spread"] == "done" and now)
    assert more["layers"] == ["restored", "image", "full", "unsure"]
    differ = [np.abs(tile(layer) - tile("restored")).mean() for layer in ("image", "full")]
    assert 0 < differ[0] < differ[1]
    assert tile("unsure").shape == (160, 192, 4)
    assert client.get(f"/api/jobs/{job['id']}/layers/image/0/9/0").status_code == 404
    assert client.get(f"/api/jobs/{job['id']}/layers/secret/0/0/0").status_code == 422


def test_another_seed_is_another_answer_and_the_same_seed_the_same(client):
    photo = client.upload(photo_bytes(kind="PNG"), "a.png", "image/png").json()
    files = [
        client.get(f"/api/jobs/{client.restored(photo['id'], seed=seed)['id']}/result").content for seed in (1, 1, 2)
    ]
    assert files[0] == files[1] != files[2]


@pytest.mark.parametrize(
    ("status", "arguments"),
    [
        (422, {"name": "../a.jpg"}),
        (422, {"name": "..\\a.jpg"}),
        (422, {"name": "/etc/a.jpg"}),
        (422, {"name": ".hidden.jpg"}),
        (422, {"name": "C:a.jpg"}),
        (422, {"name": "a\n.jpg"}),
        (422, {"name": "a\x00.jpg"}),
        (422, {"name": "x" * 130 + ".jpg"}),
        (422, {"name": "a.svg", "kind": "image/svg+xml"}),
        (422, {"name": "a"}),
        (415, {"kind": "text/html"}),
        (415, {"kind": "multipart/form-data"}),
        (415, {"kind": "application/octet-stream"}),
        (422, {"content": b""}),
        (422, {"content": b"<html><script>alert(1)</script>"}),
        (422, {"content": b"GIF89a" + bytes(50)}),
        (422, {"content": b"\xff\xd8\xff\xe0 no more"}),
        (413, {"content": b"\xff\xd8\xff" + bytes(2_100_000)}),
        (422, {"content": "pixels"}),
        (409, {"burst": "0123456789abcdef"}),
    ],
)
def test_what_is_no_photo_is_refused_in_a_sentence_and_leaves_nothing(client, status, arguments):
    if arguments.get("content") == "pixels":
        arguments = {"content": photo_bytes(1800, 1800)}  # more megapixels than this server takes
    if "burst" in arguments:
        arguments["burst"] = client.upload(photo_bytes()).json()["id"]  # a photo is no burst
    before = client.get("/api/jobs").json()["photos"]
    response = client.upload(**{"content": photo_bytes(), **arguments})
    assert response.status_code == status, response.text
    sentence = response.json()["error"]
    assert sentence.endswith(".")
    assert "expected" in sentence or "must" in sentence
    assert "/tmp" not in sentence
    assert client.get("/api/jobs").json()["photos"] == before


def test_a_body_without_a_length_is_counted(client):
    def endless():
        yield b"\xff\xd8\xff"
        for _ in range(100):
            yield bytes(100_000)

    assert client.upload(endless()).status_code == 413


def test_a_damaged_photo_is_named_when_it_is_looked_at_and_does_not_stop_others(client):
    damaged = photo_bytes(64, 64)[:-400]
    photo = client.upload(damaged, "broken.jpg").json()
    job = client.restored(photo["id"])
    assert job["state"] == "failed"
    assert "broken.jpg" in job["reason"]
    assert "/" not in job["reason"].replace("'", "")
    looked = until(lambda: (now := client.get(f"/api/photos/{photo['id']}").json())["reason"] and now)
    assert "broken.jpg" in looked["reason"]
    assert client.restored(client.upload(photo_bytes()).json()["id"])["state"] == "done"


def test_what_runs_is_cancelled_within_a_second_and_the_next_goes_on(client):
    slow = client.upload(photo_bytes(BIG, BIG), "slow.jpg").json()["id"]
    quick = client.upload(photo_bytes(), "quick.jpg").json()["id"]
    first = client.post("/api/restore", json={"photo": slow}).json()["id"]
    second = client.post("/api/restore", json={"photo": quick}).json()["id"]
    until(lambda: client.get(f"/api/jobs/{first}").json()["state"] == "running")
    begun = time.monotonic()
    assert client.delete(f"/api/jobs/{first}").json()["state"] == "cancelled"
    assert time.monotonic() - begun < 1
    assert client.ended(second)["state"] == "done"
    assert client.get(f"/api/jobs/{first}").json()["state"] == "cancelled"
    assert client.get(f"/api/jobs/{first}/result").status_code == 409


def test_removing_a_photo_removes_what_was_made_of_it(client):
    photo = client.upload(photo_bytes()).json()["id"]
    job = client.restored(photo)["id"]
    assert client.delete(f"/api/photos/{photo}").status_code == 204
    for path in (f"/api/photos/{photo}", f"/api/jobs/{job}", f"/api/jobs/{job}/result"):
        assert client.get(path).status_code == 404
    assert client.post("/api/restore", json={"photo": photo}).status_code == 404


def test_progress_comes_as_events_and_only_grows(client):
    kinds, shares = [], []
    photo = client.upload(photo_bytes(BIG // 2, BIG // 2), "a.jpg").json()["id"]
    with client.stream("GET", "/api/events") as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: all"
        assert json.loads(next(lines).removeprefix("data: "))["photos"][0]["id"] == photo
        job = client.post("/api/restore", json={"photo": photo}).json()["id"]
        for line in lines:
            if line.startswith("event: "):
                kinds.append(line.removeprefix("event: "))
            elif line.startswith("data: ") and kinds[-1] == "job":
                now = json.loads(line.removeprefix("data: "))
                assert now["id"] == job
                shares.append(now["share"])
                if now["state"] == "done":
                    break
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == 1
    assert len(shares) > 3


def test_what_is_asked_for_is_checked(client):
    photo = client.upload(photo_bytes()).json()["id"]
    for wish in ({"detail": 1.5}, {"seed": -1}, {"task": "magic"}, {"scale": 0}, {"unknown": 1}, {"photo": "../x"}):
        response = client.post("/api/restore", json={"photo": photo, **wish})
        assert response.status_code == 422, wish
        assert next(iter(wish)) in response.json()["error"]
    job = client.restored(photo, task="clean", scale=3)  # more than that task gives
    assert job["state"] == "failed"
    assert "scale 3" in job["reason"]


@pytest.mark.parametrize(
    "path", ["/page/../app.py", "/page/%2e%2e/app.py", "/page/..%2fapp.py", "//etc/passwd", "/docs"]
)
def test_nothing_else_is_served(address, path):
    host, port = address.split("/")[2].split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        answer = b""
        while some := connection.recv(65536):
            answer += some
    assert answer.split()[1] in (b"404", b"400"), answer[:200]


def test_a_queue_outlives_its_server_and_is_one_servers(tmp_path, dp_ir):
    with (
        serving("--keep", tmp_path, end=signal.SIGKILL) as address,
        Client(base_url=address, timeout=PATIENCE) as client,
    ):
        slow = client.upload(photo_bytes(BIG, BIG), "slow.jpg").json()["id"]
        names = [client.upload(photo_bytes(seed=n), f"{n}.jpg").json()["id"] for n in range(3)]
        jobs = [client.post("/api/restore", json={"photo": photo}).json()["id"] for photo in (slow, *names)]
        until(lambda: client.get(f"/api/jobs/{jobs[0]}").json()["state"] == "running")
        client.post("/api/jobs/" + jobs[0] + "/spread")  # of what is not done: nothing
    with serving("--keep", tmp_path) as address, Client(base_url=address, timeout=PATIENCE) as client:
        second = dp_ir("serve", "--no-open", "--port", 0, "--keep", tmp_path)
        assert second.exit_code == 1
        assert "Another server works in" in second.stderr
        found = client.get("/api/jobs").json()
        assert [photo["id"] for photo in found["photos"]] == [slow, *names]
        assert [job["id"] for job in found["jobs"]] == jobs
        client.delete(f"/api/jobs/{jobs[0]}")
        assert [client.ended(job)["state"] for job in jobs] == ["cancelled", "done", "done", "done"]
        kept = client.get(f"/api/jobs/{jobs[1]}/result").content
    assert kept in [path.read_bytes() for path in tmp_path.rglob("*-restored.jpg")]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP])
def test_without_keep_nothing_stays_and_strangers_need_the_token(tmp_path, end):
    killed = tmp_path / "dp-ir-server-killed"
    killed.mkdir()
    for name in (".lock", "photo.jpg"):
        (killed / name).touch()
    with serving("--host", "0.0.0.0", end=end, TMPDIR=str(tmp_path)) as address:
        assert not killed.exists()
        base, token = address.split("?token=")
        assert httpx.get(base).status_code == 401
        with Client(base_url=base, timeout=PATIENCE, headers={"authorization": f"Bearer {token}"}) as client:
            assert client.upload(photo_bytes()).status_code == 201
        assert list(tmp_path.rglob("*.jpg"))
    assert not list(tmp_path.iterdir())


def test_a_port_in_use_is_said(address, dp_ir):
    port = address.rstrip("/").rpartition(":")[2]
    result = dp_ir("serve", "--no-open", "--port", port)
    assert result.exit_code == 1
    assert "--port" in result.stderr
    assert port in result.stderr
