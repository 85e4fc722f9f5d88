// The stepper: the frames of a trace, forwards and backwards. All that it shows was computed in Python; nothing is simulated here.
// What it shows: thplab/learn/widgets/payload.py. Two counts run through it: a frame's number, and its place among the frames shown.

const SPEEDS = { slow: 3000, medium: 1500, fast: 600 };  // milliseconds for a step of Play
const SIDE = 380, PANELS = 150, PANELS_BESIDE = 260;  // pixels: width of the panels beside the picture, their least heights below and there

/** @extends {PictureView<StepperAsks>} */
class StepperView extends PictureView {
  /** @param {StepperData} data @param {Model} model */
  constructor(data, model) {
    super(model, "stepper", `Stepper ${data.name}`);
    this.data = data;
    this.questions = new Questions(data.questions, this);
    this.frame = -1;
    this.trees = new Map();
    this.tables = new Map();
    this.box = new PictureBox(this, "Picture; the arrow keys step");
    this.box.load(data.pictures);
    this.player = new Player(`Play to the end of the ${data.unit}`, "Play", () => this.play(), () => SPEEDS[this.speed?.value ?? "medium"]);
    this.root.addEventListener("thp-stop", event => this.jump(/** @type {CustomEvent<number>} */ (event).detail));
    this.bookmark = new Bookmark(`stepper ${data.kernel} ${data.geometry} ${data.scenario} ${model.get("step")}`, this.store);
    this.lab = new LivePanel(this, data.kernel);
    this.recorded = new RecordedPanel(model.get("lecture") ? [] : data.recorded, frame => this.jump(frame), () => this.ask("recorded", {}, "Looking up what was recorded…"));
    this.bar = this.buildBar();
    this.time = this.buildTime();
    const lecture = model.get("lecture"), body = this.buildBody(), more = lecture ? [] : [this.buildTools(), this.lab.element, this.recorded.element, this.buildWhy(), this.buildWords()];
    const parts = [this.bar, this.time, h("div", { class: "thp-stage" }, body, lecture ? null : this.buildPanels()), ...more];
    this.root.append(...parts.filter(part => part != null));
  }

  get boxes() {
    return this.box ? [this.box] : [];
  }

  get fills() { return false; }

  load(data) {
    this.data.words = data.words;
    this.recorded.take(data.recorded);
    this.box.load(data.pictures);
    this.wantDetail();
    this.drawWords();
  }

  start() {
    const kept = this.model.get("lecture") ? null : this.model.get("reached") ?? this.bookmark.place, step = Number(kept ?? this.model.get("step"));
    this.setMode(this.model.get("all_steps"), Math.min(step, this.data.frames.length - 1));
    this.wantDetail();
    return this.lab.read();
  }

  async follow(trait) {
    if (trait === "compared") await this.lab.read();
    else if (this.model.get("step") !== this.frame) this.go(this.model.get("step"));
  }

  drawBusy() {
    super.drawBusy();
    this.lab.drawBusy();
  }

  // --- parts -------------------------------------------------------------------------------------------------------

  // What one needs for each step, in one line.
  buildBar() {
    const { data } = this, names = ["Next step", "Back one step", "First step", "Last step"];
    const [step, back, first, last] = this.buildSteps(names, () => this.move(1), () => this.move(-1), () => this.jump(0), () => this.jump(Infinity));
    this.ends = [first, last];
    this.slider = h("input", { type: "range", min: 0, step: 1, "aria-label": "Step", input: () => this.jump(this.course.shown[this.slider.value]) });
    this.phase = h("span", { class: "thp-phase" });
    this.position = h("span", { class: "thp-number" });
    const where = h("span", { class: "thp-position" }, this.phase, this.position, h("span", { class: "thp-machine" }, ` · ${data.kernel}`));
    return h("div", { class: "thp-bar", role: "toolbar", "aria-label": "Steps" }, step, back, this.slider, where);
  }

  buildTime() {
    const { phases, unit } = this.data;
    this.marks = phases.map(({ title }, number) => h("button", {
      type: "button", class: "thp-mark", title, "aria-label": `${number + 1} ${title}: go to ${unit} ${number + 1} of ${phases.length}`,
      click: () => this.jump(this.course.begins[number]),
    }, h("b", {}, `${number + 1}`), h("span", {}, ` ${title}`)));
    return phases.length > 1 ? h("div", { role: "group", class: "thp-marks", "aria-label": `By ${unit}` }, ...this.marks) : null;
  }

