// The sandbox: the learner drives. Python carries out every operation and computes all that is shown here: thplab/learn/widgets/sandbox_payload.py.
// With a kernel the page has the operation that is shown; in a page without one it has all of them, to be looked at.

const BESIDE = 700;  // pixels: in a wider page the panels below the picture stand side by side
const LEAST = 200;  // pixels: the place of the picture, in which two processes fit; it grows where it has to
const EDGE = 30;  // pixels at the bottom of the window that a menu keeps clear of: JupyterLab has its status bar there
const OTHER = "other…";

// Pages of a region in words; the region R is the one that everything is in.
function pagesOf({ region, first, last }) {
  return (first === last ? `page ${first}` : `pages ${first}…${last}`) + (region === "R" ? "" : ` of region ${region}`);
}

/** @extends {PictureView<SandboxAsks>} */
class SandboxView extends PictureView {
  /** @param {SandboxData} data @param {Model} model */
  constructor(data, model) {
    super(model, "sandbox", "Sandbox");
    this.hinted = 0;
    this.bookmark = new Bookmark(`sandbox ${data.frames[data.done].share} ${data.task?.question ?? ""}`, this.store);
    this.box = new PictureBox(this, "Picture; the arrow keys go from row to row, Enter says what can be done there");
    this.picture = this.box.element;
    this.picture.addEventListener("click", event => this.clicked(event));
    this.tall = 0;
    this.data = data;
    const head = this.buildHead(), bar = this.buildBar(), form = this.buildForm(), body = this.buildBody(), share = this.buildShare();
    this.above = [head, bar, form];
    if (this.lecture) this.root.append(this.buildTyping(head, bar), form, body, this.menu);
    else this.root.append(...this.above, body, share, this.buildWords(), this.menu);
    this.load(data);
  }

  get offline() {
    return "To do something, run this notebook: the simulator is in Python. What was done so far can be looked at with Undo and Redo.";
  }

  get clickEnlarges() {
    return false;
  }

  get boxes() {
    return this.box ? [this.box] : [];
  }

  // Where one was the last time, Python makes again.
  async start() {
    await super.start();
    if (this.lecture) return;
    const kept = this.bookmark.place;
    this.started = true;
    if (kept && kept !== this.line.value) this.askLater("load", { line: kept });
  }

  drawDetail() {
    super.drawDetail();
    this.drawSpots(this.frame());
  }

  // --- parts -------------------------------------------------------------------------------------------------------

  select(name, label, run) {
    return h("select", { class: `thp-${name}`, "aria-label": label, disabled: !this.live, change: run });
  }

  buildHead() {
    const { data } = this, change = () => this.ask("machine", { kernel: this.kernel.value, geometry: this.geometry.value });
    this.kernel = this.select("kernel", "Kernel", change);
    this.geometry = this.select("geometry", "Geometry", change);
    const head = h("div", { class: "thp-head" }, h("span", { class: "thp-name" }, h("b", {}, "Sandbox"), "  you drive"),
      h("label", {}, "kernel ", this.kernel), h("label", {}, "geometry ", this.geometry));
    if (data.mutant) head.append(h("p", { class: "thp-about thp-error" }, `✗ This kernel is wrong in one way. ${data.mutant}`));
    if (data.task) {
      this.hint = h("span", { class: "thp-muted" });
      head.append(h("p", { class: "thp-about thp-task" }, h("b", {}, "Task: "), ...rich(data.task.question), " ",
        h("span", { class: "thp-controls" }, this.button("hint-button", "Hint", () => this.showHint(), "hint"),
          this.checkButton = this.button("check", "Check the task", () => this.ask("check", {}), "check")), " ", this.hint));
    }
    return head;
  }

  buildBar() {
    this.undoButton = this.button("undo", "Undo (Ctrl+Z)", () => this.go(this.data.done - 1), icon(ICONS.undo), "Undo");
    this.redoButton = this.button("redo", "Redo (Ctrl+Y)", () => this.go(this.data.done + 1), "Redo", icon(ICONS.redo));
    this.firstButton = this.button("first", "Undo everything", () => this.go(0), icon(ICONS.first));
    this.branch = this.select("branch", "Branch", () => this.ask("switch", { branch: Number(this.branch.value) }));
    this.branches = h("label", {}, "branch ", this.branch);
    this.position = h("span", { class: "thp-position" });
    return h("div", { class: "thp-bar", role: "toolbar", "aria-label": "Operations" }, this.undoButton, this.redoButton, this.firstButton, this.branches, this.position);
  }

