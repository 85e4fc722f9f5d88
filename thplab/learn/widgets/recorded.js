// In a stepper: what a real kernel stored in an operation, in order, beside the simulator's steps, with a tick where they agree.
// What it shows: thplab/learn/widgets/recorded_payload.py.

// Which of the recorded operations one looks at who is at a frame: the last that has begun, or the first.
/** @param {RecordedOperation[]} recorded */
function recordedAt(recorded, number) {
  return Math.max(0, recorded.findLastIndex(({ first }) => first <= number));
}

// Both sides, a row for each place. A click on a row calls `go` with the frame that does it.
/** @param {RecordedOperation} operation */
function recordedTable({ kernel, rows }, go) {
  const lines = side => side.map(([text, by]) => h("div", { class: "thp-stored" }, text, by && h("span", { class: "thp-in" }, ` ${by}`)));
  const head = [`Linux ${kernel}`, "simulator", "both"].map(name => h("th", { scope: "col" }, name));
  const elements = rows.map(({ recorded, here, agrees, frames }) => h("tr", {
    class: agrees ? "thp-agrees" : "thp-differs", click: frames && (() => go(frames[1])),
  }, h("td", {}, ...lines(recorded)), h("td", {}, ...lines(here)), h("td", { class: "thp-both" }, agrees ? "\u2713 agree" : "\u2260 differ")));
  return { table: h("table", { class: "thp-comparison" }, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...elements)), elements };
}

// `button` and `element` are null where nothing was recorded.
class RecordedPanel {
  /** @param {RecordedOperation[] | null} recorded null: there are some, which ask() asks for and take() is given */
  constructor(recorded, go, ask = () => {}) {
    this.recorded = recorded ?? [];
    this.missing = recorded === null;
    this.go = go;
    this.ask = ask;
    this.tables = new Map();
    this.open = false;
    this.number = 0;
    this.before = -1;
    this.limit = Infinity;
    this.button = null;
    this.element = null;
    if (!this.missing && !this.recorded.length) return;
    const title = "What a real kernel stored in this operation, in order", click = () => this.toggle();
    this.button = h("button", { type: "button", class: "thp-as-recorded", "aria-pressed": "false", title, click }, "As recorded");
    this.title = h("p", {});
    this.box = h("div", { class: "thp-recorded-box", role: "group", "aria-label": "As recorded", tabindex: 0 });
    this.element = h("div", { role: "group", class: "thp-recorded", hidden: true, "aria-label": title }, this.title, this.box);
  }

  toggle() {
    this.open = !this.open;
    this.element.hidden = !this.open;
    this.button.setAttribute("aria-pressed", `${this.open}`);
    if (this.missing) this.ask();
    this.draw();
  }

  take(recorded) {
    if (!recorded) return;
    this.recorded = recorded;
    this.missing = false;
    this.draw();
  }

  // The frame that is shown, the one shown before it in the trace, and the first one that must not be told yet.
  show(number, before, limit) {
    Object.assign(this, { number, before, limit });
    this.draw();
  }

  draw() {
    if (!this.open || this.missing) return;
    const at = recordedAt(this.recorded, this.number), operation = this.recorded[at];
    if (!this.tables.has(at)) this.tables.set(at, recordedTable(operation, this.go));
    const { table, elements } = this.tables.get(at), { rows } = operation, agree = rows.filter(row => row.agrees).length;
    if (this.box.firstChild !== table) {
      this.title.replaceChildren(h("b", {}, `Recorded on Linux ${operation.kernel}`),
        `: ${operation.label}. ${agree} of ${rows.length} steps agree. `,
        "Both sides have 512 pages in a huge page; what is done to one after the other is one step.");
      this.box.replaceChildren(table);
    }
    const here = rows.map(({ frames }) => frames != null && frames[0] <= this.number && frames[1] > this.before);
    elements.forEach((element, i) => {
      markHere(element, here[i]);
      element.classList.toggle("thp-secret", rows[i].frames != null && rows[i].frames[1] >= this.limit);
    });
    if (here.includes(true)) center(this.box, elements[here.indexOf(true)]);
  }
}
