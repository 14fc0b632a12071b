// Draws a row's evidence from plain data. Every text goes through textContent; nothing here makes markup of it.

// Lanes: marks that overlap get underlines at different heights, longer ones further down.
function lanes(marks) {
  const order = marks.map((_, i) => i).sort((a, b) => marks[b].end - marks[b].start - (marks[a].end - marks[a].start));
  const lane = new Array(marks.length).fill(0);
  const placed = [];
  for (const i of order) {
    const used = new Set(placed.filter((j) => marks[j].start < marks[i].end && marks[i].start < marks[j].end).map((j) => lane[j]));
    while (used.has(lane[i])) lane[i] += 1;
    placed.push(i);
  }
  return lane;
}

function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".evidence");
  const focused = root.getRootNode().activeElement?.dataset?.record;
  const touched = new Map(); // record -> the elements that belong to it
  root.replaceChildren();

  function belong(made, records) {
    for (const record of records) touched.set(record, [...(touched.get(record) ?? []), made]);
  }

  function light(records, on) {
    root.classList.toggle("lighting", on);
    for (const record of records) for (const made of touched.get(record) ?? []) made.classList.toggle("lit", on);
  }

  function answer(made, records, lit = records) {
    made.addEventListener("mouseenter", () => light(lit, true));
    made.addEventListener("mouseleave", () => light(lit, false));
    made.addEventListener("focus", () => light(lit, true));
    made.addEventListener("blur", () => light(lit, false));
    made.addEventListener("click", () => setTriggerValue("clicked", records[0]));
  }

  function head() {
    const line = element("div", "head");
    for (const badge of data.badges) line.append(element("span", "badge", badge));
    if (data.confidence !== null && data.confidence !== undefined) {
      const bar = element("span", "confidence");
      const share = Math.max(0, Math.min(1, data.confidence));
      bar.title = `${data.words.confidence}: ${Math.round(100 * share)}%`;
      bar.setAttribute("role", "img");
      bar.setAttribute("aria-label", bar.title);
      const full = element("span", "full");
      full.style.width = `${100 * share}%`;
      bar.append(full);
      line.append(bar);
    }
    if (line.childNodes.length) root.append(line);
    if (data.error) root.append(element("p", "error", data.error));
  }

  function text() {
    const letters = Array.from(data.text); // codepoints, as Python counts; JavaScript's own strings count UTF-16 units
    const marks = data.marks;
    const lane = lanes(marks);
    const cuts = new Set([0, letters.length]);
    for (const mark of marks) for (const at of [mark.start, mark.end]) cuts.add(at);
    const edges = [...cuts].sort((a, b) => a - b);
    const deep = Math.max(0, ...lane) + 1;
    const place = element("p", "text");
    place.dir = "auto";
    place.style.setProperty("--deep", deep);
    if (data.cut[0]) place.append(element("span", "cut", `… ${data.words.cut} `));
    for (let k = 0; k + 1 < edges.length; k += 1) {
      const [start, end] = [edges[k], edges[k + 1]];
      const over = marks.map((_, i) => i).filter((i) => marks[i].start <= start && end <= marks[i].end);
      place.append(over.length ? piece(letters.slice(start, end).join(""), over, lane) : letters.slice(start, end).join(""));
      for (const i of ending(over, end)) place.append(label(i));
    }
    if (data.cut[1]) place.append(element("span", "cut", ` ${data.words.cut} …`));
    root.append(place);

    function piece(words, over, lane) {
      const inner = over.reduce((best, i) => (size(i) < size(best) ? i : best));
      const made = element("span", `piece ${marks[inner].kind}`, words);
      made.style.setProperty("--ink", marks[inner].colour);
      made.style.backgroundImage = [...over.map((i) => `linear-gradient(${marks[i].colour}, ${marks[i].colour})`)].join(", ");
      made.style.backgroundSize = over.map(() => "100% 2px").join(", ");
      made.style.backgroundPosition = over.map((i) => `0 calc(100% - ${3 * (deep - 1 - lane[i])}px)`).join(", ");
      made.style.backgroundRepeat = "no-repeat";
      made.dataset.record = marks[inner].records[0];
      belong(made, over.flatMap((i) => marks[i].records));
      answer(made, marks[inner].records);
      return made;
    }

    function ending(over, end) {
      return over.filter((i) => marks[i].end === end && marks[i].label).sort((a, b) => size(a) - size(b));
    }

    function label(i) {
      const mark = marks[i];
      const made = element("button", `label ${mark.kind}`, mark.label);
      const words = letters.slice(mark.start, mark.end).join("");
      made.type = "button";
      made.style.setProperty("--ink", mark.colour);
      made.dataset.record = mark.records[0];
      made.setAttribute("aria-label", `${mark.label}: ${words}`);
      made.setAttribute("aria-pressed", String(mark.records[0] === data.selected));
      belong(made, mark.records);
      answer(made, mark.records);
      return made;
    }

    function size(i) {
      return marks[i].end - marks[i].start;
    }
  }

  function rows(title, found, why) {
    if (!found.length) return;
    const part = element("section", why ? "lost" : "");
    part.append(element("h4", "", title));
    if (why) part.append(element("p", "why", why));
    const list = element("ul");
    for (const row of found) {
      const item = element("li");
      const made = element("button", `row ${row.kind}`);
      made.type = "button";
      made.dataset.record = row.record;
      made.dir = "auto";
      made.setAttribute("aria-pressed", String(row.record === data.selected));
      row.parts.forEach((one, place) => {
        if (place) made.append(" ");
        const word = element("span", `${one.kind}${one.lost ? " missing" : ""}`, one.text);
        if (one.colour) word.style.setProperty("--ink", one.colour);
        if (one.kind !== "arrow") word.dir = "auto";
        made.append(word);
      });
      belong(made, [row.record]);
      answer(made, [row.record]);
      item.append(made);
      list.append(item);
    }
    part.append(list);
    root.append(part);
  }

  head();
  text();
  rows(data.words.relations, data.rows.filter((row) => row.kind === "relation"));
  rows(data.words.events, data.rows.filter((row) => row.kind === "event"));
  rows(data.words.lost, data.lost, data.words.why);
  if (!data.marks.length && !data.rows.length && !data.lost.length && !data.error) root.append(element("p", "why", data.words.nothing));
  for (const made of touched.get(data.selected) ?? []) made.classList.add("selected");
  if (focused) [...root.querySelectorAll("button")].find((made) => made.dataset.record === focused)?.focus({ preventScroll: true });
}