  // In a lecture: what the class calls out, as it is written in a scenario; the field is empty for the next one when that is done.
  buildTyping(head, bar) {
    this.typed = h("input", { type: "text", class: "thp-line-of", "aria-label": "Operations; press Enter to carry them out",
      placeholder: "type, for example: write B 3", spellcheck: "false", autocomplete: "off", disabled: !this.live });
    const submit = event => {
      event.preventDefault();
      if (this.typed.value.trim() && this.ask("type", { line: this.typed.value })) this.typing = true;
    };
    this.firstButton.after(h("form", { class: "thp-typing", submit }, this.typed), this.kernel);
    return h("div", {}, bar, ...head.querySelectorAll(".thp-about"));
  }

  buildForm() {
    this.op = this.select("op", "Operation", () => this.drawFields(false));
    this.fields = h("span", { class: "thp-fields" });
    this.doButton = h("button", { type: "submit", class: "thp-step thp-do" }, "Do it");
    this.more = this.button("more", "more or fewer fields", () => { this.all = !this.all; this.drawFields(true); }, "more");
    this.help = h("p", { class: "thp-help" });
    const submit = event => {
      event.preventDefault();
      this.ask("op", { op: this.op.value, fields: this.values() });
    };
    return h("form", { class: "thp-drive", submit }, h("div", { class: "thp-line" }, this.op, this.fields, this.more, this.doButton), this.help, this.says);
  }

  buildBody() {
    this.caption = h("div", { class: "thp-caption", role: "status" });
    this.moves = h("ol", { class: "thp-moves" });
    this.stepsButton = this.button("steps", "Show the steps of the operation", () => { this.open = !this.open; this.drawSteps(); }, "steps");
    this.steps = h("div", { class: "thp-tree", hidden: true });
    this.verdict = h("h4", { role: "presentation", class: "thp-verdict" });
    this.checks = h("ul", { class: "thp-checks" });
    this.ledger = h("div", { class: "thp-ledger", role: "group", "aria-label": "Counters and who holds them", tabindex: 0 });
    this.menu = h("div", { class: "thp-menu", role: "menu", hidden: true, focusout: event => { if (!this.menu.contains(event.relatedTarget)) this.closeMenu(false); } });
    this.list = h("div", { role: "group", class: "thp-did", "aria-label": "What you did; with its steps open, the arrow keys left and right go through them", tabindex: 0 },
      h("h4", { role: "presentation" }, h("span", {}, "What you did"), this.stepsButton), this.moves, this.steps);
    const did = this.lecture ? h("div", { class: "thp-done-so-far" }, this.list, this.says, this.verdict) : null;
    if (did) return h("div", { class: "thp-body" }, this.box.frame, this.caption, did);
    return h("div", { class: "thp-body" }, this.box.frame, this.caption, this.list,
      h("div", { role: "group", class: "thp-must", "aria-label": "What must hold", tabindex: 0 }, this.verdict, this.checks), this.ledger);
  }

  buildShare() {
    this.line = h("input", { type: "text", class: "thp-line-of", "aria-label": "All of this as a line; paste one and press Enter to load it", spellcheck: "false", autocomplete: "off" });
    this.loadButton = h("button", { type: "submit", class: "thp-load" }, "load");
    const submit = event => { event.preventDefault(); this.ask("load", { line: this.line.value }); };
    return h("form", { class: "thp-share", submit }, h("span", {}, "share"), this.line,
      this.copyButton("copy", "all of this as a line", () => this.line.value), this.loadButton,
      this.buildDetail(), this.copyButton("copy as code", "Python code that makes this very state again", () => this.frame().code));
  }

  // --- asking Python -----------------------------------------------------------------------------------------------

  say(text, error) {
    super.say(text, error);
    this.says.title = text;
  }

