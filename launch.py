"""Starts the app: `streamlit run launch.py`."""

import os

# Nothing that is imported from here on, nor any process started by the app, tells anyone about its use.
for _variable, _value in {
    "DO_NOT_TRACK": "1",
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "OPENVINO_TELEMETRY_OPT_OUT": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}.items():
    os.environ.setdefault(_variable, _value)

import streamlit as st  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402

from ui.parts.errors import show_unexpected  # noqa: E402
from ui.parts.sandbox import route  # noqa: E402
from ui.security import OnlyOurHosts, SecurityHeaders  # noqa: E402

app = st.App(
    "ui/app.py",
    middleware=[Middleware(SecurityHeaders), Middleware(OnlyOurHosts)],
    routes=[route],
    on_script_error=show_unexpected,
)
