// The ledger: who holds what of every page, with cells to fill in. What it shows: thplab/learn/widgets/ledger_payload.py. It needs no kernel.

const PICTURE = 290;  // greatest height of the picture, so that the table below it is in sight
const HINTS = 3;  // the rule, where to look, the number itself
const COUNTER = /^(_\w+|compound_mapcount|pincount) ?\S*$/;

class LedgerView extends View {
  constructor(data, model, el) {
    super(model);
    this.data = data;
    this.id = this.freshId("accounts");
    this.cells = data.groups.flatMap(({ accounts }) => accounts.flatMap(account => [
      { counter: account.name, holder: "", by: "total", ...account.total }, ...account.rows.map(row => ({ counter: account.name, holder: row.holder, by: row.by, ...row.cell }))]));
    this.open = this.cells.filter(cell => cell.blank);
    this.current = this.open[0] ?? null;
    this.restart(model.get("results"));
    this.root = h("div", { class: "thp-widget thp-accounts", id: this.id, role: "group", "aria-label": "Ledger: who holds what", keydown: event => this.key(event) });
    this.root.append(this.buildHead(), this.buildBody(), this.buildWords());
    el.replaceChildren(this.root);
    this.show();
    this.watch = new ResizeObserver(() => this.layout());
    this.watch.observe(this.root);
    this.layout();
  }

  // What was tried so far; `results` as Python has it.
  restart(results) {
    this.open.forEach((cell, i) => {
      cell.tries = [...(results[i]?.tries ?? [])];
      cell.hints = results[i]?.hints ?? 0;
    });
  }

  // --- parts -------------------------------------------------------------------------------------------------------

  buildHead() {
    const { kernel, geometry, scenario, step } = this.data;
    this.score = h("b", { class: "thp-score", role: "status" });
    return h("div", { class: "thp-head" }, h("span", { class: "thp-name", title: `${scenario}, ${step}` }, h("b", {}, "Who holds what"), `  ${scenario}, ${step}`),
      h("span", { class: "thp-chip" }, `kernel: ${kernel}`), h("span", { class: "thp-chip", title: geometry }, `geometry: ${geometry.split(":")[0]}`), this.score);
  }

  buildBody() {
    this.svg = new Pictures([this.data.picture], this.id).get(0);
    this.svg.firstChild.textContent = `The state at ${this.data.step}`;
    this.picture = h("div", { class: "thp-picture" }, this.svg);
    const numbers = [...this.svg.querySelectorAll("[id$='-count'] text, [id$='-mapcount'] text")];
    const flags = [...this.svg.querySelectorAll("[id$='-flags'] tspan")].filter(span => COUNTER.test(span.textContent.trim()));
    this.covered = [...numbers, ...flags];
    this.table = h("div", { class: "thp-ledger", role: "region", "aria-label": "Ledger", tabindex: 0 }, this.buildTable());
    this.panel = h("div", { class: "thp-feedback", "aria-live": "polite" });
    const button = (name, run) => h("button", { type: "button", click: run }, name);
    this.checkButton = button("Check", () => this.check(this.current, true));
    this.hintButton = button("Hint", () => this.hint());
    this.againButton = button("Start over", () => this.again());
    this.tools = h("div", { class: "thp-tools" }, this.checkButton, this.hintButton, this.againButton);
    this.side = h("div", { class: "thp-ask" }, this.panel, this.tools);
    return h("div", { class: "thp-body" }, this.picture, this.table, this.side);
  }

  buildTable() {
    const head = ["counter", "who holds", "by", "amount"].map(name => h("th", { scope: "col" }, name));
    let next = 0;
    const bodies = this.data.groups.map(({ title, accounts }) => h("tbody", {},
      h("tr", {}, h("th", { scope: "rowgroup", colspan: 4, class: "thp-group" }, title)),
      ...accounts.flatMap(({ name, stored, rows }) => [
        h("tr", { class: "thp-total" }, h("th", { scope: "row", colspan: 3 }, h("b", {}, ...rich(name)), h("small", {}, ` ${stored}`)), this.buildCell(this.cells[next++])),
        ...rows.map(({ holder, by }) => h("tr", {}, h("td", {}), h("th", { scope: "row" }, holder), h("td", {}, by), this.buildCell(this.cells[next++]))),
      ])));
    if (!bodies.length) bodies.push(h("tbody", {}, h("tr", {}, h("td", { colspan: 4 }, "No page is in use yet."))));
    return h("table", {}, h("thead", {}, h("tr", {}, ...head)), ...bodies);
  }

