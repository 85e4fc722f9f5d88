// What all widgets of thplab share: making elements, pictures, tables and questions. Joined in front of a widget's own file.

const SVG = "http://www.w3.org/2000/svg";

// --- elements ------------------------------------------------------------------------------------------------------

// An element: `props` are attributes, or listeners where the value is a function; texts among the children become text nodes.
function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child != null));
  return element;
}

// An icon of 16 x 16 drawn by a path; it says nothing to a screen reader, so its button needs a name.
function icon(path) {
  const svg = document.createElementNS(SVG, "svg"), shape = document.createElementNS(SVG, "path");
  for (const [name, value] of [["viewBox", "0 0 16 16"], ["class", "thp-icon"], ["aria-hidden", "true"]]) svg.setAttribute(name, value);
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}

// A text with the names of the kernel in it set as code: split_huge_pmd(), _mapcount, thp_split_page.
function rich(text) {
  return text.split(/(\b[a-z]\w*\(\)|\b_?[a-z0-9]+(?:_[a-z0-9]+)+\b|\b_[a-z]+\b)/).map((part, i) => (i % 2 ? h("code", {}, part) : part));
}

// Whether an element can be seen in its box, which scrolls and is positioned.
function isInSight(box, element) {
  return element.offsetTop >= box.scrollTop && element.offsetTop + element.offsetHeight <= box.scrollTop + box.clientHeight;
}

// Scroll a box, and nothing else, so that the element stands in its middle; to its top if there is no element.
function center(box, element) {
  box.scrollTop = element ? element.offsetTop - (box.clientHeight - element.offsetHeight) / 2 : 0;
}

// The greatest height that `box` takes with any of these contents. Each is a list of nodes; `box` itself is not touched.
function greatestHeight(box, contents) {
  const trial = box.cloneNode(false), style = getComputedStyle(box);
  trial.removeAttribute("role");
  Object.assign(trial.style, { position: "absolute", visibility: "hidden", height: "auto", width: style.width, left: "0", top: "0" });
  box.parentNode.append(trial);
  const frame = trial.offsetHeight;
  const parts = contents.map(nodes => h("div", { style: "display:flow-root" }, ...nodes));
  trial.append(...parts);
  const height = Math.max(0, ...parts.map(part => part.getBoundingClientRect().height));
  trial.remove();
  return Math.ceil(frame + height);
}

// --- views ---------------------------------------------------------------------------------------------------------

const ICONS = {
  step: "M4 2l9 6-9 6z", back: "M12 2l-9 6 9 6z", first: "M3 2h2v12H3zM14 2L6 8l8 6z", last: "M11 2h2v12h-2zM2 2l8 6-8 6z",
  play: "M4 3l8 5-8 5z", pause: "M4 2h3v12H4zM9 2h3v12H9z",
  undo: "M7 3v3h3a4 4 0 0 1 0 8H5v-2h5a2 2 0 0 0 0-4H7v3L2 7z", redo: "M9 3v3H6a4 4 0 0 0 0 8h5v-2H6a2 2 0 0 1 0-4h3v3l5-4z",
};
const ANSWER = 60000;  // milliseconds that an answer of Python may take

// What the views of all widgets have. A view sets `root`, and says in say() what was answered.
class View {
  constructor(model) {
    this.model = model;
    this.live = typeof model.send === "function";
    this.waiting = 0;
  }

  // A name for elements of this view that no other has: the same widget may be in a page twice. `suffix` ends the id that is looked for.
  freshId(kind, suffix = "") {
    let id = `thp-${kind}-${this.model.get("packed").slice(-24).replace(/\W/g, "")}`;
    while (document.getElementById(id + suffix)) id += "-again";
    return id;
  }

  button(name, label, run, ...content) {
    return h("button", { type: "button", class: `thp-${name}`, "aria-label": label, title: label, click: run }, ...content);
  }

  // Ask Python, one question at a time, so that clicks do not stack. Answers whether it was asked.
  send(question, told = "") {
    if (!this.live || this.waiting) return false;
    this.say(told);
    this.waiting = setTimeout(() => { this.heard(); this.say("The kernel does not answer."); }, ANSWER);
    this.root.setAttribute("aria-busy", true);
    this.model.send(question);
    return true;
  }

  heard() {
    clearTimeout(this.waiting);
    this.waiting = 0;
    this.root.removeAttribute("aria-busy");
  }

  // Carry out the action of a key, if it has one. JupyterLab would take keys and move to another cell, so those that mean something here
  // do not leave the widget: where somebody types, where the space bar or the enter key `runs` something, and those that match `own`.
  take(event, action, { typing = false, runs = false, own = /^Arrow/ } = {}) {
    if (action) {
      action();
      event.preventDefault();
    }
    if (action || typing || own.test(event.key) || (runs && (event.key === " " || event.key === "Enter"))) event.stopPropagation();
  }
}

// --- data ----------------------------------------------------------------------------------------------------------

