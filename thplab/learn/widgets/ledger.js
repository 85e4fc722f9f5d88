// The ledger: who holds what of every page, with cells to fill in. What it shows: thplab/learn/widgets/ledger_payload.py. It needs no kernel.

const PICTURE = 290;  // greatest height of the picture, so that the table below it is in sight
const HINTS = 3;  // the rule, where to look, the number itself
const COUNTER = /^(_\w+|compound_mapcount|pincount) ?\S*$/;

// A cell of the ledger and what the learner did with it. A point is for what was right the first time, without a hint.
class Entry {
  /** @param {Cell} cell @param {string} counter @param {string} holder @param {string} by */
  constructor(cell, counter, holder, by) {
    this.cell = cell;
    this.counter = counter;
    this.holder = holder;
    this.by = by;
    this.restart();
  }

  /** @param {Partial<LedgerResult>} [result] */
  restart({ tries = [], hints = 0 } = {}) {
    this.tries = [...tries];
    this.hints = hints;
    this.says = "";  // why what is in the field was not taken
  }

  // Where it stands: its button, or its field with a mark beside it.
  place(field, mark = null) {
    this.field = field;
    this.mark = mark;
    return h("td", { class: "thp-amount" }, field, mark);
  }

  get last() {
    return this.tries.at(-1);
  }

  get right() {
    return this.last !== undefined && this.same(this.last);
  }

  get done() {
    return !this.cell.blank || this.right || this.hints >= HINTS;
  }

  get scores() {
    return this.hints === 0 && this.right;
  }

  same(text) {
    return BigInt(text) === BigInt(this.cell.actual);
  }

  // What was typed; an empty text is only spoken of where somebody `asked`. The same wrong number again is no other try. A wrong one brings
  // a hint. Answers whether it was taken.
  take(typed, asked) {
    const text = typed.trim().replace("−", "-"), number = /^(-?\d+|0x[0-9a-f]+)$/i.test(text);
    if (!number) this.says = text || asked ? "Type a whole number, decimal or as 0x10." : "";
    if (!number || text === this.last) return false;
    this.says = "";
    this.tries.push(text);
    if (!this.right) this.hints = Math.min(this.hints + 1, HINTS);
    return true;
  }

  /** @returns {LedgerResult} */
  result() {
    const { counter, holder, tries, hints, scores } = this;
    return { counter, holder, tries: [...tries], hints, right: scores, ...(this.done ? { actual: this.cell.actual } : {}) };
  }
}

/** @extends {PictureView<PictureAsks>} */
class LedgerView extends PictureView {
  /** @param {LedgerData} data @param {Model} model */
  constructor(data, model) {
    super(model, "accounts", "Ledger: who holds what");
    this.data = data;
    this.cells = data.groups.flatMap(({ accounts }) => accounts.flatMap(({ name, total, rows }) => [
      new Entry(total, name, "", "total"), ...rows.map(({ cell, holder, by }) => new Entry(cell, name, holder, by))]));
    this.open = this.cells.filter(({ cell }) => cell.blank);
    this.current = this.open[0] ?? null;
    this.open.forEach((entry, i) => entry.restart(model.get("results")[i]));
    const head = this.buildHead(), body = this.buildBody();
    if (this.lecture) this.tools.append(this.score, chips(this.data.kernel, this.data.geometry)[0]);
    this.root.append(...(this.lecture ? [body] : [head, body, this.buildWords("The picture in words")]));
    this.show();
  }

  // --- parts -------------------------------------------------------------------------------------------------------

  buildHead() {
    const { kernel, geometry, scenario, step } = this.data;
    this.score = h("b", { class: "thp-score", role: "status" });
    return h("div", { class: "thp-head" }, h("span", { class: "thp-name", title: `${scenario}, ${step}` }, h("b", {}, "Who holds what"), `  ${scenario}, ${step}`),
      this.buildDetail(), ...chips(kernel, geometry), this.score);
  }

  buildBody() {
    this.box = new PictureBox(this, "Picture");
    this.box.load(this.data.pictures);
    this.table = h("div", { class: "thp-ledger", role: "group", "aria-label": "Ledger", tabindex: 0 }, this.buildTable());
    this.panel = h("div", { class: "thp-feedback", "aria-live": "polite" });
    const button = (name, run) => h("button", { type: "button", click: run }, name);
    this.checkButton = button("Check", () => this.check(this.current, true));
    this.hintButton = button("Hint", () => this.hint());
    this.againButton = button("Start over", () => this.again());
    this.tools = h("div", { class: "thp-tools" }, this.checkButton, this.hintButton, this.againButton);
    this.side = h("div", { class: "thp-ask" }, this.panel, this.tools);
    return h("div", { class: "thp-body" }, this.box.frame, this.table, this.side);
  }