  // What was asked is done, or is a mistake: then nothing has changed, and the selects go back to what is.
  answered({ error }) {
    this.drawHead();
    if (this.typing && !error) this.typed.value = "";
    this.typing = false;
    if (this.pending && !error) this.openMenu();
    this.pending = null;
  }

  go(at) {
    if (at < 0 || at > this.data.reached || at === this.data.done) return;
    if (this.live) this.ask("go", { at });
    else this.load({ ...this.data, done: at });
  }

  // One step of the operation on or back; behind the last one is its end.
  stepBy(by) {
    const { steps, step } = this.frame(), to = (step ?? steps.operation.last) + by;
    if (to >= 0 && to <= steps.operation.last) this.ask("step", { step: to });
  }

  showHint() {
    const { hints } = this.data.task;
    this.hint.textContent = `Hint ${this.hinted + 1} of ${hints.length}: ${hints[this.hinted]}`;
    this.hinted = Math.min(this.hinted + 1, hints.length - 1);
  }

  // --- showing -----------------------------------------------------------------------------------------------------

  frame() {
    return this.data.frames[this.data.done];
  }

  /** @param {SandboxData} data */
  load(data) {
    const before = this.data;
    this.data = data;
    this.root.classList.toggle("thp-forward", data.done === before.done + 1);
    const frame = this.frame(), focused = document.activeElement?.closest?.(".thp-sandbox g.row")?.id;
    const inPicture = this.picture.contains(document.activeElement) || this.menu.contains(document.activeElement);
    this.box.load(data.pictures);
    this.drawPicture(frame);
    this.laidOut = "";
    this.wantDetail();
    if (inPicture) focusOn(this.row(this.pending?.row ?? focused) ?? this.picture);
    this.drawHead();
    this.drawOps();
    this.drawMoves();
    this.drawSteps();
    const due = ([, when]) => when === "always" || frame.rest;
    drawChecklist(this.verdict, this.checks, data.invariants, frame.broken, due, "asked when the operation is done");
    this.ledger.replaceChildren(ledgerTable(frame.ledger));
    this.drawCaption(frame);
    this.drawWords();
    this.line.value = frame.share;
    if (this.started) this.bookmark.place = frame.share;
    this.root.dataset.done = `${data.done}`;
    this.root.dataset.step = `${frame.step ?? ""}`;
  }

  drawHead() {
    const { data } = this, options = (names, chosen) => names.map(name => h("option", { selected: name === chosen }, name));
    this.kernel.replaceChildren(...options(data.kernels, data.kernel));
    this.geometry.replaceChildren(...options(data.geometries, data.geometry));
    this.geometry.title = data.size;
    this.branches.hidden = data.branches.length < 2;
    this.branch.replaceChildren(...data.branches.map((line, i) => h("option", { value: i, selected: i === data.branch }, `${i + 1}: ${line || "nothing"}`)));
    disable(data.done === 0, this.undoButton, this.firstButton);
    disable(data.done === data.reached, this.redoButton);
    disable(!this.live, this.loadButton, this.doButton, ...(this.checkButton ? [this.checkButton] : []));
    this.position.textContent = `${data.done} of ${data.ops.length}${this.lecture ? "" : " operations done"}`;
  }

  drawPicture(frame) {
    const last = this.data.ops[this.data.done - 1];
    this.box.show(frame.picture, last ? `Page tables and pages after ${last.line}` : "Nothing has been done yet",
      "The state in words is below the picture.");
    this.drawSpots(frame);
  }

  // The rows in the picture that stand for pages of processes can be chosen.
  drawSpots(frame) {
    this.box.sheet.svg.setAttribute("role", "group");  // not one image: its rows can be focused
    for (const [id, spots] of Object.entries(frame.places)) {
      const row = this.row(id), says = [...row?.querySelectorAll("text") ?? []].map(text => text.textContent).join(" ").trim();
      const label = `${says}: ${spots.map(spot => `${pagesOf(spot)} of ${spot.proc}`).join(", ")}`;
      row?.classList.add("thp-spot");
      for (const [name, value] of Object.entries({ tabindex: "-1", role: "button", "aria-label": label })) row?.setAttribute(name, value);
    }
  }

