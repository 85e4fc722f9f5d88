// Pictures: an SVG that was laid out once, filled in with one picture after the other; and the box in which they are shown.
// What fills it: thplab/show/diagrams/fill.py, which writes the same as SVG texts.

const DETAILS = ["simple", "full"];
// The smallest letters, in pixels, that can be read at a desk, in a class, in a hall; and the most pixels for a unit of a picture.
const DESK = 12, CLASS = 18, HALL = 24, LARGEST = 1.6, LARGEST_IN_LECTURE = 3;
const SPARE = 0.03;  // pixels that letters have more than the least where a picture fills a place: a browser rounds

function svgElement(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== "") element.setAttribute(name, value);
  return element;
}

function setOrRemove(element, name, value) {
  if (value) element.setAttribute(name, value);
  else element.removeAttribute(name);
}

// One laid-out SVG, and the number of the picture that fills it.
class Sheet {
  /** @param {SheetData} data */
  constructor(data) {
    const parsed = new DOMParser().parseFromString(data.svg, "image/svg+xml").documentElement;
    this.svg = /** @type {SVGSVGElement} */ (/** @type {unknown} */ (document.importNode(parsed, true)));
    this.svg.setAttribute("role", "img");
    this.values = data.values;
    this.smallest = Math.min(...data.values.flatMap(value => (Array.isArray(value?.[1]) ? value[1].map(text => text[3]) : [])), Infinity);
    const all = new Map([...this.svg.querySelectorAll("[id]")].map(element => [element.id, element]));
    this.places = data.places.map(id => all.get(id));  // of a cell without a place in any picture there is none
    const fill = new Array(data.places.length).fill(-1);
    this.fills = data.changes.map(changes => {
      for (let i = 0; i < changes.length; i += 2) fill[changes[i]] = changes[i + 1];
      return [...fill];
    });
    this.shown = this.fills[0];
  }

  get size() {
    const { width, height } = this.svg.viewBox.baseVal;
    return [width, height];
  }

  show(number) {
    const fill = this.fills[number];
    fill.forEach((value, place) => {
      if (value !== this.shown[place] && this.places[place]) this.apply(this.places[place], this.values[value]);
    });
    this.shown = fill;
  }

  apply(element, value) {
    setOrRemove(element, "display", value ? "" : "none");
    if (!value) return;
    if (element.classList.contains("cell")) this.applyCell(element, value);
    else this.applyShape(element, value);
  }

  applyCell(element, [ground, texts]) {
    element.querySelector("rect").setAttribute("fill", ground);
    element.querySelector("text").replaceChildren(...texts.map(([text, fill, bold, size]) => {
      const piece = svgElement("tspan", { fill, "font-weight": bold ? "bold" : "", "font-size": `${size}` });
      piece.textContent = text;
      return piece;
    }));
  }

  applyShape(element, [classes, line, dashes, width]) {
    element.setAttribute("class", classes);
    const stroked = element.querySelector(":scope > .frame");
    stroked.setAttribute("stroke", line);
    stroked.setAttribute("stroke-width", width);
    setOrRemove(stroked, "stroke-dasharray", dashes);
    for (const filled of element.querySelectorAll(":scope > polygon, :scope > text")) filled.setAttribute("fill", line);
  }
}

// The box of a picture in a view: shows one of the pictures in the detail that the reader prefers, as large as there is room, never
// smaller than can be read. `which` of the sheets is a number.
class PictureBox {
  constructor(view, label, which = 0) {
    this.view = view;
    this.which = which;
    this.sheets = new Map();
    this.last = null;
    this.least = 1;  // pixels for a unit with which the smallest letters can be read
    this.place = h("div", { class: "thp-canvas" });
    this.enlarge = view.button("enlarge", "Enlarge the picture to the window", () => this.toggle(), icon(ICONS.enlarge));
    this.element = h("div", { class: "thp-picture", tabindex: 0, role: "group", "aria-label": label }, this.place);
    this.frame = h("div", { class: "thp-pictured" }, this.element, view.fills ? null : this.enlarge);
    if (view.clickEnlarges && !view.fills) this.element.addEventListener("click", () => this.open());
    this.dialog = null;
    this.watch = view.fills ? new ResizeObserver(() => this.fill()) : null;
    this.watch?.observe(this.element);
  }

  // Take other pictures; there may be none of the number that is shown, so nothing is shown until show() or again().
  load(pictures) {
    this.pictures = pictures;
    this.sheets.clear();
  }

  get sheet() {
    const detail = this.view.detail, key = `${detail} ${this.which}`;
    if (!this.sheets.has(key)) this.sheets.set(key, new Sheet(this.pictures[detail][this.which]));
    return this.sheets.get(key);
  }

  // Show a picture, with a title and a description for who cannot see it.
  show(number, title, description) {
    this.last = [number, title, description];
    const { sheet } = this, { svg } = sheet;
    sheet.show(number);
    svg.setAttribute("aria-label", title);
    svg.setAttribute("aria-description", description);
    if (this.place.firstChild === svg) return;
    this.place.replaceChildren(svg);
    if (this.view.fills) this.fill();
  }