  buildTable() {
    const head = ["counter", "who holds", "by", "amount"].slice(this.lecture ? 1 : 0).map(name => h("th", { scope: "col" }, name));
    let next = 0;
    const bodies = this.data.groups.map(({ title, accounts }) => h("tbody", {},
      h("tr", {}, h("th", { scope: "rowgroup", colspan: head.length, class: "thp-group" }, title)),
      ...accounts.flatMap(({ name, stored, rows }) => [
        h("tr", { class: "thp-total" }, h("th", { scope: "row", colspan: head.length - 1 }, h("b", {}, ...rich(name)), this.lecture ? null : h("small", {}, ` ${stored}`)), this.buildCell(this.cells[next++])),
        ...rows.map(({ holder, by }) => h("tr", {}, this.lecture ? null : h("td", {}), h("th", { scope: "row" }, holder), h("td", {}, by), this.buildCell(this.cells[next++]))),
      ])));
    if (!bodies.length) bodies.push(h("tbody", {}, h("tr", {}, h("td", { colspan: head.length }, "No page is in use yet."))));
    return h("table", {}, h("thead", {}, h("tr", {}, ...head)), ...bodies);
  }

  /** @param {Entry} entry */
  buildCell(entry) {
    const { counter, holder, by, cell } = entry, label = holder ? `amount of ${holder}, ${by}, in ${counter}` : `total of ${counter}`;
    const look = () => this.look(entry), blur = event => { if (!this.tools.contains(event.relatedTarget)) this.check(entry, false); };
    if (cell.blank) return entry.place(h("input", { type: "text", size: 8, autocomplete: "off", "aria-label": label, focus: look, blur }), h("span", { class: "thp-verdict" }));
    return entry.place(h("button", { type: "button", class: "thp-given", "aria-label": `${label}: ${cell.actual}`, focus: look, click: look }, cell.actual));
  }

  // --- filling in --------------------------------------------------------------------------------------------------

  look(entry) {
    if (this.current === entry) return;
    this.current = entry;
    this.show();
  }

  // Check what was typed; an empty field is only spoken of where somebody `asked`.
  check(entry, asked) {
    if (!entry || entry.done) return;
    if (entry.take(entry.field.value, asked)) this.publish();
    this.show();
  }

  hint() {
    if (!this.current || this.current.done) return;
    this.current.hints += 1;
    this.publish();
    this.show();
  }

  again() {
    for (const entry of this.open) {
      entry.restart();
      entry.field.value = "";
    }
    this.current = this.open[0] ?? null;
    this.publish();
    this.show();
    focusOn(this.current?.field);
  }

