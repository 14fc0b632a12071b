"""Types as chips in their colours. Names come from people's schemas, so they reach the page as textContent only."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.extract.schema import EntityType, EventType, RelationType
from core.graph.colours import colour, slots
from ui.i18n import t

_CSS = """
.chips {
  display: flex; flex-wrap: wrap; gap: 0.35rem; margin: 0; padding: 0; list-style: none; font-family: var(--st-font);
}
.chips li {
  display: inline-flex; align-items: baseline; gap: 0.4rem; max-width: 100%; box-sizing: border-box;
  padding: 0.2rem 0.55rem; border: 1px solid var(--st-border-color); border-radius: 0.5rem;
  font-size: 0.82rem; line-height: 1.35; color: var(--st-text-color);
}
.chips .dot { flex: none; width: 0.6rem; height: 0.6rem; border-radius: 50%; align-self: center; }
.chips .name { font-weight: 600; overflow-wrap: anywhere; }
.chips .more { opacity: 0.75; overflow-wrap: anywhere; }
"""

_JS = """
export default function ({ data, parentElement }) {
  let list = parentElement.querySelector("ul");
  if (!list) {
    list = document.createElement("ul");
    list.className = "chips";
    parentElement.appendChild(list);
  }
  list.replaceChildren(...data.chips.map((chip) => {
    const item = document.createElement("li");
    if (chip.colour) {
      const dot = document.createElement("span");
      dot.className = "dot";
      dot.style.backgroundColor = chip.colour;
      item.appendChild(dot);
    }
    for (const [part, text] of [["name", chip.name], ["more", chip.more]]) {
      if (!text) continue;
      const span = document.createElement("span");
      span.className = part;
      span.textContent = text;
      item.appendChild(span);
    }
    return item;
  }));
}
"""

_chips = st.components.v2.component("knowlm_type_chips", css=_CSS, js=_JS)


def type_chips(types: Sequence[EntityType | RelationType | EventType], key: str) -> None:
    """One chip a type: name, then description, or head → tail, or roles. Entity types have their colours."""
    places = slots(one.name for one in types if isinstance(one, EntityType))
    chips = [
        {
            "name": one.name,
            "more": more(one),
            "colour": colour(one.name, places) if isinstance(one, EntityType) else "",
        }
        for one in types
    ]
    _chips(key=key, data={"chips": chips})


def more(one: EntityType | RelationType | EventType) -> str:
    if isinstance(one, RelationType):
        ends = f"{one.head or t('anything')} → {one.tail or t('anything')}" if one.head or one.tail else ""
        return " · ".join(part for part in (ends, one.description) if part)
    if isinstance(one, EventType):
        return " · ".join(part for part in (", ".join(role.name for role in one.roles), one.description) if part)
    return one.description
