// Draws every <figure class="chart"> of the page by the specification it carries, in the page's theme and width, once it
// comes into view. Works under script-src 'self' and style-src 'self': Vega interprets its expressions (`ast`), adds no
// style of its own, and what names say is only ever set as text.
(() => {
  "use strict";
  const CONFIG = /* CONFIG */ {};
  const NARROW = 480;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const drawn = new Map();

  function theme() {
    const chosen = document.documentElement.dataset.theme;
    return chosen === "light" || chosen === "dark" ? chosen : dark.matches ? "dark" : "light";
  }

  const tip = document.createElement("div");
  tip.className = "chart-tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;

  // `value` is lines of text under a heading; a tab stands between a name and its figure.
  function told(_handler, event, _item, value) {
    if (typeof value !== "string" || value === "") {
      tip.hidden = true;
      return;
    }
    const [heading, ...lines] = value.split("\n");
    const rows = lines.map((line) => {
      const row = document.createElement("div");
      for (const part of line.split("\t")) {
        const cell = document.createElement("span");
        cell.dir = "auto";
        cell.textContent = part;
        row.append(cell);
      }
      return row;
    });
    const title = document.createElement("strong");
    title.dir = "auto";
    title.textContent = heading;
    tip.replaceChildren(title, ...rows);
    tip.hidden = false;
    const left = event.clientX + 16 + tip.offsetWidth > innerWidth ? event.clientX - 16 - tip.offsetWidth : event.clientX + 16;
    const top = Math.min(event.clientY + 12, innerHeight - tip.offsetHeight - 8);
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, top)}px`;
  }

  // Where there is little room, what stands right of the last value stands below, and names beside bars are cut sooner.
  function fitted(spec, width) {
    if (width >= NARROW || !spec.layer) return spec;
    const isLabelled = spec.layer.some((layer) => layer.data?.name === "labels");
    spec.layer = spec.layer.filter((layer) => layer.data?.name !== "labels");
    for (const { encoding } of spec.layer) {
      if (isLabelled && encoding?.color) {
        const isLong = encoding.color.scale.domain.some((name) => name.length > 14);
        encoding.color.legend = { title: null, orient: "bottom", columns: isLong ? 1 : 2 };
      }
      if (encoding?.y?.axis?.labelLimit) encoding.y.axis.labelLimit = Math.round(width * 0.36);
    }
    return spec;
  }

  async function draw(figure) {
    const place = figure.querySelector(".chart-drawn");
    const spec = fitted(JSON.parse(figure.querySelector("script").textContent), place.clientWidth);
    const shown = theme();
    const before = drawn.get(figure);
    drawn.set(figure, { theme: shown });
    try {
      const result = await vegaEmbed(place, spec, {
        actions: false,
        ast: true,
        config: CONFIG[shown],
        defaultStyle: false,
        renderer: "canvas",
        tooltip: told,
      });
      before?.result?.finalize();
      drawn.set(figure, { theme: shown, result });
      figure.classList.add("is-drawn");
    } catch (error) {
      figure.querySelector("details")?.setAttribute("open", "");
      console.error("a chart could not be drawn", error);
    }
  }

  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting && !drawn.has(entry.target)) draw(entry.target);
      }
    },
    { rootMargin: "200px" },
  );

  function find(root = document) {
    for (const figure of [...drawn.keys()]) {
      if (!figure.isConnected) {
        near.unobserve(figure);
        drawn.get(figure).result?.finalize();
        drawn.delete(figure);
      }
    }
    for (const figure of root.querySelectorAll("figure.chart:not(.is-empty)")) near.observe(figure);
  }

  function redraw() {
    for (const [figure, state] of drawn) if (state.theme !== theme()) draw(figure);
  }

  dark.addEventListener("change", redraw);
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  document.addEventListener("scroll", () => (tip.hidden = true), { passive: true });
  document.body.append(tip);
  find();
  window.fareboxCharts = { find };
})();
