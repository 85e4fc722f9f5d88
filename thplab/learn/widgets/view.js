// What the views of all widgets have in common, and how a view comes into a page: a widget's own file ends by exporting mount(ITS_VIEW).

const ICONS = {
  step: "M4 2l9 6-9 6z", back: "M12 2l-9 6 9 6z", first: "M3 2h2v12H3zM14 2L6 8l8 6z", last: "M11 2h2v12h-2zM2 2l8 6-8 6z",
  play: "M4 3l8 5-8 5z", pause: "M4 2h3v12H4zM9 2h3v12H9z",
  enlarge: "M2 2h5v2H4v3H2zM9 2h5v5h-2V4H9zM2 9h2v3h3v2H2zM12 9h2v5H9v-2h3z",
  undo: "M7 3v3h3a4 4 0 0 1 0 8H5v-2h5a2 2 0 0 0 0-4H7v3L2 7z", redo: "M9 3v3H6a4 4 0 0 0 0 8h5v-2H6a2 2 0 0 1 0-4h3v3l5-4z",
};
const REMOTE = ["PageDown", "PageUp", ".", "b"];  // what the keys of a presenter's remote send
const ANSWER = 20000;  // milliseconds that an answer of Python may take

// The number of the last question. Another view, and the same one in another page, begins elsewhere.
let lastNumber = Math.floor(Math.random() * 2 ** 40);

function hasModifier(event) {
  return event.ctrlKey || event.metaKey || event.altKey || event.shiftKey;
}

// JupyterLab looks at keys before any widget, and leaves those alone that come from an element with this attribute.
window.addEventListener("keydown", event => {
  const widget = /** @type {Element} */ (event.target)?.closest?.(".thp-widget");
  widget?.toggleAttribute("data-lm-suppress-shortcuts", !hasModifier(event) && !/^(Escape|F\d+)$/.test(event.key));
}, true);

/**
 * What the views of all widgets have. One is made from what Python packed, put into the page, and then told what changes: load() what
 * is shown, follow() the traits that mount() was given, hear() an answer, layout() the width.
 * @template Questions what the view can ask: name -> fields
 */
class View {
  /**
   * @param {Model} model
   * @param {string} kind
   * @param {string} label
   */
  constructor(model, kind, label) {
    this.model = model;
    this.live = typeof model.send === "function";
    this.lecture = Boolean(model.get("lecture"));
    this.store = new Store(model.get("learner"));
    this.id = `thp-${kind}-${Math.random().toString(36).slice(2)}`;  // the same widget may be in a page twice
    this.root = h("div", { class: `thp-widget thp-${kind}`, id: this.id, role: "group", "aria-label": label, keydown: event => this.key(event) });
    this.root.classList.toggle("thp-lecture", this.lecture);
    this.root.classList.toggle("thp-fills", this.fills);
    this.says = h("p", { class: "thp-says", "aria-live": "polite" });
    this.quiet = "";  // what is said where nothing is
    this.seen = new Map();
    this.asked = 0;  // the number of the question that is not answered yet
    /** @type {(() => void) | null} */
    this.waiting = null;  // what is asked as soon as nothing else is
    this.running = false;
    this.timer = 0;
  }

  async start() {}

  load(_data) {}

  async follow(_trait) {}

  layout() {}

  // Does it fill what can be seen at once, with a place for each part by its styles, and pictures in what is left? It does in a lecture.
  get fills() {
    return this.lecture;
  }

  // Lay out what is shown, whenever the room for it may have changed.
  place() {
    if (this.fills) this.set("room", this.room());
    this.layout();
  }

  drawWords() {}

  destroy() {
    clearTimeout(this.timer);
  }

  // --- the conversation --------------------------------------------------------------------------------------------

  // What is said where something is asked and no Python runs.
  get offline() {
    return "";
  }

  get busy() {
    return this.asked !== 0 || this.running;
  }

  /**
   * Ask Python, one question at a time, so that clicks do not stack. Answers whether it was asked.
   * @template {keyof Questions & string} What
   * @param {What} what
   * @param {Questions[What]} fields
   */
  ask(what, fields, told = "") {
    if (!this.live) this.say(this.offline);
    if (!this.live || this.busy) return false;
    this.asked = lastNumber += 1;
    this.timer = setTimeout(() => {
      this.asked = 0;
      this.drawBusy();
      this.say("Python has not answered yet: it is busy, or has ended.", true);
    }, ANSWER);
    this.drawBusy();
    this.say(told);
    this.model.send({ number: this.asked, do: what, with: /** @type {any} */ (fields) });
    return true;
  }