  // The word to Python.
  publish() {
    this.tell("results", this.open.map(entry => entry.result()));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey && event.key !== "?") return;
    const on = event.target, typing = on.matches("input"), at = this.cells.findIndex(entry => entry.field === on);
    const to = by => () => { const next = this.cells[at + by]; if (next) this.enter(next); };
    const actions = at < 0 ? {} : { ArrowDown: to(1), ArrowUp: to(-1) };
    if (typing) Object.assign(actions, { Enter: () => this.commit(this.open.indexOf(this.cells[at])), "?": () => this.hint() });
    this.take(event, actions[event.key]);
  }

  // Enter checks; once the cell is right, it goes on to the next one that is open.
  commit(at) {
    this.check(this.open[at], true);
    if (!this.open[at].done) return;
    const rest = [...this.open.slice(at + 1), ...this.open.slice(0, at)].find(entry => !entry.done);
    if (rest) this.enter(rest);
  }

  enter(entry) {
    focusOn(entry.field);
    if (!isInSight(this.table, entry.field.closest("tr"))) center(this.table, entry.field.closest("tr"));
  }

  // --- showing -----------------------------------------------------------------------------------------------------

  show() {
    const done = this.open.every(entry => entry.done);
    this.box.show(0, `The state at ${this.data.step}`, done ? "Page tables and pages, with their counters." : "Page tables, pages and pins; the counters are covered until the ledger is filled.");
    for (const element of this.counters()) element.style.visibility = done ? "" : "hidden";
    for (const entry of this.open) this.drawCell(entry);
    for (const entry of this.cells) entry.field.closest("tr").classList.toggle("thp-here", entry === this.current);
    const points = this.open.filter(entry => entry.scores).length, filled = this.open.filter(entry => entry.done).length;
    this.score.textContent = this.open.length ? `right the first time: ${points} of ${this.open.length}` : "worked";
    this.panel.replaceChildren(...(this.current ? this.feedback(this.current) : [h("p", {}, "All cells are filled in. Choose a number, and the picture shows where it comes from.")]));
    if (done && this.open.length) this.panel.append(h("p", { class: "thp-in" }, "The ledger is full, and the counters in the picture are uncovered."));
    disable(!this.current || this.current.done, this.checkButton, this.hintButton);
    disable(!this.open.length, this.againButton);
    this.point();
    this.drawWords(done);
    this.root.dataset.filled = `${filled}`;
    this.root.dataset.blank = `${this.open.length}`;
  }

  drawCell(entry) {
    const done = entry.done, right = entry.right, last = entry.last;
    if (done) entry.field.value = entry.cell.actual;
    else if (last !== undefined && entry.field.value === "") entry.field.value = last;
    entry.field.readOnly = done;
    entry.mark.textContent = right ? "✓ right" : done ? "● shown" : last === undefined ? "" : "✗ wrong";
    entry.mark.parentElement.className = `thp-amount ${right ? "thp-right" : last === undefined && !done ? "" : "thp-wrong"}`;
  }

  // Yours, the actual one and why; before that one hint more for each wrong try.
  feedback(entry) {
    const parts = [h("p", {}, h("b", {}, entry.holder ? `${entry.holder} (${entry.by}) in ` : "The total of "), ...rich(entry.counter))];
    if (!entry.cell.blank) return [...parts, h("p", { class: "thp-why" }, ...rich(`${entry.cell.why}. ${entry.cell.rule}`))];
    const done = entry.done, last = entry.last;
    if (done) {
      const yours = entry.tries.find(text => !entry.same(text)) ?? last ?? "–";
      parts.push(h("p", { class: entry.right ? "thp-right" : "thp-wrong" }, h("b", { class: "thp-verdict" }, entry.right ? "✓ right" : "● shown"),
        " · yours ", h("b", { class: "thp-yours" }, yours), " · actual ", h("b", { class: "thp-actual" }, entry.cell.actual)));
      parts.push(h("p", { class: "thp-why" }, ...rich(`${entry.cell.why}. ${entry.cell.rule}`)));
      return parts;
    }
    if (entry.says) parts.push(h("p", { class: "thp-hint" }, entry.says));
    else if (last !== undefined) parts.push(h("p", { class: "thp-wrong" }, h("b", { class: "thp-verdict" }, `✗ ${last} is wrong`)));
    if (entry.hints > 0) parts.push(h("p", { class: "thp-rule" }, h("b", {}, "The rule: "), ...rich(entry.cell.rule)));
    if (entry.hints > 1) parts.push(h("p", { class: "thp-where" }, h("b", {}, "Look at "), ...rich(`${entry.cell.where}.`)));
    if (!entry.hints && !entry.says) parts.push(h("p", { class: "thp-in" }, "Type the number and press Enter. A hint costs the point; the third one fills the cell."));
    return parts;
  }

  // Mark in the picture where the number can be seen: from the second hint on, and where it is known.
  point() {
    const entry = this.current, ids = entry && (entry.hints > 1 || entry.done) ? entry.cell.marks : [];
    const { svg } = this.box.sheet;
    for (const element of svg.querySelectorAll(".thp-pointed")) element.classList.remove("thp-pointed");
    for (const id of ids) svg.querySelector(`[id="${id}"]`)?.classList.add("thp-pointed");
  }

  // What the picture says of counters, as long as they are to be found out.
  counters() {
    const { svg } = this.box.sheet, flags = [...svg.querySelectorAll("[id$='-flags'] tspan")].filter(span => COUNTER.test(span.textContent.trim()));
    return [...svg.querySelectorAll("[id$='count'] text, [id$='mapped'] text"), ...flags];
  }

  get boxes() {
    return this.box ? [this.box] : [];
  }

  load(data) {
    this.box.load(data.pictures);
    this.wantDetail();
  }

  drawDetail() {
    super.drawDetail();
    this.show();
  }

  drawWords(done = this.open.every(entry => entry.done)) {
    if (!this.details?.open) return;
    this.words.replaceChildren(wordsTable(done ? this.data.words : this.data.entries, done ? "The state in words." : "The entries and pins in words; the counters are told when the ledger is full."));
  }

  layout() {
    const width = this.root.clientWidth;
    if (width && !this.fills) this.set("picture", this.box.size[1] * this.box.fit(width - 4, PICTURE));
  }
}

export default mount(LedgerView);
