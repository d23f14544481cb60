"""Many clients at once, and requests of every kind."""

from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from web_server import PATIENCE, Client, photo_bytes, serving, until

PHOTOS, CLIENTS = 50, 10


def test_fifty_photos_of_ten_clients_are_all_restored_in_their_order(tmp_path):
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    with serving("--keep", tmp_path) as address, Client(base_url=address, timeout=PATIENCE) as client:
        mine = [one for one in psutil.Process().children(recursive=True) if one.pid not in before]

        def memory():
            return sum(process.memory_info().rss for process in mine if process.is_running())

        client.restored(client.upload(photo_bytes(30, 40)).json()["id"])  # all is loaded by then
        warm = memory()

        def work(number):
            with Client(base_url=address, timeout=PATIENCE) as own:
                found = []
                for index in range(number, PHOTOS, CLIENTS):
                    photo = own.upload(photo_bytes(30, 40, index), f"{index}.jpg").json()["id"]
                    found.append(own.post("/api/restore", json={"photo": photo}).json())
                return found

        with ThreadPoolExecutor(CLIENTS) as pool:
            jobs = [job for found in pool.map(work, range(CLIENTS)) for job in found]
        ended, largest = [], warm

        def all_ended():
            nonlocal largest
            largest = max(largest, memory())
            states = {job["id"]: job["state"] for job in client.get("/api/jobs").json()["jobs"]}
            ended.extend(one for one, state in states.items() if state == "done" and one not in ended)
            return not {"queued", "running"} & set(states.values())

        until(all_ended, 4 * PATIENCE)
        everything = client.get("/api/jobs").json()["jobs"][1:]
        assert len(everything) == PHOTOS == len({job["photo"] for job in everything})
        assert {job["id"] for job in everything} == {job["id"] for job in jobs}
        assert {job["state"] for job in everything} == {"done"}
        assert ended[1:] == [job["id"] for job in sorted(everything, key=lambda job: job["number"])]
        assert largest < warm + 200e6
        results = [client.get(f"/api/jobs/{job['id']}/result").content for job in everything]
        assert len(set(results)) == PHOTOS


def test_no_request_that_the_interface_describes_makes_the_server_fail(address):
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, given, settings

    schema = schemathesis.openapi.from_url(f"{address}openapi.json").exclude(path="/api/events")
    checked = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy())
        @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        def tried(case):
            response = case.call(base_url=address, timeout=PATIENCE)
            assert response.status_code < 500, (case, response.text)
            assert response.headers["x-content-type-options"] == ["nosniff"]  # all of that name

        tried()
        checked += 1
    assert checked >= 12
