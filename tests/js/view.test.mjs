// The conversation, what mount() keeps in the page, keys and playing: view.js.

import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { model, pack, page, plain, settled } from "./page.mjs";

// A view that writes down what happens to it.
const VIEW = `
  log = [];
  TestView = class extends View {
    constructor(data, model) {
      super(model, "test", "Test");
      if (data.bad) throw new Error("no such thing");
      log.push("made " + data.name);
      this.data = data;
    }
    get offline() { return "No Python here."; }
    start() { log.push("started"); }
    load(data) {
      if (data.bad) throw new Error("no such thing");
      log.push("loaded " + data.name);
    }
    async follow(trait) { log.push("followed " + trait + " " + this.model.get(trait)); }
    answered(answer) { log.push("answered " + answer.says); }
    keys(on, runs) { return { ArrowRight: () => log.push("right"), ...(runs ? {} : { " ": () => log.push("space") }) }; }
    destroy() { super.destroy(); log.push("gone"); }
  };`;

let at, mine, view;

beforeEach(() => {
  at = page();
  at.names[VIEW];
  mine = model({ packed: "" });
  view = new at.names.TestView({ name: "one" }, mine);
});

const says = () => [view.says.textContent, view.says.classList.contains("thp-error")];

describe("asking", () => {
  test("a question has a number, and one is asked at a time", () => {
    assert.equal(view.ask("move", { cpu: 1 }, "Moving…"), true);
    assert.deepEqual(plain(mine.asked), [{ number: view.asked, do: "move", with: { cpu: 1 } }]);
    assert.ok(view.busy && view.root.getAttribute("aria-busy") === "true");
    assert.deepEqual(says(), ["Moving…", false]);
    assert.equal(view.ask("move", { cpu: 0 }), false);
    view.hear({ to: view.asked, says: "Moved.", error: false, running: false });
    assert.deepEqual(says(), ["Moved.", false]);
    assert.ok(!view.busy && view.root.getAttribute("aria-busy") === null && at.timers.size === 0);
    assert.equal(view.ask("move", { cpu: 0 }), true);
    assert.equal(mine.asked[1].number, mine.asked[0].number + 1);
    assert.deepEqual(plain(at.names.log), ["made one", "answered Moved."]);
  });

  test("an error is marked, until something else is said", () => {
    view.ask("move", {});
    view.hear({ to: view.asked, says: "cpu is 7; expected 0 or 1", error: true, running: false });
    assert.deepEqual(says(), ["cpu is 7; expected 0 or 1", true]);
    view.ask("move", {}, "Moving…");
    assert.deepEqual(says(), ["Moving…", false]);
  });

  test("the answer to another view is said, but ends no waiting", () => {
    view.hear({ to: 5, says: "Somebody else moved.", error: false, running: false });
    assert.deepEqual(says(), ["Somebody else moved.", false]);
    view.ask("move", {}, "Moving…");
    view.hear({ to: 5, says: "Somebody else moved.", error: false, running: false });
    assert.deepEqual(says(), ["Moving…", false]);
    assert.ok(view.busy);
    assert.deepEqual(plain(at.names.log), ["made one"]);
  });

  test("Python that does not answer frees the view, and is heard when it does after all", () => {
    view.ask("find", {}, "Looking…");
    const { asked } = view;
    at.ring();
    assert.deepEqual(says(), ["Python has not answered yet: it is busy, or has ended.", true]);
    assert.ok(!view.busy);
    view.hear({ to: asked, says: "Found.", error: false, running: false });
    assert.deepEqual(says(), ["Found.", false]);
  });

  test("what is begun goes on: two answers to one question", () => {
    view.ask("run", {});
    const { asked } = view;
    view.hear({ to: asked, says: "Running…", error: false, running: true });
    assert.ok(view.busy && at.timers.size === 0);
    assert.equal(view.ask("run", {}), false);
    view.hear({ to: asked, says: "Performed.", error: false, running: false });
    assert.ok(!view.busy);
    assert.deepEqual(says(), ["Performed.", false]);
  });

  test("without Python it says so, and nothing is running", () => {
    const alone = new at.names.TestView({ name: "alone" }, model({ packed: "" }, false));
    assert.equal(alone.ask("move", {}), false);
    assert.equal(alone.says.textContent, "No Python here.");
    alone.hear({ to: 0, says: "", error: false, running: true });
    assert.ok(!alone.busy);
  });

  test("where nothing is said, something quiet may stand", () => {
    view.quiet = "Ask me.";
    view.hear({ to: 0, says: "", error: false, running: false });
    assert.deepEqual(says(), ["Ask me.", false]);
  });
});

