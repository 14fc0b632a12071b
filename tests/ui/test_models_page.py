"""The Models page: what is here, what fits, and adding more."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core import settings
from core.models import Model, read_card
from core.settings import Endpoint
from tests.ui.conftest import OpenPage, texts
from ui.parts import weights_tools
from ui.parts.model_card import memory_needed


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    """A file that begins as GGUF files do; enough to be listed, not to be loaded."""
    file = tmp_path / "elsewhere" / "small.gguf"
    file.parent.mkdir()
    file.write_bytes(b"GGUF" + bytes(1000))
    return file


def test_an_empty_workspace_offers_the_starter_and_the_catalog(open_page: OpenPage, language: str) -> None:
    page = open_page("models")
    said = texts(page)
    assert page.button(key="starter.get")
    assert "Qwen2" in said
    assert {"en": "Fits this machine", "zh": "本机可以运行"}[language] in said


def test_a_model_elsewhere_is_added_by_its_path_and_taken_off_again(open_page: OpenPage, gguf: Path) -> None:
    settings.write(settings.Settings(language="en"))
    page = open_page("models")
    page.text_input(key="add.local.path").set_value(str(gguf))
    page.button(key="FormSubmitter:add.local-Add this model").click().run()
    assert settings.read().local_models == (str(gguf),)
    page = open_page("models")
    assert "small" in texts(page)
    page.button(key=f"remove.{gguf}").click().run()
    assert settings.read().local_models == ()
    assert gguf.exists()


def test_what_is_no_model_is_refused_with_a_remedy(open_page: OpenPage, tmp_path: Path) -> None:
    settings.write(settings.Settings(language="en"))
    (tmp_path / "not.gguf").write_bytes(b"PK\x03\x04")
    page = open_page("models")
    page.text_input(key="add.local.path").set_value(str(tmp_path / "not.gguf"))
    page.button(key="FormSubmitter:add.local-Add this model").click().run()
    assert "not a GGUF model file" in page.error[0].value
    assert settings.read().local_models == ()


def test_an_added_path_that_is_gone_is_told_and_can_be_forgotten(open_page: OpenPage, gguf: Path) -> None:
    settings.write(settings.Settings(language="en", local_models=(str(gguf),)))
    gguf.unlink()
    page = open_page("models")
    assert page.error
    page.button(key=f"forget.{gguf}").click().run()
    assert settings.read().local_models == ()


def test_a_server_is_added_and_listed(open_page: OpenPage) -> None:
    settings.write(settings.Settings(language="en"))
    page = open_page("models")
    page.text_input(key="add.endpoint.name").set_value("lab")
    page.text_input(key="add.endpoint.url").set_value("http://127.0.0.1:9/v1")
    page.text_input(key="add.endpoint.model").set_value("qwen")
    page.button(key="FormSubmitter:add.endpoint-Add this server").click().run()
    assert [endpoint.ref for endpoint in settings.read().endpoints] == ["http://127.0.0.1:9/v1#qwen"]
    assert open_page("models").button(key="check.http://127.0.0.1:9/v1#qwen")


def test_a_server_that_does_not_answer_is_told(open_page: OpenPage) -> None:
    server = Endpoint(name="lab", url="http://127.0.0.1:9/v1", model="qwen")
    settings.write(settings.Settings(language="en", endpoints=(server,)))
    page = open_page("models")
    page.button(key=f"check.{server.ref}").click().run()
    assert page.error
    assert not page.exception


def test_the_default_model_is_chosen_on_its_card(open_page: OpenPage, gguf: Path) -> None:
    settings.write(settings.Settings(language="en", local_models=(str(gguf),)))
    page = open_page("models")
    page.button(key=f"default.{gguf}").click().run()
    assert settings.read().default_model == str(gguf)


def test_memory_is_reckoned_from_the_weights(gguf: Path) -> None:
    model = Model(str(gguf), "gguf", read_card(gguf.parent), gguf)
    assert (memory_needed(model) or 0) > model.size
    assert memory_needed(Model("r", "remote", model.card, url="http://127.0.0.1/v1")) is None


@pytest.mark.model
def test_the_installed_starter_is_shown_loaded_and_unloaded(open_page: OpenPage, starter_workspace: Path) -> None:
    from core.inference import client

    settings.write(settings.Settings(language="en"))
    page = open_page("models")
    keys = {button.key for button in page.button}
    # its folder is called starter-base/hf where the app has an adapter for it
    assert "load.starter" in keys and keys & {"load.starter/hf", "load.starter-base/hf"}
    page.button(key="load.starter").click().run()
    assert not page.exception
    client.load("starter")  # waits for what the page began
    page = open_page("models")
    assert page.button(key="load.starter").disabled
    page.button(key="models.unload").click().run()
    assert client.status().state == "empty"


@pytest.mark.model
def test_a_starter_of_an_earlier_version_is_brought_up_to_date(
    open_page: OpenPage, workspace: Path, starter: Path, language: str
) -> None:
    from core.jobs import store
    from core.weights.starter import MADE

    place = workspace / "models" / "starter"
    shutil.copytree(starter.parent, place, copy_function=shutil.copy2, ignore=shutil.ignore_patterns("hf", "tuned"))
    (place / MADE).unlink()
    page = open_page("models")
    page.button(key="starter.update").click().run()
    assert not page.exception
    (job,) = store.all_jobs()
    assert job.operation == "models starter"
    store.cancel(job.id)


def test_any_repository_can_be_downloaded(open_page: OpenPage) -> None:
    settings.write(settings.Settings(language="en"))
    page = open_page("models")
    page.text_input(key="add.repository.repo").set_value("not a repository").run()
    assert "Repo" in page.error[0].value
    page.text_input(key="add.repository.repo").set_value("someone/something").run()
    assert not page.error and not page.exception
    assert not page.button(key="add.repository.start").disabled
    settings.write(settings.Settings(language="en", offline=True))
    page.run()
    assert page.button(key="add.repository.start").disabled


def test_parts_are_shown_with_what_they_need(open_page: OpenPage, language: str) -> None:
    page = open_page("models")
    page.toggle(key="catalog.fitting").set_value(False)
    page.toggle(key="catalog.parts").set_value(True).run()
    page.button(key="catalog.more").click().run()
    assert not page.exception
    said = texts(page).replace("\\", "")
    for title in ("ZhiXi 13B diff (fp32)", "ZhiXi 13B LoRA", "LLaMA 13B (bring your own)", "KnowLM 13B base v1.0"):
        assert title in said
    tables = [str(table.value) for table in page.table]
    assert any("450 MB" in table and "zhixi" in table for table in tables)
    assert any("oneke" in table and "Q4_0" in table for table in tables)


def test_weights_are_worked_on_by_a_form_with_its_plan(
    open_page: OpenPage, workspace: Path, tmp_path: Path, language: str
) -> None:
    from core.jobs import store
    from core.operation import Silent
    from core.weights.sample_family import SampleFamilyRequest
    from core.weights.sample_family import run as make_family

    make_family(SampleFamilyRequest(out=tmp_path / "family"), Silent())
    page = open_page("models")
    page.selectbox(key="tools.which").set_value("weights recover").run()
    assert not page.exception and not page.error, "what is still missing is no error"
    for name in ("base", "delta"):
        page.text_input(key=f"tools.weights recover.{name}").set_value(str(tmp_path / "family" / name))
    page.text_input(key="tools.weights recover.out").set_value(str(tmp_path / "out")).run()
    page.toggle(key="tools.weights recover.plan").set_value(True).run()
    assert "model.embed_tokens.weight" in page.code[0].value
    page.button(key="tools.weights recover.start").click().run()
    (job,) = store.all_jobs()
    assert store.wait(job.id, 60).state == "done"
    assert (tmp_path / "out" / "model.safetensors").exists()
    # several adapters, a line each
    page = open_page("models")
    page.selectbox(key="tools.which").set_value("weights merge").run()
    page.text_input(key="tools.weights merge.base").set_value(str(tmp_path / "out"))
    page.text_area(key="tools.weights merge.adapter").set_value(f"{tmp_path / 'family' / 'lora'}\n" * 2)
    page.text_input(key="tools.weights merge.out").set_value(str(tmp_path / "merged")).run()
    assert not page.error
    page.button(key="tools.weights merge.start").click().run()
    assert store.wait(store.all_jobs()[0].id, 60).state == "done"
    assert (tmp_path / "merged" / "model.safetensors").exists()


@pytest.mark.parametrize("which", weights_tools.TOOLS)
def test_every_tool_has_a_form_and_says_what_is_wrong(
    open_page: OpenPage, tmp_path: Path, language: str, which: str
) -> None:
    page = open_page("models")
    page.selectbox(key="tools.which").set_value(which).run()
    for box in [*page.text_input, *page.text_area]:
        if str(box.key).startswith(f"tools.{which}."):
            box.set_value(
                str(tmp_path / ("none.gguf" if which.endswith("export") and "out" in str(box.key) else "none"))
            )
    page.run()
    assert not page.exception
    assert page.error or which == "models verify"