  buildBody() {
    this.caption = h("div", { class: "thp-caption", role: "status" });
    this.moved = h("p", { class: "thp-changes" });
    this.strip = h("b", { class: "thp-strip", title: "references = mappings + pins" });
    this.events = h("span", { class: "thp-events" });
    this.sum = h("div", { class: "thp-sum" }, h("span", { class: "thp-sum-of" }, "references = mappings + pins"), this.strip, this.events, this.moved);
    this.panel = h("div", { class: "thp-questions", "aria-live": "polite" });
    this.save = h("button", { type: "button", class: "thp-save", click: () => this.saveAnswers() }, "save my answers");
    this.again = h("button", { type: "button", class: "thp-again", click: () => this.answerAgain() }, "answer again");
    this.score = h("span", { class: "thp-score" });
    this.asking = this.data.questions.length > 0;
    return h("div", { class: "thp-body" }, this.box.frame, this.caption, this.sum,
      this.asks = this.asking ? h("div", { class: "thp-ask" }, this.panel) : null);
  }

  // What one may look up: beside the picture where there is room, else below, folded where there is none.
  buildPanels() {
    this.tree = h("div", { class: "thp-tree", role: "group", "aria-label": "Kernel routines", tabindex: 0 });
    this.ledger = h("div", { class: "thp-ledger", role: "group", "aria-label": "Counters and who holds them", tabindex: 0 });
    this.folded = false;  // by the reader: then no change of size opens them
    this.side = h("details", { class: "thp-side", toggle: () => this.drawPanels() },
      h("summary", { click: () => { this.folded = true; } }, "Kernel routines, and who holds what"),
      h("div", { class: "thp-panels" }, h("h4", { role: "presentation" }, "Kernel routines"), this.tree, h("h4", { role: "presentation" }, "Who holds what"), this.ledger));
    return this.side;
  }

  buildTools() {
    const { data } = this;
    this.all = h("input", { type: "checkbox", role: "switch", change: () => this.setMode(this.all.checked, this.frame) });
    this.speed = h("select", { class: "thp-speed", "aria-label": "Speed of Play" }, ...Object.keys(SPEEDS).map(name => h("option", {}, name)));
    return h("div", { class: "thp-foot", role: "group", "aria-label": "More" }, ...this.ends, this.player.button, this.speed,
      h("label", { class: "thp-switch", title: "Show plain reads and locks, too" }, this.all, "all steps"), this.buildDetail(),
      this.lab.button, this.recorded.button, ...(this.asking ? [this.score, this.save, this.again] : []),
      this.copyButton("copy as code", "Python code that makes this very state again", () => data.code.join(`${this.frame}`)),
      h("span", { class: "thp-name", title: data.about }, h("b", {}, data.name || "scenario"), data.about ? `  ${data.about}` : ""), ...chips(data.kernel, data.geometry));
  }

  // Why does the kernel do so? The policies that its record was asked for, and the evidence. What another CPU does in between is not told.
  buildWhy() {
    if (!this.data.policies.length) return null;
    this.evidence = h("div", { class: "thp-text thp-evidence", tabindex: 0 });
    const title = `Why does ${this.data.kernel} do so, and why do we believe it?`;
    this.why = h("details", { class: "thp-why", toggle: () => this.drawWhy() }, h("summary", {}, title), this.evidence);
    return this.why;
  }

  // --- going -------------------------------------------------------------------------------------------------------

  setMode(all, frame) {
    if (this.all) this.all.checked = all;
    this.root.classList.toggle("thp-all", all);
    this.course = new Course(this.data, this.questions, all);
    const last = Math.max(1, this.course.last), places = this.course.begins.map(number => this.course.place(number));
    this.marks.forEach((mark, number) => {
      const end = places[number + 1] ?? last;
      mark.style.left = `${(100 * places[number]) / last}%`;
      mark.style.width = `calc(${(100 * (end - places[number])) / last}% - 2px)`;
    });
    this.frame = frame;
    this.show(this.course.stop(frame - 1, frame).number);
    this.layout();
  }

