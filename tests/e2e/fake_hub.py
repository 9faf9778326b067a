"""A hub and its content network on two local ports, over directories of this machine."""

import hashlib
import json
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Repository:
    """Files of one directory, as commits that branches and pull requests name."""
    directory: Path
    revisions: dict  # "main", "refs/pr/1", ... -> commit
    token: str = ""  # asked for when not empty: the repository is gated
    files: list = field(init=False)

    def __post_init__(self):
        self.directory = Path(self.directory)
        self.files = sorted(str(path.relative_to(self.directory))
                            for path in self.directory.rglob("*") if path.is_file())

    def commit_of(self, revision):
        return revision if revision in self.revisions.values() else self.revisions.get(revision)


@dataclass
class Seen:
    server: str  # "hub" or "cdn"
    method: str
    path: str
    authorization: str
    sent: int = 0  # bytes of bodies


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = urllib.parse.urlsplit(self.path).path
        self.seen = Seen(self.server.name, self.command, path, self.headers.get("Authorization", ""))
        self.server.hub.seen.append(self.seen)
        try:
            self.server.route(self, path)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def reply(self, status, headers=(), body=b""):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.seen.sent += len(body)

    def reply_json(self, value, headers=()):
        self.reply(200, [("Content-Type", "application/json"), *headers], json.dumps(value).encode())

    def reply_file(self, file, headers=()):
        """A file or a range of it, at no more than the hub's rate."""
        size = file.stat().st_size
        begin, end, status = 0, size, 200
        if asked := self.headers.get("Range"):
            first, last = asked.removeprefix("bytes=").split("-")
            begin, end, status = int(first), int(last) + 1 if last else size, 206
            if begin >= size:
                return self.reply(416)
            end = min(end, size)
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status == 206:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{size}")
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        if self.command == "HEAD":
            return
        with file.open("rb") as stream:
            stream.seek(begin)
            while begin < end:
                part = stream.read(min(256 * 1024, end - begin))
                self.wfile.write(part)
                self.seen.sent += len(part)
                begin += len(part)
                self.server.hub.pace(len(part))


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class FakeHub:
    """`bytes_per_second` slows the content network down, all connections together."""

    def __init__(self, repositories, bytes_per_second=None):
        self.repositories = repositories
        self.bytes_per_second = bytes_per_second
        self.seen = []
        self._hashes = {}
        self._pace = threading.Lock()
        self._hub = self._start("hub", self.route_hub)
        self._cdn = self._start("cdn", self.route_cdn)

    def _start(self, name, route):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.name, server.hub, server.route = name, self, route
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    @property
    def url(self):
        return f"http://127.0.0.1:{self._hub.server_port}"

    def stop(self):
        for server in (self._hub, self._cdn):
            server.shutdown()
            server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def pace(self, count):
        if self.bytes_per_second:
            with self._pace:
                time.sleep(count / self.bytes_per_second)

    def sent(self, server="cdn"):
        return sum(seen.sent for seen in self.seen if seen.server == server)

    def etag(self, file):
        """Large files are known by SHA-256, others by git's SHA-1."""
        if file not in self._hashes:
            data = file.read_bytes()
            large = file.suffix == ".safetensors"
            self._hashes[file] = hashlib.sha256(data).hexdigest() if large else git_sha1(data)
        return self._hashes[file]

    def find(self, path):
        """("org/name", what stands after it) of "/org/name/..."."""
        for name in self.repositories:
            if path.startswith(f"/{name}/"):
                return name, path.removeprefix(f"/{name}/")
        return None, None

    def route_hub(self, handler, path):
        api = path.startswith("/api/")
        path = path.removeprefix("/api/models").removeprefix("/api/resolve-cache/models")
        name, rest = self.find(path)
        if not name:
            return handler.reply(401, [("X-Error-Code", "RepoNotFound"),
                                       ("X-Error-Message", "Repository not found")])
        repository = self.repositories[name]
        if repository.token and handler.seen.authorization != f"Bearer {repository.token}":
            given = bool(handler.seen.authorization)
            return handler.reply(403 if given else 401, [
                ("X-Error-Code", "GatedRepo"),
                ("X-Error-Message", f"Access to model {name} is restricted.")])
        verb, _, rest = rest.partition("/")
        revision, _, file = rest.partition("/")
        commit = repository.commit_of(urllib.parse.unquote(revision))
        if not commit:
            return handler.reply(404, [("X-Error-Code", "RevisionNotFound")])
        if verb == "revision":
            return handler.reply_json({
                "id": name, "modelId": name, "sha": commit, "private": False,
                "siblings": [{"rfilename": path} for path in repository.files]})
        if verb == "tree":
            return handler.reply_json([self.tree_entry(repository, file) for file in repository.files])
        file = urllib.parse.unquote(file)
        if file not in repository.files:
            return handler.reply(404, [("X-Error-Code", "EntryNotFound"), ("X-Repo-Commit", commit)])
        full = repository.directory / file
        common = [("X-Repo-Commit", commit), ("ETag", f'"{self.etag(full)}"')]
        if full.suffix == ".safetensors":
            return handler.reply(302, [
                ("X-Repo-Commit", commit), ("X-Linked-Etag", f'"{self.etag(full)}"'),
                ("X-Linked-Size", str(full.stat().st_size)),
                ("Location", f"http://localhost:{self._cdn.server_port}/{name}/{file}?signature=s3cret")])
        if not api:
            target = f"/api/resolve-cache/models/{name}/resolve/{commit}/{urllib.parse.quote(file)}"
            return handler.reply(307, [*common, ("Location", target)])
        handler.reply_file(full, common)

    def tree_entry(self, repository, file):
        full = repository.directory / file
        size = full.stat().st_size
        entry = {"type": "file", "path": file, "size": size, "oid": git_sha1(full.read_bytes())}
        if full.suffix == ".safetensors":
            entry["lfs"] = {"oid": self.etag(full), "size": size, "pointerSize": 134}
        return entry

    def route_cdn(self, handler, path):
        name, file = self.find(path)
        handler.reply_file(self.repositories[name].directory / urllib.parse.unquote(file))
