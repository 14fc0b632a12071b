"""A real HTTP server on loopback that stands in for the hub and ModelScope, and can misbehave as they do."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "c0ffee" * 6 + "c0ff"


@dataclass
class Behaviour:
    """How one file is served; the counts are used up request by request."""

    statuses: list[int] = field(default_factory=list)
    """Answered before any bytes are."""
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with such an answer."""
    cut_after: list[int] = field(default_factory=list)
    """Bytes after which the connection is cut."""
    ignore_range: bool = False
    ignore_if_range: bool = False
    extra_lengths: list[int] = field(default_factory=list)
    """Added to the announced Content-Length."""
    bytes_per_second: float | None = None
    stall_after: list[int] = field(default_factory=list)
    etags: list[str] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    """Served in the listed content's stead."""
    redirect: str | None = None
    no_etag: bool = False


class Hub:
    """`hub.files[repo][name] = bytes`; `hub.behave(name)` to misbehave; what was asked is in `hub.requests`."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.about: dict[str, object] = {"cardData": {"license": "mit", "language": ["en", "zh"]}}
        self.listed_sha256: dict[str, str] = {}
        self.large = 1000
        """Files from this size on are listed with their sha256, as LFS does; smaller ones with git's sha1."""
        self.behaviours: dict[str, Behaviour] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.served: Counter[str] = Counter()
        self.lock = threading.Lock()
        hub = self

        class Handler(_Handler):
            of = hub

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def behave(self, name: str, **how: object) -> Behaviour:
        self.behaviours[name] = Behaviour(**how)  # type: ignore[arg-type]
        return self.behaviours[name]

    def asked(self, name: str) -> list[dict[str, str]]:
        """The headers of the requests for a file's bytes."""
        return [headers for path, headers in self.requests if path.endswith(name)]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    of: Hub

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        path = unquote(parts.path)
        try:
            self._route(path, query)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _route(self, path: str, query: dict[str, str]) -> None:
        for repo, files in self.of.files.items():
            if path == f"/api/models/{repo}/revision/{query.get('revision', 'main')}":
                return self._listing(f"listing:{repo}", self._hub_listing(files))
            if path == f"/api/v1/models/{repo}/repo/files":
                return self._listing(f"listing:{repo}", self._modelscope_listing(files))
            if path == f"/api/v1/models/{repo}/repo" and query["FilePath"] in files:
                return self._file(query["FilePath"], files[query["FilePath"]])
            for prefix in (f"/{repo}/resolve/{COMMIT}/", "/cdn/"):
                if path.startswith(prefix) and path.removeprefix(prefix) in files:
                    name = path.removeprefix(prefix)
                    return self._file(name, files[name])
        self.of.requests.append((path, dict(self.headers)))
        return self._status(404, {"X-Error-Code": "RepoNotFound"})

    def _listing(self, name: str, answer: object) -> None:
        self.of.requests.append((name, dict(self.headers)))
        behaviour = self.of.behaviours.get(name, Behaviour())
        if behaviour.statuses:
            return self._status(behaviour.statuses.pop(0), behaviour.headers)
        return self._json(answer)

    def _hub_listing(self, files: dict[str, bytes]) -> object:
        rows: list[dict] = []
        for name, content in files.items():
            row: dict = {"rfilename": name, "size": len(content), "blobId": git_sha1(content)}
            if len(content) >= self.of.large:
                sha256 = self.of.listed_sha256.get(name) or hashlib.sha256(content).hexdigest()
                row["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
            rows.append(row)
        return {"id": "x", "sha": COMMIT, "siblings": rows, **self.of.about}

    def _modelscope_listing(self, files: dict[str, bytes]) -> object:
        rows: list[dict] = [{"Path": "folder", "Name": "folder", "Type": "tree", "Size": 0}]
        for name, content in files.items():
            sha256 = hashlib.sha256(content).hexdigest()
            rows.append({"Path": name, "Name": name, "Type": "blob", "Size": len(content), "Sha256": sha256})
        return {"Code": 200, "Success": True, "Message": "success", "Data": {"Files": rows}}

    def _file(self, name: str, content: bytes) -> None:
        self.of.requests.append((self.path, dict(self.headers)))
        behaviour = self.of.behaviours.get(name, Behaviour())
        if behaviour.statuses:
            return self._status(behaviour.statuses.pop(0), behaviour.headers)
        if behaviour.redirect:
            target, behaviour.redirect = behaviour.redirect, None
            return self._status(302, {"Location": target})
        if behaviour.contents:
            content = behaviour.contents.pop(0)
        etag = f'"{behaviour.etags.pop(0) if behaviour.etags else hashlib.sha256(content).hexdigest()}"'
        start = self._start(behaviour, etag)
        if start >= len(content) > 0:
            return self._status(416, {"Content-Range": f"bytes */{len(content)}"})
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if not behaviour.no_etag:
            self.send_header("ETag", etag)
        lie = behaviour.extra_lengths.pop(0) if behaviour.extra_lengths else 0
        self.close_connection = self.close_connection or bool(lie)
        self.send_header("Content-Length", str(len(content) - start + lie))
        self.end_headers()
        return self._body(name, content[start:], behaviour)

    def _start(self, behaviour: Behaviour, etag: str) -> int:
        wanted = self.headers.get("Range")
        if not wanted or behaviour.ignore_range:
            return 0
        condition = self.headers.get("If-Range")
        if condition and condition != etag and not behaviour.ignore_if_range:
            return 0
        return int(wanted.removeprefix("bytes=").rstrip("-"))

    def _body(self, name: str, content: bytes, behaviour: Behaviour) -> None:
        cut = behaviour.cut_after.pop(0) if behaviour.cut_after else None
        stall = behaviour.stall_after.pop(0) if behaviour.stall_after else None
        sent, step, started = 0, 1 << 15, time.monotonic()
        while sent < len(content):
            if stall is not None and sent >= stall:
                time.sleep(3)
                self.close_connection = True
                return
            if cut is not None and sent >= cut:
                self.close_connection = True
                return
            block = content[sent : sent + min(step, (cut - sent) if cut is not None else step)]
            self.wfile.write(block)
            sent += len(block)
            with self.of.lock:
                self.of.served[name] += len(block)
            if behaviour.bytes_per_second:
                time.sleep(max(0.0, started + sent / behaviour.bytes_per_second - time.monotonic()))

    def _json(self, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _status(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()
