// One scenario on several kernels: two pictures side by side, all kernels in a table, what each operation costs as bars.
// What it shows: thplab/learn/widgets/compare.py. All steps are in the page; only another comparison needs the kernel.

const NONE = -1;  // stands for a kernel where there is no picture

/** @extends {PictureView<CompareAsks>} */
class CompareView extends PictureView {
  /** @param {CompareData} data @param {Model} model */
  constructor(data, model) {
    super(model, "compare", "Comparison");
    if (!this.live) this.quiet = this.offline;
    this.load(data);
  }

  get offline() {
    return "To compare something else, run this notebook: Python carries it out.";
  }

  // Everything anew for another comparison.
  /** @param {CompareData} data */
  load(data) {
    this.data = data;
    this.pair = [0, this.lecture ? NONE : data.kernels.length - 1];
    this.sides = this.pair.map((kernel, side) => new PictureBox(this, `The ${side ? "second" : "first"} picture`, kernel));
    for (const side of this.sides) side.load(data.pictures);
    const open = this.more?.open ?? false, only = this.only?.checked ?? true;
    const kept = [this.source, this.submit].findIndex(each => each === document.activeElement);  // who asked goes on asking
    const parts = [this.buildBar(), this.buildPictures(), this.buildBody(), this.buildFoot(), this.buildForm(open)];
    this.root.replaceChildren(...(this.lecture ? [parts[0], this.buildLecture()] : parts));
    this.only.checked = only;
    focusOn([this.source, this.submit][kept]);
    this.step = -1;
    this.go(this.model.get("step"));
    this.laidOut = "";
    this.wantDetail();
  }

  get boxes() {
    return this.sides ?? [];
  }

  // --- parts -------------------------------------------------------------------------------------------------------

  buildBar() {
    const names = ["Step to the next operation", "Back one operation", "Before the first operation", "Last operation"];
    const [step, back, first, last] = this.buildSteps(names, () => this.go(this.step + 1), () => this.go(this.step - 1), () => this.go(0), () => this.go(Infinity));
    this.ends = [first, last];
    this.position = h("span", { class: "thp-position" });
    this.slider = h("input", { type: "range", min: 0, step: 1, "aria-label": "Operation", input: () => this.go(Number(this.slider.value)) });
    this.label = h("div", { class: "thp-op-label", role: "status" });
    this.bar = h("div", {}, h("div", { class: "thp-bar", role: "toolbar", "aria-label": "Operations" }, step, back, this.slider, this.position), this.label);
    return this.bar;
  }

  buildFoot() {
    const { data } = this;
    return h("div", { class: "thp-foot" }, ...this.ends, this.buildDetail(), h("span", { class: "thp-name", title: data.about }, h("b", {}, data.name), data.about ? `  ${data.about}` : ""),
      h("span", { class: "thp-chip", title: data.geometry }, `geometry: ${data.geometry.split(":")[0]}`));
  }

  // One picture, of the kernel that is chosen beside the operation, and what differs.
  buildLecture() {
    const choice = (name, kernel) => h("button", { type: "button", class: "thp-detail", click: () => this.choose(kernel) }, name);
    this.choices = this.data.kernels.map(choice);
    const choices = h("span", { role: "group", "aria-label": "Kernel of the picture" }, ...this.choices);
    this.bar.append(h("div", { class: "thp-head" }, this.label, choices));
    const facts = h("div", { class: "thp-facts" }, this.numbers, this.remarks);
    return h("div", { class: "thp-body", style: `--kernels: ${this.data.kernels.length}` }, this.sides[0].frame, facts);
  }

  choose(kernel) {
    this.pair[0] = (kernel + this.data.kernels.length) % this.data.kernels.length;
    this.drawPictures();
  }

  // Two kernels are in the pictures, or one. Which ones, the reader chooses.
  buildPictures() {
    const { kernels, schemes } = this.data;
    this.selects = this.pair.map((chosen, side) => {
      const options = kernels.map((name, index) => h("option", { value: index }, `${name} (${schemes[index]})`));
      if (side) options.push(h("option", { value: NONE }, "no second picture"));
      const select = h("select", { "aria-label": `Kernel of the ${side ? "second" : "first"} picture`, change: () => {
        this.pair[side] = Number(select.value);
        this.drawPictures();
        this.laidOut = "";
        this.layout();
      } }, ...options);
      select.value = `${chosen}`;
      return select;
    });
    return h("div", { class: "thp-pair" }, ...this.pair.map((_, side) => h("div", { class: "thp-side-by" }, this.selects[side], this.sides[side].frame)));
  }

