"""`make demo-model-eval` against a server of this test: right and wrong answers, and addresses that do not answer."""

import json
import subprocess
import sys
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools.demo_model.evaluate import ROWS, items_of, sent  # noqa: E402

COUNT = 2
Answer = Callable[[dict[str, Any]], tuple[int, str]]  # the request's body -> status, text


def completion(message: dict[str, Any]) -> tuple[int, str]:
    return 200, json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", **message}}]})


def right_answers() -> dict[str, dict[str, Any]]:
    """The right assistant message for each conversation of the evaluation, as an OpenAI server words it."""
    out = {}
    for row in ROWS:
        items = items_of(row, COUNT, 1)
        for item, asked in zip(items, sent(items)):
            message: dict[str, Any] = {"content": item.answer or None}
            if item.calls:
                calls = [{**c, "arguments": json.dumps(c["arguments"])} for c in item.calls]
                message["tool_calls"] = [{"id": "c", "type": "function", "function": c} for c in calls]
            out[json.dumps([asked.messages, item.tools])] = message
    return out


class Server:
    """An OpenAI-compatible server as far as the evaluation goes."""

    def __init__(self, answer: Answer):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, text = answer(body) if self.path == "/v1/chat/completions" else (404, "no such route")
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def __enter__(self) -> str:
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self.url

    def __exit__(self, *_: Any) -> None:
        self.http.shutdown()
        self.http.server_close()


def evaluate(url: str, args: str = "") -> subprocess.CompletedProcess[str]:
    command = ["make", "-s", "-C", str(ROOT), "demo-model-eval", f"URL={url}", f"ARGS=--count {COUNT} {args}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def figures(table: str) -> dict[str, float]:
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")]
    return {row[0]: float(row[2]) for row in cells if row[1].isdigit()}


class Evaluation(unittest.TestCase):
    def test_right_answers_make_a_table_of_hundreds(self) -> None:
        answers = right_answers()

        def answer(body: dict[str, Any]) -> tuple[int, str]:
            self.assertEqual((body["model"], body["temperature"]), ("demo-model", 0))
            return completion(answers[json.dumps([body["messages"], body.get("tools", [])])])

        with Server(answer) as url:
            done = evaluate(url)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(figures(done.stdout), dict.fromkeys([*ROWS, "valid JSON", "valid tool calls"], 100.0))

    def test_wrong_answers_count_as_wrong(self) -> None:
        broken = {"name": "x", "arguments": '{"a": '}
        message = {"content": "{", "tool_calls": [{"id": "c", "type": "function", "function": broken}]}
        with Server(lambda body: completion(message)) as url:
            done = evaluate(url, "--rows 'extraction,tool call'")
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = ["extraction", "tool call", "valid JSON", "valid tool calls"]
        self.assertEqual(figures(done.stdout), dict.fromkeys(rows, 0.0))

    def test_who_does_not_answer_is_named(self) -> None:
        closed = Server(lambda body: (200, ""))
        closed.http.server_close()
        cases: list[tuple[str, Server, str]] = [
            ("nobody listens", closed, f"no answer from {closed.url}: "),
            ("a refusal", Server(lambda body: (404, "no model demo-model")), "answered 404: no model demo-model"),
            ("no JSON", Server(lambda body: (200, "<html>")), "does not answer as the OpenAI API does"),
            ("other JSON", Server(lambda body: (200, "[]")), "does not answer as the OpenAI API does"),
        ]
        for name, server, sentence in cases:
            with self.subTest(name):
                if server is closed:
                    done = evaluate(server.url, "--rows sum")
                else:
                    with server as url:
                        done = evaluate(url, "--rows sum")
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(sentence, done.stderr)
                self.assertNotIn("Traceback", done.stderr)


if __name__ == "__main__":
    unittest.main()
