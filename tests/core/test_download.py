"""Downloads against a real loopback server that behaves as badly as hubs and networks do."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import models, settings
from core.errors import Cancelled, UserError
from core.operation import Silent
from core.weights import download as downloading
from core.weights import part as parts
from core.weights import sources
from core.weights.download import DownloadRequest, DownloadResult, download
from core.weights.web import Patience
from tests.core.loopback_hub import COMMIT, Hub

REPO = "acme/tiny"
SHORT = Patience(tries=4, first=0.02, longest=0.1, silence=0.7)
SHARDS = {f"model-0000{n}-of-00002.safetensors": random.Random(n).randbytes(300_000) for n in (1, 2)}
INDEX = json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}})
WEIGHTS = "model-00001-of-00002.safetensors"


@pytest.fixture
def hub(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "HF_ENDPOINT", "MODELSCOPE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(workspace / "no-token"))
    made = Hub()
    made.files[REPO] = {
        "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
        "model.safetensors.index.json": INDEX.encode(),
        **SHARDS,
        "notes/read me.txt": b"hello",
    }
    yield made
    made.close()


def fetch(hub: Hub, out: Path, **fields: object) -> DownloadResult:
    request = DownloadRequest(**{"repo": REPO, "out": out, "endpoint": hub.url, **fields})  # type: ignore[arg-type]
    return download(request, Silent(), SHORT)


def assert_whole(hub: Hub, out: Path, names: list[str] | None = None) -> None:
    for name in names if names is not None else hub.files[REPO]:
        assert (out / name).read_bytes() == hub.files[REPO][name]
    assert not list(out.rglob("*.part")) and not list(out.rglob("*.part.json"))


@pytest.mark.parametrize("source", ["hub", "mirror", "modelscope"])
def test_a_repository_comes_whole_from_every_source(hub: Hub, tmp_path: Path, source: str) -> None:
    result = fetch(hub, tmp_path / "out", source=source)
    assert_whole(hub, tmp_path / "out")
    assert result.bytes == sum(map(len, hub.files[REPO].values()))
    card = models.read_card(tmp_path / "out")
    assert card.files == {name: hashlib.sha256(data).hexdigest() for name, data in hub.files[REPO].items()}


def test_the_card_tells_licence_languages_and_the_exact_commit(hub: Hub, tmp_path: Path) -> None:
    fetch(hub, tmp_path)
    card = models.read_card(tmp_path)
    assert (card.license, card.languages) == ("mit", ("en", "zh"))
    assert card.source == f"Hugging Face: {REPO}@{COMMIT}"


def test_every_source_has_a_module_and_every_module_is_a_choice() -> None:
    from typing import get_args

    from core import registry

    assert set(registry.plugins("core.weights.sources")) == set(get_args(sources.SourceName))


def test_a_second_call_fetches_nothing(hub: Hub, tmp_path: Path) -> None:
    fetch(hub, tmp_path)
    asked = len(hub.requests)
    assert fetch(hub, tmp_path).bytes == 0
    assert len(hub.requests) == asked + 1  # the listing


def test_a_file_that_was_damaged_since_is_fetched_again(hub: Hub, tmp_path: Path) -> None:
    fetch(hub, tmp_path)
    flip_a_bit(tmp_path / WEIGHTS)
    assert fetch(hub, tmp_path).bytes == len(SHARDS[WEIGHTS])
    assert_whole(hub, tmp_path)


def test_patterns_and_single_files(hub: Hub, tmp_path: Path) -> None:
    assert set(fetch(hub, tmp_path / "a", include=("*.txt", "config.json")).files) == {
        "config.json",
        "notes/read me.txt",
    }
    assert "notes/read me.txt" not in fetch(hub, tmp_path / "b", exclude=("notes/*",)).files
    assert set(fetch(hub, tmp_path / "c", file=WEIGHTS).files) == {WEIGHTS}
    with pytest.raises(UserError, match="no file that matches"):
        fetch(hub, tmp_path / "d", file="nothing.bin")


def test_weights_in_two_formats_are_fetched_once_where_one_is_enough(hub: Hub, tmp_path: Path) -> None:
    twins = {"pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json", "tf_model.h5", "old/adapter_model.bin"}
    index = json.dumps({"weight_map": {"a": "pytorch_model-00001-of-00001.bin"}}).encode()
    hub.files[REPO] |= {name: index if name.endswith("json") else b"twin" for name in twins}
    hub.files[REPO] |= {
        "old/adapter_model.safetensors": b"x",
        "new/adapter_model.bin": b"alone",
        "training_args.bin": b"y",
    }
    found = set(fetch(hub, tmp_path / "one", one_format=True).files)
    assert found == set(hub.files[REPO]) - twins
    assert set(fetch(hub, tmp_path / "all").files) == set(hub.files[REPO])


def test_a_later_single_file_adds_to_the_card(hub: Hub, tmp_path: Path) -> None:
    fetch(hub, tmp_path, file=WEIGHTS)
    fetch(hub, tmp_path, file="config.json")
    assert set(models.read_card(tmp_path).files) == {WEIGHTS, "config.json"}


def test_shards_left_out_by_choice_are_named(hub: Hub, tmp_path: Path) -> None:
    result = fetch(hub, tmp_path, exclude=("model-00002*",))
    assert result.left_out == ("model-00002-of-00002.safetensors",)
    assert "not complete" in result.summary()


def test_a_repository_without_a_shard_of_its_index_is_never_done(hub: Hub, tmp_path: Path) -> None:
    del hub.files[REPO]["model-00002-of-00002.safetensors"]
    with pytest.raises(UserError, match="incomplete"):
        fetch(hub, tmp_path)
    assert not (tmp_path / models.CARD).exists()


def test_config_and_index_come_last(hub: Hub, tmp_path: Path) -> None:
    hub.behave(WEIGHTS, statuses=[404])
    with pytest.raises(UserError, match="no such repository, revision or file"):
        fetch(hub, tmp_path)
    assert not (tmp_path / "config.json").exists() and not (tmp_path / "model.safetensors.index.json").exists()


# --- networks and servers that misbehave


def test_a_cut_connection_is_gone_on_with(hub: Hub, tmp_path: Path) -> None:
    hub.behave(WEIGHTS, cut_after=[100_000, 50_000, 60_000])
    fetch(hub, tmp_path)
    assert_whole(hub, tmp_path)
    ranges = [headers.get("Range") for headers in hub.asked(WEIGHTS)]
    assert ranges == [None, "bytes=100000-", "bytes=150000-", "bytes=210000-"]
    assert all("If-Range" in headers for headers in hub.asked(WEIGHTS)[1:])
    assert hub.served[WEIGHTS] == 300_000


def test_a_silent_connection_is_given_up_and_gone_on_with(hub: Hub, tmp_path: Path) -> None:
    hub.behave(WEIGHTS, stall_after=[100_000])
    started = time.monotonic()
    fetch(hub, tmp_path)
    assert_whole(hub, tmp_path)
    assert time.monotonic() - started < 2.5


def test_a_slow_server_is_waited_for(hub: Hub, tmp_path: Path) -> None:
    hub.behave(WEIGHTS, bytes_per_second=300_000)
    fetch(hub, tmp_path)
    assert_whole(hub, tmp_path)
    assert len(hub.asked(WEIGHTS)) == 1


def test_a_server_that_ignores_range_costs_that_file_only(hub: Hub, tmp_path: Path) -> None:
    hub.behave(WEIGHTS, cut_after=[100_000], ignore_range=True)
    result = fetch(hub, tmp_path)
    assert_whole(hub, tmp_path)
    assert result.bytes == sum(map(len, hub.files[REPO].values())) + 100_000


def test_a_file_that_changes_half_way_starts_over(hub: Hub, tmp_path: Path) -> None:
    hub.behave(WEIGHTS, cut_after=[100_000], contents=[random.randbytes(300_000)])
    fetch(hub, tmp_path)
    assert_whole(hub, tmp_path)


def test_another_etag_in_a_206_starts_over(hub: Hub, tmp_path: Path) -> None:
    hub.behave(WEIGHTS, cut_after=[100_000], contents=[random.randbytes(300_000)], ignore_if_range=True)
    fetch(hub, tmp_path)
    assert_whole(hub, tmp_path)
    assert [headers.get("Range") for headers in hub.asked(WEIGHTS)] == [None, "bytes=100000-", None]


def test_a_length_that_is_a_lie_is_noticed(hub: Hub, tmp_path: Path) -> None:
    hub.behave(WEIGHTS, extra_lengths=[10] * SHORT.tries)
    with pytest.raises(UserError, match="announces 300010 bytes"):
        fetch(hub, tmp_path)
    hub.behave(WEIGHTS, extra_lengths=[-10])  # ends early: the rest is asked for
    fetch(hub, tmp_path)
    assert_whole(hub, tmp_path)
    assert hub.asked(WEIGHTS)[-1]["Range"] == "bytes=299990-"


def test_a_wrong_file_of_the_right_length_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.behave(WEIGHTS, contents=[random.randbytes(300_000)] * 8)
    with pytest.raises(UserError, match="its hash differs") as caught:
        fetch(hub, tmp_path)
    assert WEIGHTS in str(caught.value)
    assert not (tmp_path / WEIGHTS).exists()


def test_a_flipped_bit_in_a_small_file_is_noticed_by_gits_hash(hub: Hub, tmp_path: Path) -> None:
    hub.behave("config.json", contents=[hub.files[REPO]["config.json"].replace(b"Llama", b"Lkama")] * 2)
    with pytest.raises(UserError, match="its hash differs"):
        fetch(hub, tmp_path)


@pytest.mark.parametrize("statuses", [[500, 502], [503], [429, 429]])
def test_a_busy_server_is_tried_again(hub: Hub, tmp_path: Path, statuses: list[int]) -> None:
    hub.behave(WEIGHTS, statuses=statuses)
    hub.behave(f"listing:{REPO}", statuses=list(statuses))
    fetch(hub, tmp_path)
    assert_whole(hub, tmp_path)


def test_a_server_that_stays_broken_is_told(hub: Hub, tmp_path: Path) -> None:
    hub.behave(WEIGHTS, statuses=[500] * 20)
    with pytest.raises(UserError, match="HTTP 500"):
        fetch(hub, tmp_path)
    assert len(hub.asked(WEIGHTS)) == SHORT.tries


def test_retry_after_is_waited_for(hub: Hub, tmp_path: Path) -> None:
    hub.behave(f"listing:{REPO}", statuses=[429], headers={"Retry-After": "1"})
    started = time.monotonic()
    fetch(hub, tmp_path, file="config.json")
    assert time.monotonic() - started >= 1


def test_nobody_there_is_told_with_words(hub: Hub, tmp_path: Path) -> None:
    hub.close()
    with pytest.raises(UserError, match="can't be reached"):
        fetch(hub, tmp_path)


def test_redirects_in_circles_are_left(hub: Hub, tmp_path: Path) -> None:
    hub.behave("config.json", statuses=[302] * 20, headers={"Location": f"/{REPO}/resolve/{COMMIT}/config.json"})
    with pytest.raises(UserError, match="circles"):
        fetch(hub, tmp_path, file="config.json")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_redirects_to_other_schemes_are_refused(hub: Hub, tmp_path: Path, target: str) -> None:
    hub.behave("config.json", redirect=target)
    with pytest.raises(UserError, match="not safe"):
        fetch(hub, tmp_path, file="config.json")


# --- doors that are closed


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "GatedRepo", "is gated"),
        (403, "GatedRepo", "is gated"),
        (401, "RepoNotFound", "not signed in"),
        (404, "", "no such"),
    ],
)
def test_closed_doors_are_explained_with_the_page_to_visit(
    hub: Hub, tmp_path: Path, status: int, code: str, words: str
) -> None:
    hub.behave(f"listing:{REPO}", statuses=[status], headers={"X-Error-Code": code})
    with pytest.raises(UserError, match=words) as caught:
        fetch(hub, tmp_path)
    assert f"{hub.url}/{REPO}" in str(caught.value)


def test_a_refused_token_is_told_and_not_shown(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    hub.behave(f"listing:{REPO}", statuses=[401])
    with pytest.raises(UserError, match="does not accept the token") as caught:
        fetch(hub, tmp_path)
    assert "verysecret" not in str(caught.value)


def test_the_token_goes_to_the_hub_and_to_nobody_else(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    elsewhere = Hub()
    elsewhere.files["x"] = hub.files[REPO]
    hub.behave(WEIGHTS, redirect=f"{elsewhere.url}/cdn/{WEIGHTS}")
    fetch(hub, tmp_path)
    assert_whole(hub, tmp_path)
    assert all(headers["Authorization"] == "Bearer hf_verysecret" for _, headers in hub.requests)
    assert elsewhere.requests and not any("Authorization" in headers for _, headers in elsewhere.requests)
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"verysecret" not in everything
    elsewhere.close()


def test_a_mirror_never_sees_the_token(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    fetch(hub, tmp_path, source="mirror", file="config.json")
    assert not any("Authorization" in headers for _, headers in hub.requests)


def test_the_endpoint_comes_from_the_environment(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    fetch(hub, tmp_path, endpoint="")
    assert_whole(hub, tmp_path)


@pytest.mark.parametrize("way", ["variable", "setting"])
def test_offline_refuses_before_any_request(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "variable":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    else:
        settings.write(settings.Settings(offline=True))
    with pytest.raises(UserError, match="Offline mode is on"):
        fetch(hub, tmp_path)
    assert not hub.requests


# --- names, disks and other things on this side


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/evil", "a/../../evil", "C:\\evil", "a\\b", "con", "x/./y", "a\nb", "a//b", "x.", "nul.txt"],
)
def test_names_that_lead_elsewhere_are_refused(hub: Hub, tmp_path: Path, name: str) -> None:
    hub.files[REPO][name] = b"evil"
    with pytest.raises(UserError, match="unsafe name"):
        fetch(hub, tmp_path / "out")
    assert not list(tmp_path.rglob("*evil*"))


def test_names_that_differ_in_case_only_are_refused(hub: Hub, tmp_path: Path) -> None:
    hub.files[REPO]["Config.json"] = b"{}"
    with pytest.raises(UserError, match="can't tell apart"):
        fetch(hub, tmp_path)


@pytest.mark.parametrize("link", ["notes", WEIGHTS, f"{WEIGHTS}.part"])
def test_links_out_of_the_folder_are_not_followed(hub: Hub, tmp_path: Path, link: str) -> None:
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    out.mkdir()
    (out / link).symlink_to(outside if link == "notes" else outside / "file")
    with pytest.raises(UserError):
        fetch(hub, out)
    assert not list(outside.iterdir())


def test_the_repositorys_own_card_is_not_believed(hub: Hub, tmp_path: Path) -> None:
    hub.files[REPO][models.CARD] = b'{"title": "evil"}'
    fetch(hub, tmp_path)
    assert models.read_card(tmp_path).title == "tiny"


@pytest.mark.parametrize("bad", ["../up", "a/..", "a/b/c", "-x/y", "a/b?x", "a b/c"])
def test_repository_names_are_checked(bad: str) -> None:
    with pytest.raises(ValueError):
        DownloadRequest(repo=bad)


def test_a_disk_that_is_too_small_is_told_before_the_first_byte(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("core.resources.shutil.disk_usage", lambda _: usage._replace(free=500_000))
    with pytest.raises(UserError, match="on the disk of"):
        fetch(hub, tmp_path)
    assert not hub.asked(WEIGHTS)


def test_a_disk_that_fills_up_keeps_the_part(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append = parts.Part.append

    def full(self: parts.Part, block: bytes) -> None:
        append(self, block[:100_000])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parts.Part, "append", full)
    with pytest.raises(UserError, match="disk is full"):
        fetch(hub, tmp_path, file=WEIGHTS)
    monkeypatch.undo()
    assert 0 < (tmp_path / f"{WEIGHTS}.part").stat().st_size < 300_000
    assert fetch(hub, tmp_path, file=WEIGHTS).bytes < 300_000
    assert_whole(hub, tmp_path, [WEIGHTS])


def test_scraps_of_killed_calls_are_swept(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / f".{WEIGHTS}.part.json.123.tmp").write_text("{")
    (tmp_path / "mine.tmp").write_text("x")
    fetch(hub, tmp_path)
    assert [path.name for path in tmp_path.rglob("*.tmp")] == ["mine.tmp"]


def test_two_at_once_into_one_folder_are_refused(hub: Hub, tmp_path: Path) -> None:
    from filelock import FileLock

    with FileLock(tmp_path / ".lock"), pytest.raises(UserError, match="already downloading"):
        fetch(hub, tmp_path)


def test_the_cache_of_huggingface_hub_is_used(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = tmp_path / "cache" / "models--acme--tiny" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / hashlib.sha256(SHARDS[WEIGHTS]).hexdigest()).write_bytes(SHARDS[WEIGHTS])
    other = "model-00002-of-00002.safetensors"
    (blobs / hashlib.sha256(SHARDS[other]).hexdigest()).write_bytes(bytes(300_000))  # spoiled
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    fetch(hub, tmp_path / "out")
    assert_whole(hub, tmp_path / "out")
    assert not hub.asked(WEIGHTS) and hub.asked(other)


# --- going on after an end


def stopped_half_way(hub: Hub, out: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Leave a part of the first shard behind; its length."""

    class Impatient(Silent):
        def step(self, done: float, total: float | None = None, unit: str = "") -> None:
            if done > 0.1:
                raise Cancelled

    hub.behave(WEIGHTS, bytes_per_second=250_000)
    request = DownloadRequest(repo=REPO, out=out, endpoint=hub.url, file=WEIGHTS)
    with pytest.raises(Cancelled):
        download(request, Impatient(), SHORT)
    hub.behaviours.clear()
    return (out / f"{WEIGHTS}.part").stat().st_size