  move(by) {
    this.jump(this.course.next(this.frame, by) ?? this.frame);
  }

  // To the next stop, or the one before; by one step where a lecture has none.
  rest(by) {
    const { stops } = this.data, there = by > 0 ? stops.find(stop => stop > this.frame) : stops.findLast(stop => stop < this.frame);
    if (stops.length) this.jump(there ?? this.frame);
    else this.move(by);
  }

  jump(wanted) {
    this.player.pause();
    this.go(wanted);
  }

  // Show a frame, or the last one before a question that is not answered yet.
  go(wanted) {
    const from = this.frame, { number, question } = this.course.stop(from, wanted);
    this.going = true;
    if (number !== from) this.show(number);
    else {
      this.slider.value = `${this.course.place(number)}`;
      this.later();
    }
    if (question) {
      if (from === number) this.refuse();
      focusOn(this.panel.querySelector("input, button"));
    }
    return !question;
  }

  // Say that a question comes first, where it can be seen.
  refuse() {
    this.moved.textContent = "Answer the question first; then Step goes on.";
    this.moved.classList.add("thp-error");
    this.panel.scrollIntoView({ block: "nearest" });
  }

  // One step of Play. It stops at the first step of each further phase, at a question and at the end.
  play() {
    const next = this.course.next(this.frame);
    return next !== undefined && this.go(next) && !this.course.begins.includes(next, 1) && this.course.next(next) !== undefined;
  }

  keys(on, runs) {
    const scrolls = on.matches(".thp-tree, .thp-ledger, .thp-text, .thp-live-box, .thp-recorded-box");
    const up = on === this.slider ? 1 : -1;
    const actions = { ArrowRight: () => this.move(1), ArrowLeft: () => this.move(-1), Home: () => this.jump(0), End: () => this.jump(Infinity) };
    if (!scrolls) Object.assign(actions, { ArrowUp: () => this.move(up), ArrowDown: () => this.move(-up) });
    if (!runs) actions[" "] = () => this.player.toggle();
    if (this.lecture && !this.root.closest(".thp-slide")) {  // the keys of a presenter's remote, which on a slide lead on
      const blank = () => this.root.classList.toggle("thp-blank");
      Object.assign(actions, { PageDown: () => this.rest(1), PageUp: () => this.rest(-1), ".": blank, b: blank });
    }
    return actions;
  }

  // --- showing -----------------------------------------------------------------------------------------------------

  // Everything for one frame at once; nothing is left for later that could be seen to come late.
  show(number) {
    const frame = this.data.frames[number], { course } = this, { last } = course, place = course.place(number);
    this.root.classList.toggle("thp-forward", place === course.place(this.frame) + 1);
    this.frame = number;
    this.box.show(number, `Step ${place} of ${last}: ${frame.text}`,
      `Page tables and pages after this step. ${this.changes(frame)} The state in words is below the picture.`);
    this.caption.replaceChildren(...this.captionOf(number));
    this.moved.textContent = this.changes(frame);
    this.moved.title = this.moved.textContent;
    this.moved.classList.remove("thp-error");
    this.strip.textContent = frame.strip;
    this.sum.classList.toggle("thp-adds-up", frame.strip.includes("="));
    this.events.textContent = this.risen(frame);
    this.drawPanels();
    const phase = course.phase(number), count = this.data.phases.length;
    const where = (count ? `${this.data.unit} ${Math.max(phase, 0) + 1} of ${count} · ` : "") + `step ${place} / ${last}`;
    this.marks.forEach((mark, i) => markHere(mark, i === phase));
    this.phase.textContent = count > 1 ? `${Math.max(phase, 0) + 1} ${this.data.phases[Math.max(phase, 0)].title} · ` : "";
    this.position.textContent = `${place} / ${last}`;
    drawSlider(this.slider, place, last, `${where}: ${frame.text}`);
    this.drawSteps(place, last);
    disable(place === last, this.player.button);
    this.drawQuestions();
    this.drawWords();
    this.drawWhy();
    this.recorded.show(number, course.next(number, -1) ?? -1, this.questions.limit(number));
    this.lab.show(this.data.operations.findLastIndex(op => op.last <= number));
    this.root.dataset.step = `${number}`;
    this.later();
  }

