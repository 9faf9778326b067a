"""What an attacker may send: the documented status comes back, memory stays, and the server lives."""

import json
import random
import socket

import httpx2
import pytest

import harness

NUMBERS = ["-1", "0", "1", "2147483647", "2147483648", "9223372036854775807",
           "9223372036854775808", "-9223372036854775809", "1e400", "-1e400", "NaN", "Infinity",
           "1.5", "1.0", '"1"', "true", "[]", "{}", "1" * 400]
INTEGER_FIELDS = [
    ("/v1/embeddings", '{"input":"a","dimensions":%s}'),
    ("/v1/embeddings", '{"input":[%s]}'),
    ("/v1/embeddings", '{"input":[[%s]]}'),
    ("/embed", '{"inputs":"a","dimensions":%s}'),
    ("/embed", '{"inputs":[[101,%s]]}'),
    ("/embed_all", '{"inputs":[%s]}'),
    ("/decode", '{"ids":[%s]}'),
    ("/decode", '{"ids":[[%s]]}'),
    ("/v1/rerank", '{"query":"a","documents":["b"],"top_n":%s}'),
]
ROUTES = ["/v1/embeddings", "/embed", "/embed_all", "/similarity", "/predict", "/rerank",
          "/v1/rerank", "/tokenize", "/decode", "/"]
BODIES = [b"", b"{", b"[]", b"null", b"\x00", b"\xff\xfe", b'{"input":"\xff"}', b'"a"', b"{}" * 2,
          b'{"inputs":' + b"[" * 100_000, b"[" * 31 + b"]" * 31, b'{"a":' * 40 + b"1" + b"}" * 40,
          b'{"inputs":"\\ud800"}', b'{"input":"a","input":5}', b" " * 1_000_000,
          b'{"inputs":{"source_sentence":1,"sentences":[{}]}}', b'{"ids":"a"}', b'{"query":1,"texts":1}']


