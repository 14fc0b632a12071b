"""Types as chips in their colours. Names come from people's schemas, so they reach the page as textContent only."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.extract.schema import EntityType, EventType, RelationType, Type
from ui.i18n import language, t
from ui.parts.colours import colour, slots

_CSS = """
.groups {
  display: flex; flex-direction: column; gap: 0.5rem; font-family: var(--st-font); color: var(--st-text-color);
}
.group { display: flex; flex-wrap: wrap; gap: 0.3rem; align-items: baseline; }
.title { font-size: 0.8rem; opacity: 0.7; margin-right: 0.2rem; }
.chip {
  display: inline-flex; align-items: baseline; gap: 0.35rem; max-width: 100%; box-sizing: border-box;
  padding: 0.12rem 0.5rem; border: 1px solid var(--st-border-color); border-radius: 0.5rem;
  font-size: 0.8rem; line-height: 1.4;
}
.dot { flex: none; width: 0.6rem; height: 0.6rem; border-radius: 50%; align-self: center; }
.name { font-weight: 600; overflow-wrap: anywhere; }
.more { display: none; opacity: 0.75; overflow-wrap: anywhere; }
.open .more { display: inline; }
.toggle {
  align-self: flex-start; padding: 0; border: 0; background: none; cursor: pointer;
  font: inherit; font-size: 0.8rem; color: var(--st-link-color); text-decoration: underline;
}
"""

_JS = """
function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  if (text) made.textContent = text;
  return made;
}

function chipOf(chip) {
  const made = element("span", "chip");
  if (chip.more) made.title = chip.more;
  if (chip.colour) {
    const dot = element("span", "dot");
    dot.style.backgroundColor = chip.colour;
    made.append(dot);
  }
  made.append(element("span", "name", chip.name));
  if (chip.more) made.append(element("span", "more", chip.more));
  return made;
}

export default function ({ data, parentElement }) {
  let root = parentElement.querySelector(".groups");
  if (!root) {
    root = element("div", "groups");
    parentElement.append(root);
  }
  const toggle = element("button", "toggle");
  toggle.type = "button";
  const draw = () => {
    const open = root.classList.contains("open");
    toggle.textContent = open ? data.words.less : data.words.more;
    toggle.setAttribute("aria-expanded", String(open));
  };
  toggle.onclick = () => { root.classList.toggle("open"); draw(); };
  draw();
  const groups = data.groups.map((group) => {
    const made = element("div", "group");
    made.append(element("span", "title", group.title), ...group.chips.map(chipOf));
    return made;
  });
  const told = data.groups.some((group) => group.chips.some((chip) => chip.more));
  root.replaceChildren(...groups, ...(told ? [toggle] : []));
}
"""

_component = st.components.v2.component("knowlm-studio.type_chips", css=_CSS, js=_JS)


def type_chips(groups: Sequence[tuple[str, Sequence[Type]]], key: str) -> None:
    """Titled groups of types; entity types in their colours; descriptions, ends and roles one click away."""
    names = [one.name for _, types in groups for one in types if isinstance(one, EntityType)]
    places = slots(names)
    drawn = [
        {
            "title": title,
            "chips": [
                {
                    "name": one.name,
                    "more": more(one),
                    "colour": colour(one.name, places) if isinstance(one, EntityType) else "",
                }
                for one in types
            ],
        }
        for title, types in groups
    ]
    words = {"more": t("Show what they mean"), "less": t("Hide what they mean")}
    _component(key=key, data={"groups": drawn, "words": words})


def more(one: Type) -> str:
    told = one.told(language())
    if isinstance(one, RelationType) and one.is_attribute:
        return " · ".join(part for part in (t("attribute of {names}", names=one.head), told) if part)
    if isinstance(one, RelationType):
        ends = f"{one.head or t('anything')} → {one.tail or t('anything')}" if one.head or one.tail else ""
        return " · ".join(part for part in (ends, told) if part)
    if isinstance(one, EventType):
        return " · ".join(part for part in (", ".join(role.name for role in one.roles), told) if part)
    return told
