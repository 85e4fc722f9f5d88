// The race stepper: the learner chooses which CPU makes the next step. Python makes the step and computes all that is shown here.
// What it shows: thplab/learn/widgets/race_payload.py. The frames of the schedule so far are in the page; only a move needs the kernel.

const PACE = 900;  // milliseconds for a step of Replay
const BESIDE = 700;  // pixels: in a wider page the checklist stands beside the steps

/** @extends {PictureView<RaceAsks>} */
class RaceView extends PictureView {
  /** @param {RaceData} data @param {Model} model */
  constructor(data, model) {
    super(model, "race", `Race ${data.name}`);
    this.data = data;
    this.player = new Player("Replay this schedule", "Replay", () => this.replay(), () => PACE);
    this.bookmark = new Bookmark(`race ${data.name} ${data.kernel} ${data.line}`, this.store);
    this.queue = [];  // CPUs that are to move as soon as Python has answered
    this.box = new PictureBox(this, "Picture; digits move a CPU, the arrow keys step");
    this.lanesOfCpus = this.buildCpus();
    this.bar = this.buildBar();
    this.body = this.buildBody();
    const share = this.buildShare();
    if (this.lecture) this.root.append(this.bar, this.body);
    else this.root.append(this.lanesOfCpus, this.bar, this.body, share, this.buildFoot(), this.buildWords());
    this.load(data);
  }

  get offline() {
    return "To make another step, run this notebook: the race goes on in Python.";
  }

  // Where one was the last time, Python makes again.
  async start() {
    await super.start();
    if (this.lecture) return;
    const kept = this.bookmark.place;
    this.started = true;
    if (kept && kept !== this.line.value) this.askLater("load", { line: kept });
  }

  // --- parts -------------------------------------------------------------------------------------------------------

  get boxes() {
    return this.box ? [this.box] : [];
  }

  buildFoot() {
    const { data } = this;
    return h("div", { class: "thp-foot" }, this.buildDetail(), h("span", { class: "thp-name", title: data.about }, h("b", {}, data.name), `  ${data.source}`), ...chips(data.kernel, data.geometry));
  }

  buildCpus() {
    this.cpus = this.data.cpus.map((does, cpu) => {
      const next = h("span", { class: "thp-next", id: `${this.id}-next-${cpu}` });
      const move = h("button", { type: "button", class: "thp-cpu", "aria-describedby": next.id, click: () => this.move(cpu) },
        `CPU ${cpu} moves`, h("kbd", {}, `${cpu}`));
      return { move, next, element: h("div", { class: `thp-lane thp-cpu-${cpu}` }, move, h("code", { class: "thp-does" }, does), next) };
    });
    return h("div", { class: "thp-cpus", role: "group", "aria-label": "Who moves next?" }, ...this.cpus.map(cpu => cpu.element));
  }

  buildBar() {
    const go = to => () => this.going(to()), look = what => () => this.question(what, { at: this.step }, "Looking at every interleaving…");
    this.backButton = this.button("back", "Back one step", go(() => this.step - 1), icon(ICONS.back), "Back");
    this.stepButton = this.button("again", "Forward to the next step of this schedule", go(() => this.step + 1), "Forward", icon(ICONS.step));
    this.firstButton = this.button("first", "Start", go(() => 0), icon(ICONS.first));
    this.lastButton = this.button("last", "End of this schedule", go(() => Infinity), icon(ICONS.last));
    this.findButton = this.button("find", "Find me a schedule that breaks it", look("find"), "Find me a schedule that breaks it");
    this.anyButton = this.button("any", "Is there any schedule that breaks it?", look("any"), "Is there any?");
    this.position = h("span", { class: "thp-position" });
    return h("div", {}, h("div", { class: "thp-bar", role: "toolbar", "aria-label": "This schedule" }, this.backButton, this.stepButton,
      this.firstButton, this.lastButton, this.player.button, this.data.finds ? this.findButton : null, this.anyButton, this.position,
      this.lecture ? h("span", { class: "thp-machine" }, this.data.kernel) : null), this.says);
  }

  buildShare() {
    const label = "The race so far as a line; paste one and press Enter to load it";
    this.line = h("input", { type: "text", class: "thp-line-of", "aria-label": label, spellcheck: "false", autocomplete: "off" });
    this.loadButton = h("button", { type: "submit", class: "thp-load" }, "load");
    disable(!this.live, this.findButton, this.anyButton, this.loadButton);
    const submit = event => { event.preventDefault(); this.question("load", { line: this.line.value }); };
    return h("form", { class: "thp-share", submit }, h("span", {}, "share this race"), this.line,
      this.copyButton("copy", "the race so far as a line", () => this.line.value, () => this.line.select()), this.loadButton);
  }

