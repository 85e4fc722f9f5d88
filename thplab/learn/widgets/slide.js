// A slide of a lecture: its title, one screenful at a time, and where one is. In a notebook the slides whose cells have been run can be
// shown over the whole window, one after the other.

// --- the talk ------------------------------------------------------------------------------------------------------

/** The slides that are there, by lecture and number: each cell brings a module of its own, so they meet in the window. */
const talks = /** @type {any} */ (window).thplabTalks ??= new Map();

// The numbers of a lecture's slides that are there, in order.
function numbersOf(name) {
  return [...talks.get(name).keys()].sort((a, b) => a - b);
}

async function enlist(model) {
  const data = await unpack(model.get("packed"));
  if (!talks.has(data.name)) talks.set(data.name, new Map());
  talks.get(data.name).set(data.number, model);
}

// A lecture over the whole window. PageDown and PageUp, or the arrow keys, lead through all places of all slides.
class Talk {
  constructor(models, first) {
    this.models = models;
    this.number = first;
    this.stage = h("div", { class: "thp-talk-stage" });
    this.element = h("div", { class: "thp-talk", tabindex: -1, role: "dialog", "aria-modal": "true", "aria-label": "Lecture", "data-lm-suppress-shortcuts": true }, this.stage);
    this.element.addEventListener("keydown", event => this.key(event));
    this.element.addEventListener("thp-slide-move", event => void this.move(/** @type {CustomEvent<number>} */ (event).detail));
    this.close = null;
    this.notes = null;
    this.began = 0;
  }

  async start() {
    document.body.append(this.element);
    this.element.requestFullscreen?.().catch(() => {});  // a browser may want none: then it fills the window
    await this.show(this.number, 0);
  }

  /** @returns {HTMLElement} */
  get slide() {
    return this.stage.querySelector(".thp-slide");
  }

  async show(number, place) {
    this.close?.();
    this.number = number;
    const model = this.models[number];
    this.close = await slideWidget.render({ model, el: this.stage });
    this.slide.dispatchEvent(new CustomEvent("thp-place", { detail: place }));
    this.element.dataset.slide = `${number}`;
    this.element.focus({ preventScroll: true });
    await this.tellNotes(model);
  }

  async move(by) {
    const { place, last } = this.slide.dataset, there = Number(place) + by;
    if (there >= 0 && there <= Number(last)) this.slide.dispatchEvent(new CustomEvent("thp-place", { detail: there }));
    else if (this.models[this.number + by]) await this.show(this.number + by, by > 0 ? 0 : Infinity);
  }

