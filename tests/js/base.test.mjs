// Texts, data and what the browser keeps: base.js.

import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { test } from "node:test";
import { page, plain } from "./page.mjs";

const at = page();

test("what Python packs is unpacked", async () => {
  const data = { name: "cow", texts: ["–", "</script>"], none: null };
  assert.deepEqual(plain(await at.names.inflate(gzipSync(JSON.stringify(data)).toString("base64"))), data);
});

test("the kernel's names are set as code, and nothing else is", () => {
  const parts = at.names.rich("split_huge_pmd() sets _mapcount, and thp_split_page counts up.");
  assert.deepEqual(plain(parts.filter(part => typeof part !== "string").map(part => [part.tag, part.textContent])),
    [["code", "split_huge_pmd()"], ["code", "_mapcount"], ["code", "thp_split_page"]]);
  assert.equal(parts.map(part => part.textContent ?? part).join(""), "split_huge_pmd() sets _mapcount, and thp_split_page counts up.");
});

test("a text stays a text, whatever it holds", () => {
  const element = at.names.h("p", { title: "<b>", hidden: true, class: null, id: false }, "<script>", null, "x");
  assert.deepEqual([element.attributes, element.childNodes], [{ title: "<b>", hidden: "" }, ["<script>", "x"]]);
});

test("answers are kept in the browser, and where it keeps nothing, nobody stumbles", () => {
  const { store } = at.names;
  store.set("q1", "7");
  assert.deepEqual([...at.kept], [["thplab:q1", "7"]]);
  assert.equal(store.get("q1"), "7");
  store.set("q1", null);
  assert.deepEqual([store.get("q1"), at.kept.size], [null, 0]);
  const strict = page();
  strict.context.localStorage = new Proxy({}, { get() { throw new Error("SecurityError"); } });
  strict.names.store.set("q1", "7");
  assert.equal(strict.names.store.get("q1"), null);
});

test("a slider shows where it stands, also where there is one place", () => {
  const slider = at.element("input");
  at.names.drawSlider(slider, 3, 12, "step 3");
  assert.deepEqual([slider.max, slider.value, slider.style["--done"], slider.getAttribute("aria-valuetext")], [12, 3, "25%", "step 3"]);
  at.names.drawSlider(slider, 0, 0, "step 0");
  assert.equal(slider.style["--done"], "0%");
});
