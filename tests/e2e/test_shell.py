"""The real app in Chromium: its first page, its doors, its languages."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from tests.e2e.conftest import App, is_local, watch

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.e2e

UPGRADE = (
    "GET /_stcore/stream HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: {origin}\r\n\r\n"
)
VIEWS = {
    "Extract": "extract",
    "Chat": "chat",
    "Graph": "graph",
    "Models": "models",
    "Jobs": "jobs",
    "Settings": "settings",
}


def test_the_first_page_offers_the_starter_model(app: App, page: Page) -> None:
    page.goto(app.url)
    page.get_by_role("button", name="Get the starter model, 92.9 MB").wait_for()
    assert page.get_by_text("This machine", exact=True).is_visible()


def test_every_page_is_reached_from_the_navigation(app: App, page: Page) -> None:
    page.goto(app.url)
    for name, path in VIEWS.items():
        page.get_by_test_id("stSidebarNav").get_by_role("link", name=name, exact=True).click()
        page.wait_for_url(f"{app.url}/{path}*")
        page.get_by_role("heading", level=1).first.wait_for()
        assert page.get_by_text("Something went wrong").count() == 0
    assert not (app.workspace / "app.log").exists()


def test_a_foreign_host_or_origin_is_refused_on_http_and_websocket(app: App) -> None:
    address = app.url.removeprefix("http://")
    with httpx.Client(base_url=app.url, trust_env=False) as client:
        assert client.get("/").status_code == 200
        assert client.get("/", headers={"host": "evil.example"}).status_code == 403
        assert client.get("/_stcore/health", headers={"host": "evil.example"}).status_code == 403
        assert client.get("/", headers={"origin": "http://evil.example"}).status_code == 403
    assert upgrade(address, host=address, origin=f"http://{address}") == 101
    assert upgrade(address, host="evil.example", origin="http://evil.example") == 403
    assert upgrade(address, host=address, origin="http://evil.example") == 403
    assert upgrade(address, host=address, origin="http://127.0.0.1:1") == 403


def test_the_server_listens_on_loopback_alone(app: App) -> None:
    listening = [
        one.laddr.ip for one in psutil.Process(app.process.pid).net_connections() if one.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"]


def test_the_language_is_switched_and_kept(app: App, page: Page) -> None:
    page.goto(f"{app.url}/settings")
    page.get_by_role("heading", name="Settings", exact=True).wait_for()
    page.get_by_role("radio", name="中文").or_(page.get_by_role("button", name="中文")).first.click()
    page.get_by_role("heading", name="设置", exact=True).wait_for()
    page.reload()
    page.get_by_role("heading", name="设置", exact=True).wait_for()
    assert page.get_by_role("link", name="图谱").is_visible()


def test_a_chinese_browser_is_answered_in_chinese(app: App, browser: Browser) -> None:
    context = browser.new_context(locale="zh-CN")
    page = context.new_page()
    asked, complaints = watch(page)
    page.goto(app.url)
    page.get_by_role("button", name="获取入门模型").wait_for()
    context.close()
    assert all(is_local(url) for url in asked)
    assert not complaints


def test_a_broken_settings_file_is_told_with_its_remedy(app: App, page: Page) -> None:
    (app.workspace / "settings.json").write_text("{broken", encoding="utf-8")
    page.goto(app.url)
    page.get_by_text("delete it to start from the defaults").first.wait_for()
    assert page.get_by_role("link", name="Jobs").is_visible()


def test_an_unexpected_failure_is_told_calmly_and_logged(app: App, page: Page) -> None:
    (app.workspace / "jobs").write_text("a file where a folder should be", encoding="utf-8")
    page.goto(f"{app.url}/jobs")
    page.get_by_text("Something went wrong on this page.").first.wait_for()
    assert page.get_by_text("Traceback").count() == 0
    assert page.get_by_text("Something went wrong on this page.").count() == 1
    assert "Traceback" in (app.workspace / "app.log").read_text(encoding="utf-8")


def upgrade(address: str, *, host: str, origin: str) -> int:
    """The status that a websocket's opening is answered with."""
    name, port = address.rsplit(":", 1)
    with socket.create_connection((name, int(port)), timeout=10) as connection:
        connection.sendall(UPGRADE.format(host=host, origin=origin).encode())
        return int(connection.recv(200).split(b" ", 2)[1])
