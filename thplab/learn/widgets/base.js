// What all widgets of thplab share: elements, data. Joined, with view.js, pictures.js and parts.js, in front of a widget's own file.

const SVG = "http://www.w3.org/2000/svg";

// --- elements ------------------------------------------------------------------------------------------------------

/**
 * An element: `props` are attributes, or listeners where the value is a function; texts among the children become text nodes.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [props]
 * @param {(Node | string | null)[]} children
 */
function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child != null));
  return element;
}

// An icon of 16 x 16 drawn by a path; it says nothing to a screen reader, so its button needs a name.
function icon(path) {
  const svg = document.createElementNS(SVG, "svg"), shape = document.createElementNS(SVG, "path");
  for (const [name, value] of [["viewBox", "0 0 16 16"], ["class", "thp-icon"], ["aria-hidden", "true"]]) svg.setAttribute(name, value);
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}

// Controls that can be focused, and say why they do nothing, instead of being left out.
function disable(when, ...controls) {
  for (const control of controls) control.setAttribute("aria-disabled", `${Boolean(when)}`);
}

// Say of an element in a list whether it is the current one.
function markHere(element, here) {
  if (here) element.setAttribute("aria-current", "step");
  else element.removeAttribute("aria-current");
}

// Where a slider stands, from 0 to `last`, and what that is.
function drawSlider(slider, at, last, text) {
  slider.max = last;
  slider.value = at;
  slider.style.setProperty("--done", `${(100 * at) / Math.max(1, last)}%`);
  slider.setAttribute("aria-valuetext", text);
}

// A text with the names of the kernel in it set as code: split_huge_pmd(), _mapcount, thp_split_page.
function rich(text) {
  return text.split(/(\b[a-z]\w*\(\)|\b_?[a-z0-9]+(?:_[a-z0-9]+)+\b|\b_[a-z]+\b)/).map((part, i) => (i % 2 ? h("code", {}, part) : part));
}

// Focus an element, if there is one, and scroll nowhere.
/** @param {Node | null} [element] */
function focusOn(element) {
  /** @type {HTMLElement} */ (element)?.focus({ preventScroll: true });
}

// Whether an element can be seen in its box, which scrolls and is positioned.
function isInSight(box, element) {
  return element.offsetTop >= box.scrollTop && element.offsetTop + element.offsetHeight <= box.scrollTop + box.clientHeight;
}

// Scroll a box, and nothing else, so that the element stands in its middle; to its top if there is no element.
function center(box, element) {
  box.scrollTop = element ? element.offsetTop - (box.clientHeight - element.offsetHeight) / 2 : 0;
}

// The greatest height that `box` takes with any of these contents. Each is a list of nodes; `box` itself is not touched.
function greatestHeight(box, contents) {
  const trial = box.cloneNode(false), style = getComputedStyle(box);
  trial.removeAttribute("role");
  Object.assign(trial.style, { position: "absolute", visibility: "hidden", height: "auto", width: style.width, left: "0", top: "0" });
  box.parentNode.append(trial);
  const frame = trial.offsetHeight;
  const parts = contents.map(nodes => h("div", { style: "display:flow-root" }, ...nodes));
  trial.append(...parts);
  const height = Math.max(0, ...parts.map(part => part.getBoundingClientRect().height));
  trial.remove();
  return Math.ceil(frame + height);
}

// --- data ----------------------------------------------------------------------------------------------------------

async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed), character => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// What the browser keeps for this origin and one learner, or for nobody in particular. Where it keeps nothing (a private window, a strict
// setting), neither do we.
class Store {
  constructor(learner = "") {
    this.learner = learner;
    this.prefix = learner ? `thplab:${learner}:` : "thplab:";
  }

  get(key) {
    try { return localStorage.getItem(this.prefix + key); } catch { return null; }
  }

  set(key, value) {
    try {
      if (value === null) localStorage.removeItem(this.prefix + key);
      else localStorage.setItem(this.prefix + key, value);
    } catch { /* kept in the page only */ }
  }
}

const store = new Store();

// Where a reader was in a widget, kept for the next time: `what` is all that tells the widget from others.
class Bookmark {
  constructor(what, kept = store) {
    this.store = kept;
    let hash = 5381;
    for (const letter of what) hash = (Math.imul(hash, 33) ^ letter.codePointAt(0)) >>> 0;
    this.key = `at:${hash.toString(36)}`;
  }

  // Null if nobody was here yet.
  get place() {
    return this.store.get(this.key);
  }

  set place(place) {
    this.store.set(this.key, place);
  }
}

// Put a text on the clipboard. Answers whether that worked: over plain http, pages have only the old way.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { style: "position:fixed;opacity:0" });
    const focused = document.activeElement;
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    focusOn(focused);
    return copied;
  }
}

// Let the browser save a text as a file.
function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

// Let the page have the look of a kind of widgets once: a style that is put in again has the whole page styled anew.
function dress(kind, css) {
  const there = document.head.querySelector(`style[data-thp="${kind}"]`);
  if (!there) document.head.append(h("style", { "data-thp": kind }, css));
  else if (there.textContent !== css) there.textContent = css;  // of another thplab, whose kernel was restarted
}
