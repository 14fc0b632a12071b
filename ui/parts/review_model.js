// A sentence under review as the browser knows it: what the server said, and on top of it the steps that are not stored yet.
// The same steps as core/extract/review/decide.py; the server has the last word.

function spansOf(record) {
  const value = record.value;
  if (record.kind === "entity") return [["span", value]];
  if (record.kind === "relation") return [["head", value.head], ["tail", value.tail]];
  return [["trigger", value.trigger], ...(value.arguments ?? []).map((one, k) => [`argument:${k}`, one])];
}

function typeOf(record) {
  return record.kind === "relation" ? record.value.relation : record.value.type;
}

function roleOf(record, part) {
  return part.startsWith("argument:") ? record.value.arguments[Number(part.slice(9))].role : part;
}

function isOpen(record) {
  return record.state === "pending" || record.state === "proposed";
}

// What a person has to look at: undecided, or decided otherwise by another.
function calls(record) {
  return isOpen(record) || record.others.length > 0;
}

function copyOf(thing) {
  return JSON.parse(JSON.stringify(thing));
}

function spanAt(unit, start, end) {
  return { text: Array.from(unit.text).slice(start, end).join(""), start, end };
}

function added(unit, step) {
  const span = spanAt(unit, step.start, step.end);
  if (step.kind === "entity") return { ...span, type: step.type };
  if (step.kind === "relation") return { head: span, relation: step.type, tail: spanAt(unit, ...step.tail) };
  return { type: step.type, trigger: span, arguments: [] };
}

function edit(unit, record, step) {
  const value = record.value;
  const span = step.op === "span" || step.op === "argument" ? spanAt(unit, step.start, step.end) : null;
  const number = Number((step.part ?? "").slice(9));
  if (step.op === "span" && record.kind === "entity") Object.assign(value, span);
  else if (step.op === "span" && step.part.startsWith("argument:")) value.arguments[number] = { role: value.arguments[number].role, ...span };
  else if (step.op === "span") value[step.part] = span;
  else if (step.op === "type") value[record.kind === "relation" ? "relation" : "type"] = step.type;
  else if (step.op === "swap") { [value.head, value.tail] = [value.tail, value.head]; delete value.swapped; }
  else if (step.op === "argument") value.arguments = [...(value.arguments ?? []), { role: step.type, ...span }];
  else if (step.op === "role") value.arguments[number].role = step.type;
  else if (step.op === "drop") value.arguments.splice(number, 1);
  record.state = "accepted";
  record.edited = !record.added;
}

// Change a sentence as the step will.
function takeStep(unit, step) {
  const record = unit.records.find((one) => one.name === step.record);
  if (step.op === "undo" || step.op === "redo") {
    if (step.shape?.id === unit.id) Object.assign(unit, copyOf(step.shape));
  } else if (step.unit !== unit.id && step.op !== "group") {
    return;
  } else if (step.op === "whole") {
    if (step.state === "accepted") for (const one of unit.records) if (one.state === "pending") one.state = "accepted";
    unit.whole = true;
  } else if (step.op === "open") {
    unit.whole = false;
  } else if (step.op === "add") {
    unit.records.push({
      name: `+${step.id}`, kind: step.kind, state: "accepted", value: added(unit, step), confidence: null,
      added: true, edited: false, by: "", why: step.why, twins: [1, 0], others: [], same: "",
    });
  } else if (step.op === "group") {
    for (const one of unit.records)
      if (one.name === step.record || (one.same === step.same && isOpen(one))) {
        one.state = step.state;
        one.twins = [one.twins[0], 0];
      }
  } else if (!record) {
    return;
  } else if (step.op === "accept" || step.op === "reject") {
    record.state = `${step.op}ed`;
    record.why = step.why;
    record.others = [];
  } else if (step.op === "take") {
    const theirs = record.others.find((one) => one.who === step.of);
    record.state = theirs?.state === "accepted" ? "accepted" : "rejected";
    if (theirs?.value && record.state === "accepted") record.value = copyOf(theirs.value);
    record.others = [];
  } else {
    edit(unit, record, step);
    record.others = [];
  }
}

// Words of a text as [start, end) in codepoints, for stepping through it by keyboard.
function wordsOf(text) {
  const made = [];
  let at = 0;
  const segments = globalThis.Intl?.Segmenter
    ? new Intl.Segmenter(undefined, { granularity: "word" }).segment(text)
    : (text.match(/[\p{L}\p{N}\p{M}_]+|\s+|./gsu) ?? []).map((segment) => ({ segment }));
  for (const { segment } of segments) {
    const size = Array.from(segment).length;
    if (segment.trim()) made.push([at, at + size]);
    at += size;
  }
  return made;
}

// The smallest places that may be selected: characters as a person sees them, so that no emoji is cut in two.
function graphemesOf(text) {
  const made = [];
  let at = 0;
  const segments = globalThis.Intl?.Segmenter
    ? new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(text)
    : Array.from(text).map((segment) => ({ segment }));
  for (const { segment } of segments) {
    const size = Array.from(segment).length;
    made.push([at, at + size]);
    at += size;
  }
  return made;
}
