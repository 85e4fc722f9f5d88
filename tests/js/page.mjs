// A page without a browser: the widgets' scripts, joined as thplab/learn/widgets/page.py joins them, over as little of a DOM as they need.

import { readFileSync } from "node:fs";
import vm from "node:vm";

const FOLDER = new URL("../../thplab/learn/widgets/", import.meta.url);

class Element {
  constructor(tag) {
    Object.assign(this, { tag, attributes: {}, childNodes: [], listeners: {}, dataset: {}, clientWidth: 0 });
    this.style = { setProperty: (name, value) => { this.style[name] = value; } };
    this.classList = {
      contains: name => this.classes.includes(name),
      toggle: (name, on = !this.classes.includes(name)) => { this.className = [...this.classes.filter(each => each !== name), ...(on ? [name] : [])].join(" "); },
    };
  }

  get className() { return this.attributes.class ?? ""; }
  set className(names) { this.attributes.class = names; }
  get classes() { return this.className.split(" ").filter(Boolean); }
  get firstChild() { return this.childNodes[0] ?? null; }
  get textContent() { return this.childNodes.map(child => (typeof child === "string" ? child : child.textContent)).join(""); }
  set textContent(text) { this.childNodes = [`${text}`]; }
  get title() { return this.attributes.title ?? ""; }

  append(...children) { this.childNodes.push(...children.filter(child => child !== "")); }
  replaceChildren(...children) { this.childNodes = children; }
  setAttribute(name, value) { this.attributes[name] = `${value}`; }
  getAttribute(name) { return this.attributes[name] ?? null; }
  removeAttribute(name) { delete this.attributes[name]; }
  addEventListener(name, run) { (this.listeners[name] ??= []).push(run); }
  click() { for (const run of this.listeners.click ?? []) run({ target: this }); }
}

// The names that the scripts define, in a page of their own. `timers` are the waiting ones, [run, milliseconds].
export function page(...files) {
  const timers = new Map(), kept = new Map(), found = {}, errors = [];
  const document = {
    createElement: tag => new Element(tag), createElementNS: (_, tag) => new Element(tag),
    querySelector: selector => found[selector] ?? null, activeElement: null, addEventListener() {}, removeEventListener() {}, dispatchEvent() {},
  };
  const localStorage = { getItem: key => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value), removeItem: key => kept.delete(key) };
  const setTimeout = (run, milliseconds) => { timers.set(timers.size + 1, [run, milliseconds]); return timers.size; };
  const context = vm.createContext({
    document, localStorage, setTimeout, clearTimeout: timer => timers.delete(timer), console: { error: error => errors.push(error) },
    window: { addEventListener() {}, removeEventListener() {}, innerWidth: 1280, innerHeight: 720 }, atob, Blob, DecompressionStream, Response, Uint8Array, ResizeObserver: class { observe() {} disconnect() {} },
  });
  const text = ["base", "view", "pictures", "parts", ...files].map(name => readFileSync(new URL(`${name}.js`, FOLDER), "utf8")).join("\n");
  vm.runInContext(text.replace(/^export default /m, "globalThis.widget = "), context);
  vm.runInContext("inflate = unpack; unpack = async packed => JSON.parse(packed);", context);  // what takes turns of the event loop
  const names = new Proxy({}, { get: (_, name) => vm.runInContext(`${String(name)}`, context) });
  // Let the first timer that waits ring.
  const ring = () => {
    const [key, [run]] = timers.entries().next().value;
    timers.delete(key);
    run();
  };
  return { names, context, timers, kept, found, errors, ring, element: tag => new Element(tag) };
}

// As pack() of page.py, but for the packing.
export const pack = data => JSON.stringify(data);

// A model with these traits. update() is a word of Python: all traits at once, as it comes from its comm.
export function model(traits, live = true) {
  const heard = [], asked = [], state = { answer: { to: 0, says: "", error: false, running: false }, ...traits };
  const tell = names => heard.filter(([event]) => names.includes(event.slice("change:".length))).forEach(([, run]) => run());
  return {
    state, asked, heard,
    get: name => state[name],
    set(name, value) { state[name] = value; tell([name]); },
    save_changes() {},
    on: (event, run) => heard.push([event, run]),
    off(event, run) { heard.splice(heard.findIndex(([each, other]) => each === event && other === run), 1); },
    update(changed) { Object.assign(state, changed); tell(Object.keys(changed)); },
    answer(to, says = "", more = {}) { this.update({ answer: { to, says, error: false, running: false, ...more } }); },
    ...(live ? { send: question => asked.push(question) } : {}),
  };
}

// Until all that is under way is done.
export const settled = () => new Promise(setImmediate);

// A plain value out of a page, whose objects have prototypes of their own.
export const plain = value => JSON.parse(JSON.stringify(value));