  buildBody() {
    this.only = h("input", { type: "checkbox", role: "switch", checked: true, change: () => this.drawTable() });
    this.table = h("table", {});
    this.numbers = h("div", { class: "thp-numbers", tabindex: 0, role: "group", "aria-label": "All kernels" }, this.table);
    this.remarks = h("div", { class: "thp-remarks" });
    this.costs = this.data.frames.at(-1).costs.map(([kind, , all]) => (
      { kind, most: Math.max(1, ...all), bars: this.data.kernels.map((name, index) => barRow(index, name, "all", "now")) }));
    const bars = this.costs.map(({ kind, bars }) => h("div", {}, h("b", {}, kind), ...bars.map(bar => bar.element)));
    return h("div", { class: "thp-facts" },
      h("label", { class: "thp-switch" }, this.only, "only what differs"),
      this.numbers, this.remarks,
      h("h4", { role: "presentation" }, "What it costs: this operation, of all so far"), h("div", { class: "thp-bars" }, ...bars));
  }

  buildForm(open) {
    const { data } = this, { scenarios, kernels, geometries } = data.choices;
    const list = `${this.id}-scenarios`;
    this.source = h("input", { type: "text", class: "thp-line-of", list, "aria-label": "A built-in scenario, or operations", spellcheck: "false" });
    this.source.value = data.source;
    this.boxesOf = kernels.map(name => {
      const box = h("input", { type: "checkbox", value: name });
      box.checked = data.kernels.includes(name);
      return box;
    });
    this.geometry = h("select", { "aria-label": "Geometry" }, ...geometries.map(name => h("option", {}, name)));
    this.geometry.value = data.geometry.split(":")[0];
    this.submit = h("button", { type: "submit", class: "thp-load" }, "Compare");
    disable(!this.live, this.submit);
    this.form = h("form", { submit: event => { event.preventDefault(); this.compare(); } },
      h("div", { class: "thp-share" }, h("label", {}, "scenario"), this.source, h("datalist", { id: list }, ...scenarios.map(name => h("option", {}, name)))),
      h("fieldset", { class: "thp-kernels" }, h("legend", {}, `two to ${data.most} kernels`),
        ...kernels.map((name, i) => h("label", { class: "thp-switch" }, this.boxesOf[i], name)), this.geometry, this.submit));
    this.more = h("details", { class: "thp-words" }, h("summary", {}, "Compare something else"), this.form, this.says);
    this.more.open = open;
    return this.more;
  }

  compare() {
    const kernels = this.boxesOf.filter(box => box.checked).map(box => box.value);
    this.ask("compare", { scenario: this.source.value, kernels, geometry: this.geometry.value }, "Comparing…");
  }

  // --- showing -----------------------------------------------------------------------------------------------------

  async follow() {
    this.go(this.model.get("step"));
  }

  go(wanted) {
    const step = Math.max(0, Math.min(wanted, this.data.frames.length - 1));
    if (step === this.step) return;
    this.root.classList.toggle("thp-forward", step === this.step + 1);
    this.step = step;
    const frame = this.data.frames[step], last = this.data.frames.length - 1;
    this.label.replaceChildren(h("code", {}, frame.label));
    this.position.textContent = `operation ${step} / ${last}`;
    drawSlider(this.slider, step, last, `${step} of ${last}: ${frame.label}`);
    this.drawSteps(step, last);
    this.drawPictures();
    this.drawTable();
    this.drawBars();
    this.root.dataset.step = `${step}`;
    this.tell("step", step);
  }

