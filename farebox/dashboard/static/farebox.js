// Smooths what works without it: pages change in place, figures stay live, the keyboard leads on.
"use strict";
(() => {
  const root = document.documentElement;
  const FAILURES_MAX = 5;
  root.classList.add("scripted");

  const content = () => document.getElementById("content");
  const typing = (node) => node instanceof HTMLElement && (node.isContentEditable || /^(INPUT|SELECT|TEXTAREA)$/.test(node.tagName));

  // A page of the same kind takes this one's place; anything unexpected is loaded as usual.
  let asked = 0;
  async function go(url, push = true) {
    const mine = ++asked;
    try {
      const answer = await fetch(url, { headers: { accept: "text/html" }, credentials: "same-origin" });
      if (answer.status >= 400) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("content");
      if (mine !== asked || !fresh || !page.querySelector("nav.side")) throw new Error("another page");
      const focused = document.activeElement && document.activeElement.id;
      const caret = focused && document.activeElement.selectionStart;
      keepDrawn(content(), fresh);
      content().replaceWith(fresh);
      document.title = page.title;
      if (push) history.pushState({ swapped: true }, "", answer.url);
      etag = null;
      dress();
      const again = focused && document.getElementById(focused);
      if (again) {
        again.focus({ preventScroll: true });
        if (caret !== null && again.type === "search") again.setSelectionRange(caret, caret);
      }
    } catch {
      if (mine === asked) location.assign(url);
    }
  }

  // A picture whose figures have not changed stays as it is drawn.
  function keepDrawn(before, fresh) {
    const figures = [...before.querySelectorAll("figure.is-drawn")];
    for (const figure of fresh.querySelectorAll("figure.chart")) {
      const data = figure.querySelector("script")?.textContent;
      const same = figures.find((drawn) => drawn.querySelector("script").textContent === data);
      if (same && same.querySelector("figcaption").textContent === figure.querySelector("figcaption").textContent) {
        figures.splice(figures.indexOf(same), 1);
        figure.replaceWith(same);
      }
    }
  }

  // What draws pictures comes with the first page that has one, be it one that took another's place.
  let drawing = window.fareboxCharts !== undefined;
  function drawn() {
    if (window.fareboxCharts) return window.fareboxCharts.find();
    if (drawing || !document.querySelector("figure.chart script")) return;
    drawing = true;
    for (const url of root.dataset.charts.split(" ")) {
      const script = document.createElement("script");
      script.src = url;
      script.async = false;
      document.head.append(script);
    }
  }

  function address(form) {
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value !== "") query.append(name, value);
    if (query.has("since") || query.has("until")) query.delete("period");
    const text = query.toString();
    return form.getAttribute("action") + (text ? "?" + text : "");
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-swap]");
    if (link && !event.defaultPrevented && event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey)) {
      event.preventDefault();
      go(link.href);
    }
    const button = event.target.closest("button");
    if (button && button.dataset.dismiss !== undefined) button.closest(".toast").remove();
    if (button && button.dataset.copy) copy(button);
    for (const open of document.querySelectorAll("details.menu[open], details.confirm[open]"))
      if (!open.contains(event.target)) open.open = false;
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.matches("form[data-swap]")) {
      event.preventDefault();
      go(address(form));
    }
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("select[data-submit]")) event.target.form.requestSubmit();
  });
  let waiting = 0;
  document.addEventListener("input", (event) => {
    const field = event.target;
    if (!field.matches("form.search input[type=search]")) return;
    clearTimeout(waiting);
    waiting = setTimeout(() => field.form && field.form.requestSubmit(), 300);
  });
  window.addEventListener("popstate", () => go(location.href, false));

  // The filter bar offers what there is, asked for when it is first opened.
  let offered = null;
  document.addEventListener("toggle", async (event) => {
    if (!(event.target instanceof HTMLElement) || !event.target.matches(".filters details") || !event.target.open) return;
    try {
      offered ??= (await (await fetch("/choices.json", { credentials: "same-origin" })).json()).data;
    } catch {
      return;
    }
    for (const field of event.target.querySelectorAll("input[name]:not([list])")) {
      const values = offered.filter((row) => row.filter === field.name);
      if (!values.length) continue;
      const list = document.createElement("datalist");
      list.id = "offered-" + field.name;
      list.append(...values.map((row) => new Option(row.value, row.value)));
      field.after(list);
      field.setAttribute("list", list.id);
    }
  }, true);

  async function copy(button) {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  }

  // A canvas is no difference: it was drawn here.
  function differs(now, fresh) {
    const bare = now.cloneNode(true);
    for (const place of bare.querySelectorAll(".chart-drawn")) {
      place.replaceChildren();
      place.className = place.className.replace(/ ?vega-embed/, "");
    }
    for (const figure of bare.querySelectorAll("figure.is-drawn")) figure.classList.remove("is-drawn");
    return bare.innerHTML !== fresh.innerHTML;
  }

  // Live figures: asked for again while the page is looked at, and changed only where they are different.
  let etag = null;
  let failures = 0;
  async function look() {
    const part = document.querySelector("[data-live]");
    if (document.hidden || !part || failures >= FAILURES_MAX || part.contains(document.activeElement)) return;
    if (document.querySelector("#live details[open]") || String(getSelection())) return;
    const mine = asked;
    try {
      const headers = { "x-live": "1", ...(etag ? { "if-none-match": etag } : {}) };
      const answer = await fetch(location.href, { headers, credentials: "same-origin" });
      if (answer.status === 401) return location.reload();
      failures = answer.status >= 400 ? failures + 1 : 0;
      if (answer.status !== 200) return;
      etag = answer.headers.get("etag");
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-live]");
      const now = document.querySelector("[data-live]");
      if (mine === asked && fresh && now && differs(now, fresh)) {
        const scrolled = [...now.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
        keepDrawn(now, fresh);
        now.replaceWith(fresh);
        fresh.querySelectorAll(".scroll").forEach((box, place) => { box.scrollLeft = scrolled[place] || 0; });
        dress();
      }
    } catch {
      failures += 1;
    }
  }
  const every = Number(document.body.dataset.liveS || 0);
  if (every > 0) setInterval(look, every * 1000);

  // Moments say how long ago they were.
  const units = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  function ago(text) {
    const seconds = (Date.parse(text) - Date.now()) / 1000;
    const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) || units[5];
    return words.format(Math.round(seconds / size), unit);
  }
  document.addEventListener("pointerover", (event) => {
    const time = event.target instanceof Element && event.target.closest("time[datetime]");
    if (time) time.title = time.title.split(" · ")[0] + " · " + ago(time.dateTime);
  });

  function dress() {
    drawn();
    for (const hidden of document.querySelectorAll("[data-copy][hidden], [data-dismiss][hidden]")) hidden.hidden = false;
    if (every > 0) for (const said of document.querySelectorAll("[data-live-said]")) said.hidden = false;
  }
  dress();
  const current = document.querySelector("nav.side [aria-current]");
  if (current && innerWidth < 1000) current.parentElement.parentElement.parentElement.scrollLeft = current.offsetLeft - 40;

  // Keyboard
  let led = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      for (const open of document.querySelectorAll("details.menu[open], details.confirm[open]")) open.open = false;
      if (typing(event.target)) event.target.blur();
      return;
    }
    if (typing(event.target)) return;
    const help = document.getElementById("keys-help");
    if (event.key === "/") {
      event.preventDefault();
      document.getElementById("find")?.focus();
    } else if (event.key === "?" && help) {
      help.open ? help.close() : help.showModal();
    } else if (event.key === "g") {
      led = Date.now();
    } else if (Date.now() - led < 1500) {
      led = 0;
      const link = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
      if (link) location.assign(link.href);
    }
  });
})();
