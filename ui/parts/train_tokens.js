// A sample's tokens in their order. All text comes from people's files, so it becomes textContent and nothing else.

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function token([text, learned], place) {
  const names = ["token", place % 2 ? "even" : "odd"];
  if (learned) names.push("learned");
  const made = element("span", names.join(" "));
  // A line's end is shown, since the model sees it too.
  for (const part of text.split(/(\n)/)) {
    if (part === "\n") made.append(element("span", "mark", "↵"), document.createTextNode("\n"));
    else if (part) made.append(document.createTextNode(part));
  }
  return made;
}

export default function ({ data, parentElement }) {
  let root = parentElement.querySelector(".sample");
  if (!root) {
    root = element("div", "sample");
    parentElement.append(root);
  }
  const legend = element("div", "legend");
  for (const [words, learned] of [[data.words.learned, true], [data.words.given, false]]) {
    legend.append(element("span", learned ? "token learned" : "token even", ` ${words} `));
  }
  const text = element("div", "tokens");
  text.tabIndex = 0;
  text.setAttribute("role", "region");
  text.setAttribute("aria-label", data.words.sample);
  text.append(...data.pieces.map(token));
  if (data.cut) text.append(element("span", "mark", "…"));
  root.replaceChildren(legend, text);
  // The first learned token is what a person looks for.
  const first = text.querySelector(".learned");
  if (first && first.offsetTop - text.offsetTop > text.clientHeight - 40) {
    text.scrollTop = first.offsetTop - text.offsetTop - 60;
  }
}