  buildCell(cell) {
    const label = cell.holder ? `amount of ${cell.holder}, ${cell.by}, in ${cell.counter}` : `total of ${cell.counter}`;
    if (!cell.blank) {
      cell.field = h("button", { type: "button", class: "thp-given", "aria-label": `${label}: ${cell.actual}`, focus: () => this.look(cell), click: () => this.look(cell) }, cell.actual);
      return h("td", { class: "thp-amount" }, cell.field);
    }
    cell.field = h("input", { type: "text", size: 8, autocomplete: "off", "aria-label": label, focus: () => this.look(cell),
      blur: event => { if (!this.tools.contains(event.relatedTarget)) this.check(cell, false); } });
    cell.mark = h("span", { class: "thp-verdict" });
    return h("td", { class: "thp-amount" }, cell.field, cell.mark);
  }

  buildWords() {
    this.words = h("div", { class: "thp-text", tabindex: 0 });
    this.details = h("details", { class: "thp-words", toggle: () => this.drawWords() }, h("summary", {}, "The picture in words"), this.words);
    return this.details;
  }

  // --- filling in --------------------------------------------------------------------------------------------------

  isRight(cell) {
    return cell.tries.length > 0 && this.same(cell.tries.at(-1), cell.actual);
  }

  isDone(cell) {
    return !cell.blank || this.isRight(cell) || cell.hints >= HINTS;
  }

  // A point is for what was right the first time, without a hint.
  scores(cell) {
    return cell.hints === 0 && cell.tries.length === 1 && this.isRight(cell);
  }

  same(text, actual) {
    return BigInt(text) === BigInt(actual);
  }

  look(cell) {
    if (this.current === cell) return;
    this.current = cell;
    this.show();
  }

  // Check what was typed into a cell; an empty one is only spoken of on request. The same wrong number again is no other try.
  check(cell, asked) {
    if (!cell || this.isDone(cell)) return;
    const text = cell.field.value.trim().replace("−", "-");
    if (!/^(-?\d+|0x[0-9a-f]+)$/i.test(text)) {
      cell.says = text || asked ? "Type a whole number, decimal or as 0x10." : "";
    } else if (text !== cell.tries.at(-1)) {
      cell.says = "";
      cell.tries.push(text);
      if (!this.isRight(cell)) cell.hints = Math.min(cell.hints + 1, HINTS);
      this.publish();
    }
    this.show();
  }

  hint() {
    const cell = this.current;
    if (!cell || this.isDone(cell)) return;
    cell.hints += 1;
    this.publish();
    this.show();
  }

  again() {
    this.restart([]);
    for (const cell of this.open) Object.assign(cell, { says: "" }).field.value = "";
    this.current = this.open[0] ?? null;
    this.publish();
    this.show();
    this.current?.field.focus({ preventScroll: true });
  }

  // The word to Python.
  publish() {
    this.model.set("results", this.open.map(cell => ({
      counter: cell.counter, holder: cell.holder, tries: [...cell.tries], hints: cell.hints, right: this.scores(cell),
      ...(this.isDone(cell) ? { actual: cell.actual } : {}),
    })));
    this.model.save_changes();
  }