  buildBody() {
    this.lanes = h("div", { class: "thp-lanes", role: "group", "aria-label": "Steps by CPU", tabindex: 0 });
    this.checks = h("ul", { class: "thp-checks" });
    this.verdict = h("h4", { role: "presentation", class: "thp-verdict" });
    this.caption = h("div", { class: "thp-caption", role: "status" });
    if (this.lecture) {
      const turns = h("div", { class: "thp-turns" }, this.lanesOfCpus, this.verdict);
      return h("div", { class: "thp-body" }, this.box.frame, turns, this.caption, this.lanes);
    }
    const must = h("div", { role: "group", class: "thp-must", "aria-label": "What must hold", tabindex: 0 }, this.verdict, this.checks);
    return h("div", { class: "thp-body" }, this.box.frame, this.caption, h("div", { class: "thp-lanes-beside" }, this.lanes, must));
  }

  // --- asking Python -----------------------------------------------------------------------------------------------

  // Let a CPU make its next step, or say why it cannot.
  move(cpu) {
    this.player.pause();
    if (this.live && this.busy) {
      this.queue.push(cpu);
      return;
    }
    const [state, text] = this.data.frames[this.step].ahead[cpu];
    if (state === "moves" || state === "returns") this.question("move", { cpu, at: this.step });
    else this.say(`CPU ${cpu} cannot move: ${this.reason(state, text)}.`);
  }

  reason(state, text) {
    return { waits: `it ${text}`, ended: "it has nothing left to do", stopped: "the kernel has met a bug and stands still" }[state];
  }

  question(what, fields, told) {
    if (what !== "move") this.queue = [];
    if (this.ask(what, fields, told)) this.player.pause();
  }

  // Go on with the moves that came in between, unless something went wrong.
  answered({ error }) {
    const cpu = error ? undefined : this.queue.shift();
    if (error) this.queue = [];
    if (cpu !== undefined) setTimeout(() => this.move(cpu));
  }

  // --- going -------------------------------------------------------------------------------------------------------

  // Another schedule, or the same one with a step more.
  /** @param {RaceData} data */
  load(data) {
    this.data = data;
    this.box.load(data.pictures);
    this.rows = data.frames.slice(1).map(({ cpu, text }, i) => {
      const cells = data.cpus.map((_, at) => h("td", { class: at === cpu ? `thp-cpu-${cpu}` : null }, ...(at === cpu ? rich(text) : [])));
      return h("tr", { click: () => this.going(i + 1) }, h("th", { scope: "row" }, `${i + 1}`), ...cells);
    });
    const head = h("tr", {}, h("th", { scope: "col" }, "step"), ...data.cpus.map((_, cpu) => h("th", { scope: "col" }, `CPU ${cpu}`)));
    const begin = this.lecture ? [this.prepared(), "Let a CPU move."] : ["Nothing has happened yet. Let a CPU move."];
    const none = h("tr", {}, h("td", { colspan: data.cpus.length + 1 }, ...begin));
    this.lanes.replaceChildren(h("table", {}, h("thead", {}, head), h("tbody", {}, ...(this.rows.length ? this.rows : [none]))));
    this.step = -1;
    this.go(this.model.get("step"));
    this.laidOut = "";
    this.wantDetail();
  }

  async follow() {
    this.go(this.model.get("step"));
  }

  going(wanted) {
    this.player.pause();
    this.go(wanted);
  }

  go(wanted) {
    const step = Math.max(0, Math.min(wanted, this.data.frames.length - 1));
    if (step === this.step) return;
    this.step = step;
    this.show();
    this.tell("step", step);
  }

  // One step of Replay: along the schedule that is there, from the start if it is at its end. It stops where something breaks.
  replay() {
    const last = this.data.frames.length - 1;
    this.go(this.step >= last ? 0 : this.step + 1);
    return this.step < last && !Object.keys(this.data.frames[this.step].broken).length;
  }

  keys(on, runs) {
    const go = to => () => this.going(to());
    const actions = { ArrowRight: go(() => this.step + 1), ArrowLeft: go(() => this.step - 1), Home: go(() => 0), End: go(() => Infinity) };
    if (!on.matches(".thp-lanes, .thp-text")) Object.assign(actions, { ArrowDown: actions.ArrowRight, ArrowUp: actions.ArrowLeft });
    if (!runs) actions[" "] = () => this.player.toggle();
    for (let cpu = 0; cpu < 10; cpu += 1) actions[cpu] = () => cpu < this.data.cpus.length && this.move(cpu);
    return actions;
  }

