// What a real kernel stored, beside the steps: recorded.js.

import assert from "node:assert/strict";
import { test } from "node:test";
import { page } from "./page.mjs";

const row = (text, frames, agrees = true) => ({ recorded: [[text, "f"]], here: [[text, "g"]], agrees, frames });
const RECORDED = [
  { name: "a", label: "write(A)", kernel: "6.12.0", first: 2, rows: [row("lock", [2, 2]), row("store", [4, 5]), row("flush", null, false)] },
  { name: "b", label: "fork(A, B)", kernel: "6.12.0", first: 8, rows: [row("protect", [8, 8])] },
];

function panel(recorded = RECORDED) {
  const gone = [], { names } = page("comparison", "recorded", "stepper");
  return { panel: new names.RecordedPanel(recorded, frame => gone.push(frame)), gone, names };
}

// Which rows are in their place, and which are not told yet.
function marked({ box }) {
  const rows = box.firstChild.childNodes[1].childNodes;
  return [rows.map(each => each.getAttribute("aria-current") === "step"), rows.map(each => each.classList.contains("thp-secret"))];
}

test("nothing is offered where nothing was recorded", () => {
  const { panel: none } = panel([]);
  assert.deepEqual([none.button, none.element], [null, null]);
  none.show(3, 2, Infinity);
});

test("one click shows the recording, a tick at each step that agrees, and another one hides it", () => {
  const { panel: one } = panel();
  one.show(0, -1, Infinity);
  assert.equal(one.box.firstChild, null);
  one.button.click();
  assert.deepEqual([one.element.hidden, one.button.getAttribute("aria-pressed")], [false, "true"]);
  assert.match(one.title.textContent, /^Recorded on Linux 6\.12\.0: write\(A\)\. 2 of 3 steps agree\./);
  assert.equal(one.box.textContent.split("\u2713 agree").length - 1, 2);
  assert.match(one.box.textContent, /flush g\u2260 differ$/);
  one.button.click();
  assert.deepEqual([one.element.hidden, one.button.getAttribute("aria-pressed")], [true, "false"]);
});

test("the rows of the step are marked, with those that are folded into it; a row goes to its step", () => {
  const { panel: one, gone } = panel();
  one.button.click();
  one.show(2, 1, Infinity);
  assert.deepEqual(marked(one)[0], [true, false, false]);
  one.show(5, 1, Infinity);
  assert.deepEqual(marked(one)[0], [true, true, false]);
  one.show(4, 3, Infinity);
  assert.deepEqual(marked(one)[0], [false, true, false]);
  for (const each of one.box.firstChild.childNodes[1].childNodes) each.click();
  assert.deepEqual(gone, [2, 5]);
});

test("the operation that began last is shown, and no row tells what a question asks", () => {
  const { panel: one, names } = panel();
  assert.deepEqual([0, 2, 7, 8, 20].map(number => names.recordedAt(RECORDED, number)), [0, 0, 0, 1, 1]);
  one.button.click();
  one.show(3, 2, 5);
  assert.deepEqual(marked(one)[1], [false, true, false]);
  one.show(9, 8, Infinity);
  assert.match(one.title.textContent, /fork\(A, B\)\. 1 of 1 steps agree/);
});
