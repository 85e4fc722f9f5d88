// The quiz: questions about where a scenario ends, one at a time. The state is shown once a question is answered.
// What it shows: thplab/learn/widgets/quiz.py. Only another set needs the kernel.

const MARKS = { open: ["·", "open", "not answered yet"], right: ["✓", "right", "right the first time"], wrong: ["✗", "wrong", "wrong the first time"], told: ["", "", "the answer is shown"] };

const TALL = 2.2;  // a picture that is not wider than this times its height stands beside the text in a lecture

/** @extends {PictureView<QuizAsks>} */
class QuizView extends PictureView {
  /** @param {QuizData} data @param {Model} model */
  constructor(data, model) {
    super(model, "quiz", data.told ? "Model solution" : "Check yourself");
    this.told = data.told;
    if (!this.live) this.quiet = this.offline;
    this.bookmark = new Bookmark(`quiz ${data.questions.map(({ id }) => id).join()}`, this.store);
    this.box = new PictureBox(this, "Picture of the state; the arrow keys change the question");
    const head = this.buildHead(), bar = this.buildBar(), body = this.buildBody();
    if (this.lecture) this.root.append(bar, body);
    else this.root.append(head, bar, body, this.buildWords());
    this.load(data);
  }

  get offline() {
    return "Another set needs Python: run this notebook.";
  }

  get boxes() {
    return this.box ? [this.box] : [];
  }

  // The set that one had the last time, Python makes again.
  async start() {
    await super.start();
    if (this.lecture) return;
    const kept = Number(this.bookmark.place);
    this.started = true;
    if (this.data.more && kept > this.model.get("seed")) this.askLater("another", { seed: kept });
  }

  // --- parts -------------------------------------------------------------------------------------------------------

  buildHead() {
    this.kernel = h("span", { class: "thp-chip" });
    this.geometry = h("span", { class: "thp-chip" });
    this.score = h("b", { class: "thp-score", role: "status" });
    return h("div", { class: "thp-head" }, h("span", { class: "thp-name" }, ...(this.told
      ? [h("b", {}, "Model solution"), "  What the kernel does"] : [h("b", {}, "Check yourself"), "  What will the kernel do?"])),
      this.buildDetail(), this.kernel, this.geometry, this.score);
  }

  buildBar() {
    const button = (name, run, ...content) => h("button", { type: "button", class: `thp-${name}`, click: run }, ...content);
    this.backButton = button("back", () => this.go(this.at - 1), icon(ICONS.back), "Previous");
    this.nextButton = button("next-question", () => this.go(this.at + 1), "Next", icon(ICONS.step));
    this.anotherButton = button("another", () => this.ask("another", { seed: this.model.get("seed") + 1 }, "Making another set…"), "Another set");
    this.list = h("div", { role: "group", class: "thp-list", "aria-label": "Questions" });
    this.says.id = `${this.id}-says`;
    disable(!this.live, this.anotherButton);
    if (!this.live) this.anotherButton.setAttribute("aria-describedby", this.says.id);
    return h("div", {}, h("div", { class: "thp-bar", role: "toolbar", "aria-label": "Questions of this set" },
      this.backButton, this.nextButton, this.list, this.anotherButton, this.lecture ? this.kernel : null), this.lecture ? null : this.says);
  }

  buildBody() {
    this.ops = h("ol", { class: "thp-ops", "aria-label": "Operations" });
    this.panel = h("div", { class: "thp-questions", "aria-live": "polite" });
    this.ledger = h("div", { class: "thp-ledger", role: "group", "aria-label": "Counters and who holds them", tabindex: 0 });
    return h("div", { class: "thp-body" }, h("div", { role: "group", class: "thp-does", "aria-label": "What happens" }, h("h4", { role: "presentation" }, "What happens"), this.ops),
      h("div", { class: "thp-ask" }, this.panel, this.lecture ? this.says : null), this.box.frame, this.lecture ? null : this.ledger);
  }

  // --- going -------------------------------------------------------------------------------------------------------

  // A set of questions, at its first one.
  /** @param {QuizData} data */
  load(data) {
    this.say(this.quiet);
    this.data = data;
    this.questions = new Questions(data.questions, this);
    this.anotherButton.hidden = !data.more;
    this.tries = new Map();  // later answers, which are not kept and do not score; null while one is asked for
    this.box.load(data.pictures);
    this.marks = data.questions.map((_, number) => h("button", { type: "button", class: "thp-mark", click: () => this.go(number) }));
    this.list.replaceChildren(...this.marks);
    this.at = 0;
    this.laidOut = "";
    this.show();
    this.layout();
    this.publish();
  }

  go(wanted) {
    const at = Math.max(0, Math.min(wanted, this.data.questions.length - 1));
    if (at === this.at) return;
    this.at = at;
    this.show();
  }

  // The first answer to a question is kept and scores; what comes later is practice.
  commit(question, text) {
    if (this.questions.yours(question) === null) this.questions.answer(question, text);
    else this.tries.set(question.id, text);
    this.show();
    focusOn(this.nextButton);
    this.publish();
  }

