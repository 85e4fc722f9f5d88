// The search of the bar: it loads what can be searched when somebody begins, and leads there. It asks nobody.
(() => {
  const up = document.currentScript.dataset.up;
  const MOST = 14;
  let coming;

  /** What can be searched, once: by a script, since a page that was opened from a file may read no other file. */
  const searched = () => (coming ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `${up}searched.js`;
    script.onload = () => resolve(globalThis.thplabSearched);
    script.onerror = reject;
    document.head.append(script);
  }));

  /** How well a section answers: 0 if a word is nowhere in it. A heading counts more than a text, a beginning more than a middle. */
  const score = (words, page, heading, text) => {
    let sum = 0;
    for (const word of words) {
      const at = (where, worth) => {
        const place = where.indexOf(word);
        if (place < 0) return 0;
        const whole = where.length === word.length ? 3 : place === 0 || !/[\p{L}\p{N}_]/u.test(where[place - 1]) ? 2 : 1;
        return worth * whole;
      };
      const found = Math.max(at(heading, 6), at(page, 3), at(text, 1));
      if (!found) return 0;
      sum += found;
    }
    return sum;
  };

  const find = ({ pages, sections }, query) => {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return [];
    const hits = [];
    for (const [number, heading, id, text] of sections) {
      const [name, title] = pages[number];
      const worth = score(words, title.toLowerCase(), heading.toLowerCase(), text.toLowerCase());
      const reference = name.startsWith("reference/") ? 0.4 : 1;
      if (worth) hits.push({ worth: worth * reference, name, title, heading, id, text, words });
    }
    return hits.sort((a, b) => b.worth - a.worth).slice(0, MOST);
  };

  /** A piece of the text around the first word that is in it, the word marked. */
  const piece = ({ text, words }) => {
    const small = document.createElement("small");
    const low = text.toLowerCase();
    const word = words.find((each) => low.includes(each));
    if (!word) {
      small.append(text.slice(0, 120));
      return small;
    }
    const at = low.indexOf(word);
    const from = Math.max(0, at - 50);
    const mark = document.createElement("mark");
    mark.append(text.slice(at, at + word.length));
    small.append(from ? "…" : "", text.slice(from, at), mark, text.slice(at + word.length, at + word.length + 80));
    return small;
  };

  const row = (hit) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    const name = document.createElement("b");
    link.href = up + hit.name + (hit.id ? `#${hit.id}` : "");
    name.append(hit.heading || hit.title);
    link.append(name, hit.heading && hit.heading !== hit.title ? ` ${hit.title}` : "", piece(hit));
    item.append(link);
    return item;
  };

  const box = document.querySelector(".site-search");
  const [input, list] = [box.querySelector("input"), box.querySelector("ol")];
  const close = () => { list.hidden = true; };
  const say = (text) => {
    const item = document.createElement("li");
    const words = document.createElement("p");
    words.append(text);
    item.append(words);
    list.replaceChildren(item);
  };
  const show = async () => {
    const query = input.value.trim();
    if (query.length < 2) return close();
    try {
      const hits = find(await searched(), query);
      if (input.value.trim() !== query) return;
      if (hits.length) list.replaceChildren(...hits.map(row));
      else say("Nothing has all of these words.");
    } catch {
      say("The search needs the file searched.js beside the first page.");
    }
    list.hidden = false;
  };
  input.addEventListener("input", show);
  input.addEventListener("focus", () => { searched().catch(() => {}); show(); });
  box.addEventListener("keydown", (event) => {
    event.stopPropagation();  // a widget below listens to keys, too
    const links = [...list.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement);
    if (event.key === "Escape") { close(); input.focus(); close(); }
    if (event.key === "Enter" && at < 0 && !list.hidden) links[0]?.click();
    if (event.key === "ArrowDown" && links.length) { event.preventDefault(); links[Math.min(at + 1, links.length - 1)].focus(); }
    if (event.key === "ArrowUp" && at >= 0) { event.preventDefault(); (links[at - 1] ?? input).focus(); }
  });
  document.addEventListener("pointerdown", (event) => { if (!box.contains(event.target)) close(); });
})();