  row(id) {
    return id ? this.picture.querySelector(`#${CSS.escape(id)}`) : null;
  }

  drawCaption(frame) {
    const { data } = this, op = data.ops[data.done - 1], parts = [];
    const [index, why] = data.stopped ?? [-1, ""];
    if (!op) parts.push(h("p", {}, "Nothing has been done yet. Choose an operation above; the first one to make sense is ", h("code", {}, "mmap"), "."));
    else {
      const returned = op.result ? ["returns ", h("b", { class: op.failed ? "thp-error" : null }, op.result)] : [h("b", { class: "thp-error" }, "does not end")];
      parts.push(h("p", {}, `${data.done}. `, h("b", {}, h("code", {}, op.line)), " ", ...returned));
    }
    if (frame.step !== null) {
      const row = frame.steps.operation.rows.find(each => each[2] === frame.step);
      parts.push(h("p", {}, `Step ${frame.step + 1}: `, h("b", {}, ...rich(row[1])), frame.steps.frames[frame.step].why ? " — " : "", ...rich(frame.steps.frames[frame.step].why)));
    }
    if (index >= 0 && index >= data.done - 1) parts.push(h("p", { class: "thp-error" }, h("b", {}, `✗ ${data.ops[index].line}: `), why));
    for (const [name, problem] of Object.entries(frame.broken)) parts.push(h("p", { class: "thp-error" }, h("b", {}, `✗ ${name.replaceAll("_", " ")}: `), problem));
    this.caption.replaceChildren(...parts);
  }

  // The operations of the branch; a click on one goes to it, which undoes or redoes what is between.
  drawMoves() {
    const { data } = this, start = h("li", { class: data.done === 0 ? "thp-here" : null }, h("button", { type: "button", click: () => this.go(0) }, "start"));
    const focused = this.moves.contains(document.activeElement);
    this.moves.replaceChildren(start, ...data.ops.map(({ line, result, failed, broken }, i) => {
      const stops = data.stopped?.[0] === i, says = stops ? "✗ stopped" : result && `→ ${result}`;
      const how = `${i + 1 === data.done ? "thp-here" : ""} ${i >= data.done ? "thp-later" : ""}`;
      return h("li", { class: how, "aria-current": i + 1 === data.done ? "step" : null },
        h("button", { type: "button", "aria-disabled": i >= data.reached, title: stops ? data.stopped[1] : null, click: () => this.go(i + 1) },
          h("code", {}, `${i + 1}. ${line}`), " ", h("span", { class: failed || stops ? "thp-error" : null }, says), broken ? h("b", { class: "thp-error" }, " ✗ breaks") : null));
    }));
    if (focused) focusOn(this.moves.querySelector(".thp-here")?.firstChild);
    this.scroll();
  }

  scroll() {
    const here = /** @type {HTMLElement} */ (this.moves.querySelector(".thp-here"));
    if (here && !isInSight(this.list, here)) center(this.list, here);
  }

  drawSteps() {
    const { steps, step } = this.frame(), shown = this.open && steps !== null;
    this.stepsButton.setAttribute("aria-expanded", `${Boolean(shown)}`);
    disable(steps === null, this.stepsButton);
    this.steps.hidden = !shown;
    if (!shown) return;
    const tree = callTree([steps.operation], steps.frames, 0, 0, number => this.ask("step", { step: number }));
    for (const { element, first, step: isStep } of tree.rows) {
      const why = isStep ? steps.frames[first].why : "";
      if (why) element.append(h("span", { class: "thp-why" }, " — ", ...rich(why)));
    }
    this.steps.replaceChildren(tree.list);
    const here = markTree(tree, step ?? steps.operation.last, Infinity);
    if (here && step !== null && !isInSight(this.list, here)) center(this.list, here);
  }

  drawWords() {
    if (this.details?.open) this.words.replaceChildren(wordsTable(this.frame().words));
  }

  // --- the form ----------------------------------------------------------------------------------------------------

