"""The server with the real starter model: one host for the app and for others, brought back when it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from core.extract import schema as schemas
from core.extract.one import extract_text
from core.inference import client
from core.inference.decoding import Decoding
from tests.core.test_serve import started
from tests.core.tiny_llama import make_tiny_adapter, make_tiny_llama

pytestmark = pytest.mark.model
HELLO: Any = [{"role": "user", "content": "Say hello with an emoji 😀"}]
TEXT = "Ada Lovelace met Charles Babbage in London."


@pytest.fixture(scope="module")
def home(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    (folder / "models").mkdir()
    (folder / "models" / "starter").symlink_to(starter.parent, target_is_directory=True)
    (folder / "models" / "other").mkdir()
    (folder / "models" / "other" / "other.gguf").symlink_to(starter)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KNOWLM_STUDIO_HOME", str(folder))
        yield folder
        client.unload()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[tuple[subprocess.Popen, str]]:
    with started(home, "--model", "starter") as made:
        yield made


@pytest.fixture
def library(served: tuple[subprocess.Popen, str]) -> openai.OpenAI:
    return openai.OpenAI(base_url=served[1], api_key="none", max_retries=0, timeout=120)


def say(library: openai.OpenAI, **options: Any) -> str:
    answer = library.chat.completions.create(model="starter", messages=HELLO, max_tokens=12, temperature=0, **options)
    return answer.choices[0].message.content or ""


def test_a_stream_is_the_answer_that_the_app_gets_too(library: openai.OpenAI) -> None:
    whole = say(library)
    stream = library.chat.completions.create(model="starter", messages=HELLO, max_tokens=12, temperature=0, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole
    assert client.connect("starter").chat(HELLO, Decoding(max_tokens=12)).text == whole


def test_the_licence_is_shown(library: openai.OpenAI, served: tuple[subprocess.Popen, str]) -> None:
    [model] = library.models.list()
    assert (model.id, model.to_dict()["license"]) == ("starter", "Apache-2.0")
    assert "Licence: Apache-2.0" in httpx.get(served[1].removesuffix("v1"), trust_env=False).text


def test_records_are_those_of_the_app(served: tuple[subprocess.Popen, str]) -> None:
    schema = schemas.load("general-news-en")
    expected = extract_text(client.connect("starter"), TEXT, schema, "ner").to_dict()["entities"]
    body = {"text": TEXT, "schema": "general-news-en", "tasks": ["ner"]}
    answer = httpx.post(f"{served[1]}/extract", json=body, timeout=120, trust_env=False).json()
    assert answer["entities"] == [dict(entity) for entity in expected]
    assert answer["entities"]
    assert all(TEXT[found["start"] : found["end"]] == found["text"] for found in answer["entities"])
    refused = httpx.post(
        f"{served[1]}/extract", json={"text": "爱达在伦敦。", "schema": "general-news-zh"}, timeout=60, trust_env=False
    )
    assert refused.status_code == 400
    assert "does not read" in refused.json()["error"]["message"]


def test_another_app_uses_its_grammar(served: tuple[subprocess.Popen, str]) -> None:
    elsewhere = client.connect(f"{served[1]}#starter")
    assert elsewhere.can["grammar"]
    assert elsewhere.complete("x", Decoding(), grammar='root ::= "😀𠮷"').text == "😀𠮷"
    assert elsewhere.count("The capital of France is") == 5


def test_a_killed_host_is_brought_back_by_the_next_request(library: openai.OpenAI) -> None:
    before = say(library)
    pid = client.status().pid
    os.kill(pid, signal.SIGKILL)
    assert say(library) == before
    assert client.status().pid != pid


def test_who_sits_at_the_machine_goes_first(library: openai.OpenAI) -> None:
    say(library)
    client.load("other")
    with pytest.raises(openai.InternalServerError, match="not available") as refused:
        say(library)
    assert refused.value.status_code == 503
    assert int(refused.value.response.headers["retry-after"]) > 0
    assert client.status().model == "other"
    client.unload()
    assert say(library)
    assert client.status().model == "starter"


def test_what_it_loaded_is_unloaded_with_it(served: tuple[subprocess.Popen, str], library: openai.OpenAI) -> None:
    say(library)
    process = served[0]
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert client.status().state == "empty"


def test_an_adapter_is_served_on_the_base_that_is_loaded_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("KNOWLM_STUDIO_HOME", str(home))
    base = make_tiny_llama(tmp_path / "base")
    adapter = make_tiny_adapter(base, tmp_path / "tuned", seed=1)

    def own(ref: Path) -> str:
        return client.connect(str(ref)).complete("Hello", Decoding(max_tokens=12)).text

    try:
        pid, alone = client.load(str(base)).pid, own(base)
        with started(home, "--model", str(base), "--adapter", str(adapter)) as (process, url):
            library = openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=120)
            assert [model.id for model in library.models.list()] == ["tuned"]
            answer = library.completions.create(model="tuned", prompt="Hello", max_tokens=12, temperature=0)
            assert answer.choices[0].text == own(adapter) != alone
            assert own(base) == alone
            assert client.status().pid == pid
            client.load(str(adapter))
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        now = client.status()
        assert (now.pid, now.model) == (pid, str(base))  # it was there before the server was
    finally:
        client.unload()
