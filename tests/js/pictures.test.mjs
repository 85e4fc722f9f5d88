// Pictures that are laid out once: pictures.js fills them in, and shows them in the detail that the reader prefers.

import assert from "node:assert/strict";
import { test } from "node:test";
import { page, plain } from "./page.mjs";

const PAPER = "#ffffff", CHANGED = "#fff0a8", INK = "#1b1f24";
const DATA = {
  svg: "<svg/>",
  places: ["count", "A-pmd0", "A--page0", "never"],
  values: [null, [PAPER, [["1", INK, 0, 13]]], [CHANGED, [["1 → 2", INK, 1, 17]]], ["table linked", "#0072b2", "4,3", "1"], ["edge huge", "#0072b2", "", "4"],
    ["edge huge changed", "#b34a00", "", "4"]],
  changes: [[0, 1, 1, 3, 2, 0, 3, 1], [0, 2, 2, 4, 3, 0], [1, 0, 2, 5]],
};

// A page with a laid-out SVG: a cell that is filled, a table that shows, an arrow that does not.
function drawn() {
  const at = page();
  const made = (tag, attributes = {}, ...children) => {
    const element = at.element(tag);
    Object.entries(attributes).forEach(([name, value]) => { element.setAttribute(name, value); });
    element.append(...children);
    element.id = attributes.id;
    element.querySelector = selector => inside(element).find(each => (selector.includes(".") ? each.classes.includes(selector.split(".")[1]) : each.tag === selector)) ?? null;
    element.querySelectorAll = selector => inside(element).filter(each => (selector === "[id]" ? each.id : selector.includes(each.tag)));
    return element;
  };
  const inside = element => element.childNodes.filter(child => typeof child !== "string").flatMap(child => [child, ...inside(child)]);
  const build = () => {
    const svg = made("svg", {},
      made("g", { id: "count", class: "cell" }, made("rect"), made("text", {}, "1")),
      made("g", { id: "A-pmd0", class: "table linked" }, made("rect", { class: "frame", "stroke-dasharray": "4,3" })),
      made("g", { id: "A--page0", display: "none" }, made("path", { class: "frame" }), made("polygon"), made("text", {}, "all 8")));
    svg.viewBox = { baseVal: { width: 300, height: 100 } };
    return svg;
  };
  at.context.DOMParser = class { parseFromString() { return { documentElement: build() }; } };
  at.context.document.importNode = element => element;
  at.context.window = { innerWidth: 1280 };
  at.context.CustomEvent = Event;
  return at;
}

function sheet() {
  const at = drawn(), made = new at.names.Sheet(DATA);
  return [made, Object.fromEntries(made.svg.childNodes.map(each => [each.id, each]))];
}

test("each picture is the first one with the changes up to it, in whatever order they are shown", () => {
  const [made, { count, "A-pmd0": table, "A--page0": arrow }] = sheet();
  const seen = () => plain([count.querySelector("rect").getAttribute("fill"), count.textContent, table.getAttribute("display"), arrow.getAttribute("display")]);
  made.show(1);
  assert.deepEqual(seen(), [CHANGED, "1 → 2", null, null]);
  const then = seen();
  made.show(2);
  assert.deepEqual(seen(), [CHANGED, "1 → 2", "none", null]);
  made.show(0);
  assert.deepEqual(seen(), [PAPER, "1", null, "none"]);
  made.show(2);
  made.show(1);
  assert.deepEqual(seen(), then);
  assert.deepEqual(plain(made.size), [300, 100]);
});

test("a cell gets its pieces of text, an arrow its colour on line, head and label", () => {
  const [made, { count, "A--page0": arrow, "A-pmd0": table }] = sheet();
  made.show(2);
  const [piece] = count.querySelector("text").childNodes;
  assert.deepEqual(piece.attributes, { fill: INK, "font-weight": "bold", "font-size": "17" });
  const [path, head, label] = arrow.childNodes;
  assert.equal(arrow.className, "edge huge changed");
  assert.deepEqual([path.getAttribute("stroke"), head.getAttribute("fill"), label.getAttribute("fill")], Array(3).fill("#b34a00"));
  assert.equal(path.getAttribute("stroke-dasharray"), null);
  made.show(0);
  assert.equal(table.childNodes[0].getAttribute("stroke-dasharray"), "4,3");
});

function box(pictures = { simple: [DATA] }) {
  const at = drawn(), view = { detail: "simple", button: () => at.element("button") };
  const made = new at.names.PictureBox(view, "The picture");
  made.load(pictures);
  return [made, view, at];
}

test("a box shows a sheet with its name, and keeps the sheets of each detail", () => {
  const [made, view] = box({ simple: [DATA], full: [DATA] });
  made.show(1, "Step 1", "A has a page");
  const simple = made.place.firstChild;
  assert.equal(simple.getAttribute("aria-label"), "Step 1");
  assert.equal(simple.getAttribute("aria-description"), "A has a page");
  view.detail = "full";
  made.again();
  assert.notEqual(made.place.firstChild, simple);
  assert.equal(made.sheet.shown, made.sheet.fills[1]);
  view.detail = "simple";
  made.again();
  assert.equal(made.place.firstChild, simple);
});

test("what is loaded anew is shown anew", () => {
  const [made] = box();
  made.show(1, "Step 1", "");
  const before = made.place.firstChild;
  made.load({ simple: [DATA] });
  made.again();
  assert.notEqual(made.place.firstChild, before);
});

test("a picture is as large as there is room, and never smaller than can be read", () => {
  const [made, , at] = box();
  assert.equal(made.fit(390, 1000), 1.3);
  assert.equal(made.element.style["--picture-width"], "390px");
  assert.equal(made.fit(100, 100), 12 / 13, "letters of 12 px at a desk");
  assert.equal(made.fit(5000, 5000), 1.6);
  assert.equal(made.fit(100, 100, true), 18 / 13, "18 px in a class");
  at.context.window.innerWidth = 1920;
  assert.equal(made.fit(100, 100, true), 24 / 13, "24 px in a hall");
  assert.equal(made.fit(5000, 5000, true), 3);
});

test("the detail that a reader prefers is kept, told to all views, and an unknown one is none", () => {
  const { names, kept } = drawn();
  assert.equal(names.preference.detail, null);
  names.preference.detail = "full";
  assert.deepEqual([names.preference.detail, kept.get("thplab:detail")], ["full", "full"]);
  kept.set("thplab:detail", "short");
  assert.equal(names.preference.detail, "full", "as it was said last");
});
