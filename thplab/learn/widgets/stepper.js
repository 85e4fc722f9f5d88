// The stepper: the frames of a trace, forwards and backwards. All that it shows was computed in Python; nothing is simulated here.
// What it shows: thplab/learn/widgets/payload.py. Two counts run through it: a frame's number, and its place among the frames shown.

const SPEEDS = { slow: 3000, medium: 1500, fast: 600 };  // milliseconds for a step of Play
const SIDE = 380, PANELS_BESIDE = 500, PANELS_BELOW = 280;  // pixels: width of the panels beside the picture, their height there and below it
const LEGIBLE = 0.72;  // a picture smaller than this part of its own size is hard to read: the panels go below it
const SMALLEST = 0.4;  // in a lecture that has too little room even then, they go

class Stepper extends View {
  constructor(data, model, el) {
    super(model);
    this.data = data;
    this.questions = new Questions(data.questions);
    this.frame = -1;
    this.timer = 0;
    this.trees = new Map();
    this.tables = new Map();
    this.pictures = new Pictures(data.pictures, this.freshId("stepper", "-title"));
    this.size = this.pictures.size();
    this.root = h("div", { class: "thp-widget thp-stepper", role: "group", "aria-label": `Stepper ${data.name}`, keydown: event => this.key(event) });
    this.root.classList.toggle("thp-lecture", model.get("lecture"));
    this.lab = new LivePanel(model, data.kernel);
    const parts = [this.buildHead(), this.buildBar(), this.buildTime(), this.lab.element, this.buildBody(), this.buildWords()];
    this.root.append(...parts.filter(part => part != null));
    el.replaceChildren(this.root);
    this.setMode(model.get("all_steps"), Math.min(model.get("step"), data.frames.length - 1));
    this.watch = new ResizeObserver(() => this.layout());
    this.watch.observe(this.root);
  }

  // --- parts -------------------------------------------------------------------------------------------------------

  buildHead() {
    const { data } = this;
    this.copyLabel = h("span", {}, "copy as code");
    this.all = h("input", { type: "checkbox", role: "switch", change: () => this.setMode(this.all.checked, this.frame) });
    return h("div", { class: "thp-head" },
      h("span", { class: "thp-name" }, h("b", {}, data.name || "scenario"), data.about ? `  ${data.about}` : ""),
      h("span", { class: "thp-chip" }, `kernel: ${data.kernel}`),
      h("span", { class: "thp-chip", title: data.geometry }, `geometry: ${data.geometry.split(":")[0]}`),
      h("label", { class: "thp-switch", title: "Show plain reads and locks, too" }, this.all, "all steps"),
      h("button", { type: "button", class: "thp-copy", title: "Copy Python code that makes this very state again", click: () => this.copyCode() },
        this.copyLabel));
  }

  buildBar() {
    const { data } = this, click = run => () => { this.pause(); run(); };
    this.stepButton = this.button("step", "Next step", click(() => this.move(1)), "Step", icon(ICONS.step));
    this.backButton = this.button("back", "Back one step", click(() => this.move(-1)), icon(ICONS.back), "Back");
    this.firstButton = this.button("first", "First step", click(() => this.go(0)), icon(ICONS.first));
    this.lastButton = this.button("last", "Last step", click(() => this.go(Infinity)), icon(ICONS.last));
    this.playButton = this.button("play", "", () => this.toggle());
    this.speed = h("select", { class: "thp-speed", "aria-label": "Speed of Play" }, ...Object.keys(SPEEDS).map(name => h("option", {}, name)));
    this.position = h("span", {});
    const where = h("span", { class: "thp-position" }, h("span", { class: "thp-machine" }, `${data.kernel} · ${data.geometry.split(":")[0]} · `), this.position);
    this.drawPlay();
    return h("div", { class: "thp-bar", role: "toolbar", "aria-label": "Steps" }, this.stepButton, this.backButton, this.firstButton,
      this.lastButton, this.playButton, this.speed, this.lab.button, where);
  }

