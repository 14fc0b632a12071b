// The board: one sentence at a time, decided by keyboard. Steps show at once and are stored in batches; those that are
// not stored yet are kept in the browser, so a reload or a lost connection loses none.

const BOARDS = new WeakMap();
const RESEND = 5000;

function token() {
  return [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

class Board extends Keys {
  constructor(parent) {
    super();
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
}

export default function ({ data, parentElement, setTriggerValue }) {
  let board = BOARDS.get(parentElement);
  if (!board) {
    board = new Board(parentElement);
    BOARDS.set(parentElement, board);
  }
  board.hear(data, setTriggerValue);
}
