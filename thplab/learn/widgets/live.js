// The live lab: a scenario that was performed on a real kernel, beside the simulator. Python performs it; nothing is simulated here.
// What it shows: thplab/learn/widgets/live.py and live_payload.py. Operations are counted from 0 here, and from 1 in what is shown.

const OWN = "my own operations";
const PICTURE = 330;  // greatest height of the picture, where it can still be read

/** @extends {PictureView<LiveAsks>} */
class LiveView extends PictureView {
  /** @param {LiveData} machine @param {Model} model */
  constructor(machine, model) {
    super(model, "live-lab", "Live lab");
    this.machine = machine;
    this.data = null;
    this.step = -1;
    this.why = this.live ? machine.why : "that needs the notebook's Python; this page shows a run that was made before";
    const parts = [this.buildHead(), this.buildAsk(), this.buildBar(), this.buildBody(), this.buildMore()];
    this.root.append(...(this.lecture ? parts.slice(1, 4) : parts));
    if (this.why && !this.lecture) this.reason.textContent = `Not run here: ${this.why}.`;
    for (const control of [this.choice, this.line]) control.disabled = !this.live;
  }

  get offline() {
    return `It cannot be run: ${this.why}.`;
  }

  async start() {
    await this.read();
    this.wantDetail();
  }

  get boxes() {
    return this.box && this.data && !this.lecture ? [this.box] : [];
  }

  // --- parts -------------------------------------------------------------------------------------------------------

  buildHead() {
    const { kernel, simulator } = this.machine;
    this.about = h("span", { class: "thp-name" });
    return h("div", { class: "thp-head" }, this.about, this.buildDetail(),
      ...(this.live ? [h("span", { class: "thp-chip" }, `this machine: Linux ${kernel}`), h("span", { class: "thp-chip" }, `nearest simulated: ${simulator}`)] : []));
  }

  buildAsk() {
    const { choices } = this.machine;
    this.choice = h("select", { class: "thp-scenario", "aria-label": "Scenario", change: () => this.choose() },
      ...choices.map(([name]) => h("option", { value: name }, name)), h("option", { value: OWN }, OWN));
    this.line = h("input", { type: "text", class: "thp-line-of", "aria-label": "Operations; change them and press Enter", spellcheck: "false", autocomplete: "off" });
    this.runButton = h("button", { type: "submit", class: "thp-run" }, "Run on this kernel");
    this.says.setAttribute("role", "status");
    this.reason = h("p", { class: "thp-reason" });
    const submit = event => { event.preventDefault(); this.submit(); };
    return h("div", {}, h("form", { class: "thp-share", submit }, this.choice, this.line, this.runButton), this.says, this.reason);
  }

  buildBar() {
    const names = ["Step to the next operation", "Back one operation", "First operation", "Last operation"];
    const buttons = this.buildSteps(names, () => this.go(this.step + 1), () => this.go(this.step - 1), () => this.go(0), () => this.go(Infinity));
    this.position = h("span", { class: "thp-position" });
    this.slider = h("input", { type: "range", min: 0, step: 1, "aria-label": "Operation", input: () => this.go(Number(this.slider.value)) });
    return h("div", { class: "thp-time" }, h("div", { class: "thp-bar", role: "toolbar", "aria-label": "Operations" },
      ...buttons, this.position), this.slider);
  }

  buildBody() {
    this.title = h("div", { class: "thp-live-title" });
    this.list = h("ol", { class: "thp-operations", "aria-label": "Operations" });
    this.table = h("div", { class: "thp-live-box", role: "group", "aria-label": "The kernel beside the simulator", tabindex: 0, "aria-live": "polite" });
    this.box = new PictureBox(this, "Picture of the simulator; the arrow keys step");
    return h("div", { class: "thp-body thp-both-sides" }, this.title, this.list, this.table, this.lecture ? null : this.box.frame);
  }

  buildMore() {
    this.sees = h("ul", { class: "thp-seen" });
    return h("div", {}, this.buildWords("The simulator's state in words"),
      h("details", { class: "thp-words" }, h("summary", {}, "What the run could see of the kernel"), this.sees));
  }

  // --- asking Python -----------------------------------------------------------------------------------------------

  choose() {
    if (this.choice.value === OWN) this.line.focus();
    else this.ask("choose", { source: this.choice.value }, "Asking Python…");
  }