  drawPictures() {
    const frame = this.data.frames[this.step];
    this.choices?.forEach((button, kernel) => button.setAttribute("aria-pressed", `${kernel === this.pair[0]}`));
    this.pair.forEach((kernel, side) => {
      this.sides[side].frame.hidden = kernel === NONE;
      if (kernel === NONE) return;
      this.sides[side].which = kernel;
      this.sides[side].show(this.step, `${this.data.kernels[kernel]}: ${frame.label}`,
        "Page tables and pages after this operation. The table below says the same of all kernels.");
    });
  }

  drawTable() {
    const { groups, remarks } = this.data.frames[this.step], { kernels } = this.data;
    const body = groups.map(([title, rows]) => {
      const shown = rows.filter(([, , others]) => others.includes(true) || !this.only.checked);
      const heading = h("tr", {}, h("th", { scope: "colgroup", class: "thp-group", colspan: kernels.length + 1 }, title));
      return shown.length ? h("tbody", {}, this.lecture ? null : heading, ...shown.flatMap(row => this.row(row))) : null;
    }).filter(Boolean);
    const none = this.step === 0 ? "Nothing has been done yet." : "On all of them the same.";
    const empty = h("tbody", {}, h("tr", {}, h("td", { colspan: kernels.length + 1, class: "thp-in" }, none)));
    const about = h("caption", {}, "≠ marks what is not as on the first kernel; – stands where a kernel has no such thing");
    const head = h("tr", {}, this.lecture ? null : h("td", {}), ...kernels.map(name => h("th", { scope: "col" }, name)));
    this.table.replaceChildren(...(this.lecture ? [] : [about]), h("thead", {}, head), ...(body.length ? body : [empty]));
    const problem = this.data.problem && this.step === this.data.frames.length - 1 ? [["", this.data.problem]] : [];
    this.remarks.replaceChildren(...[...remarks, ...problem].map(([name, text]) => h("p", { class: "thp-error" }, h("b", {}, name ? `${name}: ` : ""), text)));
  }

  // In a lecture the label stands above, for the column is narrow.
  row([label, texts, others, moved]) {
    const cells = texts.map((text, index) => {
      const other = others[index];
      return h("td", { class: other ? "thp-other" : "" }, other ? h("span", { class: "thp-sign", "aria-label": "differs" }, "≠ ") : null, text === "-" ? "–" : text);
    });
    const line = (...parts) => h("tr", { class: moved ? "thp-moved" : "" }, ...parts);
    if (this.lecture) return [line(h("th", { scope: "rowgroup", class: "thp-of", colspan: cells.length }, ...rich(label))), line(...cells)];
    return [line(h("th", { scope: "row" }, ...rich(label)), ...cells)];
  }

  drawBars() {
    const nothing = this.data.kernels.map(() => 0), { costs } = this.data.frames[this.step];
    this.costs.forEach(({ bars, most }, kind) => {
      const [, now, all] = costs[kind] ?? ["", nothing, nothing];
      const text = index => `${now[index].toLocaleString("en")} of ${all[index].toLocaleString("en")}`;
      bars.forEach((bar, index) => bar.show([all[index] / most, now[index] / most], text(index)));
    });
  }

  // Side by side where both can be read there, else below each other.
  layout() {
    const width = this.root.clientWidth, key = `${width} ${this.detail}`;
    if (this.fills || !width || this.step < 0 || key === this.laidOut) return;
    this.laidOut = key;
    const shown = this.sides.filter((_, side) => this.pair[side] !== NONE), both = shown.length > 1 && shown.every(side => 2 * side.size[0] + 60 <= width);
    this.root.classList.toggle("thp-both", both);
    const room = (this.room() - this.bar.offsetHeight - 60) / (both ? 1 : shown.length) - 10 - this.selects[0].offsetHeight;
    for (const side of shown) side.element.style.setProperty("--picture", `${Math.ceil(side.size[1] * side.fit((both ? width / 2 : width) - 36, room))}px`);
  }

  keys() {
    const go = { ArrowRight: () => this.go(this.step + 1), ArrowLeft: () => this.go(this.step - 1), Home: () => this.go(0), End: () => this.go(Infinity) };
    if (!this.lecture) return go;
    return { ...go, ArrowDown: () => this.choose(this.pair[0] + 1), ArrowUp: () => this.choose(this.pair[0] - 1) };
  }
}

export default mount(CompareView, "step");
