// What several widgets show: routines, counters, words, what must hold, questions.

// What kernel and what geometry something is about.
function chips(kernel, geometry) {
  return [h("span", { class: "thp-chip" }, `kernel: ${kernel}`),
    h("span", { class: "thp-chip", title: geometry }, `geometry: ${geometry.split(":")[0]}`)];
}

// --- routines ------------------------------------------------------------------------------------------------------

// The operations of a phase as a list, `current` (null for none) with its routines and steps. A click on a step calls `go` with its frame.
// A row knows the frames that it stands for, `first` to `last`; `step` and `routine` say what else it is than an operation.
/** @param {Operation[]} operations @param {{ plain: boolean }[]} frames */
function callTree(operations, frames, phase, current, go) {
  const rows = operations.flatMap((op, number) => {
    if (op.phase !== phase) return [];
    const result = h("span", { class: op.failed ? "thp-returns thp-error" : "thp-returns" }, ` → ${op.result || "not finished"}`);
    const title = { element: h("li", { class: "thp-op" }, h("code", {}, op.label, result)), first: op.first, last: op.last, step: false, routine: false };
    return [title, ...(number === current ? treeRows(op.rows, frames).map(row => ({ ...row, element: treeLine(row, go) })) : [])];
  });
  return { list: h("ol", {}, ...rows.map(row => row.element)), rows };
}

// The lines of a call tree. That of a routine stands for all steps below it, and is plain if they are.
/** @param {TreeRow[]} rows @param {{ plain: boolean }[]} frames */
function treeRows(rows, frames) {
  return rows.map(([depth, text, frame], at) => {
    const step = frame !== null, end = rows.findIndex(([other], i) => i > at && other <= depth);
    const steps = step ? [frame] : rows.slice(at, end < 0 ? rows.length : end).map(row => row[2]).filter(each => each !== null);
    return { depth, text, first: steps[0], last: steps.at(-1), step, routine: !step, plain: steps.every(each => frames[each].plain) };
  });
}

function treeLine({ depth, text, first, step, plain }, go) {
  const props = { class: (step ? "thp-line" : "thp-routine") + (plain ? " thp-plain" : ""), style: `padding-left:${18 + 10 * depth}px`, click: step && (() => go(first)) };
  return h("li", props, step ? h("span", {}, ...rich(text)) : h("code", {}, text));
}

// Mark what is past, what is here (the element that is answered) and, from frame `limit` on, what must not be told yet.
function markTree({ rows }, number, limit) {
  let here = null;
  for (const { element, first, last, step, routine } of rows) {
    const now = step && first === number;
    element.classList.toggle("thp-past", (routine ? first : last) < number);
    element.classList.toggle("thp-done", last <= number);
    element.classList.toggle("thp-here", now);
    element.classList.toggle("thp-secret", first >= limit && (step || routine));
    markHere(element, now);
    if (now) here = element;
  }
  return here;
}

// --- policies ----------------------------------------------------------------------------------------------------

// A policy as the kernel has it, what that means, and the evidence: of this kernel, or of the one from whose record it has it.
/** @param {Policy} policy */
function policyText({ name, value, meaning, kernel, why }, here) {
  const whose = kernel === here ? "" : `as ${kernel}, `;
  return [h("dt", {}, h("code", {}, name), ": ", h("b", {}, value)),
    h("dd", {}, h("div", {}, ...rich(meaning)), ...why.map(each => h("div", { class: "thp-because" }, whose, ...rich(each))))];
}

// --- the ledger ----------------------------------------------------------------------------------------------------

