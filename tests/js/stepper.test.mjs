// The way through a trace, with plain steps folded away and questions on it: Course of course.js.

import assert from "node:assert/strict";
import { test } from "node:test";
import { page, plain } from "./page.mjs";

// Frames 0 to 9; 2, 3 and 9 are plain. The phases begin at 1, 3 and 7; so do the operations.
const ASKS = { 1: [4], 3: [0, 1], 4: [1], 6: [2], 7: [3] };
const DATA = {
  frames: Array.from({ length: 10 }, (_, number) => ({
    text: `step ${number}`, plain: [2, 3, 9].includes(number), op: [1, 3, 7].findLastIndex(first => first <= number), asks: ASKS[number] ?? [],
  })),
  phases: [{ first: 1 }, { first: 3 }, { first: 7 }],
};

function course(all, ...asked) {
  const { names } = page("comparison", "recorded", "course", "stepper"), questions = new names.Questions(asked.map(at => ({ id: `${at}`, at })));
  return { course: new names.Course(DATA, questions, all), questions };
}

test("plain steps are folded into the next one that is shown, unless all are", () => {
  const { course: short } = course(false), { course: whole } = course(true);
  assert.deepEqual(plain(short.shown), [0, 1, 4, 5, 6, 7, 8]);
  assert.deepEqual(plain(short.folded(4)).map(({ text }) => text), ["step 2", "step 3"]);
  assert.deepEqual([plain(short.folded(5)), plain(short.folded(0)), plain(whole.folded(4))], [[], [], []]);
  assert.deepEqual([short.at(2), short.at(9), short.at(Infinity), whole.at(2)], [4, 8, 8, 2]);
  assert.deepEqual([short.last, whole.last], [6, 9]);
});

test("one goes from place to place, and nowhere behind the ends", () => {
  const { course: short } = course(false);
  assert.deepEqual([short.next(1), short.next(4, -1), short.next(4, 2), short.next(8), short.next(0, -1)], [4, 1, 6, undefined, undefined]);
});

test("what was asked is told with what is folded in, and what was asked before it in the same operation", () => {
  const { course: short } = course(false), { course: whole } = course(true), asked = (way, number) => plain(way.asked(number));
  assert.deepEqual(asked(short, 4), { now: [0, 1], before: [] });
  assert.deepEqual(asked(whole, 4), { now: [1], before: [0] });
  assert.deepEqual(asked(short, 6), { now: [2], before: [0, 1] });
  assert.deepEqual([asked(short, 5), asked(short, 7)], [{ now: [], before: [0, 1] }, { now: [3], before: [] }]);
  assert.deepEqual(asked(short, 0), { now: [], before: [] });
});

test("a phase begins at the first frame of it that is shown", () => {
  const { course: short } = course(false);
  assert.deepEqual(plain(short.begins), [1, 4, 7]);
  assert.deepEqual([0, 1, 4, 6, 8].map(number => short.phase(number)), [-1, 0, 1, 1, 2]);
});

test("whoever goes on stops before the first question that is not answered yet", () => {
  const { course: short, questions } = course(false, 5, 8);
  const stops = (from, wanted) => { const { number, question } = short.stop(from, wanted); return [number, question?.id]; };
  assert.deepEqual(stops(0, 4), [4, undefined]);
  assert.deepEqual(stops(0, Infinity), [4, "5"]);
  assert.deepEqual(stops(4, 5), [4, "5"]);
  assert.deepEqual(stops(6, 1), [1, undefined]);
  questions.answer({ id: "5" }, "yes");
  assert.deepEqual(stops(0, Infinity), [7, "8"]);
  assert.deepEqual(stops(7, 7), [7, undefined]);
});

test("a question about a plain step comes before the step that it is folded into", () => {
  const { course: short } = course(false, 3);
  assert.deepEqual(plain(short.stop(0, Infinity).number), 1);
});
