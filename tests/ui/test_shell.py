"""The frame around the pages: hosts and headers, languages, forms, failures, and what the process never imports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect
from streamlit.string_util import validate_material_icon
from streamlit.testing.v1 import AppTest

from core import settings
from core.errors import UserError
from core.operation import Needs, Request
from tests.conftest import PROJECT
from ui.i18n import error_text, t
from ui.parts.errors import plain
from ui.parts.request_form import label_of
from ui.security import OnlyOurHosts, SecurityHeaders, page_policy

PAGES = ("home", "chat", "extract", "graph", "models", "jobs", "settings")
HEAVY = ("torch", "transformers", "peft", "xllamacpp", "openvino_genai", "gradio", "pyvis", "IPython")

RUN_EVERY_PAGE = """
import json, sys
from streamlit.testing.v1 import AppTest
page = AppTest.from_file("ui/app.py", default_timeout=60).run()
for name in sys.argv[1].split(","):
    page.switch_page(f"views/{name}.py").run()
    assert not page.exception, page.exception
print(json.dumps([name for name in sys.argv[2].split(",") if name in sys.modules]))
"""


def test_no_page_imports_a_heavy_library(workspace: Path) -> None:
    command = [sys.executable, "-c", RUN_EVERY_PAGE, ",".join(PAGES), ",".join(HEAVY)]
    ran = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=180, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert json.loads(ran.stdout.splitlines()[-1]) == []


@pytest.fixture
def guarded(workspace: Path) -> TestClient:
    """The two layers around a small app that has one page and one websocket."""

    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()

    async def hello(request: object) -> PlainTextResponse:
        return PlainTextResponse("hello")

    layers = [Middleware(SecurityHeaders), Middleware(OnlyOurHosts)]
    app = Starlette(routes=[Route("/", hello), WebSocketRoute("/ws", echo)], middleware=layers)
    return TestClient(app, base_url="http://127.0.0.1:8501")


OURS = ("127.0.0.1:8501", "localhost:8501", "localhost", "[::1]:8501", "LOCALHOST:8501")
FOREIGN = (
    "evil.example",
    "127.0.0.1.evil.example",
    "192.168.1.5:8501",
    "user@127.0.0.1",
    "127.0.0.1:x",
    "",
    "localhost/../x",
)


@pytest.mark.parametrize("host", OURS)
def test_our_own_names_are_answered(guarded: TestClient, host: str) -> None:
    assert guarded.get("/", headers={"host": host}).text == "hello"


@pytest.mark.parametrize("host", FOREIGN)
def test_a_foreign_host_is_refused(guarded: TestClient, host: str) -> None:
    assert guarded.get("/", headers={"host": host}).status_code == 403
    with pytest.raises(WebSocketDisconnect), guarded.websocket_connect("/ws", headers={"host": host}):
        pass


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:9999", "null", "http://localhost:8501"])
def test_a_page_of_another_origin_is_refused(guarded: TestClient, origin: str) -> None:
    headers = {"host": "127.0.0.1:8501", "origin": origin}
    assert guarded.get("/", headers=headers).status_code == 403
    with pytest.raises(WebSocketDisconnect), guarded.websocket_connect("/ws", headers=headers):
        pass


def test_our_own_origin_is_answered(guarded: TestClient) -> None:
    headers = {"host": "127.0.0.1:8501", "origin": "http://127.0.0.1:8501"}
    assert guarded.get("/", headers=headers).status_code == 200
    with guarded.websocket_connect("/ws", headers=headers):
        pass


def test_a_host_added_in_settings_is_answered_without_a_restart(guarded: TestClient) -> None:
    assert guarded.get("/", headers={"host": "studio.lab"}).status_code == 403
    settings.write(settings.Settings(hosts=("studio.lab",)))
    assert guarded.get("/", headers={"host": "studio.lab"}).status_code == 200


def test_every_answer_carries_the_headers(guarded: TestClient) -> None:
    for headers in ({"host": "127.0.0.1:8501"}, {"host": "evil.example"}):
        given = guarded.get("/", headers=headers).headers
        assert given["x-content-type-options"] == "nosniff"
        assert given["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'self'" in given["content-security-policy"]


def test_the_policy_allows_no_other_origin_no_eval_and_no_inline_script() -> None:
    policy = page_policy()
    scripts = next(rule for rule in policy.split("; ") if rule.startswith("script-src"))
    assert "http" not in policy
    assert "eval" not in policy
    assert "unsafe-inline" not in scripts
    assert "sha256-" in scripts


def test_a_page_that_fails_says_so_calmly_and_logs_why(workspace: Path) -> None:
    def failing() -> None:
        from ui.parts.errors import show_unexpected

        try:
            raise ZeroDivisionError("the cause")
        except ZeroDivisionError as error:
            show_unexpected(error)

    page = AppTest.from_function(failing).run()
    assert not page.exception
    assert "the cause" not in page.error[0].value
    assert "app.log" in page.error[0].value
    assert "ZeroDivisionError: the cause" in (workspace / "app.log").read_text()


def test_texts_follow_the_chosen_language(workspace: Path) -> None:
    error = UserError("There is no model “{ref}”.", remedy="`python -m core --help` lists them all.", ref="x")
    settings.write(settings.Settings(language="en"))
    assert (t("Jobs"), error_text(error)[0]) == ("Jobs", "There is no model “x”.")
    settings.write(settings.Settings(language="zh"))
    assert (t("Jobs"), error_text(error.to_dict())[0]) == ("任务", "没有名为“x”的模型。")


def test_text_from_elsewhere_is_shown_and_does_nothing() -> None:
    assert plain("**b** <img src=x> [a](http://x) $x$ :red[y]").count("\\") >= 14


def test_every_icon_is_one_that_streamlit_has() -> None:
    for path in (PROJECT / "ui").rglob("*.py"):
        for icon in re.findall(r":material/\w+:", path.read_text(encoding="utf-8")):
            validate_material_icon(icon)


def test_labels_come_from_field_names() -> None:
    assert [label_of(name) for name in ("text_column", "schema_ref", "gguf")] == ["Text column", "Schema", "GGUF"]


class Inner(BaseModel):
    temperature: float = Field(default=0.5, ge=0, le=2)


class FormRequest(Request):
    """A request with a field of every kind."""

    name: str = Field(min_length=1, description="What it is called")
    rows: int = Field(default=10, ge=1, le=100)
    task: Literal["ner", "re"] = "ner"
    quick: bool = False
    limit: int | None = None
    words: tuple[str, ...] = ()
    decoding: Inner = Inner()
    folder: Path | None = Field(default=None, json_schema_extra={"advanced": True})


def _form() -> None:
    import streamlit as st

    from tests.ui.test_shell import FormRequest
    from ui.parts.request_form import request_form

    made = request_form(FormRequest, "f", hide=("quick",), defaults={"quick": True, "rows": 7})
    st.text(made.model_dump_json() if made else "not yet")


def test_a_form_draws_every_kind_of_field_and_returns_the_request(workspace: Path) -> None:
    settings.write(settings.Settings(language="en"))
    page = AppTest.from_function(_form).run()
    assert page.text[0].value == "not yet"
    assert "Still needed: Name" in page.caption[-1].value
    page.text_input(key="f.name").set_value("x")
    page.selectbox(key="f.task").set_value("re")
    page.text_area(key="f.words").set_value("a\n\n b ")
    page.run()
    assert not page.exception
    made = FormRequest.model_validate_json(page.text[0].value)
    assert made == FormRequest(name="x", rows=7, task="re", quick=True, words=("a", "b"), folder=None)
    assert page.number_input(key="f.rows").max == 100
    assert page.number_input(key="f.decoding.temperature").value == 0.5


def test_what_is_wrong_in_a_form_is_said_in_words(workspace: Path) -> None:
    settings.write(settings.Settings(language="en"))

    def form() -> None:
        from tests.ui.test_shell import FormRequest
        from ui.parts.request_form import request_form

        request_form(FormRequest, "f", hide=("rows",), defaults={"rows": 0, "name": "x"})

    page = AppTest.from_function(form).run()
    assert "must be at least 1" in page.error[0].value


def test_the_preflight_says_what_does_not_fit(workspace: Path) -> None:
    settings.write(settings.Settings(language="en"))

    def needs() -> None:
        from tests.ui.test_shell import HUGE
        from ui.parts.preflight import show_needs

        assert not show_needs(HUGE)

    page = AppTest.from_function(needs).run()
    assert not page.exception
    assert "close" in page.markdown[0].value
    assert "check" in page.markdown[0].value
    assert "smaller or more quantized" in page.warning[0].value


HUGE = Needs(ram=10**15, disk=1, seconds=40)