// Counters before and now and who holds them.
/** @param {LedgerGroup[]} groups */
function ledgerTable(groups) {
  const head = ["counter", "before", "now", "held by"].map(name => h("th", { scope: "col" }, name));
  const bodies = groups.map(({ title, rows }) => h("tbody", {},
    h("tr", {}, h("th", { scope: "rowgroup", colspan: 4, class: "thp-group" }, title)),
    ...rows.map(([name, before, now, held]) => h("tr", { class: before !== now ? "thp-moved" : null },
      h("th", { scope: "row" }, ...rich(name)),
      h("td", { class: "thp-number" }, before === null ? "–" : `${before}`),
      h("td", { class: "thp-number thp-now" }, `${now}`),
      h("td", { class: "thp-held" }, ...held.map(text => h("div", {}, text)))))));
  if (!groups.length) bodies.push(h("tbody", {}, h("tr", {}, h("td", { colspan: 4 }, "No page is in use yet."))));
  return h("table", {}, h("thead", {}, h("tr", {}, ...head)), ...bodies);
}

// A state in words as a table: each block of lines has its first line as a header, further lines are rows, indented as they are.
function wordsTable(text, caption = "The state in words. What the last step changed is written old → new.") {
  const blocks = text.trim().split("\n\n").map(block => block.split("\n"));
  return h("table", {}, h("caption", {}, caption),
    ...blocks.map(([title, ...lines]) => h("tbody", {},
      h("tr", {}, h("th", { scope: "rowgroup" }, title)),
      ...lines.map(line => h("tr", {}, h("td", { style: `padding-left:${line.search(/\S/)}ch` }, line.trim()))))));
}

// --- what must hold ------------------------------------------------------------------------------------------------

// The invariants as a checklist, with a verdict above it. `broken` has the problem of each one that does not hold, by name; one that is not
// `due` says `later` instead. An invariant is [name, when it is asked, what it says].
/** @param {Invariant[]} invariants @param {Record<string, string>} broken */
function drawChecklist(verdict, list, invariants, broken, due, later) {
  const wrong = Object.keys(broken).length, asked = invariants.filter(due).length;
  verdict.replaceChildren(wrong ? `✗ ${wrong} of ${asked} ${wrong === 1 ? "does" : "do"} not hold` : `✓ all ${asked} that are due hold`);
  verdict.classList.toggle("thp-error", wrong > 0);
  list.replaceChildren(...invariants.map(entry => {
    const [name, , about] = entry, problem = broken[name], ask = due(entry);
    const mark = problem ? "✗" : ask ? "✓" : "·", how = problem ? "thp-broken" : ask ? "thp-holds" : "thp-not-due";
    const says = problem ? `broken: ${problem}` : ask ? "holds" : later;
    return h("li", { class: how, title: `${about} (${says})`, "data-name": name }, h("span", { "aria-hidden": true }, mark), " ",
      name.replaceAll("_", " "), problem ? h("b", {}, `: ${problem}`) : h("span", { class: "thp-sr" }, `: ${says}`));
  }));
}

// --- questions -----------------------------------------------------------------------------------------------------

// The learner's answers, kept in the browser under each question's id: they outlive a re-run of the cell, and steppers of the same trace
// share them. Where Python keeps a learner's answers in a file, they come from there first, and what is answered is told to `view`.
/** @template {Asked} Each */
class Questions {
  /** @param {Each[]} list @param {View<any> | null} view */
  constructor(list, view = null) {
    this.list = list;
    this.given = new Map();
    this.view = view;
    this.store = view?.store ?? store;
    if (this.store.learner) this.recall(view.model.get("answers"));
  }

  // What the browser has besides was answered while no Python ran.
  recall(kept) {
    for (const { id } of this.list.filter(question => question.id in kept)) {
      this.store.set(id, kept[id]);
      if (kept[id] !== null) this.given.set(id, kept[id]);
    }
    this.tell();
  }

  // The word to Python, if it does not know.
  tell() {
    if (!this.store.learner) return;
    const known = this.view.model.get("answers"), now = this.list.map(question => [question.id, this.yours(question)]);
    if (now.some(([id, yours]) => (known[id] ?? null) !== yours)) this.view.tell("answers", Object.fromEntries(now));
  }

  // The first question without an answer that stands between two frames: after `from`, at `to` or before.
  between(from, to) {
    return this.list.find(question => from < question.at && question.at <= to && this.yours(question) === null);
  }

