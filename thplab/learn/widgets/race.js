// The race stepper: the learner chooses which CPU makes the next step. Python makes the step and computes all that is shown here.
// What it shows: thplab/learn/widgets/race_payload.py. The frames of the schedule so far are in the page; only a move needs the kernel.

const PACE = 900;  // milliseconds for a step of Replay
const BESIDE = 700;  // pixels: in a wider page the checklist stands beside the steps
const NO_KERNEL = "To make another step, run this notebook: the race goes on in Python.";

class RaceView extends View {
  constructor(data, model, el) {
    super(model);
    this.timer = 0;
    this.id = this.freshId("race", "-title");
    this.root = h("div", { class: "thp-widget thp-race", role: "group", "aria-label": `Race ${data.name}`, keydown: event => this.key(event) });
    this.data = data;
    this.root.append(this.buildHead(), this.buildCpus(), this.buildBar(), this.buildBody(), this.buildShare(), this.buildWords());
    el.replaceChildren(this.root);
    this.load(data, model.get("step"));
    this.say(model.get("says"));
    this.watch = new ResizeObserver(() => this.layout());
    this.watch.observe(this.root);
  }

  // --- parts -------------------------------------------------------------------------------------------------------

  buildHead() {
    const { data } = this;
    return h("div", { class: "thp-head" },
      h("span", { class: "thp-name" }, h("b", {}, data.name), `  ${data.source}`),
      h("span", { class: "thp-chip" }, `kernel: ${data.kernel}`),
      h("span", { class: "thp-chip", title: data.geometry }, `geometry: ${data.geometry.split(":")[0]}`),
      h("p", { class: "thp-about" }, ...rich(data.about)));
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
    const click = run => () => { this.pause(); run(); };
    this.backButton = this.button("back", "Back one step", click(() => this.go(this.step - 1)), icon(ICONS.back), "Back");
    this.againButton = this.button("again", "Next step of this schedule", click(() => this.go(this.step + 1)), "Forward", icon(ICONS.step));
    this.firstButton = this.button("first", "Start", click(() => this.go(0)), icon(ICONS.first));
    this.lastButton = this.button("last", "End of this schedule", click(() => this.go(Infinity)), icon(ICONS.last));
    this.playButton = this.button("play", "", () => this.toggle());
    this.findButton = this.button("find", "Find me a schedule that breaks it", () => this.ask({ do: "find" }), "Find me a schedule that breaks it");
    this.anyButton = this.button("any", "Is there any schedule that breaks it?", () => this.ask({ do: "any" }), "Is there any?");
    this.position = h("span", { class: "thp-position" });
    this.answer = h("p", { class: "thp-says", "aria-live": "polite" });
    return h("div", {}, h("div", { class: "thp-bar", role: "toolbar", "aria-label": "This schedule" }, this.backButton, this.againButton,
      this.firstButton, this.lastButton, this.playButton, this.findButton, this.anyButton, this.position), this.answer);
  }

  buildShare() {
    const label = "The race so far as a line; paste one and press Enter to load it";
    this.line = h("input", { type: "text", class: "thp-line-of", "aria-label": label, spellcheck: "false", autocomplete: "off" });
    this.copied = h("span", {}, "copy");
    this.loadButton = h("button", { type: "submit", class: "thp-load" }, "load");
    for (const button of [this.findButton, this.anyButton, this.loadButton]) button.setAttribute("aria-disabled", !this.live);
    const submit = event => { event.preventDefault(); this.ask({ do: "load", line: this.line.value }); };
    return h("form", { class: "thp-share", submit }, h("span", {}, "share this race"), this.line,
      this.button("copy", "Copy the race so far as a line", () => this.copyLine(), this.copied), this.loadButton);
  }

  buildBody() {
    this.picture = h("div", { class: "thp-picture", tabindex: 0, role: "group", "aria-label": "Picture; digits move a CPU, the arrow keys step" });
    this.lanes = h("div", { class: "thp-lanes", role: "region", "aria-label": "Steps by CPU", tabindex: 0 });
    this.checks = h("ul", { class: "thp-checks" });
    this.verdict = h("h4", { class: "thp-verdict" });
    this.caption = h("div", { class: "thp-caption", role: "status" });
    return h("div", { class: "thp-body" }, this.picture, this.caption, this.lanes,
      h("section", { class: "thp-must", "aria-label": "What must hold" }, this.verdict, this.checks));
  }

