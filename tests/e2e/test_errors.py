"""Bad requests get the documented status and body, and the server lives."""

import json

import httpx2
import pytest


def embeddings(body, **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return dict(method="POST", path="/v1/embeddings", content=content,
                headers={"content-type": "application/json", **headers})


DEEP = b'{"input":' + b"[" * 1000 + b"]" * 1000 + b"}"

# name, request, status, code or None where the code is not fixed, parameter named
CASES = [
    ("not json", embeddings(b"{"), 400, None, None),
    ("empty body", embeddings(b""), 400, None, None),
    ("json but no object", embeddings([1]), 400, None, None),
    ("data after the object", embeddings(b'{"input":"a"} x'), 400, None, None),
    ("too deep", embeddings(DEEP), 400, None, None),
    ("invalid utf-8", embeddings(b'{"input":"\xff\xfe"}'), 400, None, None),
    ("lone surrogate", embeddings(b'{"input":"\\ud800"}'), 400, None, None),
    ("nan", embeddings(b'{"input":"a","dimensions":NaN}'), 400, None, None),
    ("no input", embeddings({"model": "m"}), 400, None, "input"),
    ("null input", embeddings({"input": None}), 400, None, "input"),
    ("input is a number", embeddings({"input": 5}), 400, None, "input"),
    ("input is an object", embeddings({"input": {"text": "a"}}), 400, None, "input"),
    ("empty text", embeddings({"input": ""}), 400, None, "input"),
    ("empty list", embeddings({"input": []}), 400, None, "input"),
    ("empty text in a list", embeddings({"input": ["a", ""]}), 400, None, "input"),
    ("empty token list", embeddings({"input": [[]]}), 400, None, "input"),
    ("mixed list", embeddings({"input": ["a", 5]}), 400, None, "input"),
    ("nested text", embeddings({"input": [["a"]]}), 400, None, "input"),
    ("too many inputs", embeddings({"input": ["a"] * 129}), 400, None, "input"),
    ("negative token", embeddings({"input": [101, -1, 102]}), 400, None, "input"),
    ("token beyond the vocabulary", embeddings({"input": [[101, 30522, 102]]}), 400, None, "input"),
    ("token beyond 64 bits", embeddings(b'{"input":[18446744073709551616]}'), 400, None, "input"),
    ("fractional token", embeddings({"input": [1.5]}), 400, None, "input"),
    ("unknown encoding", embeddings({"input": "a", "encoding_format": "hex"}), 400, None,
     "encoding_format"),
    ("dimensions as text", embeddings({"input": "a", "dimensions": "8"}), 400, None, "dimensions"),
    ("model is a number", embeddings({"input": "a", "model": 7}), 400, None, "model"),
    ("unknown path", dict(method="GET", path="/v1/nothing"), 404, None, None),
    ("unknown model", dict(method="GET", path="/v1/models/no-such-model"), 404, "model_not_found", None),
    ("wrong method", dict(method="GET", path="/v1/embeddings"), 405, None, None),
]


@pytest.mark.parametrize("name,request_,status,code,param", CASES, ids=[case[0] for case in CASES])
def test_refused(server, name, request_, status, code, param):
    request_ = dict(request_)
    reply = httpx2.request(request_.pop("method"), server.url + request_.pop("path"), **request_)
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"].startswith("application/json")
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str) and error["message"]
    assert error["type"] == ("not_found_error" if status == 404 else "invalid_request_error")
    if code:
        assert error["code"] == code
    if param:
        assert error["param"] == param
    good = httpx2.post(f"{server.url}/v1/embeddings", json={"input": "still here"})
    assert good.status_code == 200


def test_body_over_the_limit_is_413(server):
    # The announced length alone is refused, so that nothing needs to be sent.
    import socket
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                           b"Content-Length: 100000000000\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")


def test_garbage_on_the_socket_is_400(server):
    import socket
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"\x16\x03\x01 this is not http\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 400")
    assert httpx2.get(f"{server.url}/health").status_code == 200


def test_vanished_clients_do_no_harm(server):
    import socket
    body = json.dumps({"input": ["word " * 200] * 100}).encode()
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                               b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert httpx2.post(f"{server.url}/v1/embeddings", json={"input": "a"}, timeout=60).status_code == 200