  /**
   * Ask Python as soon as nothing else is being asked; of several such questions, the last.
   * @template {keyof Questions & string} What
   * @param {What} what
   * @param {Questions[What]} fields
   */
  askLater(what, fields) {
    this.waiting = null;
    if (this.live && !this.ask(what, fields)) this.waiting = () => this.askLater(what, fields);
  }

  /**
   * Python's answer. It may be to another view of the widget, which does not end the waiting of this one.
   * @param {Answer} answer
   */
  hear(answer) {
    const mine = this.asked !== 0 && answer.to === this.asked;
    this.running = this.live && answer.running;
    if (mine) {
      clearTimeout(this.timer);
      this.asked = 0;
    }
    this.drawBusy();
    if (!this.asked) this.say(answer.says || this.quiet, answer.error);
    if (mine) this.answered(answer);
    this.waiting?.();
  }

  /** @param {Answer} _answer to the question that this view has asked */
  answered(_answer) {}

  say(text, error = false) {
    this.says.textContent = text;
    this.says.classList.toggle("thp-error", error);
  }

  drawBusy() {
    if (this.busy) this.root.setAttribute("aria-busy", "true");
    else this.root.removeAttribute("aria-busy");
  }

  // The word to Python, which keeps it in a trait.
  tell(trait, value) {
    this.seen.set(trait, value);
    if (this.model.get(trait) === value) return;
    this.model.set(trait, value);
    this.model.save_changes();
  }

  // --- keys --------------------------------------------------------------------------------------------------------

  // The actions of keys on an element; `runs` says whether the space bar and the enter key set it off themselves.
  keys(_on, _runs) {
    return {};
  }

  key(event) {
    if (hasModifier(event)) return;
    const on = event.target, typing = on.matches("input[type=text], select"), runs = on.matches("button, summary, input[type=checkbox]");
    this.take(event, typing ? null : this.keys(on, runs)[event.key]);
  }

  // Carry out the action of a key, if it has one. JupyterLab would cut the cell at an x and insert one at a b, so no key leaves the widget
  // without a modifier, but for those that lead out of it; in a lecture those of a presenter's remote, too, unless they are typed.
  take(event, action) {
    if (action) {
      action();
      event.preventDefault();
    }
    const typed = event.target.matches("select") || (event.target.matches("input[type=text], input[type=number]") && event.key.length === 1);
    const leaves = /^(Tab|Escape|F\d+)$/.test(event.key) || (this.lecture && !typed && REMOTE.includes(event.key));
    if (action || !leaves) event.stopPropagation();
  }

  // --- parts -------------------------------------------------------------------------------------------------------

  button(name, label, run, ...content) {
    return h("button", { type: "button", class: `thp-${name}`, "aria-label": label, title: label, click: run }, ...content);
  }

  // Buttons to the next one, the one before, the first and the last; `names` is what they are called.
  buildSteps(names, next, back, first, last) {
    this.stepButton = this.button("step", names[0], next, "Step", icon(ICONS.step));
    this.backButton = this.button("back", names[1], back, icon(ICONS.back), "Back");
    this.firstButton = this.button("first", names[2], first, icon(ICONS.first));
    this.lastButton = this.button("last", names[3], last, icon(ICONS.last));
    return [this.stepButton, this.backButton, this.firstButton, this.lastButton];
  }

  // Where one stands, from 0 to `last`: buttons that lead nowhere are disabled.
  drawSteps(at, last) {
    disable(at === 0, this.backButton, this.firstButton);
    disable(at === last, this.stepButton, this.lastButton);
  }

  // A button that copies what text() answers, and says whether that worked.
  copyButton(label, title, text, otherwise = () => {}) {
    const said = h("span", {}, label);
    return this.button("copy", `${label}: ${title}`, async () => {
      const copied = await copy(text());
      said.textContent = copied ? "copied" : "not allowed here";
      if (!copied) otherwise();
      setTimeout(() => { said.textContent = label; }, 1500);
    }, said);
  }

  // What the pictures show, in words: drawWords() draws them while they are open.
  buildWords(title = "The state in words") {
    this.words = h("div", { class: "thp-text", tabindex: 0 });
    this.details = h("details", { class: "thp-words", toggle: () => this.drawWords() }, h("summary", {}, title), this.words);
    return this.details;
  }