  drawOps() {
    const { data } = this, kept = this.op.value, offers = Object.keys(data.offers);
    const group = (label, ops) => h("optgroup", { label }, ...ops.map(op => h("option", { value: op }, op)));
    this.op.replaceChildren(...(offers.length ? [group("makes sense now", offers)] : []), ...data.forms.map(({ title, ops }) => group(title, ops.map(({ op }) => op))));
    this.op.value = kept && (offers.includes(kept) || !offers.length) ? kept : offers.find(op => op === "write") ?? offers[0] ?? "mmap";
    this.drawFields(this.op.value === kept);
  }

  // The fields of the operation. With `keep`, what was typed stays, but for names and pages, which follow the state and the picture.
  drawFields(keep) {
    const { data } = this, form = data.forms.flatMap(({ ops }) => ops).find(({ op }) => op === this.op.value), old = keep ? this.values() : {};
    const offer = data.offers[form.op], follows = name => name in data.names || name in data.spot;
    const asked = field => field.required || Boolean(offer && field.name in offer && offer[field.name] !== field.default);
    const lead = form.fields.some(asked) ? null : form.fields[0];  // where any one field will do, the first is offered
    const needed = field => this.all || field === lead || asked(field);
    this.inputs = {};
    this.fields.replaceChildren(...form.fields.map(field => {
      const value = (!follows(field.name) && old[field.name]) || offer?.[field.name] || ((field.required || field === lead) && data.spot[field.name]) || field.default;
      return h("label", { hidden: !needed(field) }, `${field.name} `, this.inputs[field.name] = this.control(field, value));
    }));
    this.more.hidden = form.fields.every(field => field.required);
    this.more.setAttribute("aria-expanded", `${Boolean(this.all)}`);
    this.more.textContent = this.all ? "fewer" : "more";
    this.help.replaceChildren(h("code", {}, form.usage), ": ", ...rich(form.doc), offer || !this.live ? "" : " It makes no sense here and now.");
    this.help.title = this.help.textContent;
  }

  control(field, value) {
    const names = this.data.names[field.name], words = field.words.length ? field.words : names, title = field.right;
    if (!words?.length) return h("input", { type: "text", title, size: Math.max(4, value.length), autocomplete: "off", spellcheck: "false", disabled: !this.live, value });
    const all = [...(field.required || field.default ? [] : [""]), ...new Set([...words, ...(value ? [value] : [])]), ...(names ? [OTHER] : [])];
    const choose = event => {
      if (event.target.value !== OTHER) return;
      const typed = h("input", { type: "text", title, size: 8, autocomplete: "off", spellcheck: "false" });
      event.target.replaceWith(typed);
      this.inputs[field.name] = typed;
      typed.focus();
    };
    return h("select", { title, disabled: !this.live, change: choose }, ...all.map(word => h("option", { value: word, selected: word === value }, word || "–")));
  }

  values() {
    return Object.fromEntries(Object.entries(this.inputs ?? {}).map(([name, input]) => [name, input.value]));
  }

  // --- in the picture ----------------------------------------------------------------------------------------------

  clicked(event) {
    const row = event.target.closest("g.thp-spot");
    if (row) this.choose(row.id, 0);
  }

  // Choose a page of a process: the form turns to it, and a menu says what can be done there. Of what the row stands for, `number` says
  // through which process, and `page` which page, the first if left out.
  choose(row, number, page) {
    const spots = this.frame().places[row], { proc, region, first } = spots[number];
    if (this.busy) return;
    this.pending = this.live ? { row, number, spots } : null;
    this.ask("choose", { proc, region, start: `${page ?? first}` });
  }