describe("in the page", () => {
  const put = async traits => {
    const put = { el: at.element("div"), model: model({ packed: pack({ name: "one" }), step: 0, ...traits }) };
    put.end = await at.names.mount(at.names.TestView, "step").render(put);
    at.names["log.length = 0"];
    return put;
  };
  const log = () => plain(at.names.log);

  test("a view is made from what is packed, and stands in the element alone", async () => {
    at.names["log.length = 0"];
    const el = at.element("div");
    el.append("a still picture");
    await at.names.mount(at.names.TestView).render({ el, model: model({ packed: pack({ name: "first" }) }) });
    assert.deepEqual(log(), ["made first", "started"]);
    assert.deepEqual(el.childNodes.map(child => child.className), ["thp-widget thp-test"]);
  });

  test("what Python changes is loaded and followed, and then its answer is heard", async () => {
    const { model } = await put();
    const shown = [];
    at.context.heard = answer => shown.push([...log(), answer.says]);
    at.names["TestView.prototype.hear = heard"];
    model.update({ packed: pack({ name: "two" }), step: 3, answer: { to: 7, says: "Done.", error: false, running: false } });
    await settled();
    assert.deepEqual(log(), ["loaded two", "followed step 3"]);
    assert.deepEqual(shown, [["loaded two", "followed step 3", "Done."]]);
    model.update({ step: 4 });
    await settled();
    assert.deepEqual(log().slice(2), ["followed step 4"]);
    assert.equal(shown.length, 1);
  });

  test("what the view tells Python itself does not come back to it", async () => {
    at.names["TestView.prototype.start = function () { stepped = () => this.tell('step', 2); }"];
    const { model } = await put();
    at.names["stepped()"];
    await settled();
    assert.equal(model.state.step, 2);
    model.update({ step: 3 });
    await settled();
    assert.deepEqual(log(), ["followed step 3"]);
  });

  test("of what comes while something is unpacked only the last is shown, with its own answer", async () => {
    const { model } = await put();
    const unpacked = [];
    at.context.waiting = unpacked;
    at.names["unpack = packed => new Promise(done => waiting.push(() => done(JSON.parse(packed))))"];
    model.update({ packed: pack({ name: "two" }), answer: { to: 1, says: "two", error: false, running: false } });
    await settled();
    model.update({ packed: pack({ name: "three" }), answer: { to: 2, says: "three", error: false, running: false } });
    unpacked.shift()();
    await settled();
    assert.deepEqual([log(), unpacked.length], [[], 1]);
    unpacked.shift()();
    await settled();
    assert.deepEqual(log(), ["loaded three"]);
  });

  test("what cannot be shown is told, and what comes after it is shown", async () => {
    at.names["TestView.prototype.start = function () { shown = this; }"];
    const { model } = await put();
    at.names["shown.ask('move', {})"];
    model.update({ packed: pack({ bad: true }), answer: { to: at.names["shown.asked"], says: "Done.", error: false, running: false } });
    await settled();
    const { says } = at.names.shown;
    assert.equal(says.textContent, "This cannot be shown (Error: no such thing).");
    assert.ok(says.classList.contains("thp-error") && !at.names["shown.busy"] && at.errors.length === 1);
    model.update({ packed: pack({ name: "three" }), answer: { to: 0, says: "Fine.", error: false, running: false } });
    await settled();
    assert.equal(says.textContent, "Fine.");
    assert.deepEqual(log(), ["answered Done.", "loaded three"]);
  });

  test("a view that cannot be made leaves what stood there, with a line that says why", async () => {
    const el = at.element("div");
    el.append("a still picture");
    for (const packed of [pack({ bad: true }), "not packed at all"]) {
      el.replaceChildren("a still picture");
      await at.names.mount(at.names.TestView).render({ el, model: model({ packed }) });
      assert.equal(el.childNodes[0], "a still picture");
      assert.match(el.childNodes[1].textContent, /^This cannot be shown \(.*\)\.$/);
      assert.equal(el.childNodes[1].getAttribute("role"), "alert");
    }
  });

  test("in the end nothing listens any more", async () => {
    const { model, end } = await put();
    model.update({ packed: pack({ name: "late" }) });
    end();
    await settled();
    assert.deepEqual(log(), ["gone"]);
    const other = await put();
    other.model.update({ step: 9 });
    other.end();
    await settled();
    assert.deepEqual(log(), ["gone"]);
    assert.deepEqual(model.heard, []);
  });

  test("a page of its own has the traits in it", async () => {
    const el = at.element("div");
    at.found["#thp-1:not([data-ready])"] = el;
    await at.names.alone(at.names.mount(at.names.TestView, "step"), "thp-1", { packed: pack({ name: "alone" }), answer: { to: 0, says: "Loaded.", error: false, running: false } });
    assert.equal(el.dataset.ready, "");
    assert.equal(el.firstChild.className, "thp-widget thp-test");
    assert.deepEqual(plain(at.names.log).at(-2), "made alone");
  });
});

