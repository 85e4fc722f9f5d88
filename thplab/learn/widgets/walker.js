// The address walker: an address cut into its indexes, and the entries that they lead to. What it shows: thplab/learn/widgets/walker_payload.py.
// Here nothing is computed but slices of bits: every entry is looked up, every text was made beforehand.

const COLOURS = ["process-0", "process-1", "process-2", "process-3"];  // of the levels; the offset is in-hand
const ENTRY_BITS = 64;

const ones = bits => (1n << BigInt(bits)) - 1n;
const slice = (number, high, low) => (number >> BigInt(low)) & ones(high - low + 1);
const hex = number => `0x${number.toString(16)}`;
const binary = (number, bits) => number.toString(2).padStart(bits, "0");
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

// The entries on the way to an address, from the top table down.
/** @param {WalkerData} data @param {number} process @param {bigint} address */
function walk(data, process, address) {
  const stops = [];
  let table = `${data.processes[process].pgd}`;
  for (const [number, [name, shift, bits]] of data.levels.entries()) {
    const runs = data.tables[table]?.[1];
    if (!runs) break;
    const index = Number(slice(address, shift + bits - 1, shift)), empty = data.empty[data.levels.length - 1 - number];
    const run = runs.find(([start, stop]) => start <= index && index < stop) ?? [index, index + 1, "0x0", 0, "", empty, 0];
    const [start, , first, step, kind, words, head] = run;
    const entry = BigInt(first) + (BigInt((index - start) * step) << 12n), pfn = slice(entry, 51, 12), offset = address & ones(shift);
    const values = {
      pfn: hex(pfn), slot: `${pfn}`, part: `${pfn - BigInt(head)}`, offset: hex(offset),
      subpage: `${offset >> BigInt(data.pageShift)}`, physical: hex((pfn << BigInt(data.pageShift)) + offset),
    };
    const [says, ends, fields] = data.words[words];
    stops.push({ name, table: BigInt(table), index, entry, kind, says: fill(says, values), ends: fill(ends, values), fields: data.fields[fields] });
    if (kind !== "table") break;
    table = `${pfn}`;
  }
  return stops;
}

/** @extends {View<{}>} */
class WalkerView extends View {
  /** @param {WalkerData} data @param {Model} model */
  constructor(data, model) {
    super(model, "walker", "Address walker");
    this.data = data;
    this.levels = data.levels.map(([name, shift, bits]) => ({ name, shift, bits, index: true }));
    this.fields = [...this.levels, { name: "offset", shift: 0, bits: data.pageShift, index: false }];
    this.refused = data.refused.map(([first, last, why]) => ({ first: BigInt(first), last: last === null ? null : BigInt(last), why }));
    this.address = BigInt(model.get("address"));
    this.process = data.processes.findIndex(process => process.name === model.get("process"));
    this.unit = this.levels.length - 1;  // the field by whose unit the arrow keys move: a page
    this.chosen = this.levels.length - 1;
    this.bitAt = data.pageShift;
    this.root.append(this.buildHead(), this.buildBar(), this.buildAddress(), this.buildWalk(),
      this.buildWords("The walk in words, and what each bit means"));
    this.show();
  }

  // --- parts -------------------------------------------------------------------------------------------------------

  buildHead() {
    const { kernel, geometry, scenario } = this.data;
    return h("div", { class: "thp-head" }, h("span", { class: "thp-name", title: scenario }, h("b", {}, "Address walker"), `  ${scenario}`),
      ...chips(kernel, geometry));
  }

