// Looking an address up in the tables: walk() of walker.js.

import assert from "node:assert/strict";
import { test } from "node:test";
import { page, plain } from "./page.mjs";

// Two levels of 3 bits over pages of 4 KiB: a table at 5, whose entry 1 leads to the table at 6; there a run of pages from pfn 0x20 on,
// part of a compound page whose head is 0x1f, and zero pages that all have the same pfn.
const DATA = {
  levels: [["PMD", 15, 3], ["PTE", 12, 3]], pageShift: 12,
  processes: [{ name: "A", pgd: 5 }],
  tables: { 5: [1, [[1, 2, "0x6003", 0, "table", 0, 0]]], 6: [0, [[2, 5, "0x20001", 1, "page", 1, 31], [6, 8, "0x1", 0, "zero", 2, 0]]] },
  empty: [3, 4],
  words: [["a table at {pfn}", "", 0], ["a page at {pfn}, part {part}", "{physical}, offset {offset}", 1], ["the zero page", "zeros", 1], ["empty", "", 2], ["empty PMD", "", 2]],
  fields: [["t"], ["p"], ["e"]],
};
const { names } = page("walker");
const walk = address => plain(names.walk(DATA, 0, address).map(({ name, index, kind, says, ends }) => [name, index, kind, says, ends]));

test("a walk leads from table to table to a page, whose entry is counted on within its run", () => {
  assert.deepEqual(walk(0x8000n + 0x3000n + 0x45n), [
    ["PMD", 1, "table", "a table at 0x6", ""], ["PTE", 3, "page", "a page at 0x21, part 2", "0x21045, offset 0x45"],
  ]);
  assert.equal(names.walk(DATA, 0, 0xb045n)[1].entry, 0x21001n);
});

test("zero pages of a run have the same pfn", () => {
  assert.equal(names.walk(DATA, 0, 0x8000n + 0x7000n)[1].entry, 1n);
});

test("a walk ends at an empty entry, with the words of its level", () => {
  assert.deepEqual(walk(0x8000n), [["PMD", 1, "table", "a table at 0x6", ""], ["PTE", 0, "", "empty", ""]]);
  assert.deepEqual(walk(0n), [["PMD", 0, "", "empty PMD", ""]]);
  assert.deepEqual(plain(names.walk(DATA, 0, 0n)[0].fields), ["e"]);
});
