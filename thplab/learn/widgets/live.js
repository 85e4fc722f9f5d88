// The live lab: a scenario that was performed on a real kernel, beside the simulator. Python performs it; nothing is simulated here.
// What it shows: thplab/learn/widgets/live.py and live_payload.py. Operations are counted from 0 here, and from 1 in what is shown.

const OWN = "my own operations";

class LiveView extends View {
  constructor(machine, model, el) {
    super(model);
    this.machine = machine;
    this.data = null;
    this.step = -1;
    this.id = "thp-live";
    while (document.getElementById(this.id)) this.id += "-again";
    this.root = h("div", { class: "thp-widget thp-live-lab", id: this.id, role: "group", "aria-label": "Live lab", keydown: event => this.key(event) });
    this.root.append(this.buildHead(), this.buildAsk(), this.buildBar(), this.buildBody(), this.buildMore());
    el.replaceChildren(this.root);
    const why = this.live ? machine.why : "that needs the notebook's Python; this page shows a run that was made before";
    this.asking = new Asking(model, this.runButton, this.says, why);
    if (why) this.reason.textContent = `Not run here: ${why}.`;
    for (const control of [this.choice, this.line]) control.disabled = !this.live;
    this.watch = new ResizeObserver(() => this.layout());
    this.watch.observe(this.root);
  }

  // --- parts -------------------------------------------------------------------------------------------------------

  buildHead() {
    const { kernel, simulator } = this.machine;
    this.about = h("span", { class: "thp-name" });
    return h("div", { class: "thp-head" }, this.about,
      ...(this.live ? [h("span", { class: "thp-chip" }, `this machine: Linux ${kernel}`), h("span", { class: "thp-chip" }, `nearest simulated: ${simulator}`)] : []));
  }

  buildAsk() {
    const { choices } = this.machine;
    this.choice = h("select", { class: "thp-scenario", "aria-label": "Scenario", change: () => this.choose() },
      ...choices.map(([name]) => h("option", { value: name }, name)), h("option", { value: OWN }, OWN));
    this.line = h("input", { type: "text", class: "thp-line-of", "aria-label": "Operations; change them and press Enter", spellcheck: "false", autocomplete: "off" });
    this.runButton = h("button", { type: "submit", class: "thp-run" }, "Run on this kernel");
    this.says = h("p", { class: "thp-says", role: "status" });
    this.reason = h("p", { class: "thp-reason" });
    const submit = event => { event.preventDefault(); this.submit(); };
    return h("div", {}, h("form", { class: "thp-share", submit }, this.choice, this.line, this.runButton), this.says, this.reason);
  }

  buildBar() {
    this.stepButton = this.button("step", "Next operation", () => this.go(this.step + 1), "Step", icon(ICONS.step));
    this.backButton = this.button("back", "Back one operation", () => this.go(this.step - 1), icon(ICONS.back), "Back");
    this.firstButton = this.button("first", "First operation", () => this.go(0), icon(ICONS.first));
    this.lastButton = this.button("last", "Last operation", () => this.go(Infinity), icon(ICONS.last));
    this.position = h("span", { class: "thp-position" });
    this.slider = h("input", { type: "range", min: 0, step: 1, "aria-label": "Operation", input: () => this.go(Number(this.slider.value)) });
    return h("div", { class: "thp-time" }, h("div", { class: "thp-bar", role: "toolbar", "aria-label": "Operations" },
      this.stepButton, this.backButton, this.firstButton, this.lastButton, this.position), this.slider);
  }

  buildBody() {
    this.title = h("div", { class: "thp-live-title" });
    this.list = h("ol", { class: "thp-operations", "aria-label": "Operations" });
    this.table = h("div", { class: "thp-live-box", role: "region", "aria-label": "The kernel beside the simulator", tabindex: 0, "aria-live": "polite" });
    this.picture = h("div", { class: "thp-picture", tabindex: 0, role: "group", "aria-label": "Picture of the simulator; the arrow keys step" });
    return h("div", { class: "thp-both-sides" }, this.title, this.list, this.table, this.picture);
  }

  buildMore() {
    this.words = h("div", { class: "thp-text", tabindex: 0 });
    this.details = h("details", { class: "thp-words", toggle: () => this.drawWords() }, h("summary", {}, "The simulator's state in words"), this.words);
    this.seen = h("ul", { class: "thp-seen" });
    return h("div", {}, this.details, h("details", { class: "thp-words" }, h("summary", {}, "What the run could see of the kernel"), this.seen));
  }

  // --- asking Python -----------------------------------------------------------------------------------------------

  choose() {
    if (this.choice.value === OWN) this.line.focus();
    else this.asking.ask({ do: "choose", line: this.choice.value });
  }

  // What is in the field: a scenario of the menu under its name, anything else as operations. Where nothing can be run, what is recorded.
  submit() {
    const line = this.line.value.trim(), known = this.machine.choices.find(([name, , text]) => name === line || text === line);
    this.asking.ask({ do: this.machine.why && this.live ? "choose" : "run", line: known ? known[0] : line });
  }

  // --- going -------------------------------------------------------------------------------------------------------