def rss(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def alive(server):
    reply = httpx2.post(server.url + "/v1/embeddings", json={"input": "still here"}, timeout=60)
    return reply.status_code == 200


@pytest.mark.parametrize("path,body", INTEGER_FIELDS)
def test_numbers_at_their_borders(server, path, body):
    for number in NUMBERS:
        reply = httpx2.post(server.url + path, content=(body % number).encode(), timeout=60)
        assert reply.status_code in (200, 400, 422, 424), (number, reply.text)
        if reply.status_code != 200:
            assert "error" in reply.json()
    assert alive(server)


@pytest.mark.parametrize("path", ROUTES)
def test_bodies_that_are_no_requests(server, path):
    with httpx2.Client(timeout=60) as client:
        for body in BODIES:
            reply = client.post(server.url + path, content=body)
            assert reply.status_code in (400, 422, 424), (body[:40], reply.text[:200])
            error = reply.json()
            assert ("error_type" in error) == (path in (
                "/embed", "/embed_all", "/similarity", "/predict", "/rerank", "/tokenize", "/decode"))
    assert alive(server)


def test_random_bodies(server):
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    valid = [b'{"input":["a","b"],"encoding_format":"base64","dimensions":8}',
             b'{"inputs":[["a"],["b","c"]],"raw_scores":true}',
             b'{"inputs":{"source_sentence":"a","sentences":["b"]},"parameters":{"truncate":true}}',
             b'{"query":"q","texts":["a","b"],"return_text":true}', b'{"ids":[[1,2],[3]]}']
    with httpx2.Client(timeout=60) as client:
        for _ in range(400):
            body = bytearray(rng.choice(valid))
            for _ in range(rng.randrange(1, 4)):
                body[rng.randrange(len(body))] = rng.randrange(256)
            reply = client.post(server.url + rng.choice(ROUTES), content=bytes(body))
            assert reply.status_code in (200, 400, 422, 424), (bytes(body), reply.text[:200])
    assert alive(server)


def connect(server):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    return connection


def answer(connection):
    data = b""
    try:
        while chunk := connection.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return data


HEAD = b"POST /embed HTTP/1.1\r\nHost: localhost\r\n"
RAW = [
    ("garbage", b"\x00\x01\x02\r\n\r\n", b"400"),
    ("a tls hello", b"\x16\x03\x01\x02\x00\x01\x00", None),
    ("h2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505"),
    ("two lengths", HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\na", b"400"),
    ("length and chunks", HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
    ("negative length", HEAD + b"Content-Length: -1\r\n\r\n", b"400"),
    ("negative chunk", HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", b"400"),
    ("huge chunk", HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", b"4"),
    ("folded header", HEAD + b"X: a\r\n b\r\n\r\n", b"400"),
    ("bare line feeds", b"GET /live HTTP/1.1\nHost: localhost\n\n", b"400"),
    ("2 GiB announced", HEAD + b"Content-Length: 2147483648\r\n\r\n", b"413"),
    ("64 KiB of header", HEAD + b"X: " + b"a" * 70_000 + b"\r\n\r\n", b"431"),
    ("200 headers", HEAD + b"X: y\r\n" * 200 + b"\r\n", b"431"),
    ("an endless path", b"GET /" + b"a" * 100_000, b"414"),
    ("a path with a NUL", b"GET /live%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400"),
    ("a path that climbs", b"GET /v1/models/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"404"),
    ("the same, encoded", b"GET /v1/models/%2e%2e%2fetc HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"404"),
]


@pytest.mark.parametrize("name,sent,status", RAW, ids=[row[0] for row in RAW])
def test_raw_bytes(server, name, sent, status):
    with connect(server) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        got = answer(connection)
    if status is not None:
        assert got.startswith(b"HTTP/1.1 " + status), got[:200]
    assert alive(server)


def test_a_hundred_thousand_tiny_chunks(server):
    body = json.dumps({"inputs": "a" * 20_000}).encode()
    chunks = b"".join(b"1\r\n" + body[i:i + 1] + b"\r\n" for i in range(len(body)))
    before = rss(server)
    for _ in range(5):
        with connect(server) as connection:
            try:
                connection.sendall(HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" +
                                   chunks + b"0\r\n\r\n")
            except (ConnectionResetError, BrokenPipeError):
                pass
            assert answer(connection)[9:12] in (b"200", b"400")
    assert rss(server) - before < 30_000
    assert alive(server)


def test_half_closed_and_abandoned_connections(server):
    body = json.dumps({"inputs": ["a"] * 64}).encode()
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    for sent in (request[:10], request[:60], request[:-5], request):
        for _ in range(20):
            with connect(server) as connection:
                connection.sendall(sent)
    with connect(server) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)  # a client that says it is done, and waits
        assert answer(connection)[9:12] in (b"200", b"")
    assert alive(server)


def limited(tmp_path, limits):
    """A config of a small model with these settings."""
    config = tmp_path / "config.yaml"
    config.write_text(f"""trt_llm:
  build: {{base_model: encoder_bert, checkpoint_repository: {{source: LOCAL, repo: {harness.GOLDEN / 'bert_mean'}}}}}
millrace: {limits}
""")
    return config


# 85 is a word of seven letters.
@pytest.mark.parametrize("path,field,unit", [("/tokenize", "inputs", "a "), ("/decode", "ids", [85])])
def test_answers_that_outgrow_their_requests(tmp_path, path, field, unit):
    with harness.Server(limited(tmp_path, "{max_body_bytes: 10000}")) as running:
        for count, status in [(10, 200), (500, 422)]:
            body = {field: [unit * count] * 4}
            reply = httpx2.post(running.url + path, json=body, timeout=60)
            assert reply.status_code == status, reply.text
            if status == 422:
                assert "more than 10000 bytes" in reply.json()["error"]
        assert alive(running)


def test_slow_heads_time_out_and_take_nobodys_place(engine, tmp_path):
    with harness.Server(limited(tmp_path, "{header_timeout_s: 1, max_connections: 200}")) as running:
        slow = [connect(running) for _ in range(150)]
        for connection in slow:
            connection.sendall(b"GET /live HTTP/1.1\r\nHost: local")
        assert alive(running)
        assert slow[0].recv(100).startswith(b"HTTP/1.1 408")
        for connection in slow:
            connection.close()
        assert alive(running)


def test_a_json_bomb_is_refused_within_bounds(engine):
    """Small things nest into sixteen times their text: the parsed form has a limit of its own."""
    with harness.Server(engine) as running:
        assert alive(running)
        before = rss(running)
        bomb = b'{"input":[' + b"[]," * 20_000_000 + b"[]]}"
        reply = httpx2.post(running.url + "/v1/embeddings", content=bomb, timeout=60)
        assert reply.status_code == 400
        assert alive(running)
        assert rss(running) - before < 400_000  # KiB