  buildWords() {
    this.words = h("div", { class: "thp-text", tabindex: 0 });
    this.details = h("details", { class: "thp-words", toggle: () => this.drawWords() }, h("summary", {}, "The state in words"), this.words);
    return this.details;
  }

  // --- asking Python -----------------------------------------------------------------------------------------------

  // Let a CPU make its next step, or say why it cannot.
  move(cpu) {
    this.pause();
    const [state, text] = this.data.frames[this.step].ahead[cpu];
    if (state === "moves" || state === "returns") this.ask({ do: "move", cpu });
    else this.say(`CPU ${cpu} cannot move: ${this.reason(state, text)}.`);
  }

  reason(state, text) {
    return { waits: `it ${text}`, ended: "it has nothing left to do", stopped: "the kernel has met a bug and stands still" }[state];
  }

  ask(question) {
    if (!this.live) this.say(NO_KERNEL);
    const told = question.do === "find" || question.do === "any" ? "Looking at every interleaving…" : "";
    if (this.send({ ...question, at: this.step }, told)) this.pause();
  }

  say(text) {
    this.answer.textContent = text;
  }

  async copyLine() {
    this.copied.textContent = (await copy(this.line.value)) ? "copied" : "copy by hand";
    if (this.copied.textContent !== "copied") this.line.select();
    setTimeout(() => { this.copied.textContent = "copy"; }, 1500);
  }

  // --- going -------------------------------------------------------------------------------------------------------

  // Another schedule, or the same one with a step more.
  load(data, step) {
    this.data = data;
    this.heard();
    this.pictures = new Pictures(data.pictures, this.id);
    this.size = this.pictures.size();
    this.rows = data.frames.slice(1).map(({ cpu, text }, i) => {
      const cells = data.cpus.map((_, at) => h("td", { class: at === cpu ? `thp-cpu-${cpu}` : null }, ...(at === cpu ? rich(text) : [])));
      return h("tr", { click: () => { this.pause(); this.go(i + 1); } }, h("th", { scope: "row" }, `${i + 1}`), ...cells);
    });
    const head = h("tr", {}, h("th", { scope: "col" }, "step"), ...data.cpus.map((_, cpu) => h("th", { scope: "col" }, `CPU ${cpu}`)));
    const none = h("tr", {}, h("td", { colspan: data.cpus.length + 1 }, "Nothing has happened yet. Let a CPU move."));
    this.lanes.replaceChildren(h("table", {}, h("thead", {}, head), h("tbody", {}, ...(this.rows.length ? this.rows : [none]))));
    this.step = -1;
    this.go(step);
    this.layout();
  }

  go(wanted) {
    const step = Math.max(0, Math.min(wanted, this.data.frames.length - 1));
    if (step === this.step) return false;
    this.step = step;
    this.show();
    if (this.model.get("step") !== step) {
      this.model.set("step", step);
      this.model.save_changes();
    }
    return true;
  }

  toggle() {
    if (this.timer) this.pause();
    else this.tick();
  }

  // One step of Play: along the schedule that is there, from the start if it is at its end. It stops where something breaks.
  tick() {
    const before = this.step, last = this.data.frames.length - 1;
    this.timer = 0;
    this.go(before >= last ? 0 : before + 1);
    const broke = Object.keys(this.data.frames[this.step].broken).length > 0;
    if (this.step < last && !broke) this.timer = setTimeout(() => this.tick(), PACE);
    this.drawPlay();
  }

