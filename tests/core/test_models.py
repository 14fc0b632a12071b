"""Model references: what a name, a path or an address resolves to, and what wrong ones are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core import models
from core.errors import UserError


def make_gguf(folder: Path, name: str = "tiny.gguf") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_bytes(models.GGUF_MAGIC + b"\0" * 60)
    return file


def test_a_folder_of_the_workspace_is_named_by_its_name(workspace):
    file = make_gguf(workspace / "models" / "mine")
    models.write_card(file.parent, models.Card(title="Mine", languages=("en",), license="Apache-2.0"))
    model = models.resolve("mine")
    assert (model.path, model.format, model.title, model.size) == (file, "gguf", "Mine", 64)
    assert model.reads("en") is True
    assert model.reads("zh") is False


def test_a_model_without_a_card_declares_no_language(workspace, tmp_path):
    model = models.resolve(str(make_gguf(tmp_path / "elsewhere")))
    assert model.reads("zh") is None
    assert model.title == "tiny"


def test_a_starter_has_a_gguf_and_a_hugging_face_form(workspace):
    folder = make_gguf(workspace / "models" / "starter").parent
    (folder / "hf").mkdir()
    (folder / "hf" / "config.json").write_text("{}")
    (folder / "hf" / "model.safetensors").write_bytes(b"12345")
    assert [(model.ref, model.format) for model in models.installed()] == [
        ("starter", "gguf"),
        ("starter/hf", "huggingface"),
    ]
    assert models.resolve("starter/hf").size == 5


def test_what_was_tuned_takes_the_name_of_what_it_was_made_from(workspace):
    folder = make_gguf(workspace / "models" / "starter").parent
    (folder / "hf").mkdir()
    (folder / "hf" / "config.json").write_text("{}")
    (folder / "hf" / "model.safetensors").write_bytes(b"12345")
    tuned = make_gguf(folder / "tuned")
    models.write_card(tuned.parent, models.Card(title="Tuned", trained_for_extraction=True, prompt_form="raw"))
    assert [model.ref for model in models.installed()] == ["starter", "starter-base", "starter-base/hf"]
    model = models.resolve("starter")
    assert (model.path, model.title, model.card.trained_for_extraction) == (tuned, "Tuned", True)
    assert models.resolve(str(folder)).path == tuned
    assert not models.resolve("starter-base").card.trained_for_extraction
    assert models.resolve("starter-base").path == folder / "tiny.gguf"
    (tuned.parent / models.CARD).write_text("{")
    assert models.resolve("starter-base").ref == "starter-base"
    with pytest.raises(UserError, match=r"studio\.json"):
        models.resolve("starter")


def test_the_hf_folder_of_a_model_has_the_models_card_also_by_its_path(workspace):
    folder = make_gguf(workspace / "models" / "mine").parent
    (folder / "hf").mkdir()
    (folder / "hf" / "config.json").write_text("{}")
    (folder / "hf" / "model.safetensors").write_bytes(b"12345")
    models.write_card(folder, models.Card(title="Mine", languages=("en",)))
    assert models.resolve(str(folder / "hf")).reads("en")
    assert models.card_of(folder / "hf").title == models.card_of(folder / "tiny.gguf").title == "Mine"


def test_an_address_is_a_remote_model(workspace):
    model = models.resolve("http://127.0.0.1:8000/v1/#qwen")
    assert (model.format, model.url, model.model_id, model.title) == (
        "remote",
        "http://127.0.0.1:8000/v1",
        "qwen",
        "qwen",
    )


def test_wrong_references_are_told_what_to_do(workspace, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("no model")
    for ref, words in {
        str(text): "is not a GGUF model file",
        str(tmp_path): "holds no model",
        "starter": "not here yet",
        "nobody": "There is no model",
    }.items():
        with pytest.raises(UserError) as refused:
            models.resolve(ref)
        assert words in str(refused.value)
        assert refused.value.remedy


def test_a_broken_card_names_its_file(workspace):
    folder = make_gguf(workspace / "models" / "mine").parent
    (folder / models.CARD).write_text(json.dumps({"languages": 5}))
    with pytest.raises(UserError, match=r"studio\.json"):
        models.read_card(folder)


def test_a_broken_card_hides_no_other_model(workspace):
    make_gguf(workspace / "models" / "good")
    spoiled = make_gguf(workspace / "models" / "spoiled").parent
    (spoiled / models.CARD).write_text("{")
    assert [model.ref for model in models.installed()] == ["good", "spoiled"]
    assert models.resolve("good").ref == "good"
    with pytest.raises(UserError, match=r"studio\.json"):
        models.resolve("spoiled")


@pytest.mark.parametrize("address", ["http://[x", "http://", "http://127.0.0.1:99999999/v1", "https://:80/v1"])
def test_an_address_that_is_none_is_refused(workspace, address):
    with pytest.raises(UserError, match="is not an address"):
        models.resolve(address)


def test_an_address_with_a_password_is_refused_without_repeating_it(workspace):
    with pytest.raises(UserError, match="user name or password") as refused:
        models.resolve("https://me:hunter2@example.org/v1#m")
    assert "hunter2" not in str(refused.value)