  // --- showing -----------------------------------------------------------------------------------------------------

  show() {
    const { data, step } = this, frame = data.frames[step], last = data.frames.length - 1;
    const who = step ? `CPU ${frame.cpu}: ${frame.text}` : frame.text;
    this.box.show(step, `Step ${step} of ${last}, ${who}`,
      "Page tables and pages after this step. The state in words is below the picture.");
    this.drawCpus(frame);
    this.drawChecks(frame);
    this.drawCaption(frame, who);
    this.drawWords();
    this.rows.forEach((row, i) => {
      row.classList.toggle("thp-here", i + 1 === step);
      row.classList.toggle("thp-later", i + 1 > step);
      markHere(row, i + 1 === step);
    });
    this.scroll();
    this.line.value = `${data.name}: ${frame.line}`.trim();
    if (this.started) this.bookmark.place = this.line.value;
    this.position.textContent = `step ${step} / ${last}`;
    this.drawSteps(step, last);
    disable(last === 0, this.player.button);
    this.root.dataset.step = `${step}`;
    this.root.dataset.steps = `${last}`;
  }

  // The steps of both CPUs, to the one that is shown.
  scroll() {
    const here = this.rows[this.step - 1];
    if (!here) this.lanes.scrollTop = 0;
    else if (!isInSight(this.lanes, here)) center(this.lanes, here);
  }

  drawCpus(frame) {
    this.cpus.forEach(({ move, next, element }, cpu) => {
      const [state, text] = frame.ahead[cpu], can = state === "moves" || state === "returns";
      const returned = this.data.frames.slice(1, this.step + 1).findLast(each => each.cpu === cpu)?.text ?? "";
      disable(!can || !this.live, move);
      element.classList.toggle("thp-waits", state === "waits");
      const ended = returned.startsWith("returns") ? `✓ done, it ${returned}` : "✓ done";
      const shown = { moves: ["next: ", ...rich(text)], returns: ["next: ", ...rich(text)], waits: [h("b", {}, "✋ blocked: "), ...rich(text)], ended: [ended], stopped: ["the kernel has stopped"] };
      next.replaceChildren(...shown[state]);
    });
  }

  // What holds always is asked after each step, what holds at rest only when all CPUs are done.
  drawChecks(frame) {
    const due = ([, when]) => when === "always" || frame.rest;
    drawChecklist(this.verdict, this.checks, this.data.invariants, frame.broken, due, "asked when all CPUs are done");
  }

  drawCaption(frame, who) {
    const routine = frame.routine ? [h("span", { class: "thp-in" }, " in ", h("code", {}, frame.routine))] : [];
    const parts = [h("p", {}, h("b", {}, ...rich(who)), ...routine, frame.why ? " — " : "", ...rich(frame.why))];
    for (const [name, problem] of Object.entries(frame.broken)) {
      parts.push(h("p", { class: "thp-error" }, h("b", {}, `✗ ${name.replaceAll("_", " ")}: `), problem));
    }
    if (this.step === 0) {
      const begin = h("p", {}, this.prepared(), "Now the CPUs run at the same time: you choose who makes the next step.");
      parts.splice(0, 1, h("p", {}, ...rich(this.data.about)), ...(this.lecture ? [] : [begin]));
    }
    this.caption.replaceChildren(...parts);
  }

  prepared() {
    return h("span", {}, "Prepared by ", h("code", {}, this.data.prepare), ". ");
  }

  drawWords() {
    if (this.details?.open) this.words.replaceChildren(wordsTable(this.data.frames[this.step].words));
  }

  // The picture gets what is left of what can be seen at once; what stands below it never moves.
  layout() {
    const width = this.root.clientWidth, room = this.room(), key = `${width} ${room} ${this.detail}`;
    if (this.fills) this.scroll();
    if (this.fills || !width || this.step < 0 || key === this.laidOut) return;
    this.laidOut = key;
    this.root.classList.toggle("thp-wide", width >= BESIDE);
    const beside = [this.lanesOfCpus, this.bar, this.caption].reduce((sum, part) => sum + part.offsetHeight, 12);
    this.set("picture", this.box.size[1] * this.box.fit(width - 4, room - beside));
  }

  destroy() {
    super.destroy();
    this.player.pause();
  }
}

export default mount(RaceView, "step");