  buildTime() {
    this.slider = h("input", { type: "range", min: 0, step: 1, "aria-label": "Step", input: () => { this.pause(); this.go(this.shown[this.slider.value]); } });
    const { phases, unit } = this.data;
    this.marks = phases.map(({ title }, number) => h("button", {
      type: "button", class: "thp-mark", title, "aria-label": `Go to ${unit} ${number + 1} of ${phases.length}: ${title}`,
      click: () => { this.pause(); this.go(this.begins[number]); },
    }, h("b", {}, `${number + 1}`), h("span", {}, ` ${title}`)));
    return h("div", { class: "thp-time" }, this.slider, h("nav", { class: "thp-marks", "aria-label": `By ${unit}` }, ...this.marks));
  }

  buildBody() {
    this.picture = h("div", { class: "thp-picture", tabindex: 0, role: "group", "aria-label": "Picture; the arrow keys step" });
    this.tree = h("div", { class: "thp-tree", role: "region", "aria-label": "Kernel routines", tabindex: 0 });
    this.ledger = h("div", { class: "thp-ledger", role: "region", "aria-label": "Counters and who holds them", tabindex: 0 });
    this.caption = h("div", { class: "thp-caption", role: "status" });
    this.panel = h("div", { class: "thp-questions", "aria-live": "polite" });
    this.save = h("button", { type: "button", class: "thp-save", click: () => this.saveAnswers() }, "save my answers");
    this.again = h("button", { type: "button", class: "thp-again", click: () => this.answerAgain() }, "answer again");
    this.score = h("span", { class: "thp-score" });
    this.asking = this.data.questions.length > 0;
    return h("div", { class: "thp-body" }, this.picture,
      h("div", { class: "thp-side" }, h("h4", {}, "Kernel routines"), this.tree, h("h4", {}, "Who holds what"), this.ledger),
      this.caption, this.asking ? h("div", { class: "thp-ask" }, this.panel, h("div", { class: "thp-tools" }, this.score, this.save, this.again)) : null);
  }

  buildWords() {
    this.words = h("div", { class: "thp-text", tabindex: 0 });
    this.details = h("details", { class: "thp-words", toggle: () => this.drawWords() }, h("summary", {}, "The state in words"), this.words);
    return this.model.get("lecture") ? "" : this.details;
  }

  // --- going -------------------------------------------------------------------------------------------------------

  // Which frames are shown: all, or those that are not plain. A frame that is no longer shown is folded into the next one.
  setMode(all, frame) {
    this.all.checked = all;
    this.root.classList.toggle("thp-all", all);
    this.shown = [...this.data.frames.keys()].filter(number => all || !this.data.frames[number].plain || number === 0);
    this.begins = this.data.phases.map(phase => this.shown.find(number => number >= phase.first) ?? this.shown.at(-1));
    const last = Math.max(1, this.shown.length - 1), places = this.begins.map(number => this.shown.indexOf(number));
    this.slider.max = this.shown.length - 1;
    this.marks.forEach((mark, number) => {
      const end = places[number + 1] ?? last;
      mark.style.left = `${(100 * places[number]) / last}%`;
      mark.style.width = `calc(${(100 * (end - places[number])) / last}% - 2px)`;
    });
    this.frame = frame;
    const place = this.shown.find(number => number >= frame) ?? this.shown.at(-1), question = this.questions.between(frame - 1, place);
    this.show(question ? this.shown.findLast(number => number < question.at) : place);
    this.layout();
  }

  move(by) {
    const place = this.shown.indexOf(this.frame) + by;
    if (place >= 0 && place < this.shown.length) this.go(this.shown[place]);
  }

  // Show a frame, or the last one before a question that is not answered yet.
  go(wanted) {
    let target = this.shown.find(number => number >= wanted) ?? this.shown.at(-1);
    const question = this.questions.between(this.frame, target);
    if (question) target = this.shown.findLast(number => number < question.at);
    if (target !== this.frame) this.show(target);
    else {
      this.slider.value = this.shown.indexOf(target);
      this.later();
    }
    if (question) this.panel.querySelector("input, button")?.focus({ preventScroll: true });
    return !question;
  }

  next() {
    return this.shown[this.shown.indexOf(this.frame) + 1];
  }

  toggle() {
    if (this.timer) this.pause();
    else this.tick();
  }

  // One step of Play. It stops at the first step of each further phase, at a question and at the end.
  tick() {
    const next = this.next();
    this.timer = 0;
    const going = next !== undefined && this.go(next) && !this.begins.includes(next, 1) && this.next() !== undefined;
    if (going) this.timer = setTimeout(() => this.tick(), SPEEDS[this.speed.value]);
    this.drawPlay();
  }