  tryAgain(question) {
    this.tries.set(question.id, null);
    this.show();
    focusOn(this.panel.querySelector("input, button"));
  }

  // The answer to show; null while the question is asked.
  latest(question) {
    if (this.told) return question.actual;
    return this.tries.has(question.id) ? this.tries.get(question.id) : this.questions.yours(question);
  }

  // The word to Python.
  publish() {
    this.tell("results", this.questions.results());
  }

  keys() {
    return { ArrowRight: () => this.go(this.at + 1), ArrowLeft: () => this.go(this.at - 1), Home: () => this.go(0), End: () => this.go(Infinity) };
  }

  key(event) {
    const inside = this.panel.contains(event.target);
    super.key(event);
    if (inside && !event.target.isConnected) focusOn(this.panel.querySelector("input, button"));
  }

  // --- showing -----------------------------------------------------------------------------------------------------

  show() {
    const { list } = this.questions, question = list[this.at], told = this.latest(question) !== null;
    this.kernel.textContent = `kernel: ${question.kernel}`;
    this.geometry.textContent = `geometry: ${question.geometry.split(":")[0]}`;
    this.geometry.title = question.geometry;
    this.ops.replaceChildren(...this.operations(question));
    this.panel.replaceChildren(...(told ? this.result(question, this.latest(question)) : this.form(question)));
    this.panel.classList.toggle("thp-asking", !told);
    this.drawState(question, told);
    this.drawMarks();
    this.drawWords();
    disable(this.at === 0, this.backButton);
    disable(this.at === list.length - 1, this.nextButton);
    this.root.dataset.question = `${this.at}`;
    this.root.dataset.seed = this.model.get("seed");
    if (this.started) this.bookmark.place = `${this.model.get("seed")}`;
  }

  operations(question) {
    return question.operations.map(([label, does]) => h("li", {}, h("code", {}, label), h("span", {}, ` ${does}`)));
  }

  form(question) {
    const number = `${this.questions.list.indexOf(question) + 1}. `;
    return [questionForm(question, text => this.commit(question, text), number, "Your answer")];
  }

  result(question, yours) {
    if (this.told) return [questionTold(question)];
    const first = this.questions.yours(question);
    const again = h("button", { type: "button", class: "thp-again", click: () => this.tryAgain(question) }, "Try again");
    const note = this.tries.has(question.id) ? `Not scored: your first answer was ${first}.` : "A further answer does not score.";
    return [questionResult(question, yours), h("div", { class: "thp-tools" }, again, h("span", { class: "thp-waiting" }, note))];
  }

  drawState(question, told) {
    this.root.classList.toggle("thp-told", told);
    this.box.frame.hidden = this.ledger.hidden = !told;
    this.ledger.replaceChildren();
    if (!told) return;
    this.box.which = this.at;
    this.box.show(0, `The state after ${question.operations.at(-1)[0]}`,
      "Page tables and pages in the end; what the last operation changed is marked. The state in words is below.");
    this.root.classList.toggle("thp-tall", this.box.size[0] < TALL * this.box.size[1]);
    if (!this.fills) this.box.fit(this.root.clientWidth - 4, this.room() / 2);
    this.ledger.replaceChildren(ledgerTable(question.ledger));
    this.ledger.scrollTop = 0;
  }

  drawMarks() {
    const { list } = this.questions;
    this.marks.forEach((mark, number) => {
      const question = list[number], state = this.told ? "told" : this.questions.yours(question) === null ? "open" : this.questions.isRight(question) ? "right" : "wrong";
      const [symbol, word, long] = MARKS[state];
      mark.replaceChildren(h("b", {}, `${number + 1}`), ` ${symbol} ${word}`);
      mark.dataset.state = state;
      mark.setAttribute("aria-label", `${number + 1} ${symbol} ${word}: question ${number + 1} of ${list.length}, ${long}`);
      markHere(mark, number === this.at);
    });
    this.score.hidden = this.told;
    this.score.textContent = `right the first time: ${list.filter(question => this.questions.isRight(question)).length} of ${list.length}`;
  }

  drawWords() {
    if (!this.details?.open) return;
    const question = this.questions.list[this.at], told = this.latest(question) !== null;
    this.words.replaceChildren(told ? wordsTable(question.words) : h("p", {}, "The state is told when you have answered."));
  }

  // --- sizes -------------------------------------------------------------------------------------------------------

  // Every part gets the height that its largest content in this set needs, so that no answer moves anything. In a lecture the picture
  // comes with the answer, and says what the operations did.
  layout() {
    const width = this.root.clientWidth, key = `${width} ${this.detail}`;
    if (this.fills || !width || !this.questions || key === this.laidOut) return;
    this.laidOut = key;
    const { list } = this.questions;
    if (this.box.last) this.box.fit(width - 4, this.room() / 2);
    this.set("ops", greatestHeight(this.ops, list.map(question => this.operations(question))));
    const results = question => [question.actual, ...Object.keys(question.slips)].map(answer => this.result(question, answer));
    this.set("questions", greatestHeight(this.panel, list.flatMap(question => [this.form(question), ...results(question)])));
  }
}

export default mount(QuizView);
