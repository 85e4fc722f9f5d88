// A cell of the ledger that is filled in: Entry of ledger.js.

import assert from "node:assert/strict";
import { test } from "node:test";
import { page, plain } from "./page.mjs";

const entry = (actual = "9", blank = true) => new (page("ledger").names.Entry)({ actual, blank, rule: "", where: "", marks: [], why: "" }, "_count", "A", "PMD");

test("the first number, if it is right, scores", () => {
  const cell = entry();
  assert.deepEqual([cell.done, cell.take(" 9 ", true), cell.done, cell.right, cell.scores], [false, true, true, true, true]);
  assert.deepEqual(plain(cell.result()), { counter: "_count", holder: "A", tries: ["9"], hints: 0, right: true, actual: "9" });
});

test("a number counts as it is written: hexadecimal, negative, with a long minus", () => {
  assert.ok(entry("0x800008").take("8388616", true));
  for (const [actual, typed] of [["0x800008", "8388616"], ["16", "0X10"], ["-1", "−1"]]) {
    const cell = entry(actual);
    cell.take(typed, true);
    assert.ok(cell.right, typed);
  }
});

test("a wrong number brings a hint and costs the point; the same one again is no other try", () => {
  const cell = entry();
  assert.deepEqual([cell.take("8", true), cell.take("8", true), cell.hints, cell.done], [true, false, 1, false]);
  assert.equal(plain(cell.result()).actual, undefined);
  cell.take("9", true);
  assert.deepEqual([cell.right, cell.scores, cell.hints], [true, false, 1]);
});

test("the third hint fills the cell", () => {
  const cell = entry();
  for (const typed of ["6", "7", "8"]) cell.take(typed, true);
  assert.deepEqual([cell.hints, cell.done, cell.right, cell.scores], [3, true, false, false]);
  assert.equal(plain(cell.result()).actual, "9");
});

test("what is no number is not taken, and an empty field is only spoken of on request", () => {
  const cell = entry();
  assert.deepEqual([cell.take("nine", false), cell.says, cell.tries.length], [false, "Type a whole number, decimal or as 0x10.", 0]);
  assert.deepEqual([cell.take("", false), cell.says], [false, ""]);
  assert.deepEqual([cell.take("", true), cell.says], [false, "Type a whole number, decimal or as 0x10."]);
});

test("a cell takes up what Python has kept, and forgets it when all starts over", () => {
  const cell = entry();
  cell.restart({ tries: ["8", "9"], hints: 1 });
  assert.deepEqual([cell.right, cell.scores, cell.done], [true, false, true]);
  cell.restart();
  assert.deepEqual([cell.right, cell.done, cell.tries.length], [false, false, 0]);
});

test("what is given is done", () => {
  assert.deepEqual([entry("9", false).done, entry("9", false).scores], [true, false]);
});
