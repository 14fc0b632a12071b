// What the board looks like. Every text goes through textContent.

class Drawing {
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
    const text = root.querySelector(".text");
    const looked = text?.querySelector(".selected") ?? text?.querySelector(".own");
    if (looked && text.scrollHeight > text.clientHeight) text.scrollTop = looked.offsetTop - text.clientHeight / 3;
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
