"""`millrace chat` against a made-up server: through pipes, and on a pseudo terminal."""

import contextlib
import http.server
import json
import os
import pty
import select
import signal
import subprocess
import threading
import time

import harness


@contextlib.contextmanager
def fake_server(answer):
    """A server that streams what `answer(messages)` yields; keeps the bodies that it was sent."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            reply = json.dumps({"data": [{"id": "fake"}]}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            bodies.append(body)
            self.send_response(200)
            self.send_header("content-type", "text/event-stream; charset=utf-8")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            try:
                for text in answer(body["messages"]):
                    self.event(json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}))
                self.event(json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
                self.event("[DONE]")
                self.wfile.write(b"0\r\n\r\n")
            except OSError:
                broken.set()
                self.close_connection = True

        def event(self, data):
            event = f"data: {data}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

    bodies, broken = [], threading.Event()
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.bodies, server.broken = bodies, broken
    try:
        yield server
    finally:
        server.shutdown()


def echo(messages):
    yield "You said "
    yield messages[-1]["content"]


def endless(_):
    yield "beginning"
    while True:
        time.sleep(0.02)
        yield "."


def chat(url, *flags, text=""):
    command = [harness.BINARY, "chat", url, *flags]
    return subprocess.run(list(map(str, command)), input=text.encode(), capture_output=True, timeout=60)


def processes_of_session(session):
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(ProcessLookupError):  # it ends just now
            found += [int(name)] if os.getsid(int(name)) == session else []
    return found


class Terminal:
    """`millrace chat` on a pseudo terminal."""

    def __init__(self, *arguments):
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.execv(harness.BINARY, [str(harness.BINARY), "chat", *arguments])
        self.seen = b""

    def wait_for(self, text, timeout=20.0):
        """Reads until `text` has appeared behind what was waited for before."""
        end = time.monotonic() + timeout
        while text not in self.seen:
            left = end - time.monotonic()
            assert left > 0, (text, self.seen)
            if select.select([self.file], [], [], left)[0]:
                self.seen += os.read(self.file, 4096)
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, text):
        os.write(self.file, text)

    def status(self):
        with contextlib.suppress(OSError):  # the terminal goes with its last process
            while os.read(self.file, 4096):
                pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self):
        os.close(self.file)


def test_lines_of_a_pipe_are_messages():
    with fake_server(echo) as server:
        run = chat(server.url, "--system", "be kind", "--max-tokens", 7, text="one\n\n/reset\ntwo\nthree")
        assert run.returncode == 0, run.stderr
        assert run.stdout == b"You said one\nYou said two\nYou said three\n"
        roles = [[m["role"] for m in body["messages"]] for body in server.bodies]
        assert roles == [["system", "user"], ["system", "user"], ["system", "user", "assistant", "user"]]
        assert all(body["model"] == "fake" and body["max_tokens"] == 7 for body in server.bodies)


def test_a_model_is_served_for_the_time_of_the_chat(demo_client):
    question = "What is Millrace?"
    whole = demo_client.chat.completions.create(model="demo-model", temperature=0, max_tokens=20,
                                                messages=[{"role": "user", "content": question}])
    command = [harness.BINARY, "chat", harness.ROOT / "examples" / "demo-model", "--once", "--temperature", "0", "--max-tokens", "20"]
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    assert processes_of_session(run.pid) != []
    said, told = run.communicate(question.encode(), timeout=60)
    assert run.returncode == 0, told
    assert said.decode().strip() == whole.choices[0].message.content.strip() != ""
    assert processes_of_session(run.pid) == [], "the server that it started goes with it"


def test_once_sends_everything_as_one_message():
    with fake_server(echo) as server:
        run = chat(server.url, "--once", text="/first\nsecond")
        assert run.stdout == b"You said /first\nsecond\n"
        assert run.returncode == 0


def test_problems_are_sentences():
    with fake_server(lambda _: iter(())) as server:
        url = server.url
        run = chat(url, text="/nonsense\nhi\n")
        assert run.returncode == 1
        assert b"millrace: /nonsense is no command; /help lists them" in run.stderr
    run = chat("http://127.0.0.1:1", text="hi\n")
    assert run.returncode == 1
    assert b"is the server running?" in run.stderr
    run = chat("ftp://x", text="hi\n")
    assert run.returncode != 0 and run.stderr.startswith(b"millrace: ")


def test_a_conversation_on_a_terminal():
    with fake_server(echo) as server:
        terminal = Terminal(server.url)
        terminal.wait_for(b"> ")
        terminal.type(b"hello\n")
        terminal.wait_for(b"You said hello")
        terminal.wait_for(b"> ")
        terminal.type(b"not sent\x03")  # it may not wait for input yet
        terminal.wait_for(b"/quit or Ctrl-D leaves")
        terminal.wait_for(b"> ")
        terminal.type(b"/quit\n")
        assert terminal.status() == 0
        assert [m["content"] for m in server.bodies[-1]["messages"]] == ["hello"]
        terminal.close()


def test_ctrl_c_stops_the_answer_and_the_server_notices():
    with fake_server(endless) as server:
        terminal = Terminal(server.url)
        terminal.wait_for(b"> ")
        terminal.type(b"go\n")
        terminal.wait_for(b"beginning")
        terminal.type(b"\x03")
        terminal.wait_for(b"(stopped)")
        assert server.broken.wait(20)
        terminal.wait_for(b"> ")
        terminal.type(b"\x04")
        assert terminal.status() == 0
        terminal.close()


def test_a_terminal_is_not_obeyed_by_the_model():
    evil = "\x1b]0;owned\x07\x1b[2J\u202eabc\r\u009b2J"
    with fake_server(lambda _: iter([evil])) as server:
        terminal = Terminal(server.url)
        terminal.wait_for(b"> ")
        terminal.type(b"hi\n")
        shown = terminal.wait_for("^[]0;owned^G^[[2J<U+202E>abc^M<U+009B>2J".encode())
        assert b"\x1b" not in shown
        terminal.type(b"\x04")
        assert terminal.status() == 0
        terminal.close()
        assert chat(server.url, text="hi\n").stdout == evil.encode() + b"\n"  # a pipe gets the bytes


def test_a_chat_ends_at_sigterm():
    with fake_server(endless) as server:
        terminal = Terminal(server.url)
        terminal.wait_for(b"> ")
        os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.status() == -signal.SIGTERM
        terminal.close()
