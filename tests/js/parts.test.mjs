// Routines, questions, what must hold: parts.js. The real kernel beside the simulator: comparison.js.

import assert from "node:assert/strict";
import { test } from "node:test";
import { page, plain } from "./page.mjs";

// routine a() with step 1, b() inside it with steps 2 and 3, then step 4; steps 2 and 3 are plain.
const ROWS = [[0, "a()", null], [1, "one", 1], [1, "b()", null], [2, "two", 2], [2, "three", 3], [0, "four", 4]];
const FRAMES = [false, false, true, true, false].map(plain => ({ plain }));
const OPERATIONS = [
  { label: "write(A, page 0)", phase: 0, first: 1, last: 4, result: "0", failed: false, rows: ROWS },
  { label: "split(A)", phase: 0, first: 5, last: 6, result: "-EBUSY", failed: true, rows: [] },
  { label: "exit(A)", phase: 1, first: 7, last: 8, result: "", failed: false, rows: [] },
];

test("a routine in the call tree stands for the steps below it, and is plain if all of them are", () => {
  const rows = plain(page().names.treeRows(ROWS, FRAMES)).map(({ text, first, last, step, plain }) => [text, first, last, step, plain]);
  assert.deepEqual(rows, [
    ["a()", 1, 3, false, false], ["one", 1, 1, true, false], ["b()", 2, 3, false, true],
    ["two", 2, 2, true, true], ["three", 3, 3, true, true], ["four", 4, 4, true, false],
  ]);
});

test("the tree has the operations of the phase, the current one with its steps, and a click on a step goes there", () => {
  const gone = [], { list, rows } = page().names.callTree(OPERATIONS, FRAMES, 0, 0, number => gone.push(number));
  assert.deepEqual(list.childNodes.map(line => line.textContent), [
    "write(A, page 0) → 0", "a()", "one", "b()", "two", "three", "four", "split(A) → -EBUSY",
  ]);
  for (const { element } of rows) element.click();
  assert.deepEqual(gone, [1, 2, 3, 4]);
  assert.equal(page().names.callTree(OPERATIONS, FRAMES, 1, null, null).list.textContent, "exit(A) → not finished");
});

test("what is past is marked, where one is, and what a question must not tell yet", () => {
  const { names } = page(), tree = names.callTree(OPERATIONS, FRAMES, 0, 0, null);
  const here = names.markTree(tree, 2, 3), marked = name => tree.rows.filter(({ element }) => element.classList.contains(name)).map(({ element }) => element.textContent);
  assert.equal(here.textContent, "two");
  assert.deepEqual(marked("thp-here"), ["two"]);
  assert.deepEqual(marked("thp-past"), ["a()", "one"]);
  assert.deepEqual(marked("thp-done"), ["one", "two"]);
  assert.deepEqual(marked("thp-secret"), ["three", "four"]);
  assert.equal(here.getAttribute("aria-current"), "step");
  names.markTree(tree, 0, Infinity);
  assert.deepEqual([marked("thp-here"), marked("thp-secret"), here.getAttribute("aria-current")], [[], [], null]);
});

const ASKED = [
  { id: "a", at: 3, of: 3, question: "How many?", choices: [], actual: "8", why: "" },
  { id: "b", at: 5, of: 9, question: "Which?", choices: ["head", "tail"], actual: "head", why: "" },
];

test("a question stands between two frames until it is answered, and hides what comes after it", () => {
  const at = page(), questions = new at.names.Questions(ASKED);
  assert.equal(questions.between(0, 2), undefined);
  assert.equal(questions.between(0, 3).id, "a");
  assert.equal(questions.between(3, 9).id, "b");
  assert.equal(questions.limit(0), 3);
  questions.answer(ASKED[0], "7");
  assert.deepEqual([questions.between(0, 9).id, questions.limit(0), questions.isRight(ASKED[0])], ["b", 5, false]);
  questions.answer(ASKED[1], "head");
  assert.deepEqual([questions.between(0, 9), questions.limit(0), questions.isRight(ASKED[1])], [undefined, Infinity, true]);
});

test("answers outlive the widget, and the actual one is told only to who has given one", () => {
  const at = page(), questions = new at.names.Questions(ASKED);
  questions.answer(ASKED[0], "7");
  const again = new at.names.Questions(ASKED);
  assert.deepEqual(plain(again.results()), [{ question: "How many?", yours: "7", actual: "8", right: false }, { question: "Which?", yours: null }]);
  assert.deepEqual(JSON.parse(again.report({ name: "cow" })), {
    thplab: 1, name: "cow", answers: [{ question: "How many?", yours: "7", actual: "8", right: false, step: 3 }, { question: "Which?", yours: null, step: 5 }],
  });
  again.forget();
  assert.equal(again.answered().length, 0);
});

