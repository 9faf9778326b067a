"""Keys, hosts, ids, deadlines, and what the log says of a request."""

import json
import socket
import subprocess
import time

import httpx2
import pytest

import harness

KEY = "correct horse battery staple"
PROBES = ("/live", "/ready", "/health", "/ping")


@pytest.fixture(scope="module")
def keyed(engine, tmp_path_factory):
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"# two\nfirst\n{KEY}\n")
    with harness.Server(engine, "--api-key-file", keys) as running:
        yield running


def test_every_route_but_the_probes_needs_a_key(keyed):
    document = httpx2.get(keyed.url + "/openapi.json", headers={"x-api-key": "first"}).json()
    assert len(document["paths"]) >= 20
    for path, operations in document["paths"].items():
        for method in operations:
            url = keyed.url + path.replace("{id}", "x")
            reply = httpx2.request(method.upper(), url, json={"input": "a", "inputs": "a"})
            if path in PROBES:
                assert reply.status_code == 200 and set(reply.json()) == {"status"}
                continue
            assert reply.status_code == 401, path
            assert reply.headers["www-authenticate"] == "Bearer"
            for scheme in ("Bearer", "Api-Key"):
                wrong = {"authorization": f"{scheme} wrong"}
                assert httpx2.request(method.upper(), url, headers=wrong).status_code == 401
                right = {"authorization": f"{scheme} {KEY}"}
                assert httpx2.request(method.upper(), url, headers=right).status_code != 401
    for path in ("/", "/nothing", "/production/sync/info"):
        assert httpx2.get(keyed.url + path).status_code == 401
    assert KEY not in keyed.log() and "wrong" not in keyed.log()


def test_a_body_without_a_key_is_not_read(keyed):
    with socket.create_connection(("127.0.0.1", keyed.port)) as connection:
        connection.settimeout(10)
        connection.sendall(b"POST /embed HTTP/1.1\r\nHost: h\r\nContent-Length: 90000000\r\n\r\n")
        reply = connection.recv(65536)
    assert reply.startswith(b"HTTP/1.1 401 ") and b'"error_type":"authentication"' in reply


def test_the_key_is_not_shown(engine):
    with harness.Server(engine, "--api-key", KEY) as running:
        info = httpx2.get(running.url + "/info", headers={"x-api-key": KEY})
        assert info.status_code == 200 and KEY not in info.text
        assert {"path": "millrace.api_key", "value": "***", "origin": "--api-key"} in \
            info.json()["settings"]


def test_not_open_to_others_without_a_key(engine):
    command = [harness.BINARY, "serve", engine, "--host", "0.0.0.0", "--port", "0"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert "0.0.0.0" in run.stderr and "--allow-unauthenticated" in run.stderr
    with harness.Server(engine, "--host", "0.0.0.0", "--allow-unauthenticated") as running:
        url = running.url.replace("0.0.0.0", "127.0.0.1")
        assert httpx2.get(url + "/v1/models").status_code == 200


def test_a_name_that_was_pointed_here_is_refused(server):
    for host in ("evil.example", "evil.example:8000"):
        reply = httpx2.get(server.url + "/v1/models", headers={"host": host})
        assert reply.status_code == 403 and "evil.example" in reply.json()["error"]["message"]
    assert httpx2.get(server.url + "/v1/models", headers={"host": "localhost"}).status_code == 200


def test_ids_come_back(server):
    reply = httpx2.post(server.url + "/embed", json={"inputs": "a"},
                        headers={"x-request-id": "my-id-7"})
    assert reply.headers["x-request-id"] == "my-id-7"
    made = {httpx2.get(server.url + "/nothing").headers["x-request-id"] for _ in range(5)}
    assert len(made) == 5


def test_deadlines(server):
    def embed(**headers):
        return httpx2.post(server.url + "/v1/embeddings", json={"input": "a"}, headers=headers)

    now = time.time() * 1000
    assert embed(**{"request-deadline-ms": str(int(now + 60_000))}).status_code == 200
    late = embed(**{"request-deadline-ms": str(int(now - 1000))})
    assert late.status_code == 504 and late.json()["error"]["type"] == "timeout"
    assert embed(**{"request-timeout-ms": "60000"}).status_code == 200
    assert embed(**{"request-timeout-ms": "0"}).status_code == 504
    for bad in ("soon", "-5", "1e3", ""):
        assert embed(**{"request-deadline-ms": bad}).status_code == 400, bad


@harness.needs_slow_steps
def test_a_deadline_that_passes_in_work(engine):
    with harness.Server(engine, "--threads", "1") as running:
        reply = httpx2.post(running.url + "/v1/embeddings", json={"input": ["word " * 600] * 128},
                            headers={"request-timeout-ms": "200"}, timeout=60)
        assert reply.status_code == 504, "alone it is not refused, and not in time"


def test_requests_beyond_the_limit_are_told(engine):
    with harness.Server(engine, "--max-concurrent-requests", "1", "--threads", "1") as running:
        import concurrent.futures

        def one(_):
            reply = httpx2.post(running.url + "/embed", json={"inputs": ["word " * 500] * 32},
                                timeout=60)
            return reply.status_code, reply.headers.get("retry-after"), reply.json()

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(one, range(8)))
        assert {status for status, _, _ in replies} == {200, 429}
        for status, retry_after, body in replies:
            if status == 429:
                assert int(retry_after) >= 1 and body["error_type"] == "overloaded"


def test_log_lines_are_json_without_payloads(engine):
    with harness.Server(engine, "--log-format", "json") as running:
        httpx2.post(running.url + "/v1/embeddings?key=in-the-query",
                    json={"input": "a very private text"}, headers={"x-request-id": "id-1"})
        httpx2.get(running.url + '/no"thing')
    lines = [json.loads(line) for line in running.lines if line.startswith("{")]
    requests = [line for line in lines if line["msg"] == "request"]
    assert requests[0]["req"] == "id-1" and requests[0]["status"] == 200
    assert requests[0]["tokens"] > 3 and requests[0]["path"] == "/v1/embeddings"
    assert requests[1]["path"] == '/no"thing' and requests[1]["status"] == 404
    assert all({"ts", "level", "msg"} <= set(line) for line in lines)
    assert "private" not in running.log() and "in-the-query" not in running.log()