  buildBar() {
    const submit = event => { event.preventDefault(); this.typed(); };
    this.field = h("input", { type: "text", class: "thp-line-of", spellcheck: "false", autocomplete: "off", "aria-label": "Address, hexadecimal or decimal" });
    const form = h("form", { class: "thp-to", submit }, h("label", {}, "Address ", this.field), h("button", { type: "submit", class: "thp-walk-to" }, "Walk"));
    const option = (text, value) => h("option", { value }, text);
    this.processes = h("select", { "aria-label": "Process", change: () => this.enter(Number(this.processes.value)) },
      ...this.data.processes.map(({ name }, number) => option(`process ${name}`, number)));
    this.processes.hidden = this.data.processes.length < 2;
    this.places = h("select", { "aria-label": "Jump to", class: "thp-places", change: () => this.jump() });
    this.units = h("select", { "aria-label": "Move by", change: () => { this.unit = Number(this.units.value); } },
      ...this.fields.map((field, number) => option(this.unitName(number), number)));
    const button = (name, label, run, path) => h("button", { type: "button", class: `thp-${name}`, "aria-label": label, click: run }, icon(path));
    this.says.setAttribute("role", "alert");
    const bar = h("div", { class: "thp-bar", role: "toolbar", "aria-label": "Where to" }, this.processes, form, this.places,
      h("span", { class: "thp-move" }, button("lower", "Lower address", () => this.move(-1), ICONS.back), this.units,
        button("higher", "Higher address", () => this.move(1), ICONS.step)));
    return h("div", {}, bar, this.says);
  }

  unitName(number) {
    const what = ["page", "huge page"][this.levels.length - 1 - number];
    return number === this.levels.length ? "by byte" : `by ${what ?? this.levels[number].name} (${this.data.sizes[number]})`;
  }

  // The fields of the address side by side, as wide as they have bits: name, bits to toggle, a slider, its value.
  buildAddress() {
    this.bits = new Map();
    this.parts = this.fields.map((field, number) => {
      const name = h("button", { type: "button", class: "thp-part-name", click: () => this.choose(number) });
      const bits = Array.from({ length: field.bits }, (_, i) => {
        const at = field.shift + field.bits - 1 - i, bit = h("button", { type: "button", class: "thp-bit", "data-bit": at, click: () => this.toggle(at) });
        this.bits.set(at, bit);
        return bit;
      });
      const most = Math.min(2 ** field.bits - 1, Number((this.refused[0].first - 1n) >> BigInt(field.shift)));
      const slider = h("input", { type: "range", min: 0, max: most, step: 1, "data-field": number, "aria-label": field.index ? `${field.name} index` : "offset",
        input: () => this.slide(number, slider) });
      const element = h("div", { class: "thp-part", style: this.colour(number) }, name, h("div", { class: "thp-bits" }, ...bits), slider);
      return { element, name, slider };
    });
    const columns = this.fields.map(({ bits }) => `minmax(0, ${bits}fr)`).join(" ");
    return h("div", { class: "thp-address", role: "group", "aria-label": "Bits of the address", style: `grid-template-columns: ${columns}` },
      ...this.parts.map(({ element }) => element));
  }

  colour(number) {
    return `--field: var(--thp-${number < this.levels.length ? COLOURS[number + COLOURS.length - this.levels.length] : "in-hand"})`;
  }

  buildWalk() {
    this.rows = this.levels.map(({ name }, number) => {
      const label = h("button", { type: "button", class: "thp-part-name", click: () => this.choose(number) });
      const does = h("p", { class: "thp-does" }), boxes = h("div", { class: "thp-boxes" });
      const element = h("div", { class: "thp-entry", role: "listitem", "data-level": name, style: this.colour(number), click: () => this.choose(number) },
        label, h("div", {}, does, boxes));
      return { element, label, does, boxes };
    });
    this.end = h("p", { class: "thp-end", role: "status" });
    return h("div", {}, h("div", { class: "thp-walk", role: "list", "aria-label": "Entries on the way" }, ...this.rows.map(row => row.element)), this.end);
  }

  // --- going -------------------------------------------------------------------------------------------------------

  // Walk to an address if it is one; otherwise say why not, and change nothing.
  go(address) {
    const no = this.refused.find(({ first, last }) => first <= address && (last === null || address <= last));
    if (address < 0n || no) this.refuse(address < 0n ? "There is nothing below address 0." : `${hex(address)} ${no.why}.`);
    else this.settle(address, this.process);
  }

  settle(address, process) {
    this.address = address;
    this.process = process;
    this.say("");
    this.show();
    this.tell("address", Number(address));
    this.tell("process", this.data.processes[process].name);
  }

  refuse(why) {
    this.say(`${why} Nothing has changed.`, true);
    this.show();
  }

  // Python has set another address or process.
  async follow() {
    this.address = BigInt(this.model.get("address"));
    this.process = this.data.processes.findIndex(({ name }) => name === this.model.get("process"));
    this.show();
  }