async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed), character => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// What the browser keeps for this origin. Where it keeps nothing (a private window, a strict setting), neither do we.
const store = {
  get(key) {
    try { return localStorage.getItem(`thplab:${key}`); } catch { return null; }
  },
  set(key, value) {
    try {
      if (value === null) localStorage.removeItem(`thplab:${key}`);
      else localStorage.setItem(`thplab:${key}`, value);
    } catch { /* kept in the page only */ }
  },
};

// Put a text on the clipboard. Answers whether that worked: over plain http, pages have only the old way.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { style: "position:fixed;opacity:0" });
    const focused = document.activeElement;
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    focused?.focus({ preventScroll: true });
    return copied;
  }
}

// Let the browser save a text as a file.
function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

// --- pictures ------------------------------------------------------------------------------------------------------

// Pictures by number. Each is parsed once and kept, so that showing one is no more than putting it into the page.
class Pictures {
  constructor(texts, id) {
    this.texts = texts;
    this.id = id;
    this.parsed = new Map();
  }

  get(number) {
    if (!this.parsed.has(number)) {
      const svg = document.importNode(new DOMParser().parseFromString(this.texts[number], "image/svg+xml").documentElement, true);
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-labelledby", `${this.id}-title`);
      svg.setAttribute("aria-describedby", `${this.id}-desc`);
      for (const name of ["desc", "title"]) {
        const node = document.createElementNS(SVG, name);
        node.id = `${this.id}-${name}`;
        svg.prepend(node);
      }
      this.parsed.set(number, svg);
    }
    return this.parsed.get(number);
  }

  // The size in the picture's own units that every picture fits into.
  size() {
    const boxes = this.texts.map(text => /viewBox="0 0 ([\d.]+) ([\d.]+)"/.exec(text).slice(1).map(Number));
    return [0, 1].map(side => Math.max(...boxes.map(box => box[side])));
  }
}

// --- routines ------------------------------------------------------------------------------------------------------

// The operations of a phase as a list, `current` (null for none) with its routines and steps. A click on a step calls `go` with its frame.
// A row knows the frames that it stands for, `first` to `last`; `step` and `routine` say what else it is than an operation.
function callTree(operations, frames, phase, current, go) {
  const rows = operations.flatMap((op, number) => {
    if (op.phase !== phase) return [];
    const result = h("span", { class: op.failed ? "thp-returns thp-error" : "thp-returns" }, ` → ${op.result || "not finished"}`);
    const title = { element: h("li", { class: "thp-op" }, h("code", {}, op.label, result)), first: op.first, last: op.last, step: false };
    return [title, ...(number === current ? op.rows.map((_, at) => callTreeRow(op.rows, at, frames, go)) : [])];
  });
  return { list: h("ol", {}, ...rows.map(row => row.element)), rows };
}

function callTreeRow(rows, at, frames, go) {
  const [depth, text, frame] = rows[at], step = frame !== null;
  const end = rows.findIndex(([other], i) => i > at && other <= depth);
  const steps = step ? [frame] : rows.slice(at, end < 0 ? rows.length : end).map(row => row[2]).filter(each => each !== null);
  const plain = steps.every(each => frames[each].plain) ? " thp-plain" : "";
  const props = { class: (step ? "thp-line" : "thp-routine") + plain, style: `padding-left:${18 + 10 * depth}px`, click: step && (() => go(frame)) };
  const element = h("li", props, step ? h("span", {}, ...rich(text)) : h("code", {}, text));
  return { element, first: steps[0], last: steps.at(-1), step, routine: !step };
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
    if (now) element.setAttribute("aria-current", "step");
    else element.removeAttribute("aria-current");
    if (now) here = element;
  }
  return here;
}

// --- the ledger ----------------------------------------------------------------------------------------------------

// Counters before and now and who holds them; `groups` as thplab/learn/widgets/payload.py makes them.
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
// share them.
class Questions {
  constructor(list) {
    this.list = list;
    this.given = new Map();
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
    store.set(question.id, text);
  }

  forget() {
    for (const question of this.list) store.set(question.id, null);
    this.given.clear();
  }

  // The learner's answer; null if there is none yet.
  yours(question) {
    return store.get(question.id) ?? this.given.get(question.id) ?? null;
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
function questionResult(question, yours) {
  const right = yours === question.actual, slip = question.slips?.[yours];
  return h("div", { class: `thp-result ${right ? "thp-right" : "thp-wrong"}` },
    h("span", { class: "thp-question" }, ...rich(question.question)), " ",
    h("b", { class: "thp-verdict" }, right ? "✓ as you said" : "✗ not so"), " · yours ", h("b", { class: "thp-yours" }, yours ?? ""),
    " · actual ", h("b", { class: "thp-actual" }, question.actual), question.why ? h("span", { class: "thp-why" }, h("span", { class: "thp-dot" }, " · "), ...rich(question.why)) : null,
    slip ? h("p", { class: "thp-slip" }, h("b", {}, `Why not ${yours}? `), ...rich(slip)) : null);
}
