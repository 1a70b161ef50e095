"use strict";
// The page is whole without this script: it only shows, hides, orders, copies and marks
// what is there, and never makes markup from text.

// Finding conversations.
(() => {
  const field = (id) => document.getElementById(id);
  const form = field("finder");
  if (!form) return;
  const list = field("list");
  const items = Array.from(list.children);
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

// Ordering a table by a click on a column's heading: the better end first, then the other.
(() => {
  const value = (row, place) => {
    const given = row.cells[place].dataset.sort;
    return given === undefined || given === "" ? null : Number(given);
  };

  const order = (table, place, down) => {
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row, i) => [value(row, place), i, row]);
    rows.sort((a, b) => {
      if (a[0] === null || b[0] === null) return (a[0] === null) - (b[0] === null) || a[1] - b[1];
      return (down ? b[0] - a[0] : a[0] - b[0]) || a[1] - b[1];
    });
    body.append(...rows.map((row) => row[2]));
  };

  for (const table of document.querySelectorAll("table.board")) {
    const heads = Array.from(table.tHead.rows[table.tHead.rows.length - 1].cells);
    heads.forEach((head, place) => {
      if ("fixed" in head.dataset) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        const first = head.dataset.up === "1" ? "descending" : "ascending";
        const turned = before === "descending" ? "ascending" : "descending";
        const now = before ? turned : first;
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", now);
        order(table, place, now === "descending");
      });
    });
  }
})();

// One conversation under two controls, side by side. The texts are data in the page; every
// one becomes a text node.
(() => {
  const field = (id) => document.getElementById(id);
  const form = field("chooser");
  if (!form) return;
  let talks = null;

  const make = (name, kind, ...parts) => {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    made.append(...parts.filter((part) => part !== null));
    return made;
  };

  const words = (name, kind, ...parts) => {
    const made = make(name, kind, ...parts);
    made.dir = "auto";
    return made;
  };

  const more = (kind, title, text) => make("details", kind, make("summary", "", title),
    words("p", "text", text));

  const length = (text) => `${text.length.toLocaleString("en")}`;

  const folded = ([head, rest, thought]) => [
    thought ? more("more thought", `Thought, ${length(thought)} characters`, thought) : null,
    head ? words("p", "text", head) : make("p", "text empty", "(empty reply)"),
    rest ? more("more", `${length(rest)} more characters`, rest) : null,
  ];

  const said = (who, text) => text && make("div", `said ${who.toLowerCase()}`,
    make("b", "", who), make("div", "", ...folded(text)));

  const answer = ([score, failed, probe, text, why, stop]) => make("li",
    failed ? "answer failed" : "answer", make("span", "score", score), make("div", "",
      probe ? make("p", "probe", words("q", "", probe)) : null, ...folded(text),
      why || stop ? words("p", "why", why, why && stop ? " · " : "",
        stop ? make("b", "", stop) : null) : null));

  const question = ([right, kind, asked, plant, text, expected]) => make("li",
    right ? "right" : "wrong",
    make("span", "verdict", right === null ? "did not fit" : right ? "right" : "wrong"), make("div", "",
      make("p", "probe", make("span", "arm", kind), " ", words("q", "", asked),
        plant ? make("span", "plant", "said before: ", words("q", "", plant)) : null),
      ...folded(text), make("p", "why", "expected ", words("b", "", expected))));

  const exam = (asked, open) => {
    if (!asked.length) return null;
    const right = asked.filter((one) => one[0]).length;
    const count = `${asked.length} question${asked.length === 1 ? "" : "s"}, ${right} right`;
    const made = make("details", "exam", make("summary", "", count),
      make("ul", "", ...asked.map(question)));
    made.open = open;
    return made;
  };

  const half = (side, place) => {
    const turn = side.turns[place];
    if (!turn) return make("div", "half");
    const title = turn.round ? `Round ${turn.round}` : "The empty history";
    return make("div", "half", make("h4", "", title, " ", words("small", "", side.name)),
      said("User", turn.user), said("Agent", turn.agent),
      turn.answers.length ? make("ul", "answers", ...turn.answers.map(answer)) : null,
      exam(turn.exam, place === side.turns.length - 1));
  };

  const head = (side) => {
    const strip = field("pair").querySelector(".strip").cloneNode(true);
    strip.querySelector(".bar").setAttribute("d", side.bars);
    return make("div", "half", make("p", "side-head", words("b", "", side.name), " ", strip, " ",
      make("span", "course", side.course)));
  };

  const cast = (talk) => {
    const list = make("dl", "cast", make("dt", "", "The agent’s system prompt"),
      words("dd", "", talk.agent[1] || "(none)"), make("dt", "", "The user’s"),
      words("dd", "", talk.user[1] || "(none)"));
    if (talk.starter) list.append(make("dt", "", "The starter"), words("dd", "", talk.starter));
    return [make("h3", "", words("span", "", talk.agent[0]), " with ",
      words("span", "", talk.user[0])), list];
  };

  const show = () => {
    talks = talks || JSON.parse(field("library").textContent);
    const talk = talks[field("talk").value];
    const pair = ["left", "right"].map((id) => talk.sides[field(id).value])
      .map((side) => side || { name: "not held", course: "", bars: "", turns: [] });
    const rows = [make("div", "row heads", ...pair.map(head))];
    for (let i = 0; i < Math.max(...pair.map((side) => side.turns.length)); i += 1) {
      rows.push(make("div", "row", ...pair.map((side) => half(side, i))));
    }
    field("pair").replaceChildren(...rows);
    field("cast").replaceChildren(...cast(talk));
  };

  for (const id of ["talk", "left", "right"]) field(id).addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  if (field("unscripted")) field("unscripted").hidden = true;
})();

// A control under the pointer is lit in every figure and table.
(() => {
  let lit = [];
  const light = (event) => {
    const at = event.target instanceof Element && event.target.closest("[data-k]");
    const key = at ? at.dataset.k : "";
    if (lit.length && lit[0].dataset.k === key) return;
    for (const one of lit) one.classList.remove("lit");
    lit = key ? Array.from(document.querySelectorAll(`[data-k="${CSS.escape(key)}"]`)) : [];
    for (const one of lit) one.classList.add("lit");
  };
  if (document.querySelector("[data-k]")) document.addEventListener("pointerover", light);
})();