// A view of a widget that a learner's folder has, as far as questions look at it.
const learning = (at, learner, answers) => {
  const traits = { answers }, told = [];
  const tell = (name, value) => { told.push(plain(value)); traits[name] = value; };
  return { store: new at.names.Store(learner), model: { get: name => traits[name] }, tell, told };
};

test("the file's answers come first, and what is answered is told", () => {
  const at = page(), view = learning(at, "ada", { a: "7" }), questions = new at.names.Questions(ASKED, view);
  assert.deepEqual([questions.yours(ASKED[0]), questions.yours(ASKED[1]), view.told.length], ["7", null, 0]);
  questions.answer(ASKED[1], "head");
  assert.deepEqual(view.told, [{ a: "7", b: "head" }]);
  questions.forget();
  assert.deepEqual(view.told[1], { a: null, b: null });
  const elsewhere = new at.names.Questions(ASKED, learning(at, "ada", { a: "9", b: null }));
  assert.deepEqual([elsewhere.yours(ASKED[0]), elsewhere.yours(ASKED[1])], ["9", null]);
});

test("another learner inherits nothing, nor does who has no file", () => {
  const at = page();
  new at.names.Questions(ASKED, learning(at, "ada", {})).answer(ASKED[0], "7");
  for (const view of [learning(at, "bob", {}), null]) {
    const questions = new at.names.Questions(ASKED, view);
    assert.equal(questions.yours(ASKED[0]), null);
    questions.answer(ASKED[0], "1");
  }
  assert.equal(new at.names.Questions(ASKED, learning(at, "ada", {})).yours(ASKED[0]), "7");
});

test("what was answered while no Python ran is told when it runs again", () => {
  const at = page();
  new at.names.Questions(ASKED, learning(at, "ada", {})).answer(ASKED[0], "7");
  const view = learning(at, "ada", {});
  new at.names.Questions(ASKED, view);
  assert.deepEqual(view.told, [{ a: "7", b: null }]);
});

test("a number is typed as people write it, and what is none is refused", () => {
  const given = [], form = page().names.questionForm(ASKED[0], text => given.push(text)), [, controls] = form.childNodes;
  const [field, , hint] = controls.childNodes, submit = form.listeners.submit[0];
  for (const text of ["8", " −3 ", "007", "eight", "", "1.5"]) {
    field.value = text;
    submit({ preventDefault() {} });
  }
  assert.deepEqual(given, ["8", "-3", "7"]);
  assert.equal(hint.textContent, "Type a whole number.");
});

test("what does not hold is counted among what is due", () => {
  const at = page(), verdict = at.element("h4"), list = at.element("ul");
  const invariants = [["one", "always", "One."], ["two_things", "at rest", "Two."], ["three", "always", "Three."]];
  at.names.drawChecklist(verdict, list, invariants, { three: "it is four" }, ([, when]) => when === "always", "asked later");
  assert.equal(verdict.textContent, "✗ 1 of 2 does not hold");
  assert.deepEqual(list.childNodes.map(item => [item.className, item.textContent]), [
    ["thp-holds", "✓ one: holds"], ["thp-not-due", "· two things: asked later"], ["thp-broken", "✗ three: it is four"],
  ]);
  at.names.drawChecklist(verdict, list, invariants, {}, () => true, "asked later");
  assert.equal(verdict.textContent, "✓ all 3 that are due hold");
});

test("findings name the fields that differ, and lead to their operation", () => {
  const row = (name, agrees) => [name, "1", agrees ? "1" : "2", agrees];
  const data = { operations: [
    { label: "fork(A, B)", verdict: "agrees", groups: [{ title: "smaps", rows: [row("Rss", true)] }] },
    { label: "exit(B)", verdict: "differs", groups: [{ title: "smaps", rows: [row("Rss", false), row("Pss", true)] }, { title: "events", rows: [row("thp_split_pmd", false)] }] },
  ] };
  const gone = [], [only, ...rest] = page("comparison").names.comparisonFindings(data, number => gone.push(number));
  assert.equal(only.textContent, "≠ 2. exit(B) smaps: Rss; events: thp_split_pmd");
  only.firstChild.click();
  assert.deepEqual([gone, rest], [[1], []]);
});