  // Another run, or none yet of the scenario.
  load(data, step) {
    const asked = this.model.get("scenario"), known = this.machine.choices.find(([name]) => name === asked);
    this.data = data;
    this.choice.value = known ? asked : OWN;
    this.line.value = known ? known[2] : asked;
    this.about.replaceChildren(h("b", {}, "Live lab"), `  ${known ? known[1] : data?.about ?? ""}`);
    this.root.classList.toggle("thp-empty", !data);
    this.step = -1;
    if (!data) {
      this.title.textContent = "There is no run of this scenario to show yet.";
      for (const box of [this.list, this.table, this.picture, this.seen, this.words]) box.replaceChildren();
      this.position.textContent = "";
      this.root.dataset.step = "none";
      return;
    }
    const findings = comparisonFindings(data, number => this.go(number));
    this.title.replaceChildren(h("p", {}, ...comparisonTitle(data, this.live)),
      ...(findings.length ? [h("ul", { class: "thp-findings", "aria-label": "Findings" }, ...findings)] : []));
    this.rows = data.operations.map(({ label, verdict }, number) => {
      const mark = h("span", { class: `thp-mark-of thp-${verdict.replace(" ", "-")}` }, VERDICTS[verdict]);
      return h("button", { type: "button", class: "thp-operation", click: () => this.go(number) }, h("code", {}, `${number + 1}. ${label}`), mark);
    });
    this.list.replaceChildren(...this.rows.map(row => h("li", {}, row)));
    this.seen.replaceChildren(...data.seen.map(line => h("li", {}, line)));
    this.pictures = new Pictures(data.pictures, this.id);
    this.slider.max = data.operations.length - 1;
    this.go(step);
    this.layout();
  }

  go(wanted) {
    if (!this.data) return;
    const step = Math.max(0, Math.min(wanted, this.data.operations.length - 1));
    if (step === this.step) return;
    this.step = step;
    this.show();
    if (this.model.get("step") !== step) {
      this.model.set("step", step);
      this.model.save_changes();
    }
  }

  // JupyterLab would take these keys and move to another cell, so none of them leaves the widget.
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const on = event.target, typing = on.matches("select, input[type=text]"), runs = on.matches("button, summary");
    const scrolls = on.matches(".thp-live-box, .thp-text"), down = on === this.slider ? -1 : 1;
    const actions = { ArrowRight: () => this.go(this.step + 1), ArrowLeft: () => this.go(this.step - 1), Home: () => this.go(0), End: () => this.go(Infinity) };
    if (!scrolls) Object.assign(actions, { ArrowDown: () => this.go(this.step + down), ArrowUp: () => this.go(this.step - down) });
    const action = typing ? null : actions[event.key];
    this.take(event, action, { typing, runs });
  }

  // --- showing -----------------------------------------------------------------------------------------------------

  show() {
    const { data, step } = this, last = data.operations.length - 1, { label, verdict, picture } = data.operations[step];
    this.table.replaceChildren(comparisonTable(data, step));
    this.table.scrollTop = 0;
    this.rows.forEach((row, number) => (number === step ? row.setAttribute("aria-current", "step") : row.removeAttribute("aria-current")));
    if (!isInSight(this.list, this.rows[step].parentElement)) center(this.list, this.rows[step].parentElement);
    const where = `operation ${step + 1} of ${last + 1}`;
    this.position.textContent = where;
    this.slider.value = step;
    this.slider.style.setProperty("--done", `${(100 * step) / Math.max(1, last)}%`);
    this.slider.setAttribute("aria-valuetext", `${where}, ${label}: ${VERDICTS[verdict]}`);
    for (const button of [this.backButton, this.firstButton]) button.setAttribute("aria-disabled", step === 0);
    for (const button of [this.stepButton, this.lastButton]) button.setAttribute("aria-disabled", step === last);
    if (picture === undefined) this.picture.replaceChildren();
    else {
      const svg = this.pictures.get(picture);
      if (this.picture.firstChild !== svg) this.picture.replaceChildren(svg);
      svg.firstChild.textContent = `The simulator, ${data.simulator}, after operation ${step + 1}: ${label}`;
      svg.firstChild.nextSibling.textContent = "Page tables and pages. The state in words is below the picture.";
    }
    this.drawWords();
    this.root.dataset.step = step;
  }

  drawWords() {
    const words = this.data?.operations[this.step]?.words;
    if (this.details.open) this.words.replaceChildren(...(words ? [wordsTable(words)] : []));
  }

  // The picture is as wide as the page, but not much larger than it was drawn.
  layout() {
    const width = this.root.clientWidth;
    if (!width || !this.data?.pictures.length) return;
    const [w, hgt] = this.pictures.size(), scale = Math.min((width - 2) / w, 1.2);
    for (const [name, size] of [["picture-width", w], ["picture", hgt]]) this.root.style.setProperty(`--${name}`, `${Math.floor(size * scale)}px`);
  }

  destroy() {
    this.asking.destroy();
    this.watch.disconnect();
  }
}

async function render({ model, el }) {
  const view = new LiveView(await unpack(model.get("packed")), model, el);
  const follow = async () => {
    const packed = model.get("compared"), data = packed ? await unpack(packed) : null;
    if (packed === model.get("compared")) view.load(data, model.get("step"));
  };
  const go = () => { if (view.data && model.get("step") !== view.step) view.go(model.get("step")); };
  const heard = [["change:compared", follow], ["change:scenario", follow], ["change:step", go]];
  for (const [event, run] of heard) model.on(event, run);
  await follow();
  return () => {
    for (const [event, run] of heard) model.off(event, run);
    view.destroy();
  };
}

export default { render };
