// A scenario on a real kernel beside the simulator, operation by operation; and where a stepper asks for one.
// What it shows: thplab/learn/widgets/live_payload.py.

const VERDICTS = { agrees: "= agrees", differs: "≠ differs", "not modelled": "· not modelled" };

// What is compared with what. A run that is shown without Python was made before, so it is a recorded one there.
/** @param {Compared} data */
function comparisonTitle(data, live) {
  const how = data.kind === "live" && live ? `performed on this machine's Linux ${data.kernel}` : `recorded on Linux ${data.kernel}`;
  return [h("b", {}, how), ` (${data.runs}), beside the simulator's `, h("b", {}, data.simulator),
    `: ${data.agree} of ${data.operations.length} operations agree. `, ...(data.nearest ? [h("b", {}, data.nearest)] : [])];
}

// Both sides after an operation, a line for each field: the value of the kernel, that of the simulator, and whether they agree.
/** @param {Compared} data */
function comparisonTable(data, number) {
  const { label, verdict, why, noisy, groups } = data.operations[number];
  const head = ["field", `Linux ${data.kernel}`, `simulator ${data.simulator}`, "both"].map(name => h("th", { scope: "col" }, name));
  const bodies = groups.map(({ title, rows }) => h("tbody", {},
    h("tr", {}, h("th", { scope: "rowgroup", colspan: 4, class: "thp-group" }, ...rich(title))),
    ...rows.map(([name, kernel, simulator, agrees]) => h("tr", { class: agrees ? "thp-agrees" : "thp-differs" },
      h("th", { scope: "row" }, ...rich(name)), h("td", {}, kernel), h("td", {}, simulator),
      h("td", { class: "thp-both" }, agrees ? "= agree" : "≠ differ")))));
  const notes = [why && `Not compared: ${why}.`, noisy && "Noisy: the runs do not say the same of this operation, so the counters of the system are not compared."];
  return h("table", { class: "thp-comparison" },
    h("caption", {}, h("code", {}, `${number + 1}. ${label}`), " ", h("b", { class: `thp-${verdict.replace(" ", "-")}` }, VERDICTS[verdict]),
      ...notes.filter(Boolean).map(note => h("div", {}, note))),
    h("thead", {}, h("tr", {}, ...head)), ...bodies);
}

// Where the two disagree: each operation's differing fields, by name; their values are in its table. A click calls `go` with the operation's number.
/** @param {Compared} data */
function comparisonFindings(data, go) {
  return data.operations.flatMap(({ label, verdict, groups }, number) => {
    if (verdict !== "differs") return [];
    const fields = groups.flatMap(({ title, rows }) => {
      const names = rows.filter(row => !row[3]).map(row => row[0]);
      return names.length ? [`${title}: ${names.join(", ")}`] : [];
    });
    return [h("li", {}, h("button", { type: "button", class: "thp-finding", click: () => go(number) }, `≠ ${number + 1}. ${label}`), ` ${fields.join("; ")}`)];
  });
}

// In a stepper: the button, and below the controls what came out. `button` and `element` are null where there is nothing to run.
class LivePanel {
  constructor(view, stepped) {
    this.view = view;
    this.stepped = stepped;
    this.offer = (view.live && view.model.get("live")) || {};
    this.number = -1;
    this.button = null;
    this.element = null;
    if (!this.offer.kernel && !view.model.get("compared")) return;
    const { kernel, why } = this.offer, name = `Run this scenario on my kernel${kernel ? `, Linux ${kernel}` : ""}`;
    this.why = kernel ? why : "that needs the notebook's Python";
    this.button = h("button", { type: "button", class: "thp-run", title: why ? `Not possible: ${why}` : name, "aria-label": name, click: () => this.run() }, "Run on my kernel");
    view.says.className = "thp-live-says";
    this.title = h("p", { class: "thp-live-title" });
    this.box = h("div", { class: "thp-live-box", role: "group", "aria-label": "The kernel beside the simulator", tabindex: 0 });
    this.element = h("div", { role: "group", class: "thp-live", hidden: true, "aria-label": "On my kernel" }, view.says, this.title, this.box);
  }

  run() {
    this.element.hidden = false;
    if (this.why) this.view.say(`It cannot be run: ${this.why}.`);
    else this.view.ask("run", {}, "Asking Python…");
  }

  drawBusy() {
    if (this.button) disable(this.view.busy || Boolean(this.why), this.button);
  }

  async read() {
    const packed = this.view.model.get("compared");
    if (!packed) return;
    const data = await unpack(packed);
    if (packed !== this.view.model.get("compared")) return;
    this.data = data;
    this.element.hidden = false;
    const other = `The steps below are those of ${this.stepped}, another kernel, which may do otherwise. `;
    this.title.replaceChildren(...comparisonTitle(data, Boolean(this.offer.kernel)), this.stepped === data.simulator ? "" : other,
      "On both sides a huge page has 512 pages here.");
    this.show(this.number);
  }

  // The operation that ended last, -1 before the first has: what is under way is not told before it has happened.
  show(number) {
    const other = number !== this.number || this.shown !== this.data;
    this.number = number;
    if (!this.data || !other) return;
    this.shown = this.data;
    this.box.replaceChildren(number < 0 ? h("p", {}, "No operation has ended yet at this step.") : comparisonTable(this.data, Math.min(number, this.data.operations.length - 1)));
    this.box.scrollTop = 0;
  }
}
