// The board: one sentence at a time, decided by keyboard. Steps show at once and are stored in batches; those that are
// not stored yet are kept in the browser, so a reload or a lost connection loses none.

const BOARDS = new WeakMap();
const RESEND = 5000;

function token() {
  return [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// The letter of a key whatever the keyboard writes with it: a Chinese input method says "Process".
function keyOf(event) {
  if (/^[a-z?]$/i.test(event.key)) return event.key.toLowerCase();
  if (event.key.length === 1 || event.key === "Process" || event.key === "Unidentified")
    if (/^Key[A-Z]$/.test(event.code)) return event.code.slice(3).toLowerCase();
  return event.key;
}

class Board {
  constructor(parent) {
    this.root = element("div", "board");
    this.root.tabIndex = 0;
    parent.append(this.root);
    this.units = new Map(); // place in the queue -> the sentence as the server has it
    this.unsaved = [];
    this.back = []; // own steps that may be undone, latest last
    this.forth = [];
    this.place = 0;
    this.focus = 0;
    this.mode = null;
    this.drawn = null; // a selection made with the pointer
    this.note = "";
    this.message = "";
    this.number = 0;
    this.flying = 0;
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.root.addEventListener("pointerdown", (event) => this.press(event));
    this.root.addEventListener("pointermove", (event) => this.drag(event));
    this.root.addEventListener("pointerup", () => { this.held = null; });
    this.timer = setInterval(() => this.tick(), 1000);
  }

  // What the server says: the queue's part around the place, and what it has stored or refused.
  hear(data, send) {
    this.send = send;
    const first = this.data === undefined;
    const other = first || data.queue !== this.data.queue;
    this.data = data;
    this.words = data.words;
    if (first) this.recall();
    const settled = new Set([...data.done, ...Object.keys(data.refused)]);
    const was = new Set(this.unsaved.map((step) => step.id));
    this.unsaved = this.unsaved.filter((step) => !settled.has(step.id));
    for (const [id, why] of Object.entries(data.refused)) {
      if (!was.has(id)) continue;
      this.message = why;
      this.back = this.back.filter((step) => step.id !== id);
    }
    if (data.failed && data.number === this.number) this.message = data.failed;
    if (was.size !== this.unsaved.length) this.remember();
    if (data.number >= this.number) this.flying = 0;
    if (other) {
      this.units.clear();
      this.place = data.at;
      this.focus = 0;
      this.mode = null;
      this.message = "";
    }
    if (data.goto && data.goto[0] === this.number && data.goto[0] !== this.gone) {
      this.gone = data.goto[0];
      this.place = data.goto[1];
      this.focus = 0;
    }
    if (other || data.units.some((unit) => unit.place === this.place) || !this.units.has(this.place)) this.units.clear();
    for (const unit of data.units) this.units.set(unit.place, unit);
    if (other) this.focusFirst();
    const writing = this.mode?.kind === "choose" || this.mode?.kind === "why"; // what is being typed stays as it is
    if (writing) this.refresh(); else this.draw();
    if (first && (document.activeElement === document.body || !document.activeElement)) this.root.focus({ preventScroll: true });
    if (this.unsaved.length && !this.flying) this.soon();
    else this.fetchAhead();
  }

  // Steps that a closed or reloaded window left unsaved. A step sent twice is stored once.
  recall() {
    const start = `knowlm.review.${this.data.review}.`;
    this.kept = start + token();
    try {
      const names = Object.keys(localStorage).filter((name) => name.startsWith(start));
      this.unsaved = names.flatMap((name) => JSON.parse(localStorage.getItem(name) ?? "[]"));
      this.remember();
      for (const name of names) localStorage.removeItem(name);
    } catch { /* a forbidden store holds nothing */ }
  }

  remember() {
    try {
      if (this.unsaved.length) localStorage.setItem(this.kept, JSON.stringify(this.unsaved));
      else localStorage.removeItem(this.kept);
    } catch { /* a full or forbidden store: the steps are still sent */ }
  }

  soon() {
    this.flying = Date.now();
    setTimeout(() => this.flush(), 30);
  }

  // The sentences around the place, asked for before they are needed; once for each place.
  fetchAhead() {
    const wanted = [this.place, this.place + 10, this.place - 3].map((at) => Math.max(0, Math.min(this.data.total - 1, at)));
    if (!this.data.total || this.flying || this.asked === this.place || wanted.every((at) => this.units.has(at))) return;
    this.asked = this.place;
    this.soon();
  }

  tick() {
    if (!this.root.isConnected) { clearInterval(this.timer); return; }
    if (this.unsaved.length && (!this.flying || Date.now() - this.flying > RESEND)) this.flush();
  }

  flush() {
    this.number = Math.max(this.number, this.data.number) + 1;
    this.flying = Date.now();
    const steps = this.unsaved.map(({ shape, place, ...step }) => step);
    this.send("sent", { steps, at: this.place, number: this.number });
  }

  // A sentence as it is once all steps that are not stored yet are.
  view(place) {
    const base = this.units.get(place);
    if (!base) return null;
    const unit = copyOf(base);
    for (const step of this.unsaved) takeStep(unit, step);
    return unit;
  }

  get unit() { return this.now ?? null; }

  get record() { return this.unit?.records[this.focus] ?? null; }

  step(op, more = {}) {
    const unit = this.unit;
    if (!unit) return;
    const step = { id: token(), op, unit: unit.id, record: this.record?.name ?? "", why: this.note, place: this.place, shape: copyOf(unit), ...more };
    this.note = "";
    this.back.push(step);
    this.forth = [];
    this.put(step);
  }

  put(step) {
    this.unsaved.push(step);
    this.remember();
    this.message = "";
    if (!this.flying) this.soon();
  }

  // Deciding

  decide(op, more) {
    if (!this.record) return;
    this.step(op, more);
    this.refresh();
    this.onward();
    this.draw();
  }

  // To the next record of this sentence that calls for a decision.
  onward() {
    const records = this.unit.records;
    for (let k = 1; k <= records.length; k += 1) {
      const at = (this.focus + k) % records.length;
      if (calls(records[at])) { this.focus = at; return; }
    }
  }

  refresh() { this.now = this.view(this.place); }

  whole(rest) {
    const open = this.unit?.records.filter((one) => one.state === "pending") ?? [];
    if (!this.unit) return;
    if (open.length && !rest) {
      this.message = this.words.open.replace("{n}", open.length);
      this.focus = this.unit.records.indexOf(open[0]);
      this.draw();
      return;
    }
    if (!this.unit.whole || open.length) this.step("whole", { record: "", ...(rest && open.length ? { state: "accepted" } : {}) });
    this.go(1);
  }

  go(by) {
    const wanted = this.place + by;
    if (wanted < 0 || wanted > this.data.total) return;
    this.place = wanted;
    this.mode = null;
    this.drawn = null;
    this.message = "";
    this.focusFirst();
    this.draw();
    this.fetchAhead();
  }

  focusFirst() {
    this.refresh();
    const records = this.unit?.records ?? [];
    this.focus = Math.max(0, records.findIndex(calls));
  }

  undo() {
    const step = this.back.pop();
    if (!step) { this.put({ id: token(), op: "undo", of: "", unit: 0, record: "" }); this.draw(); return; }
    this.forth.push(step);
    this.place = step.place;
    this.put({ id: token(), op: "undo", of: step.id, unit: step.unit, record: "", shape: step.shape, place: step.place });
    this.refresh();
    const at = this.unit?.records.findIndex((one) => one.name === step.record) ?? -1;
    this.focus = Math.max(0, at);
    this.draw();
  }

  redo() {
    const step = this.forth.pop();
    if (!step) { this.put({ id: token(), op: "redo", of: "", unit: 0, record: "" }); this.draw(); return; }
    this.back.push(step);
    this.place = step.place;
    this.refresh();
    const shape = copyOf(this.unit ?? step.shape);
    takeStep(shape, step);
    this.put({ id: token(), op: "redo", of: step.id, unit: step.unit, record: "", shape, place: step.place });
    this.refresh();
    this.draw();
  }

  // Choosing

  choose(title, options, then) {
    this.mode = { kind: "choose", title, options, filter: "", index: 0, then };
    this.draw();
  }

  matching() {
    const wanted = this.mode.filter.trim().toLowerCase();
    return this.mode.options.filter((one) => !wanted || `${one.label} ${one.more ?? ""}`.toLowerCase().includes(wanted));
  }

  select(title, start, then, parts) {
    const letters = this.unit ? Array.from(this.unit.text).length : 0;
    const first = start ?? this.drawn ?? wordsOf(this.unit.text)[0] ?? [0, Math.min(1, letters)];
    this.mode = { kind: "select", title, range: [...first], then, parts };
    this.drawn = null;
    this.draw();
  }

  chooseType() {
    const record = this.record;
    if (!record) return;
    const options = this.data.types[record.kind].map((one) => ({ label: one.name, value: one.name, more: one.more }));
    this.choose(this.words.choose_type, options, (type) => this.decide("type", { type }));
  }

  editSpan(part) {
    const record = this.record;
    if (!record) return;
    const parts = spansOf(record);
    const at = Math.max(0, parts.findIndex(([name]) => name === part));
    const [name, span] = parts[at];
    const told = record.kind === "event" ? roleOf(record, name) : name;
    const title = this.words.edit_span.replace("{part}", this.words[told] ?? told);
    const start = span.start == null ? undefined : [span.start, span.end];
    const change = ([from, to]) => this.decide("span", { part: name, start: from, end: to });
    this.select(title, start, change, { record: record.name, part: name, next: parts[(at + 1) % parts.length][0] });
  }

  addArgument() {
    const record = this.record;
    if (record?.kind !== "event") return;
    const type = this.data.types.event.find((one) => one.name === typeOf(record));
    const roles = (type?.roles?.length ? type.roles : [...new Set(record.value.arguments.map((one) => one.role))]).map((role) => ({ label: role, value: role }));
    this.choose(this.words.choose_role, roles, (role) => {
      const title = this.words.select_for.replace("{part}", role);
      this.select(title, undefined, ([start, end]) => this.decide("argument", { type: role, start, end }));
    });
  }

  addRecord() {
    if (!this.unit) return;
    const options = ["entity", "relation", "event"].flatMap((kind) =>
      this.data.types[kind].map((one) => ({ label: one.name, more: this.words[kind], value: [kind, one.name] })));
    this.choose(this.words.choose_new, options, ([kind, type]) => {
      const drawn = this.drawn;
      const add = (more) => { this.step("add", { record: "", kind, type, ...more }); this.refresh(); this.focus = this.unit.records.length - 1; this.draw(); };
      const first = kind === "relation" ? "head" : kind === "event" ? "trigger" : "span";
      const title = (part) => this.words.select_for.replace("{part}", `${type} · ${this.words[part]}`);
      const after = (head) => wordsOf(this.unit.text).find(([start]) => start >= head[1]);
      const tail = (head) => this.select(title("tail"), after(head), (other) => add({ start: head[0], end: head[1], tail: other }));
      const taken = ([start, end]) => (kind === "relation" ? tail([start, end]) : add({ start, end }));
      if (drawn) { this.drawn = null; taken(drawn); } else this.select(title(first), undefined, taken);
    });
  }

  takeOther() {
    const other = this.record?.others[0];
    if (other) this.decide("take", { of: other.who });
  }

  // Keys

  key(event) {
    if (event.isComposing && event.key !== "Process") return;
    if (event.target.tagName === "INPUT") { this.typed(event); return; }
    const key = keyOf(event);
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    const done = this.mode?.kind === "select" ? this.selecting(event, key) : this.deciding(event, key, plain);
    if (done) { event.preventDefault(); event.stopPropagation(); } else if (key.length === 1 && plain) event.stopPropagation();
  }

  deciding(event, key, plain) {
    if (!plain) return false;
    const shift = event.shiftKey;
    const onButton = event.target.tagName === "BUTTON";
    if ((key === "Enter" || key === " ") && onButton && !event.target.dataset.record) return false;
    const same = { state: "accepted", same: this.record?.same };
    if (key === "a" && shift) this.decide("group", same);
    else if (key === "r" && shift) this.decide("group", { ...same, state: "rejected" });
    else if (key === "u" && shift) this.redo();
    else if (key === "a") this.decide("accept");
    else if (key === "r") this.decide("reject");
    else if (key === "t") this.chooseType();
    else if (key === "s") { if (this.record?.kind === "relation") this.decide("swap"); }
    else if (key === "e") this.editSpan();
    else if (key === "m") this.addArgument();
    else if (key === "n") this.addRecord();
    else if (key === "o") this.takeOther();
    else if (key === "u") this.undo();
    else if (key === "w") { this.mode = { kind: "why" }; this.draw(); }
    else if (key === "d" || key === "Enter") this.whole(shift);
    else if (key === "ArrowRight" || key === "l") this.go(1);
    else if (key === "ArrowLeft" || key === "h") this.go(-1);
    else if (key === "ArrowDown" || key === "j") this.move(1);
    else if (key === "ArrowUp" || key === "k") this.move(-1);
    else if (key === "Escape" && this.drawn) { this.drawn = null; this.draw(); }
    else return false;
    return true;
  }

  move(by) {
    const count = this.unit?.records.length ?? 0;
    if (!count) return;
    this.focus = (this.focus + by + count) % count;
    this.draw();
  }

  selecting(event, key) {
    const mode = this.mode;
    const [start, end] = mode.range;
    const words = wordsOf(this.unit.text);
    const signs = graphemesOf(this.unit.text);
    const steps = key === "ArrowUp" || key === "ArrowDown" ? signs : words;
    const by = key === "ArrowRight" || key === "ArrowDown" ? 1 : key === "ArrowLeft" || key === "ArrowUp" ? -1 : 0;
    const ends = steps.map((one) => one[1]);
    const starts = steps.map((one) => one[0]);
    const after = (list, at) => list.find((one) => one > at);
    const before = (list, at) => list.filter((one) => one < at).pop();
    if (by && event.shiftKey) mode.range = [start, (by > 0 ? after(ends, end) : keep(before(ends, end), (one) => one > start)) ?? end];
    else if (by && (event.altKey || event.ctrlKey)) mode.range = [(by < 0 ? before(starts, start) : keep(after(starts, start), (one) => one < end)) ?? start, end];
    else if (by) mode.range = (by > 0 ? steps.find((one) => one[0] > start) : steps.filter((one) => one[0] < start).pop()) ?? mode.range;
    else if (key === "Tab" && mode.parts) { this.editSpan(mode.parts.next); return true; }
    else if ((key === "Delete" || key === "Backspace") && mode.parts?.part.startsWith("argument:")) { this.mode = null; this.decide("drop", { part: mode.parts.part }); return true; }
    else if (key === "Enter") { this.mode = null; mode.then(mode.range); this.draw(); return true; }
    else if (key === "Escape") this.mode = null;
    else return key.length === 1;
    this.draw();
    return true;

    function keep(value, good) { return value !== undefined && good(value) ? value : undefined; }
  }

  // Keys in the field of a choice or a reason.
  typed(event) {
    event.stopPropagation();
    const mode = this.mode;
    if (event.key === "Escape") { this.mode = null; this.draw(); event.preventDefault(); return; }
    if (mode?.kind === "why") {
      if (event.key === "Enter") { this.note = event.target.value.trim(); this.mode = null; this.draw(); event.preventDefault(); }
      return;
    }
    if (mode?.kind !== "choose") return;
    const found = this.matching();
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      mode.index = (mode.index + (event.key === "ArrowDown" ? 1 : -1) + found.length) % Math.max(1, found.length);
      this.draw();
    } else if (event.key === "Enter" && found[mode.index]) {
      this.chosen(found[mode.index]);
    } else if (/^[1-9]$/.test(event.key) && !mode.filter && found[Number(event.key) - 1]) {
      this.chosen(found[Number(event.key) - 1]);
    } else return;
    event.preventDefault();
  }

  chosen(option) {
    const then = this.mode.then;
    this.mode = null;
    then(option.value);
    this.draw();
  }

  // The pointer: drag over words to select them.

  cellAt(event) {
    const under = this.root.getRootNode().elementFromPoint(event.clientX, event.clientY);
    return under?.classList.contains("cell") ? under : null;
  }

  press(event) {
    const cell = event.target.classList?.contains("cell") ? event.target : null;
    this.held = cell ? [Number(cell.dataset.start), Number(cell.dataset.end)] : null;
    if (cell && event.button === 0) this.reach(this.held);
  }

  drag(event) {
    if (!this.held || !(event.buttons & 1)) return;
    const cell = this.cellAt(event);
    if (cell) this.reach([Math.min(this.held[0], Number(cell.dataset.start)), Math.max(this.held[1], Number(cell.dataset.end))]);
  }

  reach(range) {
    const was = this.mode?.kind === "select" ? this.mode.range : this.drawn;
    if (was && was[0] === range[0] && was[1] === range[1]) return;
    if (this.mode?.kind === "select") this.mode.range = range;
    else this.drawn = range;
    this.draw();
  }

  // Drawing

  draw() {
    this.refresh();
    const { unit, words, data } = this;
    const root = this.root;
    if (unit && this.focus >= unit.records.length) this.focus = Math.max(0, unit.records.length - 1);
    root.dataset.place = this.place;
    root.dataset.unsaved = this.unsaved.length;
    root.dataset.record = this.record?.name ?? "";
    root.setAttribute("aria-label", words.board);
    const inside = root.getRootNode().activeElement;
    const had = inside && root.contains(inside) && inside !== root;
    const made = [this.head()];
    if (unit) {
      const selection = this.mode?.kind === "select" ? this.mode.range : this.drawn;
      made.push(drawText(unit, this.record, selection, (type) => data.colours[type] ?? data.plain, words));
      made.push(this.records());
      made.push(this.under());
    } else {
      made.push(element("p", "end", data.total === 0 ? words.empty : this.place >= data.total ? words.end : words.loading));
    }
    made.push(this.tools());
    root.replaceChildren(...made);
    const field = root.querySelector("input");
    if (field) {
      field.focus({ preventScroll: true });
      field.setSelectionRange(field.value.length, field.value.length);
    } else if (had) root.focus({ preventScroll: true });
    root.querySelector(".option.chosen")?.scrollIntoView({ block: "nearest" });
  }

  head() {
    const { unit, words, data } = this;
    const line = element("div", "head");
    const at = Math.min(this.place + 1, data.total);
    line.append(element("span", "place", words.place.replace("{n}", at.toLocaleString()).replace("{all}", data.total.toLocaleString())));
    if (unit) {
      line.append(element("span", "fact", words.row.replace("{row}", unit.row + 1)));
      if (unit.title) line.append(element("span", "fact", unit.title));
      if (unit.whole && !unit.records.some((one) => one.state === "pending")) line.append(element("span", "badge done", words.whole));
    }
    const count = this.unsaved.length;
    const saved = element("span", count ? "badge" : "fact", count ? words.saving.replace("{n}", count) : words.saved);
    saved.setAttribute("role", "status");
    line.append(element("span", "gap"), saved);
    return line;
  }

  records() {
    const list = element("div", "records");
    const { unit, words, data } = this;
    if (!unit.records.length) list.append(element("p", "hint", words.nothing));
    unit.records.forEach((record, k) => {
      const part = this.mode?.parts?.record === record.name ? this.mode.parts.part : "";
      const made = drawRecord(record, k === this.focus, (type) => data.colours[type] ?? data.plain, words, part);
      made.addEventListener("click", () => { this.focus = k; this.draw(); });
      list.append(made);
    });
    return list;
  }

  // Under the records: what is being chosen or selected, or what to know.
  under() {
    const { mode, words } = this;
    const place = element("div", "under");
    if (mode?.kind === "choose") place.append(...this.options());
    else if (mode?.kind === "select") place.append(element("p", "title", mode.title), element("p", "hint", mode.parts ? words.select_parts : words.select_keys));
    else if (mode?.kind === "why") {
      const field = element("input", "field");
      field.value = this.note;
      field.placeholder = words.why_hint;
      field.setAttribute("aria-label", words.why);
      place.append(field);
    } else if (this.note) place.append(element("p", "hint", `${words.why}: “${this.note}”`));
    if (this.message) {
      const said = element("p", "message", this.message);
      said.setAttribute("role", "alert");
      place.append(said);
    }
    return place;
  }

  options() {
    const { mode, words } = this;
    const field = element("input", "field");
    field.value = mode.filter;
    field.placeholder = words.filter;
    field.setAttribute("aria-label", mode.title);
    field.addEventListener("input", () => { mode.filter = field.value; mode.index = 0; list.replaceChildren(...this.choices()); });
    const list = element("div", "options");
    list.setAttribute("role", "listbox");
    list.append(...this.choices());
    return [element("p", "title", mode.title), field, list];
  }

  choices() {
    return this.matching().slice(0, 200).map((option, k) => {
      const made = element("button", `option${k === this.mode.index ? " chosen" : ""}`);
      made.type = "button";
      made.setAttribute("role", "option");
      made.setAttribute("aria-selected", String(k === this.mode.index));
      if (k < 9 && !this.mode.filter) made.append(element("kbd", "", String(k + 1)));
      made.append(element("span", "", option.label));
      if (option.more) made.append(element("span", "fact", option.more));
      made.addEventListener("click", () => this.chosen(option));
      return made;
    });
  }

  // Every step as a button that names its key.
  tools() {
    const { record, unit, words } = this;
    const line = element("div", "tools");
    const same = { state: "accepted", same: record?.same };
    const twins = record && record.twins[1] > 1 ? record.twins[1] : 0;
    const told = [
      ["A", words.accept, record, () => this.decide("accept")],
      ["R", words.reject, record, () => this.decide("reject")],
      ["E", words.edit, record, () => this.editSpan()],
      ["T", words.type, record, () => this.chooseType()],
      ["S", words.swap, record?.kind === "relation", () => this.decide("swap")],
      ["M", words.argument, record?.kind === "event", () => this.addArgument()],
      ["N", words.new, unit, () => this.addRecord()],
      ["⇧A", words.accept_all.replace("{n}", twins), twins, () => this.decide("group", same)],
      ["⇧R", words.reject_all.replace("{n}", twins), twins, () => this.decide("group", { ...same, state: "rejected" })],
      ["O", words.take, record?.others.length, () => this.takeOther()],
      ["W", words.why, unit, () => { this.mode = { kind: "why" }; this.draw(); }],
      ["U", words.undo, true, () => this.undo()],
      ["⇧U", words.redo, this.forth.length, () => this.redo()],
      ["←", words.previous, this.place > 0, () => this.go(-1)],
      ["→", words.next, this.place < this.data.total, () => this.go(1)],
      ["⏎", words.done, unit, () => this.whole(false), "main"],
      ["⇧⏎", words.done_rest, unit?.records.some((one) => one.state === "pending"), () => this.whole(true)],
    ];
    for (const [key, name, there, work, kind] of told) {
      if (!there && ["M", "S", "⇧A", "⇧R", "O", "⇧⏎"].includes(key)) continue; // what this record can't have
      const made = element("button", `tool ${kind ?? ""}`);
      made.type = "button";
      made.disabled = !there;
      made.append(element("kbd", "", key), element("span", "", name));
      made.addEventListener("click", () => { work(); this.root.focus({ preventScroll: true }); });
      line.append(made);
    }
    const more = element("p", "hint", words.keys);
    const place = element("div", "keys");
    place.append(line, more);
    return place;
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  let board = BOARDS.get(parentElement);
  if (!board) {
    board = new Board(parentElement);
    BOARDS.set(parentElement, board);
  }
  board.hear(data, setTriggerValue);
}