describe("keys", () => {
  const press = (key, on = "", more = {}) => {
    const event = { key, done: [], target: { matches: selector => selector.split(", ").includes(on) }, ...more };
    event.preventDefault = () => event.done.push("prevented");
    event.stopPropagation = () => event.done.push("stopped");
    at.names["log.length = 0"];
    view.key(event);
    return [...plain(at.names.log), ...event.done];
  };

  test("a key with an action carries it out and does not leave the widget", () => {
    assert.deepEqual(press("ArrowRight"), ["right", "prevented", "stopped"]);
    assert.deepEqual(press(" "), ["space", "prevented", "stopped"]);
  });

  test("keys without an action do not leave it either", () => {
    for (const key of ["ArrowUp", "a", "x"]) assert.deepEqual(press(key), ["stopped"]);
  });

  test("where somebody types, keys are for the field", () => {
    for (const on of ["input[type=text]", "select"]) assert.deepEqual(press("ArrowRight", on), ["stopped"]);
    assert.deepEqual(press("a", "select"), ["stopped"]);
  });

  test("the space bar and the enter key are for what they set off", () => {
    for (const key of [" ", "Enter"]) assert.deepEqual(press(key, "button"), ["stopped"]);
    assert.deepEqual(press("ArrowRight", "button"), ["right", "prevented", "stopped"]);
  });

  test("keys with a modifier are for the browser", () => {
    for (const modifier of ["ctrlKey", "metaKey", "altKey", "shiftKey"]) assert.deepEqual(press("ArrowRight", "", { [modifier]: true }), []);
  });
});

test("playing takes steps as long as they go on, each after its pace", () => {
  const steps = [];
  const player = new at.names.Player("Play all", "Play", () => steps.push(steps.length) < 3, () => 100 * (steps.length + 1));
  const shows = () => [player.button.title, player.button.childNodes[1]];
  assert.deepEqual(shows(), ["Play all", "Play"]);
  player.button.click();
  assert.deepEqual([steps.length, [...at.timers.values()][0][1], ...shows()], [1, 200, "Pause", "Pause"]);
  at.ring();
  at.ring();
  assert.deepEqual([steps.length, at.timers.size, ...shows()], [3, 0, "Play all", "Play"]);
  steps.length = 0;
  player.toggle();
  player.toggle();
  assert.deepEqual([steps.length, at.timers.size, ...shows()], [1, 0, "Play all", "Play"]);
});