def test_a_cancelled_download_goes_on(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = stopped_half_way(hub, tmp_path, monkeypatch)
    assert kept > 0
    assert fetch(hub, tmp_path, file=WEIGHTS).bytes == 300_000 - kept
    assert_whole(hub, tmp_path, [WEIGHTS])


def test_no_thread_stays_behind(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()
    stopped_half_way(hub, tmp_path, monkeypatch)
    time.sleep(0.2)
    assert threading.active_count() <= before + 1  # the server's own


@pytest.mark.parametrize("harm", ["flipped", "zeroed", "longer"])
def test_a_spoiled_part_is_noticed_and_fetched_again(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    kept = stopped_half_way(hub, tmp_path, monkeypatch)
    path = tmp_path / f"{WEIGHTS}.part"
    if harm == "flipped":
        flip_a_bit(path)
    elif harm == "zeroed":
        path.write_bytes(path.read_bytes()[: kept // 2] + bytes(kept - kept // 2))
    else:
        path.write_bytes(path.read_bytes() + bytes(400_000))
    fetch(hub, tmp_path, file=WEIGHTS)
    assert_whole(hub, tmp_path, [WEIGHTS])


def test_a_part_without_its_notes_is_not_believed(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_half_way(hub, tmp_path, monkeypatch)
    (tmp_path / f"{WEIGHTS}.part.json").unlink()
    assert fetch(hub, tmp_path, file=WEIGHTS).bytes == 300_000


def test_after_a_power_cut_only_what_was_synced_counts(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "SYNC_SECONDS", 0.1)
    kept = stopped_half_way(hub, tmp_path, monkeypatch)
    notes_path, path = tmp_path / f"{WEIGHTS}.part.json", tmp_path / f"{WEIGHTS}.part"
    notes = json.loads(notes_path.read_text())
    assert 0 < notes["synced"] <= kept
    # the machine went down: what was not synced came back as zeros
    notes_path.write_text(json.dumps({**notes, "booted": notes["booted"] - 10_000}))
    path.write_bytes(path.read_bytes()[: notes["synced"]] + bytes(kept - notes["synced"]))
    assert fetch(hub, tmp_path, file=WEIGHTS).bytes == 300_000 - notes["synced"]
    assert_whole(hub, tmp_path, [WEIGHTS])


def test_a_synced_prefix_that_changed_is_thrown_away_at_once(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "SYNC_SECONDS", 0.1)
    stopped_half_way(hub, tmp_path, monkeypatch)
    path = tmp_path / f"{WEIGHTS}.part"
    path.write_bytes(b"\0" + path.read_bytes()[1:])
    assert fetch(hub, tmp_path, file=WEIGHTS).bytes == 300_000  # once, not once and a half


def test_another_revision_does_not_go_on_with_the_old_part(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_half_way(hub, tmp_path, monkeypatch)
    hub.files[REPO][WEIGHTS] = random.randbytes(300_000)
    fetch(hub, tmp_path, file=WEIGHTS)
    assert_whole(hub, tmp_path, [WEIGHTS])


def test_a_resumed_part_of_a_server_without_etags_is_checked_by_its_hash(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.behave(WEIGHTS, no_etag=True, cut_after=[100_000])
    fetch(hub, tmp_path, file=WEIGHTS)
    assert_whole(hub, tmp_path, [WEIGHTS])
    assert hub.served[WEIGHTS] == 300_000


# --- other doors


def test_a_plan_lists_files_and_writes_nothing(hub: Hub, tmp_path: Path) -> None:
    lines = downloading.plan(DownloadRequest(repo=REPO, out=tmp_path / "out", endpoint=hub.url))
    assert any(line.startswith(WEIGHTS) for line in lines) and "5 files" in lines[-1]
    assert not (tmp_path / "out").exists()


def test_progress_reaches_its_total(hub: Hub, tmp_path: Path) -> None:
    seen: list[tuple[float, float | None]] = []

    class Watching(Silent):
        def step(self, done: float, total: float | None = None, unit: str = "") -> None:
            seen.append((done, total))

    download(DownloadRequest(repo=REPO, out=tmp_path, endpoint=hub.url), Watching(), SHORT)
    assert seen[-1] == (0.6, 0.6)


def flip_a_bit(path: Path) -> None:
    """And leave the time of change as a careless disk would."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(time.time_ns() + 10, time.time_ns() + 10))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_certificate_nobody_trusts_is_told_and_one_that_is_named_is_trusted(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    make += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True)
    encrypted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    encrypted.load_cert_chain(certificate, key)
    hub.server.socket = encrypted.wrap_socket(hub.server.socket, server_side=True)
    address = hub.url.replace("http:", "https:")
    with pytest.raises(UserError, match="certificate is not trusted"):
        fetch(hub, tmp_path / "out", endpoint=address)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    hub.behave(WEIGHTS, cut_after=[100_000])
    fetch(hub, tmp_path / "out", endpoint=address)
    assert_whole(hub, tmp_path / "out")
    hub.behave("config.json", redirect=f"http://127.0.0.1:1/{REPO}")
    with pytest.raises(UserError, match="not safe"):
        fetch(hub, tmp_path / "other", endpoint=address, file="config.json")