  openMenu() {
    const { row, spots, number } = this.pending, { data } = this, at = this.row(row), spot = spots[number];
    if (!at) return;
    const item = (run, ...content) => h("button", { type: "button", role: "menuitem", tabindex: -1, click: run }, ...content);
    const { proc, start } = data.spot;
    const others = spots.flatMap(({ proc: other }, i) => (i === number ? [] : [" ", item(() => this.choose(row, i), `through ${other} instead`)]));
    const which = h("input", { type: "number", min: spot.first, max: spot.last, value: start, "aria-label": `One of ${pagesOf(spot)}`,
      change: event => { if (event.target.checkValidity()) this.choose(row, number, event.target.value); } });
    const does = data.menu.map(line => item(() => {
      this.closeMenu(true);
      this.ask("op", { op: line.split(" ")[0], fields: data.offers[line.split(" ")[0]] });
    }, h("code", {}, line)));
    const none = does.length ? [] : [h("p", {}, "Nothing can be done here now.")];
    this.menu.replaceChildren(h("p", {}, h("b", {}, `${proc}, ${pagesOf(spot)}`), ...(spot.first === spot.last ? [] : [": page ", which]), ...others), ...does, ...none,
      item(() => { this.closeMenu(false); this.op.focus(); }, "something else, with the form"));
    this.menu.setAttribute("aria-label", `What can be done with page ${start} of ${proc}`);
    this.menu.hidden = false;
    this.menuRow = row;
    for (const marked of this.picture.querySelectorAll(".thp-chosen")) marked.classList.remove("thp-chosen");
    at.classList.add("thp-chosen");
    const box = this.root.getBoundingClientRect(), { left, right, top } = at.getBoundingClientRect(), width = this.menu.offsetWidth;
    const x = right + width < box.right ? right + 4 : Math.max(box.left, left - width - 4);
    this.menu.style.left = `${x - box.left}px`;
    const lowest = Math.min(box.bottom, window.innerHeight - EDGE) - this.menu.offsetHeight - 4;
    this.menu.style.top = `${Math.max(0, Math.min(top, lowest) - box.top)}px`;
    focusOn(this.menu.querySelector(":scope > [role=menuitem]"));
  }

  closeMenu(focus) {
    if (this.menu.hidden) return;
    this.menu.hidden = true;
    if (focus) focusOn(this.row(this.menuRow) ?? this.picture);
  }

  // From one of the elements to the next in their order, round at the end.
  wander(elements, by) {
    const list = [...elements], at = list.indexOf(document.activeElement);
    focusOn(list.at(at < 0 ? (by > 0 ? 0 : -1) : (at + by) % list.length));
  }

  // JupyterLab would take these keys, so none of them leaves the widget.
  key(event) {
    const on = event.target, writing = on.matches("input"), typing = writing || on.matches("select"), control = event.ctrlKey || event.metaKey;
    const back = control && event.key.toLowerCase() === "z" && !event.shiftKey, again = control && /^[yz]$/i.test(event.key) && !back;
    const inMenu = this.menu.contains(on), row = on.closest(".thp-canvas g.thp-spot"), inPicture = this.picture.contains(on);
    const rows = inMenu ? this.menu.querySelectorAll("[role=menuitem]") : this.picture.querySelectorAll("g.thp-spot");
    const actions = {};
    if (!control && (inMenu || inPicture)) Object.assign(actions, { ArrowDown: () => this.wander(rows, 1), ArrowUp: () => this.wander(rows, -1) });
    if (!control && row) actions.Enter = actions[" "] = () => this.choose(row.id, 0);
    if (!control && on === this.list && this.open && this.data.done) Object.assign(actions, { ArrowRight: () => this.stepBy(1), ArrowLeft: () => this.stepBy(-1) });
    if (inMenu) actions.Escape = () => this.closeMenu(true);
    if (back) actions[event.key] = () => this.go(this.data.done - 1);
    if (again) actions[event.key] = () => this.go(this.data.done + 1);
    const action = writing || (typing && !control) ? null : actions[event.key];  // a field that is written in has an undo of its own
    if (action || !hasModifier(event)) this.take(event, action);
  }

  // The picture gets what is left of what can be seen at once; its place only grows, so that what is below rarely moves.
  layout() {
    const width = this.root.clientWidth, key = `${width} ${this.detail}`;
    if (this.fills) this.scroll();
    if (this.fills || !width || !this.box.last || key === this.laidOut) return;
    this.laidOut = key;
    if (width !== this.width) this.tall = LEAST;
    this.width = width;
    this.root.classList.toggle("thp-wide", width >= BESIDE);
    const above = this.above.reduce((sum, part) => sum + part.offsetHeight, this.caption.offsetHeight + 12);
    this.tall = Math.max(this.tall, this.box.size[1] * this.box.fit(width - 4, this.room() - above));
    this.set("picture", this.tall);
  }
}

export default mount(SandboxView);