  pause() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.drawPlay();
  }

  drawPlay() {
    const playing = this.timer !== 0, label = playing ? "Pause" : "Replay this schedule";
    if (this.playButton.getAttribute("aria-label") === label) return;
    this.playButton.replaceChildren(icon(playing ? ICONS.pause : ICONS.play), playing ? "Pause" : "Replay");
    for (const name of ["aria-label", "title"]) this.playButton.setAttribute(name, label);
  }

  // JupyterLab would take these keys and move to another cell, so none of them leaves the widget.
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const on = event.target, typing = on.matches("input[type=text]"), runs = on.matches("button, summary");
    const scrolls = on.matches(".thp-lanes, .thp-text");
    const actions = { ArrowRight: () => this.go(this.step + 1), ArrowLeft: () => this.go(this.step - 1), Home: () => this.go(0), End: () => this.go(Infinity) };
    if (!scrolls) Object.assign(actions, { ArrowDown: actions.ArrowRight, ArrowUp: actions.ArrowLeft });
    if (!runs) actions[" "] = () => this.toggle();
    this.data.cpus.forEach((_, cpu) => { actions[`${cpu}`] = () => this.move(cpu); });
    const action = typing ? null : actions[event.key];
    if (action && event.key !== " ") this.pause();
    this.take(event, action, { typing, runs, own: /^Arrow|^\d$/ });
  }

  // --- showing -----------------------------------------------------------------------------------------------------

  show() {
    const { data, step } = this, frame = data.frames[step], last = data.frames.length - 1;
    const svg = this.pictures.get(frame.picture);
    if (this.picture.firstChild !== svg) this.picture.replaceChildren(svg);
    const who = step ? `CPU ${frame.cpu}: ${frame.text}` : frame.text;
    svg.firstChild.textContent = `Step ${step} of ${last}, ${who}`;
    svg.firstChild.nextSibling.textContent = "Page tables and pages after this step. The state in words is below the picture.";
    this.drawCpus(frame);
    this.drawChecks(frame);
    this.drawCaption(frame, who);
    this.drawWords();
    this.rows.forEach((row, i) => {
      row.classList.toggle("thp-here", i + 1 === step);
      row.classList.toggle("thp-later", i + 1 > step);
      if (i + 1 === step) row.setAttribute("aria-current", "step");
      else row.removeAttribute("aria-current");
    });
    const here = this.rows[step - 1];
    if (!here) this.lanes.scrollTop = 0;
    else if (!isInSight(this.lanes, here)) center(this.lanes, here);
    this.line.value = `${data.name}: ${frame.line}`.trim();
    this.position.textContent = `step ${step} / ${last}`;
    for (const button of [this.backButton, this.firstButton]) button.setAttribute("aria-disabled", step === 0);
    for (const button of [this.againButton, this.lastButton]) button.setAttribute("aria-disabled", step === last);
    this.playButton.setAttribute("aria-disabled", last === 0);
    this.drawPlay();
    this.root.dataset.step = step;
    this.root.dataset.steps = last;
  }

  drawCpus(frame) {
    this.cpus.forEach(({ move, next, element }, cpu) => {
      const [state, text] = frame.ahead[cpu], can = state === "moves" || state === "returns";
      const returned = this.data.frames.slice(1, this.step + 1).findLast(each => each.cpu === cpu)?.text ?? "";
      move.setAttribute("aria-disabled", !can || !this.live);
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
    if (this.step === 0) parts.push(h("p", {}, "Prepared by ", h("code", {}, this.data.prepare), ". Now the CPUs run at the same time: you choose who makes the next step."));
    this.caption.replaceChildren(...parts);
  }

  drawWords() {
    if (this.details.open) this.words.replaceChildren(wordsTable(this.data.frames[this.step].words));
  }

  // The picture is as wide as the page, but not much larger than it was drawn; what stands below it never moves.
  layout() {
    const width = this.root.clientWidth, [w, hgt] = this.size;
    if (!width) return;
    const scale = Math.min((width - 2) / w, 1.2), set = (name, pixels) => this.root.style.setProperty(`--${name}`, `${Math.floor(pixels)}px`);
    this.root.classList.toggle("thp-wide", width >= BESIDE);
    set("picture-width", w * scale);
    set("picture", hgt * scale);
  }

  destroy() {
    this.pause();
    this.heard();
    this.watch.disconnect();
  }
}

async function render({ model, el }) {
  let last = model.get("packed"), shown = last;
  const view = new RaceView(await unpack(last), model, el);
  const follow = async () => {
    const packed = model.get("packed");
    if (packed !== last) {
      last = packed;
      const data = await unpack(packed);
      if (packed !== last) return;
      shown = packed;
      view.load(data, model.get("step"));
    } else if (packed === shown && model.get("step") !== view.step) view.go(model.get("step"));  // else the step is one of frames to come
  };
  const answer = () => {
    if (!model.get("says")) return;
    view.heard();
    view.say(model.get("says"));
  };
  const quiet = () => { if (!model.get("says")) view.say(""); };
  const heard = [["change:packed", follow], ["change:step", follow], ["change:says", answer], ["change:packed", quiet]];
  for (const [event, run] of heard) model.on(event, run);
  follow();  // what has come since it was unpacked
  return () => {
    for (const [event, run] of heard) model.off(event, run);
    view.destroy();
  };
}

export default { render };