  typed() {
    const text = this.field.value.trim().replaceAll("_", "");
    if (/^(0x[0-9a-f]+|\d+)$/i.test(text)) this.go(BigInt(text));
    else this.say("Type a number, hexadecimal (0x7f4000000000) or decimal. Nothing has changed.", true);
  }

  enter(process) {
    this.settle(this.address, process);
  }

  jump() {
    const to = this.places.value;
    if (to) this.go(BigInt(to));
  }

  move(count, unit = this.unit) {
    this.go(this.address + BigInt(count) * (1n << BigInt(unit < this.levels.length ? this.levels[unit].shift : 0)));
  }

  slide(number, slider) {
    const { shift, bits } = this.fields[number], mask = ones(bits) << BigInt(shift);
    this.go((this.address & ~mask) | (BigInt(slider.value) << BigInt(shift)));
  }

  toggle(at) {
    this.focusBit(at);
    this.go(this.address ^ (1n << BigInt(at)));
  }

  choose(number) {
    this.chosen = number;
    this.drawChosen();
  }

  focusBit(at) {
    this.bits.get(this.bitAt).tabIndex = -1;
    this.bitAt = at;
    this.bits.get(at).tabIndex = 0;
    focusOn(this.bits.get(at));
    this.choose(this.fields.findIndex(({ shift }) => at >= shift));
  }

  keys(on) {
    const unit = on.matches("input[type=range]") ? Number(on.dataset.field) : this.unit, huge = Math.max(0, this.levels.length - 2);
    const actions = { ArrowRight: () => this.move(1, unit), ArrowLeft: () => this.move(-1, unit), PageDown: () => this.move(1, huge), PageUp: () => this.move(-1, huge) };
    if (on.matches(".thp-bit")) {
      const at = Number(on.dataset.bit), step = to => () => this.bits.has(to) && this.focusBit(to);
      Object.assign(actions, { ArrowLeft: step(at + 1), ArrowRight: step(at - 1), Home: step(this.bits.size - 1), End: step(0) });
    } else if (!on.matches(".thp-text")) Object.assign(actions, { ArrowUp: () => this.changeUnit(-1), ArrowDown: () => this.changeUnit(1) });
    return actions;
  }

  changeUnit(by) {
    this.unit = Math.max(0, Math.min(this.unit + by, this.levels.length));
    this.units.value = `${this.unit}`;
  }

  // --- looking up --------------------------------------------------------------------------------------------------

  // The VMA of the address, in words; null if it is in none.
  vma() {
    const { vmas } = this.data.processes[this.process];
    const found = vmas.find(([start, end]) => BigInt(start) <= this.address && this.address < BigInt(end));
    return found ? `in the VMA ${found[0]}–${found[1]} (${found[2]})` : null;
  }

  // --- showing -----------------------------------------------------------------------------------------------------

  show() {
    this.stops = walk(this.data, this.process, this.address);
    this.field.value = hex(this.address);
    this.processes.value = `${this.process}`;
    this.units.value = `${this.unit}`;
    this.drawPlaces();
    this.drawAddress();
    this.drawWalk();
    this.drawChosen();
    this.drawWords();
    this.root.dataset.address = hex(this.address);
  }

  drawPlaces() {
    const { places } = this.data.processes[this.process], here = hex(this.address);
    const key = `${this.process}`;
    if (this.places.dataset.process !== key) {
      this.places.replaceChildren(h("option", { value: "" }, "Jump to…"), ...places.map(([label, address]) => h("option", { value: address }, label)));
      this.places.dataset.process = key;
    }
    if (this.places.value !== here) this.places.value = places.some(([, address]) => address === here) ? here : "";
  }

  drawAddress() {
    this.fields.forEach(({ name, shift, bits, index }, number) => {
      const value = slice(this.address, shift + bits - 1, shift), { name: label, slider } = this.parts[number];
      label.replaceChildren(h("b", {}, name), ` ${index ? value : hex(value)} `, h("small", {}, `${shift + bits - 1}–${shift}`));
      label.setAttribute("aria-label", `${name} ${index ? value : hex(value)} ${shift + bits - 1}–${shift}: ${index ? "index" : "offset"} and bits, show its entry`);
      label.title = this.where(shift + bits - 1, shift);
      drawSlider(slider, Number(value), Number(slider.max), `${index ? value : hex(value)}`);
    });
    for (const [at, bit] of this.bits) {
      const value = slice(this.address, at, at);
      if (bit.textContent !== `${value}`) bit.textContent = value;
      bit.tabIndex = at === this.bitAt ? 0 : -1;
      bit.setAttribute("aria-label", `bit ${at}: ${value}`);
      bit.setAttribute("aria-pressed", value === 1n);
    }
  }

