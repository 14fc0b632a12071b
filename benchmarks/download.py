"""Download throughput against curl, from one loopback server, file by file in turns.

Ours does more: it hashes what comes and makes it durable. So two ratios: against curl alone, which
leaves the bytes in the page cache, and against curl followed by sync and sha256sum, which is what a
careful person types. One JSON line; ratio = ours / curl, goal >= 0.9.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.operation import Silent
from core.weights.download import DownloadRequest, download

REPO, NAME = "bench/large", "model.safetensors"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    file: Path
    listing: bytes
    limit: float

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        is_file = self.path.endswith(NAME)
        self.send_response(200)
        self.send_header("Content-Length", str(self.file.stat().st_size if is_file else len(self.listing)))
        self.end_headers()
        if not is_file:
            self.wfile.write(self.listing)
            return
        self.wfile.flush()
        with self.file.open("rb") as source:
            self.throttled(source) if self.limit else self.connection.sendfile(source)

    def throttled(self, source: object) -> None:
        started, sent, size = time.monotonic(), 0, self.file.stat().st_size
        while sent < size:
            sent += self.connection.sendfile(source, offset=sent, count=min(1 << 20, size - sent))  # type: ignore[arg-type]
            time.sleep(max(0.0, started + sent / self.limit - time.monotonic()))


def serve(file: Path, megabytes_per_second: float, port: int) -> None:
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    row = {"rfilename": NAME, "size": file.stat().st_size, "lfs": {"sha256": sha256, "size": file.stat().st_size}}
    Handler.file, Handler.listing = file, json.dumps({"sha": "main", "siblings": [row]}).encode()
    Handler.limit = megabytes_per_second * 1e6
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def ours(url: str, out: Path) -> float:
    result = download(DownloadRequest(repo=REPO, out=out / "ours", endpoint=url), Silent())
    return result.seconds


def curl(url: str, out: Path, *, careful: bool) -> float:
    started = time.monotonic()
    target = out / "curl"
    subprocess.run(["curl", "-sSf", "-o", str(target), f"{url}/{REPO}/resolve/main/{NAME}"], check=True)
    if careful:
        subprocess.run(["sync", str(target)], check=True)
        subprocess.run(["sha256sum", str(target)], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def settle(out: Path) -> None:
    """Nothing of the run before is left to write."""
    for path in out.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    os.sync()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--limit", type=float, default=0, help="MB/s that the server sends at most; 0: as fast as it can"
    )
    parser.add_argument(
        "--folder", type=Path, default=None, help="where to write; default: the system's temporary folder"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        print(json.dumps(measure(Path(scratch), options.megabytes, options.rounds, options.limit)))


def measure(scratch: Path, megabytes: int, rounds: int, limit: float) -> dict:
    os.environ["KNOWLM_STUDIO_HOME"] = str(scratch / "workspace")
    source, out = scratch / "source", scratch / "out"
    block = os.urandom(1_000_000)
    with source.open("wb") as file:
        for _ in range(megabytes):
            file.write(block)
    out.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, __file__, "--serve", str(source), str(limit), str(port)])
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url)
        seconds: dict[str, list[float]] = {"ours": [], "curl": [], "careful": []}
        for _ in range(rounds):
            for name, run in (
                ("curl", lambda: curl(url, out, careful=False)),
                ("ours", lambda: ours(url, out)),
                ("careful", lambda: curl(url, out, careful=True)),
            ):
                settle(out)
                seconds[name].append(run())
    finally:
        server.kill()
        server.wait()
    rate = {name: megabytes / statistics.median(all_of) for name, all_of in seconds.items()}
    return {
        "benchmark": "download",
        "megabytes": megabytes,
        "server_limit_mb_s": limit or None,
        "ours_mb_s": round(rate["ours"]),
        "curl_mb_s": round(rate["curl"]),
        "curl_sync_sha256_mb_s": round(rate["careful"]),
        "ratio": round(rate["ours"] / rate["curl"], 3),
        "ratio_to_curl_sync_sha256": round(rate["ours"] / rate["careful"], 3),
        "goal": 0.9,
    }


def wait_for(url: str) -> None:
    for _ in range(600):
        if subprocess.run(["curl", "-sf", "-o", os.devnull, f"{url}/ready"], check=False).returncode == 0:
            return
        time.sleep(0.1)
    raise SystemExit("the loopback server did not start")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        threading.current_thread().name = "server"
        serve(Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
