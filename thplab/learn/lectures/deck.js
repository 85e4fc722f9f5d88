// Shows the slides of a lecture with reveal.js, whose fragments are the places of a slide.

const theme = matchMedia("(prefers-color-scheme: dark)");
const setTheme = dark => { document.body.dataset.jpThemeLight = `${!dark}`; };
theme.addEventListener("change", () => setTheme(theme.matches));
setTheme(theme.matches);
Reveal.initialize({
  width: "100%", height: "100%", margin: 0, minScale: 1, maxScale: 1, center: false, transition: "none", display: "block",
  controls: false, progress: true, slideNumber: false, hash: true, overview: true, fragmentInURL: true, plugins: [RevealNotes],
  keyboard: { 84: () => setTheme(document.body.dataset.jpThemeLight === "true") },
  keyboardCondition: event => !event.target?.matches?.("input, textarea, select"),
});
const place = () => {
  const shown = Reveal.getCurrentSlide()?.querySelector(".thp-slide"), { f } = Reveal.getIndices();
  shown?.dispatchEvent(new CustomEvent("thp-place", { detail: (f ?? -1) + 1 }));
};
for (const event of ["ready", "slidechanged", "fragmentshown", "fragmenthidden"]) Reveal.on(event, place);
// A slide that has just been made shows the place that reveal.js is at, and its own buttons lead on as the keys do.
document.addEventListener("thp-slide-made", place);
document.addEventListener("thp-slide-move", event => (event.detail > 0 ? Reveal.next() : Reveal.prev()));