  drawWalk() {
    this.rows.forEach(({ element, label, does, boxes }, number) => {
      const stop = this.stops[number], { name } = this.levels[number];
      element.classList.toggle("thp-unreached", !stop);
      label.replaceChildren(h("b", {}, name), " ", h("span", {}, stop ? `entry ${stop.index}` : ""), " ", h("small", {}, stop ? `table ${hex(stop.table)}` : ""));
      label.setAttribute("aria-label", stop ? `${name} entry ${stop.index} table ${hex(stop.table)}` : `${name} entry, not reached`);
      if (stop) {
        does.title = stop.says;
        does.replaceChildren(h("code", { class: "thp-word" }, `0x${stop.entry.toString(16).padStart(ENTRY_BITS / 4, "0")}`), " ", ...rich(stop.says));
        boxes.replaceChildren(...stop.fields.map(field => this.box(stop.entry, field)));
      } else {
        does.replaceChildren("not reached: the walk has ended above");
        boxes.replaceChildren();
      }
    });
    const last = this.stops.at(-1), vma = this.vma(), arrives = last.kind && (last.entry & 1n);
    const text = last.ends || this.data.holes[vma ? 0 : 1];
    this.end.replaceChildren(h("b", { class: arrives ? "thp-arrives" : "thp-error" }, arrives ? "✓ page " : "✗ no page "), ...rich(text),
      h("span", { class: "thp-in" }, ` ${vma ? `The address is ${vma}.` : ""}`));
  }

  // The bits of one field of an entry, with its name above.
  box(entry, [name, high, low, about]) {
    const value = slice(entry, high, low), bits = high - low + 1;
    const set = value > 0n, shown = bits > 16 ? h("code", {}, binary(value, bits).replace(/(.{4})(?=.)/g, "$1\u2009")) : h("code", {}, binary(value, bits));
    return h("span", { class: set ? "thp-box thp-set" : "thp-box", title: `${this.where(high, low)}: ${about}` }, h("small", {}, name), shown);
  }

  where(high, low) {
    return high === low ? `bit ${high}` : `bits ${high}…${low}`;
  }

  drawChosen() {
    this.parts.forEach(({ element, name }, number) => {
      element.classList.toggle("thp-chosen", number === this.chosen);
      name.setAttribute("aria-pressed", `${number === this.chosen}`);
    });
    const last = this.stops.length - 1, at = this.chosen < this.levels.length ? this.chosen : last;  // the offset belongs to the page in the end
    this.rows.forEach(({ element, label }, number) => {
      element.classList.toggle("thp-chosen", number === at);
      label.setAttribute("aria-pressed", `${number === at}`);
    });
    this.end.classList.toggle("thp-chosen", this.chosen === this.levels.length);
  }

  drawWords() {
    if (!this.details.open) return;
    const parts = this.fields.map(({ name, shift, bits, index }) => {
      const value = slice(this.address, shift + bits - 1, shift);
      return `  ${this.where(shift + bits - 1, shift)}: ${binary(value, bits)}, ${name}${index ? " index" : ""} ${value}${index ? "" : ` (${hex(value)})`}`;
    });
    const entries = this.stops.map(({ name, table, index, entry, says, fields }) => [
      `${name} entry ${index} of the table at pfn ${hex(table)}`, `  ${hex(entry)}: ${says}`,
      ...fields.map(([bit, high, low, about]) => `    ${this.where(high, low)} ${bit} = ${high - low > 3 ? hex(slice(entry, high, low)) : slice(entry, high, low)} (${about})`),
    ].join("\n"));
    const title = `Address ${hex(this.address)} of process ${this.data.processes[this.process].name}`;
    this.words.replaceChildren(wordsTable([[title, ...parts].join("\n"), ...entries, `The end\n  ${this.end.textContent}`].join("\n\n"), "The walk in words."));
  }
}

export default mount(WalkerView, "address", "process");
