// What the board does on a key, and on words that the pointer is drawn over.

// The letter of a key whatever the keyboard writes with it: a Chinese input method says "Process".
function keyOf(event) {
  if (/^[a-z?]$/i.test(event.key)) return event.key.toLowerCase();
  if (event.key.length === 1 || event.key === "Process" || event.key === "Unidentified")
    if (/^Key[A-Z]$/.test(event.code)) return event.code.slice(3).toLowerCase();
  return event.key;
}

class Keys extends Drawing {
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
}