  pause() {
    if (!this.timer) return;
    clearTimeout(this.timer);
    this.timer = 0;
    this.drawPlay();
  }

  drawPlay() {
    const playing = this.timer !== 0;
    this.playButton.replaceChildren(icon(playing ? ICONS.pause : ICONS.play), playing ? "Pause" : "Play");
    const label = playing ? "Pause" : `Play to the end of the ${this.data.unit}`;
    for (const name of ["aria-label", "title"]) this.playButton.setAttribute(name, label);
  }

  // JupyterLab would take these keys and move to another cell, so none of them leaves the widget.
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const on = event.target, typing = on.matches("select, input[type=text]");
    const runs = on.matches("button, summary, input[type=checkbox]");  // what the space bar and the enter key set off themselves
    const scrolls = on.matches(".thp-tree, .thp-ledger, .thp-text, .thp-live-box"), up = on === this.slider ? 1 : -1;
    const actions = { ArrowRight: () => this.move(1), ArrowLeft: () => this.move(-1), Home: () => this.go(0), End: () => this.go(Infinity) };
    if (!scrolls) Object.assign(actions, { ArrowUp: () => this.move(up), ArrowDown: () => this.move(-up) });
    if (!runs) actions[" "] = () => this.toggle();
    const action = typing ? null : actions[event.key];
    if (action && event.key !== " ") this.pause();
    this.take(event, action, { typing, runs });
  }

  // --- showing -----------------------------------------------------------------------------------------------------

  // Everything for one frame at once; nothing is left for later that could be seen to come late.
  show(number) {
    const frame = this.data.frames[number], place = this.shown.indexOf(number), last = this.shown.length - 1;
    this.root.classList.toggle("thp-forward", place === this.shown.indexOf(this.frame) + 1);
    this.frame = number;
    const svg = this.pictures.get(frame.picture);
    if (this.picture.firstChild !== svg) this.picture.replaceChildren(svg);
    svg.firstChild.textContent = `Step ${place} of ${last}: ${frame.text}`;
    svg.firstChild.nextSibling.textContent = `Page tables and pages after this step. ${this.changes(frame)} The state in words is below the picture.`;
    this.caption.replaceChildren(...this.captionOf(number));
    this.drawTree(number);
    const table = this.tables.get(frame.ledger) ?? ledgerTable(this.data.ledgers[frame.ledger]);
    this.tables.set(frame.ledger, table);
    if (this.ledger.firstChild !== table) this.ledger.replaceChildren(table);
    const phase = number ? this.begins.findLastIndex(first => first <= number) : -1, count = this.data.phases.length;
    const where = (count ? `${this.data.unit} ${Math.max(phase, 0) + 1} of ${count} · ` : "") + `step ${place} / ${last}`;
    this.marks.forEach((mark, i) => (i === phase ? mark.setAttribute("aria-current", "step") : mark.removeAttribute("aria-current")));
    this.position.textContent = where;
    this.slider.value = place;
    this.slider.style.setProperty("--done", `${(100 * place) / Math.max(1, last)}%`);
    this.slider.setAttribute("aria-valuetext", `${where}: ${frame.text}`);
    for (const button of [this.backButton, this.firstButton]) button.setAttribute("aria-disabled", place === 0);
    for (const button of [this.stepButton, this.lastButton, this.playButton]) button.setAttribute("aria-disabled", place === last);
    this.drawQuestions();
    this.drawWords();
    this.lab.show(this.data.operations.findLastIndex(op => op.last <= number));
    this.root.dataset.step = number;
    this.later();
  }

  // What may wait until the picture is painted: the neighbours' pictures, and the word to Python where the reader is.
  later() {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => {
      const place = this.shown.indexOf(this.frame);
      for (const near of [1, -1, 2, 3, -2]) {
        const frame = this.data.frames[this.shown[place + near]];
        if (frame) this.pictures.get(frame.picture);
      }
      if (this.model.get("step") !== this.frame) {
        this.model.set("step", this.frame);
        this.model.save_changes();
      }
    }, 60);
  }

  changes(frame) {
    const moved = this.data.ledgers[frame.ledger].flatMap(group => group.rows).filter(([, before, now]) => before !== now);
    return moved.map(([name, before, now]) => (before === null ? `${name} ${now}, new.` : `${name} ${before} → ${now}.`)).join(" ");
  }

  captionOf(number) {
    const frame = this.data.frames[number], parts = [], phase = this.data.phases[this.begins.lastIndexOf(number)];
    const op = this.data.operations[frame.op];
    const begins = number > 0 && Boolean(phase?.title);
    if (begins) parts.push(h("p", {}, h("b", {}, `${phase.title}. `), ...rich(phase.why)));
    const routine = frame.routine ? [h("span", { class: "thp-in" }, " in ", h("code", {}, frame.routine))] : [];
    parts.push(h("p", {}, h("b", {}, ...rich(frame.text)), ...routine, frame.why ? " — " : "", ...rich(frame.why)));
    if (op?.failed && op.last === number) parts.push(h("p", { class: "thp-error" }, h("code", {}, op.label), " returns ", h("b", {}, op.result)));
    const folded = this.folded(number);
    if (folded.length && !begins) parts.push(h("p", { class: "thp-folded", title: folded.join("; ") }, `before it: ${folded.join("; ")}`));
    if (this.data.problem && number === this.shown.at(-1)) {
      parts.push(h("p", { class: "thp-error" }, `The scenario stopped here, ${this.data.problem}.`));
    }
    return parts;
  }

  // The steps between the frame shown before and this one.
  folded(number) {
    const before = this.shown[this.shown.indexOf(number) - 1] ?? 0;
    return this.data.frames.slice(before + 1, Math.max(before + 1, number)).map(frame => frame.text);
  }

  // The operations of the phase, with the call tree of the one under way.
  drawTree(number) {
    const { operations, frames } = this.data, { op, phase } = frames[number || Math.min(1, frames.length - 1)];
    const current = number ? op : null, key = `${current} ${phase}`;
    if (!this.trees.has(key)) this.trees.set(key, callTree(operations, frames, phase, current, frame => { this.pause(); this.go(frame); }));
    const tree = this.trees.get(key), here = markTree(tree, number, this.questions.limit(number));
    if (this.tree.firstChild !== tree.list) this.tree.replaceChildren(tree.list);
    cancelAnimationFrame(this.scrolling);  // scrolled before it is painted
    this.scrolling = requestAnimationFrame(() => {
      center(this.tree, here);
      const moved = this.ledger.querySelectorAll(".thp-moved");
      if (moved.length && ![...moved].some(row => isInSight(this.ledger, row))) center(this.ledger, moved[0]);
    });
  }

  drawWords() {
    if (!this.details.open) return;
    this.words.replaceChildren(wordsTable(this.data.words[this.data.frames[this.frame].words]));
  }

  // --- questions ---------------------------------------------------------------------------------------------------

  drawQuestions() {
    if (!this.asking) return;
    const { list } = this.questions, asked = this.questions.between(this.frame, this.next() ?? -1);
    const given = this.questions.answered();
    const results = given.filter(question => question.of === this.frame).map(question => questionResult(question, this.questions.yours(question)));
    const open = given.filter(question => question.at <= this.frame && this.frame < question.of).map(question => this.pending(question));
    const coming = list.find(question => question.at > this.frame && !given.includes(question));
    const hint = coming ? [h("div", { class: "thp-waiting" }, `The next question comes before step ${this.shown.indexOf(coming.at)}.`)] : [];
    const said = [...results, ...(asked ? [questionForm(asked, text => this.commit(asked, text))] : open)];
    this.panel.replaceChildren(...(said.length ? said : hint));
    this.panel.classList.toggle("thp-asking", Boolean(asked));
    this.score.textContent = `${given.length} of ${list.length} answered`;
    for (const button of [this.save, this.again]) button.setAttribute("aria-disabled", given.length === 0);
  }

  pending(question) {
    return h("div", { class: "thp-waiting" }, h("span", { class: "thp-question" }, ...rich(question.question)), " You said ",
      h("b", {}, this.questions.yours(question) ?? ""), ". Step on and see.");
  }

  commit(question, text) {
    this.questions.answer(question, text);
    const more = this.questions.between(this.frame, question.at);
    if (more) this.drawQuestions();
    else this.go(question.at);
    this.stepButton.focus({ preventScroll: true });
    if (more) this.panel.querySelector("input, button")?.focus({ preventScroll: true });
  }

  saveAnswers() {
    if (!this.questions.answered().length) return;
    const { name, scenario, kernel, geometry } = this.data;
    download(`answers-${name || "scenario"}.json`, this.questions.report({ name, scenario, kernel, geometry: geometry.split(":")[0] }));
  }

  answerAgain() {
    this.pause();
    this.questions.forget();
    this.show(this.shown.findLast(number => number < this.data.questions[0].at));
  }

  async copyCode() {
    const [before, after] = this.data.code;
    this.copyLabel.textContent = (await copy(`${before}${this.frame}${after}`)) ? "copied" : "not allowed here";
    setTimeout(() => { this.copyLabel.textContent = "copy as code"; }, 1500);
  }

  // --- sizes -------------------------------------------------------------------------------------------------------

  // Every part gets the height that its largest content needs, so that no step moves anything.
  layout() {
    const width = this.root.clientWidth, lecture = this.model.get("lecture"), room = lecture ? this.roomForLecture() : Infinity;
    const key = `${width} ${room} ${this.all.checked}`;
    if (!width || key === this.laidOut) return;
    this.laidOut = key;
    const [w, hgt] = this.size, beside = (width - SIDE) / w, wide = !lecture && beside >= LEGIBLE;
    this.root.classList.toggle("thp-wide", wide);
    this.root.classList.remove("thp-alone");
    let caption = this.captionHeight();
    if (this.asking) this.set("questions", greatestHeight(this.panel, this.largestQuestions()));
    if (lecture) {
      const rest = [".thp-bar", ".thp-time"].reduce((sum, name) => sum + this.root.querySelector(name).offsetHeight, 4);
      const fit = below => Math.min((width - 2) / w, (room - rest - below) / hgt);
      const alone = fit(caption) < SMALLEST;
      this.root.classList.toggle("thp-alone", alone);
      if (alone) caption = this.captionHeight();
      this.set("picture-width", w * fit(caption));
      this.set("picture", hgt * fit(caption));
      this.set("panels", room - rest - hgt * fit(caption));
    } else {
      const scale = Math.min(wide ? beside : (width - 2) / w, 1.2);
      this.set("picture-width", w * scale);
      this.set("picture", Math.max(hgt * scale, wide ? PANELS_BESIDE : 0));
      this.set("panels", PANELS_BELOW);
    }
    for (const mark of this.marks) mark.classList.toggle("thp-short", mark.offsetWidth < 4 * parseFloat(getComputedStyle(mark).fontSize));
    this.set("side", SIDE);
    this.set("caption", caption);
    this.drawTree(this.frame);
  }

  set(name, pixels) {
    this.root.style.setProperty(`--${name}`, `${Math.floor(pixels)}px`);
  }

  captionHeight() {
    return greatestHeight(this.caption, this.shown.map(number => this.captionOf(number)));
  }

  // What the panel of questions may have to hold at once.
  largestQuestions() {
    return this.data.questions.flatMap((question, _, all) => {
      const form = each => questionForm(each, () => {}), result = () => questionResult(question, this.questions.yours(question));
      const next = all.find(other => other.at > question.of && other.at <= this.shown[this.shown.indexOf(question.of) + 1]);
      return [[form(question)], [result()], [this.pending(question)], ...(next ? [[result(), form(next)]] : [])];
    });
  }

  // The height that can be seen at once: that of the box that scrolls, which in a notebook is less than the window.
  roomForLecture() {
    let box = (this.root.closest(".jp-Cell") ?? this.root).parentElement;  // the boxes of a cell grow with what they hold
    while (box && !(/auto|scroll/.test(getComputedStyle(box).overflowY) && box.clientHeight)) box = box.parentElement;
    return Math.max(480, Math.min(box?.clientHeight ?? Infinity, window.innerHeight) - 16);
  }

  destroy() {
    this.pause();
    clearTimeout(this.soon);
    this.watch.disconnect();
    this.lab.destroy();
  }
}

async function render({ model, el }) {
  const stepper = new Stepper(await unpack(model.get("packed")), model, el);
  const follow = () => { if (model.get("step") !== stepper.frame) stepper.go(model.get("step")); };
  model.on("change:step", follow);
  return () => {
    model.off("change:step", follow);
    stepper.destroy();
  };
}

export default { render };
