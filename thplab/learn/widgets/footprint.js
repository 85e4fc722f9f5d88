// The footprint lab: sliders, and what each kernel holds. Python computes each position; a page without it has some of them.

/** @extends {View<FootprintAsks>} */
class FootprintView extends View {
  /** @param {FootprintData} data @param {Model} model */
  constructor(data, model) {
    super(model, "footprint", "Footprint lab");
    if (!this.live) this.quiet = this.offline;
    this.says.id = `${this.id}-says`;
    this.grid = data.grid ?? [];
    this.wanted = { ...data.values };
    this.bars = data.bars.map(([kernel], index) => barRow(index, kernel, "now", "at"));
    this.picture = h("div", { class: "thp-memory", role: "img" }, ...this.bars.map(bar => bar.element),
      h("div", { class: "thp-key" }, h("span", { class: "thp-key-held" }), " held", h("span", { class: "thp-key-mapped" }), " mapped; ",
        "the whole track is what was mapped at first"));
    this.words = h("p", { class: "thp-caption", role: "status" });
    this.table = h("table", {});
    const reasons = data.reasons.flatMap(([kernel, why]) => [h("dt", {}, kernel), h("dd", {}, ...rich(why))]);
    this.root.append(this.buildControls(data.controls), this.picture, this.words, this.says,
      h("div", { class: "thp-numbers" }, this.table),
      h("details", { class: "thp-words", open: true }, h("summary", {}, "Why each kernel holds what it holds"), h("dl", { class: "thp-reasons" }, ...reasons)));
    this.show(data);
  }

  get offline() {
    return "Without Python only the share that is unmapped can be changed, in steps of 10 %, and memory pressure in steps of 25 %.";
  }

  buildControls(controls) {
    this.inputs = new Map();
    const lines = controls.map(control => {
      const id = `${this.id}-${control.name}`, told = h("output", { for: id, class: "thp-told" });
      const input = control.options
        ? h("select", { id }, ...control.options.map(name => h("option", { value: name }, name)))
        : h("input", { id, type: "range", min: control.min, max: control.max, step: control.step });
      if (!this.live) this.restrict(input, control.name);
      input.addEventListener(control.options ? "change" : "input", () => this.change(control, input));
      this.inputs.set(control.name, { control, input, told });
      return h("div", { class: "thp-control" }, h("label", { for: id }, control.label), input, told);
    });
    return h("div", { class: "thp-sliders" }, ...lines);
  }

  // Without Python a slider has the positions that the page has, and is disabled if that is one.
  restrict(input, name) {
    const places = new Set(this.grid.map(answer => answer.values[name])).size;
    if (places > 1) input.step = 1 / (places - 1);
    else for (const [key, value] of Object.entries({ disabled: "", title: this.offline, "aria-describedby": `${this.id}-says` })) input.setAttribute(key, value);
  }

  change(control, input) {
    this.wanted[control.name] = control.options ? input.value : Number(input.value);
    // Nobody can unmap who does not map.
    if (this.wanted.unmapping > this.wanted.sharing) this.wanted.unmapping = this.wanted.sharing;
    this.drawControls();
    this.pump();
  }

  // One question at a time. What was asked meanwhile is forgotten but for the last.
  pump() {
    if (!this.live) {
      const far = ({ values }) => Math.abs(values.unmapped - this.wanted.unmapped) + Math.abs(values.pressure - this.wanted.pressure);
      const near = this.grid.reduce((best, answer) => (far(answer) < far(best) ? answer : best));
      this.wanted = { ...near.values };
      this.show(near);
      return;
    }
    if (this.ask("move", this.wanted, this.says.textContent)) this.sent = JSON.stringify(this.wanted);
  }

  /** @param {FootprintData} data */
  load(data) {
    if (!this.busy) this.wanted = { ...data.values };  // the same widget in another cell was moved
    this.show(data);
  }

  answered() {
    if (this.sent !== JSON.stringify(this.wanted)) this.pump();
  }

  show(data) {
    data.bars.forEach(([, held, mapped], index) => this.bars[index].show([held, mapped], `${data.table[index + 1][2]} MiB`));
    this.picture.setAttribute("aria-label", data.words);
    this.words.replaceChildren(...rich(data.words));
    const [heading, ...rows] = data.table;
    this.table.replaceChildren(h("caption", {}, "Memory in MiB; split, refused and queued count huge pages"),
      h("thead", {}, h("tr", {}, ...heading.map(text => h("th", { scope: "col" }, text)))),
      h("tbody", {}, ...rows.map(([kernel, ...cells]) =>
        h("tr", {}, h("th", { scope: "row" }, kernel), ...cells.map(text => h("td", { class: "thp-number" }, text))))));
    this.drawControls();
    this.root.dataset.answered = JSON.stringify(data.values);
  }

  drawControls() {
    for (const [name, { control, input, told }] of this.inputs) {
      const value = this.wanted[name];
      if (name === "unmapping") input.max = this.wanted.sharing;
      if (document.activeElement !== input || control.options) input.value = value;
      const text = control.percent ? `${Math.round(100 * value)} %` : control.options ? "" : value.toLocaleString("en");
      told.textContent = text;
      if (!control.options) {
        input.setAttribute("aria-valuetext", text);
        input.style.setProperty("--done", `${(100 * (value - input.min)) / Math.max(1e-9, input.max - input.min)}%`);
      }
    }
  }

  // JupyterLab would take the arrow keys and move to another cell.
  key(event) {
    if (event.target.matches("input, select, summary")) event.stopPropagation();
  }
}

export default mount(FootprintView);