  // Show what was shown last, for the detail or the sheet has changed.
  again(which = this.which) {
    this.which = which;
    if (this.last) this.show(...this.last);
  }

  // The size in the picture's own units.
  get size() {
    return this.sheet.size;
  }

  // The pixels for a unit in this much room; answers them. Where that is too much for the room, the box scrolls.
  fit(width, height, lecture = false) {
    const [w, hgt] = this.size, letters = !lecture ? DESK : window.innerWidth < 1600 ? CLASS : HALL;
    const least = this.least = (letters + (this.view.fills ? SPARE : 0)) / this.sheet.smallest, wanted = Math.min(width / w, height / hgt, lecture ? LARGEST_IN_LECTURE : LARGEST);
    const scale = Math.max(least, wanted);
    this.element.style.setProperty("--picture-width", `${Math.max(Math.ceil(w * least), Math.floor(w * wanted))}px`);
    this.scale = scale;
    return scale;
  }

  // The largest that the place has room for, which the styles give it; they are told the least height that it needs.
  fill() {
    if (!this.last) return;
    const { clientWidth, clientHeight } = this.element;
    if (clientWidth) this.fit(clientWidth, clientHeight, true);
    this.view.set("least", Math.ceil(this.size[1] * this.least));
    this.view.set("least-width", Math.ceil(this.size[0] * this.least));
  }

  toggle() {
    if (this.dialog) this.dialog.close();
    else this.open();
  }

  open() {
    const close = this.view.button("close", "Back to the page", () => this.dialog.close(), "Close");
    this.dialog = h("dialog", { class: "thp-widget thp-large", "aria-label": "The picture, enlarged", click: () => this.dialog.close() }, close, this.place);
    this.dialog.addEventListener("close", () => {
      this.dialog.remove();
      this.dialog = null;
      this.element.append(this.place);
      focusOn(this.enlarge);
    });
    this.view.root.append(this.dialog);
    this.dialog.showModal();
  }
}

// What a reader has chosen holds for all widgets of a page, and the next time; null as long as nothing was.
const preference = {
  get detail() {
    return DETAILS.includes(store.get("detail")) ? store.get("detail") : preference.here;
  },
  set detail(detail) {
    preference.here = detail;
    store.set("detail", detail);
    document.dispatchEvent(new CustomEvent("thp-detail", { detail }));
  },
  /** @type {string | null} */ here: null,
};

/**
 * What views of widgets with pictures have: a switch between simple and full. The full ones are asked for when they are wanted.
 * @template Questions
 * @extends {View<Questions>}
 */
class PictureView extends View {
  constructor(model, kind, label) {
    super(model, kind, label);
    this.wanted = "";
    this.changed = () => this.wantDetail();
    document.addEventListener("thp-detail", this.changed);
  }

  async start() {
    this.wantDetail();
  }

  // Does a click on a picture enlarge it? In the sandbox it means something else.
  get clickEnlarges() {
    return true;
  }

  // The boxes with pictures of this view.
  get boxes() {
    return [];
  }

  get pictures() {
    return this.boxes[0]?.pictures ?? {};
  }

  // The detail that is preferred: the reader's, else the one that the widget begins with. A lecture has no switch for it.
  get preferred() {
    return (this.lecture ? null : preference.detail) ?? this.model.get("detail") ?? DETAILS[0];
  }

  // The detail that can be shown: what is preferred, if it is here already.
  get detail() {
    return this.preferred in this.pictures ? this.preferred : DETAILS.find(name => name in this.pictures);
  }

  buildDetail() {
    this.detailButtons = DETAILS.map(name => h("button", {
      type: "button", class: "thp-detail", title: name === "full" ? "Every bit and flag" : "What the lesson needs",
      click: () => { preference.detail = name; },
    }, name));
    return h("span", { class: "thp-details", role: "group", "aria-label": "How much the picture says" }, "view: ", ...this.detailButtons);
  }

  // Ask Python, once, for the detail that is preferred and not here; as soon as nothing else is being asked.
  wantDetail() {
    const detail = this.preferred, missing = this.boxes.length > 0 && !(detail in this.pictures);
    if (missing && this.live && !this.busy && this.wanted !== detail && this.ask(/** @type {any} */ ("detail"), /** @type {any} */ ({ detail }))) this.wanted = detail;
    this.drawDetail();
  }

  drawBusy() {
    super.drawBusy();
    if (this.live && !this.busy && this.boxes.length && this.wanted !== this.preferred && !(this.preferred in this.pictures)) this.wantDetail();
  }

  drawDetail() {
    this.detailButtons?.forEach((button, i) => button.setAttribute("aria-pressed", `${DETAILS[i] === this.detail}`));
    for (const box of this.boxes) box.again();
    this.laidOut = "";
    this.layout();
  }

  destroy() {
    document.removeEventListener("thp-detail", this.changed);
    super.destroy();
  }
}