  // What is in the field: a scenario of the menu under its name, anything else as operations. Where nothing can be run, what is recorded.
  submit() {
    const line = this.line.value.trim(), known = this.machine.choices.find(([name, , text]) => name === line || text === line);
    this.ask(this.machine.why ? "choose" : "run", { source: known ? known[0] : line }, "Asking Python…");
  }

  drawBusy() {
    super.drawBusy();
    disable(this.busy || Boolean(this.why), this.runButton);
  }

  // --- going -------------------------------------------------------------------------------------------------------

  // Unpack the run that is there now, unless another one comes meanwhile.
  async read() {
    const packed = this.model.get("compared"), data = packed ? await unpack(packed) : null;
    if (packed === this.model.get("compared")) this.draw(data);
  }

  async follow(trait) {
    if (trait !== "step") await this.read();
    else if (this.data) this.go(this.model.get("step"));
  }

  // Another run, or none yet of the scenario.
  draw(data) {
    const asked = this.model.get("scenario"), known = this.machine.choices.find(([name]) => name === asked);
    this.data = data;
    this.choice.value = known ? asked : OWN;
    this.line.value = known ? known[2] : asked;
    this.about.replaceChildren(h("b", {}, "Live lab"), `  ${known ? known[1] : data?.about ?? ""}`);
    this.root.classList.toggle("thp-empty", !data);
    this.step = -1;
    if (!data) {
      this.title.textContent = "There is no run of this scenario to show yet.";
      for (const box of [this.list, this.table, this.sees, this.words]) box.replaceChildren();
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
    this.sees.replaceChildren(...data.seen.map(line => h("li", {}, line)));
    this.box.load(data.pictures);
    this.laidOut = "";
    this.go(this.model.get("step"));
    this.layout();
  }

  go(wanted) {
    if (!this.data) return;
    const step = Math.max(0, Math.min(wanted, this.data.operations.length - 1));
    if (step === this.step) return;
    this.step = step;
    this.show();
    this.tell("step", step);
  }

  keys(on) {
    const down = on === this.slider ? -1 : 1;
    const actions = { ArrowRight: () => this.go(this.step + 1), ArrowLeft: () => this.go(this.step - 1), Home: () => this.go(0), End: () => this.go(Infinity) };
    if (on.matches(".thp-live-box, .thp-text")) return actions;  // these scroll
    return { ...actions, ArrowDown: () => this.go(this.step + down), ArrowUp: () => this.go(this.step - down) };
  }

  // --- showing -----------------------------------------------------------------------------------------------------

  show() {
    const { data, step } = this, last = data.operations.length - 1, { label, verdict, picture } = data.operations[step];
    this.table.replaceChildren(comparisonTable(data, step));
    this.scroll();
    this.rows.forEach((row, number) => markHere(row, number === step));
    if (!isInSight(this.list, this.rows[step].parentElement)) center(this.list, this.rows[step].parentElement);
    const where = `operation ${step + 1} of ${last + 1}`;
    this.position.textContent = where;
    drawSlider(this.slider, step, last, `${where}, ${label}: ${VERDICTS[verdict]}`);
    this.drawSteps(step, last);
    this.box.frame.hidden = picture === undefined;
    if (picture !== undefined && !this.lecture) {
      this.box.show(picture, `The simulator, ${data.simulator}, after operation ${step + 1}: ${label}`,
        "Page tables and pages. The state in words is below the picture.");
    }
    this.drawWords();
    this.root.dataset.step = `${step}`;
  }

  // To the first row; in a lecture to the first that differs.
  scroll() {
    const differs = this.lecture ? this.table.querySelector("tr.thp-differs") : null;
    if (differs) center(this.table, differs);
    else this.table.scrollTop = 0;
  }

  drawWords() {
    const words = this.data?.operations[this.step]?.words;
    if (this.details.open) this.words.replaceChildren(...(words ? [wordsTable(words)] : []));
  }

  layout() {
    const width = this.root.clientWidth;
    if (this.fills) this.scroll();
    else if (width && this.box.last) this.set("picture", this.box.size[1] * this.box.fit(width - 4, PICTURE));
  }
}

export default mount(LiveView, "compared", "scenario", "step");