  // JupyterLab would take these keys and move to another cell, so none of them leaves the widget.
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey && event.key !== "?") return;
    const on = event.target, typing = on.matches("input"), runs = on.matches("button, summary"), at = this.cells.findIndex(cell => cell.field === on);
    const to = by => () => { const next = this.cells[at + by]; if (next) this.enter(next); };
    const actions = at < 0 ? {} : { ArrowDown: to(1), ArrowUp: to(-1) };
    if (typing) Object.assign(actions, { Enter: () => this.commit(this.open.indexOf(this.cells[at])), "?": () => this.hint() });
    const action = actions[event.key];
    this.take(event, action, { typing, runs });
  }

  // Enter checks; once the cell is right, it goes on to the next one that is open.
  commit(at) {
    this.check(this.open[at], true);
    if (!this.isDone(this.open[at])) return;
    const rest = [...this.open.slice(at + 1), ...this.open.slice(0, at)].find(cell => !this.isDone(cell));
    if (rest) this.enter(rest);
  }

  enter(cell) {
    cell.field.focus({ preventScroll: true });
    if (!isInSight(this.table, cell.field.closest("tr"))) center(this.table, cell.field.closest("tr"));
  }

  // --- showing -----------------------------------------------------------------------------------------------------

  show() {
    const done = this.open.every(cell => this.isDone(cell));
    for (const element of this.covered) element.style.visibility = done ? "" : "hidden";
    this.svg.firstChild.nextSibling.textContent = done ? "Page tables and pages, with their counters." : "Page tables, pages and pins; the counters are covered until the ledger is filled.";
    for (const cell of this.open) this.drawCell(cell);
    for (const cell of this.cells) cell.field.closest("tr").classList.toggle("thp-here", cell === this.current);
    const points = this.open.filter(cell => this.scores(cell)).length, filled = this.open.filter(cell => this.isDone(cell)).length;
    this.score.textContent = this.open.length ? `right the first time: ${points} of ${this.open.length}` : "worked";
    this.panel.replaceChildren(...(this.current ? this.feedback(this.current) : [h("p", {}, "All cells are filled in. Choose a number, and the picture shows where it comes from.")]));
    if (done && this.open.length) this.panel.append(h("p", { class: "thp-in" }, "The ledger is full, and the counters in the picture are uncovered."));
    this.checkButton.setAttribute("aria-disabled", !this.current || this.isDone(this.current));
    this.hintButton.setAttribute("aria-disabled", !this.current || this.isDone(this.current));
    this.againButton.setAttribute("aria-disabled", !this.open.length);
    this.point();
    this.drawWords(done);
    this.root.dataset.filled = filled;
    this.root.dataset.blank = this.open.length;
  }

  drawCell(cell) {
    const done = this.isDone(cell), right = this.isRight(cell), last = cell.tries.at(-1);
    if (done) cell.field.value = cell.actual;
    else if (last !== undefined && cell.field.value === "") cell.field.value = last;
    cell.field.readOnly = done;
    cell.mark.textContent = right ? "✓ right" : done ? "● shown" : last === undefined ? "" : "✗ wrong";
    cell.mark.parentElement.className = `thp-amount ${right ? "thp-right" : last === undefined && !done ? "" : "thp-wrong"}`;
  }

  // Yours, the actual one and why; before that one hint more for each wrong try.
  feedback(cell) {
    const parts = [h("p", {}, h("b", {}, cell.holder ? `${cell.holder} (${cell.by}) in ` : "The total of "), ...rich(cell.counter))];
    if (!cell.blank) return [...parts, h("p", { class: "thp-why" }, ...rich(`${cell.why}. ${cell.rule}`))];
    const done = this.isDone(cell), last = cell.tries.at(-1);
    if (done) {
      const yours = cell.tries.find(text => !this.same(text, cell.actual)) ?? last ?? "–";
      parts.push(h("p", { class: this.isRight(cell) ? "thp-right" : "thp-wrong" }, h("b", { class: "thp-verdict" }, this.isRight(cell) ? "✓ right" : "● shown"),
        " · yours ", h("b", { class: "thp-yours" }, yours), " · actual ", h("b", { class: "thp-actual" }, cell.actual)));
      parts.push(h("p", { class: "thp-why" }, ...rich(`${cell.why}. ${cell.rule}`)));
      return parts;
    }
    if (cell.says) parts.push(h("p", { class: "thp-hint" }, cell.says));
    else if (last !== undefined) parts.push(h("p", { class: "thp-wrong" }, h("b", { class: "thp-verdict" }, `✗ ${last} is wrong`)));
    if (cell.hints > 0) parts.push(h("p", { class: "thp-rule" }, h("b", {}, "The rule: "), ...rich(cell.rule)));
    if (cell.hints > 1) parts.push(h("p", { class: "thp-where" }, h("b", {}, "Look at "), ...rich(`${cell.where}.`)));
    if (!cell.hints && !cell.says) parts.push(h("p", { class: "thp-in" }, "Type the number and press Enter. A hint costs the point; the third one fills the cell."));
    return parts;
  }

  // Mark in the picture where the cell's number can be seen: from the second hint on, and where it is known.
  point() {
    const cell = this.current, ids = cell && (cell.hints > 1 || this.isDone(cell)) ? cell.marks : [];
    for (const element of this.svg.querySelectorAll(".thp-pointed")) element.classList.remove("thp-pointed");
    for (const id of ids) this.svg.querySelector(`[id="${id}"]`)?.classList.add("thp-pointed");
  }

  drawWords(done = this.open.every(cell => this.isDone(cell))) {
    if (!this.details.open) return;
    this.words.replaceChildren(wordsTable(done ? this.data.words : this.data.entries, done ? "The state in words." : "The entries and pins in words; the counters are told when the ledger is full."));
  }

  layout() {
    const width = this.root.clientWidth, { width: w, height } = this.svg.viewBox.baseVal;
    if (!width) return;
    const scale = Math.min((width - 2) / w, PICTURE / height, 1.2);
    this.root.style.setProperty("--picture-width", `${Math.floor(w * scale)}px`);
    this.root.style.setProperty("--picture", `${Math.floor(height * scale)}px`);
  }

  destroy() {
    this.watch.disconnect();
  }
}

async function render({ model, el }) {
  const view = new LedgerView(await unpack(model.get("packed")), model, el);
  return () => view.destroy();
}

export default { render };
