"""Settings: saved at once, private to their owner, never holding a secret."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from core import paths, settings
from core.errors import UserError
from core.settings import Endpoint
from tests.ui.conftest import OpenPage, texts
from ui.parts import doctor

LAB = Endpoint(name="lab", url="http://127.0.0.1:9/v1/", model="qwen", key_env="LAB_KEY")


def test_the_page_speaks_the_chosen_language_at_once(open_page: OpenPage) -> None:
    settings.write(settings.Settings(language="en"))
    page = open_page("settings")
    assert page.title[0].value == "Settings"
    page.button_group(key="settings.language").set_value("zh").run()
    assert page.title[0].value == "设置"
    assert settings.read().language == "zh"


def test_the_workspace_and_the_packages_are_shown(open_page: OpenPage, workspace: Path, language: str) -> None:
    said = texts(open_page("settings"))
    assert str(workspace) in said
    assert "streamlit 1." in said
    assert "torch 2." in said


def test_offline_is_kept(open_page: OpenPage, language: str) -> None:
    page = open_page("settings")
    page.toggle(key="settings.offline").set_value(True).run()
    assert settings.read().offline


def test_a_server_shows_whether_its_key_is_set(open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.write(settings.Settings(language="en", endpoints=(LAB,)))
    monkeypatch.setenv("LAB_KEY", "secret-value")
    page = open_page("settings")
    said = texts(page)
    assert "LAB" in said
    assert "secret-value" not in said
    page.button(key="settings.endpoint.0").click().run()
    assert settings.read().endpoints == ()


def test_a_key_comes_from_the_variable_that_is_named(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.write(settings.Settings(endpoints=(LAB,)))
    monkeypatch.setenv("LAB_KEY", "secret-value")
    assert settings.api_key("http://127.0.0.1:9/v1#qwen") == "secret-value"
    assert settings.api_key("http://elsewhere/v1") is None
    assert "secret-value" not in paths.settings_file().read_text()


def test_servers_are_added_with_a_key_and_limits(open_page: OpenPage) -> None:
    settings.write(settings.Settings(language="en"))
    page = open_page("settings")
    for field, value in {
        "name": "lab",
        "url": "http://127.0.0.1:9/v1, http://127.0.0.1:8/v1",
        "key": "sk-mine",
    }.items():
        page.text_input(key=f"add.endpoint.{field}").set_value(value)
    page.number_input(key="add.endpoint.at_once").set_value(4)
    page.number_input(key="add.endpoint.per_second").set_value(2.5)
    page.button(key="FormSubmitter:add.endpoint-Add this server").click().run()
    [added] = settings.read().endpoints
    assert (added.url, added.at_once, added.per_second) == ("http://127.0.0.1:9/v1,http://127.0.0.1:8/v1", 4, 2.5)
    assert settings.api_key("http://127.0.0.1:8/v1") == "sk-mine"
    page = open_page("settings")
    said = texts(page)
    assert "key kept here" in said and "4 at once" in said and "2.5 a second" in said
    assert "sk-mine" not in said
    page.button(key="settings.endpoint.0").click().run()
    assert settings.api_key("http://127.0.0.1:8/v1") is None


@pytest.mark.skipif(os.name == "nt", reason="file modes are POSIX")
def test_the_file_is_its_owners_alone(workspace: Path) -> None:
    settings.write(settings.Settings(language="zh"))
    assert stat.S_IMODE(paths.settings_file().stat().st_mode) == 0o600
    assert [file.name for file in workspace.iterdir() if file.suffix == ".tmp"] == []


def test_a_broken_file_is_told_with_its_remedy(workspace: Path) -> None:
    paths.settings_file().write_text("{broken")
    with pytest.raises(UserError, match="delete it"):
        settings.read()


def test_an_address_that_is_none_is_refused() -> None:
    for url in ("ftp://x/v1", "127.0.0.1:8000", "http://", "http://user:pw@host/v1"):
        with pytest.raises(ValueError, match="address"):
            Endpoint(name="x", url=url)


def test_the_torch_build_is_read_without_importing_it() -> None:
    assert doctor.torch_build() == "cpu" or doctor.torch_build().startswith(("cuda", "hip"))