  key(event) {
    if (hasModifier(event) || event.target.matches("input, textarea, select")) return;
    const move = { PageDown: 1, ArrowRight: 1, ArrowDown: 1, " ": 1, PageUp: -1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const jump = { Home: 0, End: this.models.length - 1 }[event.key];
    if (move) void this.move(move);
    else if (jump !== undefined) void this.show(jump, 0);
    else if (event.key === "." || event.key === "b") this.element.classList.toggle("thp-blank");
    else if (event.key === "s" || event.key === "n") void this.openNotes();
    else if (event.key === "Escape") this.end();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // What to say, in a window for the lecturer's own screen, with the time since the lecture began and what comes next.
  async openNotes() {
    this.notes = window.open("", "thplab-notes", "width=720,height=560");
    this.began ||= Date.now();
    await this.tellNotes(this.models[this.number]);
  }

  async tellNotes(model) {
    if (!this.notes || this.notes.closed) return;
    const data = await unpack(model.get("packed")), next = this.models[this.number + 1] && await unpack(this.models[this.number + 1].get("packed"));
    const { body } = this.notes.document, clock = h("p", {});
    this.notes.document.title = `Notes: ${data.lecture}`;
    body.style.cssText = "font: 20px/1.4 system-ui, sans-serif; margin: 16px;";
    body.replaceChildren(clock, h("h2", {}, `${data.id} ${data.title}`), ...data.notes.map(([name, text]) => h("p", {}, h("b", {}, `${name}: `), text)),
      h("p", {}, next ? `Next: ${next.id} ${next.title}` : "This is the last slide."));
    const tick = () => {
      if (!clock.isConnected || this.notes.closed) return;
      const seconds = Math.floor((Date.now() - this.began) / 1000);
      clock.textContent = `${Math.floor(seconds / 60)}:${`${seconds % 60}`.padStart(2, "0")} since the notes were opened; this slide takes ${data.minutes} minutes.`;
      setTimeout(tick, 1000);
    };
    tick();
  }

  end() {
    this.close?.();
    this.notes?.close();
    if (document.fullscreenElement === this.element) void document.exitFullscreen();
    this.element.remove();
  }
}

// --- the slide -----------------------------------------------------------------------------------------------------

/** @extends {View<{}>} */
class SlideView extends View {
  /** @param {SlideData} data @param {Model} model */
  constructor(data, model) {
    super(model, "slide", `Slide ${data.id}: ${data.title}`);
    this.data = data;
    this.votes = new Map();
    this.screens = new Map();
    this.children = new Map();
    this.root.dataset.last = `${data.places.length - 1}`;
    this.root.addEventListener("thp-place", event => this.show(/** @type {CustomEvent<number>} */ (event).detail));
    this.title = h("h2", {}, data.title);
    this.body = h("div", { class: "thp-screen" });
    this.where = h("span", { class: "thp-where" });
    this.back = this.button("back", "Back", () => this.leads(-1), icon(ICONS.back));
    this.on = this.button("on", "On", () => this.leads(1), icon(ICONS.step));
    const present = this.live ? this.button("present", "Present this lecture from here, over the whole window (Escape ends it)", () => this.present(), icon(ICONS.enlarge), "Present") : null;
    this.root.append(this.title, this.body, h("div", { class: "thp-slide-foot" }, h("span", { class: "thp-lecture-title" }, data.lecture), present, this.back, this.on, this.where));
  }

  async start() {
    this.show(this.model.get("place"));
    this.root.dispatchEvent(new CustomEvent("thp-slide-made", { bubbles: true }));
  }

  async follow() {
    if (this.model.get("place") !== this.at) this.show(this.model.get("place"));
  }

  get fills() {
    return false;
  }

  layout() {
    // In a cell as high as what can be seen; on a screen of its own as high as that.
    if (!this.root.closest(".thp-talk, .reveal")) this.set("slide", this.room());
  }

  keys(on) {
    if (this.root.closest(".thp-talk, .reveal") || on.matches("input")) return {};
    return { PageDown: () => this.move(1), PageUp: () => this.move(-1), a: () => this.reveal() };
  }

  // Of what a presenter's remote sends, the screen that the slide is on hears all.
  key(event) {
    if (!this.root.closest(".thp-talk, .reveal")) super.key(event);
    else if (event.key === "a" && !event.target.matches("input")) this.reveal();
  }

  present() {
    const numbers = numbersOf(this.data.name), models = numbers.map(number => talks.get(this.data.name).get(number));
    void new Talk(models, numbers.indexOf(this.data.number)).start();
  }

  move(by) {
    this.show(this.at + by);
  }

  // Where the slide stands on a screen of its own, that screen knows what comes after its last place.
  leads(by) {
    if (this.root.closest(".thp-talk, .reveal")) this.root.dispatchEvent(new CustomEvent("thp-slide-move", { bubbles: true, detail: by }));
    else this.move(by);
  }

  // Show a place, or the nearest that there is.
  show(wanted) {
    const { places, id, number, of } = this.data, last = places.length - 1;
    this.at = Math.max(0, Math.min(last, wanted));
    const { screen, stop } = places[this.at];
    this.root.dataset.place = `${this.at}`;
    this.title.classList.toggle("thp-hidden", screen === "card");
    const shown = this.screen(screen === "answer" ? "card" : screen);
    for (const each of this.body.children) each.classList.toggle("thp-away", each !== shown);
    if (screen === "card" || screen === "answer") this.drawCard(screen === "answer");
    else void this.stop(screen, stop);
    this.where.textContent = `${id} · ${number + 1} / ${of}` + (last ? ` · ${"●".repeat(this.at + 1)}${"○".repeat(last - this.at)}` : "");
    const alone = !this.root.closest(".thp-talk, .reveal");
    disable(alone && this.at === 0, this.back);
    disable(alone && this.at === last, this.on);
    this.tell("place", this.at);
  }

  // What a screen holds, made when it is first shown.
  screen(number) {
    if (!this.screens.has(number)) {
      const { table, widget } = number === "card" ? { table: null, widget: null } : this.data.screens[number];
      const element = number === "card" ? this.buildCard() : table ? tableScreen(table) : h("div", { class: "thp-child" });
      this.screens.set(number, element);
      this.body.append(element);
      if (typeof widget === "number") this.children.set(number, this.bring(widget, element));
    }
    return this.screens.get(number);
  }

  // Bring a widget into the page: that of a notebook, or one without Python.
  async bring(which, element) {
    if (!this.live) {
      const { kind, state } = this.data.widgets[which], id = `${this.id}-${which}`;
      element.append(h("div", { id }));
      await /** @type {any} */ (window).thplab[kind](id, state);
    } else {
      const manager = /** @type {any} */ (this.model).widget_manager;
      const child = await manager.get_model(this.model.get("children")[which].replace("IPY_MODEL_", ""));
      const view = await manager.create_view(child);
      element.append(view.el);
      this.views = [...(this.views ?? []), view];
    }
    await appears(element);
  }

  async stop(screen, frame) {
    await this.children.get(screen);
    if (frame === undefined || this.data.places[this.at].stop !== frame) return;
    this.screens.get(screen).querySelector(".thp-widget")?.dispatchEvent(new CustomEvent("thp-stop", { detail: frame }));
  }

  // --- the card ----------------------------------------------------------------------------------------------------

  buildCard() {
    const { question, choices } = this.data.card;
    this.choices = choices.map(([letter, text], number) => {
      const hands = h("input", { type: "number", min: 0, max: 999, "aria-label": `Hands for ${letter}`, placeholder: "hands", input: () => this.vote(number, hands.value) });
      return h("li", {}, h("b", { class: "thp-letter" }, letter), h("span", { class: "thp-choice-text" }, ...rich(text)), hands);
    });
    this.why = h("div", { class: "thp-because", "aria-live": "polite" });
    this.asker = this.button("reveal", "Show the answer (key a)", () => this.reveal(), "Answer");
    return h("div", { class: "thp-card" }, h("p", { class: "thp-asked" }, ...rich(question)), h("ol", {}, ...this.choices), this.why, this.asker);
  }

  vote(number, hands) {
    this.votes.set(number, Math.max(0, Math.floor(Number(hands)) || 0));
    if (this.revealed) this.drawCard(true);
  }

  reveal() {
    if (this.data.card && this.screens.has("card")) this.drawCard(!this.revealed);
  }

  drawCard(revealed) {
    this.revealed = revealed;
    const { right, why, slips, choices } = this.data.card, all = [...this.votes.values()].reduce((sum, hands) => sum + hands, 0);
    this.choices.forEach((item, number) => {
      item.classList.toggle("thp-right", revealed && number === right);
      item.classList.toggle("thp-wrong", revealed && number !== right);
      item.style.setProperty("--hands", `${all ? (100 * (this.votes.get(number) ?? 0)) / all : 0}%`);
    });
    const wrong = [...this.votes].filter(([number, hands]) => number !== right && hands > 0).sort(([, a], [, b]) => b - a)[0]?.[0];
    const slip = wrong === undefined ? null : slips[`${wrong}`];
    const told = revealed ? [h("p", {}, h("b", {}, `${choices[right][0]}. `), ...rich(why))] : [];
    if (revealed && slip) told.push(h("p", { class: "thp-slip" }, h("b", {}, `${choices[wrong][0]}, ${slip[0]}: `), ...rich(slip[1])));
    this.why.replaceChildren(...told);
    this.asker.classList.toggle("thp-away", revealed);
  }

  destroy() {
    super.destroy();
    for (const view of this.views ?? []) view.remove();
  }
}

/** @param {SlideTable} table */
function tableScreen({ columns, rows, below }) {
  const head = columns.some(Boolean) ? h("thead", {}, h("tr", {}, ...columns.map(text => h("th", { scope: "col" }, text)))) : null;
  const body = h("tbody", {}, ...rows.map(row => h("tr", {}, ...row.map((text, i) => h(i ? "td" : "th", i ? {} : { scope: "row" }, ...rich(text))))));
  return h("div", { class: rows.length ? "thp-rows" : "thp-sentence" }, rows.length ? h("table", {}, head, body) : null, below ? h("p", {}, ...rich(below)) : null);
}

// Until a widget is there.
function appears(element) {
  return new Promise(done => {
    const look = () => element.querySelector(".thp-widget") && done(null);
    const watch = new MutationObserver(() => { if (element.querySelector(".thp-widget")) { watch.disconnect(); done(null); } });
    watch.observe(element, { childList: true, subtree: true });
    look();
  });
}

const slideWidget = { ...mount(SlideView, "place"), initialize: ({ model }) => { void enlist(model); } };
export default slideWidget;
