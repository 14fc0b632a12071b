"""From a conversation to Extract: a whole answer, or what a person has selected of the messages."""

from __future__ import annotations

import streamlit as st

from ui.i18n import t
from ui.parts.one_text import LONGEST, SAMPLE, TEXT

_CSS = """
button {
  font: inherit; font-size: 0.875rem; padding: 0.35rem 0.75rem; cursor: pointer; border-radius: 0.4rem;
  border: 1px solid var(--st-border-color); background: var(--st-background-color); color: var(--st-text-color);
}
button:hover:enabled { border-color: var(--st-primary-color); color: var(--st-primary-color); }
button:disabled { opacity: 0.5; cursor: default; }
"""

_JS = """
function selected() {
  const now = document.getSelection();
  const node = now && !now.isCollapsed ? now.anchorNode : null;
  const place = node instanceof Element ? node : node && node.parentElement;
  return place && place.closest('[data-testid="stChatMessage"]') ? now.toString().trim() : "";
}

export default function ({ data, parentElement, setTriggerValue }) {
  let button = parentElement.querySelector("button");
  if (!button) {
    button = document.createElement("button");
    button.type = "button";
    parentElement.append(button);
  }
  button.textContent = data.label;
  button.title = data.help;
  button.onmousedown = (event) => event.preventDefault();  // a click must not take the selection away
  button.onclick = () => { const text = selected(); if (text) setTriggerValue("selection", text); };
  const look = () => { button.disabled = !selected(); };
  look();
  document.addEventListener("selectionchange", look);
  return () => document.removeEventListener("selectionchange", look);
}
"""

_component = st.components.v2.component("knowlm-studio.selection", css=_CSS, js=_JS)


def to_extract(text: str) -> None:
    """Open Extract with this text; it takes no more than LONGEST characters."""
    times = st.session_state.get(SAMPLE, ("", 0))[1] + 1
    st.session_state[SAMPLE] = ("", times)
    st.session_state[f"{TEXT}.{times}"] = text[:LONGEST]
    st.session_state["extract.kind"] = "text"
    st.switch_page("views/extract.py")


def selection_button() -> None:
    """Enabled while something of a message is selected."""
    words = {"label": t("Selection to Extract"), "help": t("Select a part of a message first.")}
    sent = _component(key="chat.selection", data=words, on_selection_change=lambda: None)
    if sent.selection:
        to_extract(str(sent.selection))
