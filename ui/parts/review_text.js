// Draws the sentence and its records from plain data. Every text goes through textContent; nothing here makes markup of it.

function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

function letter(record) {
  return { pending: "•", accepted: "✓", rejected: "✗", proposed: "?" }[record.state] ?? "•";
}

const LONG = 4000; // codepoints drawn at most
const CJK = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/u;

// What a pointer can take hold of: words; in scripts without gaps single characters.
function cellsOf(letters, from) {
  const cells = [];
  for (const [first, behind] of graphemesOf(letters.join(""))) {
    const words = letters.slice(first, behind).join("");
    const [start, end] = [from + first, from + behind];
    const last = cells[cells.length - 1];
    const joins = last && /^[\p{L}\p{N}\p{M}_]+$/u.test(words) && last.word && !CJK.test(words);
    if (joins) last.end = end;
    else cells.push({ start, end, word: /^[\p{L}\p{N}\p{M}_]+$/u.test(words) && !CJK.test(words) });
  }
  return cells;
}

function drawText(unit, focused, selection, colourOf, words) {
  const letters = Array.from(unit.text);
  const place = element("p", "text");
  place.dir = "auto";
  const marks = [];
  for (const record of unit.records) {
    if (record.state === "rejected" && record !== focused) continue;
    for (const [part, span] of spansOf(record)) {
      if (span.start == null || span.start < 0 || span.end > letters.length) continue;
      const own = record === focused;
      if (record.kind === "entity" || part === "trigger" || own)
        marks.push({ start: span.start, end: span.end, record, part, own, colour: record.kind === "relation" ? "" : colourOf(typeOf(record)) });
    }
  }
  const [from, to] = near(letters.length, selection ?? marks.filter((mark) => mark.own).map((mark) => mark.start));
  const cuts = new Set([from, to]);
  const cells = cellsOf(letters.slice(from, to), from);
  for (const cell of cells) cuts.add(cell.start);
  for (const mark of marks) { cuts.add(mark.start); cuts.add(mark.end); }
  if (selection) for (const at of selection) cuts.add(at);
  const edges = [...cuts].filter((at) => at >= from && at <= to).sort((a, b) => a - b);
  if (from > 0) place.append(element("span", "hint", "… "));
  let cell = 0;
  for (let k = 0; k + 1 < edges.length; k += 1) {
    const [start, end] = [edges[k], edges[k + 1]];
    while (cell + 1 < cells.length && cells[cell + 1].start <= start) cell += 1;
    const made = element("span", "cell", letters.slice(start, end).join(""));
    made.dataset.start = cells[cell]?.start ?? start;
    made.dataset.end = cells[cell]?.end ?? end;
    const over = marks.filter((mark) => mark.start <= start && end <= mark.end);
    const inner = over.reduce((best, mark) => (!best || mark.end - mark.start < best.end - best.start ? mark : best), null);
    if (inner) {
      made.classList.add("mark");
      if (inner.colour) made.style.setProperty("--ink", inner.colour);
    }
    if (over.some((mark) => mark.own)) made.classList.add("own");
    if (selection && start >= selection[0] && end <= selection[1]) made.classList.add("selected");
    place.append(made);
    for (const mark of over) if (mark.end === end && mark.own) place.append(label(roleWords(mark, words), mark.colour));
    for (const mark of over)
      if (mark.end === end && !mark.own && mark.record.kind !== "relation") place.append(label(typeOf(mark.record), mark.colour));
  }
  if (to < letters.length) place.append(element("span", "hint", " …"));
  return place;
}

// Of a very long sentence, the part around what is looked at.
function near(count, places) {
  if (count <= LONG) return [0, count];
  const from = Math.max(0, Math.min((places[0] ?? 0) - LONG / 4, count - LONG));
  return [from, from + LONG];
}

function roleWords(mark, words) {
  if (mark.part === "span" || mark.part === "trigger") return typeOf(mark.record);
  return mark.part.startsWith("argument:") ? roleOf(mark.record, mark.part) : words[mark.part];
}

function label(text, colour) {
  const made = element("span", "label", text);
  if (colour) made.style.setProperty("--ink", colour);
  return made;
}

// A record as one line, to be told beside another reviewer's name.
function inWords(record) {
  const parts = spansOf(record).map(([part, span]) => (part.startsWith("argument:") ? `${roleOf(record, part)}: ${span.text}` : span.text));
  return record.kind === "relation" ? `${parts[0]} → ${typeOf(record)} → ${parts[1]}` : `${typeOf(record)}: ${parts.join(" · ")}`;
}

function drawRecord(record, own, colourOf, words, part) {
  const made = element("button", `record ${record.kind} ${record.state}`);
  made.type = "button";
  made.dir = "auto";
  made.dataset.record = record.name;
  made.setAttribute("aria-pressed", String(own));
  made.setAttribute("aria-label", `${words[record.state]}: ${typeOf(record)}: ${spansOf(record).map(([, span]) => span.text).join(" → ")}`);
  made.append(element("span", "state", letter(record)));
  const kind = element("span", "type", typeOf(record));
  if (record.kind !== "relation") kind.style.setProperty("--ink", colourOf(typeOf(record)));
  const parts = spansOf(record).map(([name, span]) => {
    const word = element("span", `word${span.start == null ? " missing" : ""}${name === part ? " chosen" : ""}`, span.text);
    word.dir = "auto";
    return name.startsWith("argument:") ? [element("span", "role", roleOf(record, name)), word] : [word];
  });
  if (record.kind === "relation") made.append(...parts[0], element("span", "arrow", "→"), kind, element("span", "arrow", "→"), ...parts[1]);
  else made.append(kind, ...parts.flat());
  if (record.confidence != null) {
    const bar = element("span", "confidence");
    const full = element("span", "full");
    const share = Math.max(0, Math.min(1, record.confidence));
    full.style.width = `${100 * share}%`;
    bar.title = `${words.confidence}: ${Math.round(100 * share)}%`;
    bar.append(full);
    made.append(bar);
  }
  const flags = [];
  if (record.added) flags.push(words.added);
  if (record.edited) flags.push(words.edited);
  if (record.value.swapped) flags.push(words.swapped);
  if (spansOf(record).some(([, span]) => span.start == null)) flags.push(words.lost);
  if (record.twins[0] > 1) flags.push(`×${record.twins[0]}`);
  for (const flag of flags) made.append(element("span", "flag", flag));
  for (const one of record.others) {
    const theirs = one.value ? inWords({ kind: record.kind, value: one.value }) : "";
    const told = theirs && (theirs !== inWords(record) || record.state === one.state) ? theirs : words[one.state] ?? one.state;
    made.append(element("span", "flag other", `${one.who}: ${told}`));
  }
  if (record.why) made.append(element("span", "why", `“${record.why}”`));
  return made;
}