  // From which frame on nothing may be told, seen from frame `from`.
  limit(from) {
    return this.between(from, Infinity)?.at ?? Infinity;
  }

  answer(question, text) {
    this.given.set(question.id, text);
    this.store.set(question.id, text);
    this.tell();
  }

  forget() {
    for (const question of this.list) this.store.set(question.id, null);
    this.given.clear();
    this.tell();
  }

  // The learner's answer; null if there is none yet.
  yours(question) {
    return this.store.get(question.id) ?? this.given.get(question.id) ?? null;
  }

  answered() {
    return this.list.filter(question => this.yours(question) !== null);
  }

  isRight(question) {
    return this.yours(question) === question.actual;
  }

  // Each question with its answer. The actual one is told only to who has given one.
  results() {
    return this.list.map(question => ({
      question: question.question,
      yours: this.yours(question),
      ...(this.yours(question) === null ? {} : { actual: question.actual, right: this.isRight(question) }),
    }));
  }

  // What is saved as a file.
  report(about) {
    const answers = this.results().map((result, i) => ({ ...result, step: this.list[i].at }));
    return JSON.stringify({ thplab: 1, ...about, answers }, null, 2) + "\n";
  }
}

// The form of a question: a button for each choice, or a field for a whole number. `commit` is called with the answer's text.
// `lead` stands before the question; `label` names the answer to a screen reader.
/** @param {Asked} question */
function questionForm(question, commit, lead = "Predict before you step: ", label = "Your prediction") {
  const text = h("span", { class: "thp-question" }, h("b", {}, lead), ...rich(question.question));
  if (question.choices.length) {
    const buttons = question.choices.map(choice => h("button", { type: "button", class: "thp-choice", click: () => commit(choice) }, choice));
    return h("div", { class: "thp-form", role: "group", "aria-label": label }, text,
      h("span", { class: "thp-controls" }, ...buttons));
  }
  const field = h("input", { type: "text", inputmode: "numeric", size: 6, "aria-label": `${label}, a whole number`, autocomplete: "off" });
  const hint = h("span", { class: "thp-hint", role: "alert" });
  const submit = event => {
    event.preventDefault();
    const answer = field.value.trim().replace("−", "-");
    if (/^-?\d+$/.test(answer)) commit(`${BigInt(answer)}`);
    else hint.textContent = "Type a whole number.";
  };
  const controls = h("span", { class: "thp-controls" }, field, h("button", { type: "submit", class: "thp-choice" }, "commit"), hint);
  return h("form", { class: "thp-form", submit }, text, controls);
}

// Yours, the actual one, and why; and the misconception that leads to yours, if it is a known one.
/** @param {Asked & { slips?: Record<string, string> }} question */
function questionResult(question, yours) {
  const right = yours === question.actual, slip = question.slips?.[yours];
  return h("div", { class: `thp-result ${right ? "thp-right" : "thp-wrong"}` },
    h("span", { class: "thp-question" }, ...rich(question.question)), " ",
    h("b", { class: "thp-verdict" }, right ? "✓ as you said" : "✗ not so"), " · yours ", h("b", { class: "thp-yours" }, yours ?? ""),
    " · actual ", h("b", { class: "thp-actual" }, question.actual), question.why ? h("span", { class: "thp-why" }, h("span", { class: "thp-dot" }, " · "), ...rich(question.why)) : null,
    slip ? h("p", { class: "thp-slip" }, h("b", {}, `Why not ${yours}? `), ...rich(slip)) : null);
}

// A question with its answer, for somebody who was not asked, and why the likely wrong answers are wrong.
function questionTold(question) {
  const slips = Object.entries(question.slips ?? {});
  return h("div", { class: "thp-result thp-right" }, h("span", { class: "thp-question" }, ...rich(question.question)), " · answer ",
    h("b", { class: "thp-actual" }, question.actual), question.why ? h("p", { class: "thp-why" }, ...rich(question.why)) : null,
    ...slips.map(([wrong, why]) => h("p", { class: "thp-slip" }, h("b", {}, `Why not ${wrong}? `), ...rich(why))));
}