  // What may wait until the picture is painted: the word to Python where the reader is.
  later() {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => {
      if (this.going && this.store.learner) this.tell("reached", this.frame);
      this.tell("step", this.frame);
      this.bookmark.place = `${this.frame}`;
    }, 60);
  }

  changes(frame) {
    const moved = this.data.ledgers[frame.ledger].flatMap(group => group.rows).filter(([, before, now]) => before !== now);
    return moved.map(([name, before, now]) => (before === null ? `${name} ${now}, new.` : `${name} ${before} → ${now}.`)).join(" ");
  }

  // What has been counted so far of splits done, refused and put off; there is room for no more.
  risen(frame) {
    const group = this.data.ledgers[frame.ledger].find(({ title }) => title.startsWith("events"));
    return (group?.rows ?? []).filter(([name]) => name.includes("split")).map(([name, , now]) => `${name} ${now}`).join(" · ");
  }

  captionOf(number) {
    const frame = this.data.frames[number], parts = [], phase = this.data.phases[this.course.begins.lastIndexOf(number)];
    const op = this.data.operations[frame.op];
    const begins = number > 0 && Boolean(phase?.title);
    if (begins) parts.push(h("p", {}, h("b", {}, `${phase.title}. `), ...rich(phase.why)));
    const routine = frame.routine ? [h("span", { class: "thp-in" }, " in ", h("code", {}, frame.routine))] : [];
    parts.push(h("p", {}, h("b", {}, ...rich(frame.text)), ...routine, frame.why ? " — " : "", ...rich(frame.why)));
    if (op?.failed && op.last === number) parts.push(h("p", { class: "thp-error" }, h("code", {}, op.label), " returns ", h("b", {}, op.result)));
    const folded = this.course.folded(number).map(({ text }) => text);
    if (folded.length && !begins) parts.push(h("p", { class: "thp-folded", title: folded.join("; ") }, `before it: ${folded.join("; ")}`));
    if (this.data.problem && number === this.course.shown.at(-1)) {
      parts.push(h("p", { class: "thp-error" }, `The scenario stopped here, ${this.data.problem}.`));
    }
    return parts;
  }

  // Call tree and ledger, where they can be seen.
  drawPanels() {
    if (!this.side?.open) return;
    const frame = this.data.frames[this.frame], table = this.tables.get(frame.ledger) ?? ledgerTable(this.data.ledgers[frame.ledger]);
    this.tables.set(frame.ledger, table);
    if (this.ledger.firstChild !== table) this.ledger.replaceChildren(table);
    this.drawTree(this.frame);
  }

  // The operations of the phase, with the call tree of the one under way.
  drawTree(number) {
    const { operations, frames } = this.data, { op, phase } = frames[number || Math.min(1, frames.length - 1)];
    const current = number ? op : null, key = `${current} ${phase}`;
    if (!this.trees.has(key)) this.trees.set(key, callTree(operations, frames, phase, current, frame => this.jump(frame)));
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
    if (!this.details?.open) return;
    if (!this.data.words) this.ask("words", {}, "Putting it into words…");
    else this.words.replaceChildren(wordsTable(this.data.words[this.frame]));
  }

  drawWhy() {
    if (!this.why?.open) return;
    const { now, before } = this.course.asked(this.frame), told = each => policyText(this.data.policies[each], this.data.kernel.split(" ")[0]);
    const part = (title, asks) => (asks.length ? [h("h4", { role: "presentation" }, title), h("dl", {}, ...asks.flatMap(told))] : []);
    const nothing = "So far nothing was asked in this operation in which kernels differ.";
    const parts = [...part("Asked on the way to this step", now), ...part("Asked before it in this operation", before)];
    this.evidence.replaceChildren(...(parts.length ? parts : [h("p", {}, nothing)]));
  }

  // --- questions ---------------------------------------------------------------------------------------------------

  drawQuestions() {
    if (!this.asking) return;
    const { list } = this.questions, asked = this.questions.between(this.frame, this.course.next(this.frame) ?? -1);
    const given = this.questions.answered();
    const results = given.filter(question => question.of === this.frame).map(question => questionResult(question, this.questions.yours(question)));
    const open = given.filter(question => question.at <= this.frame && this.frame < question.of).map(question => this.pending(question));
    const coming = list.find(question => question.at > this.frame && !given.includes(question));
    const right = given.filter(question => this.questions.isRight(question)).length, told = `${given.length} of ${list.length} answered, ${right} right`;
    this.score.textContent = told;
    const next = coming ? `The next question comes before step ${this.course.place(coming.at)}.` : given.length === list.length ? `All questions are answered, ${right} of ${list.length} right.` : "No more questions from here on.";
    const hint = [h("div", { class: "thp-waiting" }, next)];
    const said = [...results, ...(asked ? [questionForm(asked, text => this.commit(asked, text))] : open)];
    this.panel.replaceChildren(...(said.length ? said : hint));
    this.panel.classList.toggle("thp-asking", Boolean(asked));
    const name = asked ? "Next step: answer first" : "Next step";
    for (const attribute of ["aria-label", "title"]) this.stepButton.setAttribute(attribute, name);
    this.stepButton.firstChild.textContent = asked ? "Answer first" : "Step";
    disable(given.length === 0, this.save, this.again);
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
    focusOn(this.stepButton);
    if (more) focusOn(this.panel.querySelector("input, button"));
  }

  saveAnswers() {
    if (!this.questions.answered().length) return;
    const { name, scenario, kernel, geometry } = this.data;
    download(`answers-${name || "scenario"}.json`, this.questions.report({ name, scenario, kernel, geometry: geometry.split(":")[0] }));
  }

  answerAgain() {
    this.player.pause();
    this.questions.forget();
    this.show(this.course.before(this.data.questions[0]));
  }

  // --- sizes -------------------------------------------------------------------------------------------------------

  // Every part gets the height that its largest content needs, so that no step moves anything; the picture gets what is left of what can
  // be seen at once.
  layout() {
    const width = this.root.clientWidth, lecture = this.model.get("lecture"), room = this.room();
    const key = `${width} ${room} ${this.course?.all} ${this.detail}`;
    if (!width || !this.course || key === this.laidOut) return;
    this.laidOut = key;
    const [w, hgt] = this.box.size;
    let wide = !lecture && width - SIDE >= w, beside = this.fixed(wide);
    if (wide && beside + hgt > room) beside = this.fixed(wide = false);  // better all in one window than everything open
    const scale = this.box.fit(width - 4 - (wide ? SIDE : 0), Math.max(0, room - beside), lecture);
    const picture = Math.ceil(this.box.size[1] * scale), rest = room - beside - picture - 70;
    this.set("picture", Math.max(picture, wide ? PANELS_BESIDE : 0));
    this.set("panels", Math.max(PANELS, rest));
    if (this.side && (wide || !this.folded)) this.side.open = wide || rest >= PANELS;
    for (const mark of this.marks) mark.classList.toggle("thp-short", mark.offsetWidth < 4 * parseFloat(getComputedStyle(mark).fontSize));
    this.set("side", SIDE);
    this.drawPanels();
  }

  // Set what has a height of its own, with the panels beside the picture or not; answers the sum.
  fixed(wide) {
    this.root.classList.toggle("thp-wide", wide);
    this.set("caption", this.captionHeight());
    if (this.asking) this.set("questions", greatestHeight(this.panel, this.largestQuestions()));
    return [this.bar, this.time, this.caption, this.sum, this.asks].reduce((sum, part) => sum + (part?.offsetHeight ?? 0), 12);
  }

  captionHeight() {
    return greatestHeight(this.caption, this.course.shown.map(number => this.captionOf(number)));
  }

  // What the panel of questions may have to hold at once.
  largestQuestions() {
    return this.data.questions.flatMap((question, _, all) => {
      const form = each => questionForm(each, () => {}), result = () => questionResult(question, this.questions.yours(question));
      const next = all.find(other => other.at > question.of && other.at <= this.course.next(question.of));
      return [[form(question)], [result()], [this.pending(question)], ...(next ? [[result(), form(next)]] : [])];
    });
  }

  destroy() {
    super.destroy();
    this.player.pause();
    clearTimeout(this.soon);
  }
}

export default mount(StepperView, "step", "compared");
