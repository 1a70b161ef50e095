"use strict";
// Finding conversations. The page is whole without this script: it only shows, hides,
// orders and marks what is there, and never makes markup from text.
(() => {
  const list = document.getElementById("list");
  const items = Array.from(list.children);
  const field = (id) => document.getElementById(id);
  const form = field("finder");
  const texts = new Map();

  const textOf = (item) => {
    if (!texts.has(item)) {
      let whole = "";
      for (const part of item.querySelectorAll(".name, .partner span, dd, .text, q, .why")) {
        whole += (part.closest(".more") || !whole ? "" : " · ") + part.textContent;
      }
      texts.set(item, whole.replace(/\s+/g, " "));
    }
    return texts.get(item);
  };

  const pattern = () => {
    const words = field("query").value.trim();
    if (!words) return null;
    const literal = words.replace(/[.*+?^${}()|[\]\\\/-]/g, "\\$&").replace(/\\-/g, "[-]");
    return new RegExp(literal.replace(/\s+/g, "\\s+"), "giu");
  };

  const snippet = (item, found) => {
    const old = item.querySelector(":scope > summary > .snippet");
    if (old) old.remove();
    if (!found) return;
    const text = textOf(item);
    const line = document.createElement("span");
    const mark = document.createElement("mark");
    const end = found.index + found[0].length;
    line.className = "snippet";
    mark.textContent = found[0];
    line.append("… " + text.slice(Math.max(0, found.index - 50), found.index), mark,
      text.slice(end, end + 70) + " …");
    item.querySelector("summary").append(line);
  };

  const highlight = (wanted) => {
    if (!("highlights" in CSS)) return;
    CSS.highlights.delete("found");
    if (!wanted) return;
    wanted.lastIndex = 0;
    const ranges = [];
    for (const item of items) {
      if (item.hidden || !item.open) continue;
      const walker = document.createTreeWalker(item, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        if (node.parentElement.closest(".snippet")) continue;
        for (const hit of node.data.matchAll(wanted)) {
          const range = document.createRange();
          range.setStart(node, hit.index);
          range.setEnd(node, hit.index + hit[0].length);
          ranges.push(range);
        }
      }
    }
    CSS.highlights.set("found", new Highlight(...ranges.slice(0, 20000)));
  };

  const number = (item, key, otherwise) =>
    item.dataset[key] === "" ? otherwise : Number(item.dataset[key]);

  const orders = {
    id: () => 0,
    fall: (a, b) => number(b, "fall", -2) - number(a, "fall", -2),
    last: (a, b) => number(a, "last", 2) - number(b, "last", 2),
  };

  const filter = () => {
    const wanted = pattern();
    const category = field("category").value;
    const persona = field("persona").value;
    const trait = field("trait").value;
    let shown = 0;
    for (const item of items) {
      const fits = (!category || item.dataset.category === category)
        && (!persona || item.dataset.persona === persona)
        && (!trait || item.dataset.traits.split(" ").includes(trait));
      snippet(item, null);
      let found = null;
      if (fits && wanted) {
        wanted.lastIndex = 0;
        found = wanted.exec(textOf(item));
        if (found) snippet(item, found);
      }
      item.hidden = !fits || Boolean(wanted && !found);
      shown += item.hidden ? 0 : 1;
    }
    const all = `${items.length} conversation${items.length === 1 ? "" : "s"}`;
    field("tally").textContent = shown === items.length ? all : `${shown} of ${all}`;
    field("nothing").hidden = shown > 0;
    highlight(wanted);
  };

  const order = () => {
    const ranked = items.map((item, place) => [item, place]);
    const rank = orders[field("order").value];
    ranked.sort((a, b) => rank(a[0], b[0]) || a[1] - b[1]);
    list.append(...ranked.map(([item]) => item));
  };

  const openTarget = () => {
    const target = /^#c-?\w+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
    if (!target) return;
    target.hidden = false;
    target.open = true;
    target.scrollIntoView();
  };

  let timer = 0;
  field("query").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(filter, 120);
  });
  for (const id of ["category", "persona", "trait"]) field(id).addEventListener("change", filter);
  field("order").addEventListener("change", order);
  form.addEventListener("submit", (event) => event.preventDefault());
  field("open").addEventListener("click", () => {
    for (const item of items) if (!item.hidden) item.open = true;
  });
  field("close").addEventListener("click", () => {
    for (const item of items) item.open = false;
  });
  list.addEventListener("toggle", () => highlight(pattern()), true);
  addEventListener("hashchange", openTarget);
  form.hidden = false;
  filter();
  openTarget();
})();