  // The height that can be seen at once: that of the box that scrolls, which in a notebook is less than the window.
  room() {
    let box = (this.root.closest(".jp-Cell") ?? this.root).parentElement;  // the boxes of a cell grow with what they hold
    while (box && !(/auto|scroll/.test(getComputedStyle(box).overflowY) && box.clientHeight)) box = box.parentElement;
    return Math.max(480, Math.min(box?.clientHeight ?? Infinity, window.innerHeight) - (this.fills ? 8 : 16));
  }

  set(name, pixels) {
    this.root.style.setProperty(`--${name}`, `${Math.floor(pixels)}px`);
  }
}

// Plays: takes a step, and as long as step() answers that it goes on, another one after pace() milliseconds.
class Player {
  constructor(label, word, step, pace) {
    this.label = label;
    this.word = word;
    this.step = step;
    this.pace = pace;
    this.timer = 0;
    this.button = h("button", { type: "button", class: "thp-play", click: () => this.toggle() });
    this.draw();
  }

  toggle() {
    if (this.timer) this.pause();
    else this.tick();
  }

  tick() {
    this.timer = 0;
    if (this.step()) this.timer = setTimeout(() => this.tick(), this.pace());
    this.draw();
  }

  pause() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.draw();
  }

  draw() {
    const playing = this.timer !== 0, label = playing ? "Pause" : this.label;
    if (this.button.title === label) return;
    this.button.replaceChildren(icon(playing ? ICONS.pause : ICONS.play), playing ? "Pause" : this.word);
    for (const name of ["aria-label", "title"]) this.button.setAttribute(name, label);
  }
}

// --- into the page -------------------------------------------------------------------------------------------------

// A widget as anywidget takes it: brings a view of this kind into an element and keeps it as the model is. Of what changes, one thing
// after the other is shown, and of what comes while something is unpacked only the last. The view follows `traits`, besides what is
// packed and the answers. What goes wrong is told where the view stands.
function mount(Kind, ...traits) {
  return {
    async render({ model, el }) {
      let view = null, shown = null, heard = null, gone = false, turn = Promise.resolve();
      const place = () => view?.place(), watch = new ResizeObserver(place);
      const begin = async data => {
        view = new Kind(data, model);
        el.replaceChildren(view.root);
        for (const trait of traits) view.seen.set(trait, model.get(trait));
        await view.start();
        view.place();
        watch.observe(view.root);
        window.addEventListener("resize", place);
      };
      // Answers whether what is packed now is shown, and not something older.
      const bring = async () => {
        const packed = model.get("packed");
        if (packed !== shown) {
          shown = packed;  // also if it fails: it would fail again
          const data = await unpack(packed);
          if (gone || packed !== model.get("packed")) {
            shown = null;
            return false;
          }
          if (view) view.load(data);
          else await begin(data);
        }
        for (const trait of view ? traits : []) {
          if (view.seen.get(trait) === model.get(trait)) continue;
          view.seen.set(trait, model.get(trait));
          await view.follow(trait);
        }
        return true;
      };
      const show = async () => {
        let wrong = null;
        try {
          if (gone || !(await bring())) return;
        } catch (error) {
          console.error(error);
          wrong = `This cannot be shown (${error}).`;
        }
        const answer = model.get("answer");
        if (view && answer !== heard) view.hear(heard = answer);
        if (wrong && view) view.say(wrong, true);
        else if (wrong) el.append(h("p", { class: "thp-error", role: "alert" }, wrong));
      };
      const next = () => turn = turn.then(show);
      const events = ["packed", "answer", ...traits].map(trait => `change:${trait}`);
      for (const event of events) model.on(event, next);
      await next();
      return () => {
        gone = true;
        for (const event of events) model.off(event, next);
        watch.disconnect();
        window.removeEventListener("resize", place);
        view?.destroy();
      };
    },
  };
}

// A widget in a page of its own, without Python: `state` has its traits. The same one twice in a page has its element twice, and takes one.
function alone(widget, id, state) {
  const model = { get: key => state[key], set: (key, value) => { state[key] = value; }, save_changes() {}, on() {}, off() {} };
  const el = /** @type {HTMLElement} */ (document.querySelector(`#${id}:not([data-ready])`));
  el.dataset.ready = "";
  return widget.render({ model, el });
}
