// Bars that are compared: a row for each kernel, in its colour, with its name and its numbers beside it.

// The row of kernel `index`. `kinds` are what its track shows: "all" is a frame, "now" is filled, "at" is a mark. show() takes a share of the
// track for each, from 0 to 1, and the text beside it.
function barRow(index, name, ...kinds) {
  const parts = kinds.map(kind => h("span", { class: `thp-bar-${kind}` })), number = h("span", { class: "thp-bar-number" });
  const element = h("div", { class: `thp-bar-row thp-bar-${index % 4}` }, h("span", { class: "thp-bar-name" }, name),
    h("span", { class: "thp-track" }, ...parts), number);
  return { element, show(shares, text) {
    parts.forEach((part, at) => part.style.setProperty("--share", `${100 * shares[at]}%`));
    number.textContent = text;
  } };
}
