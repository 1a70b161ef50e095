// The live page: one history, every message answered twice from it, with a control and without.
// Text from models is only ever set as text, never as markup.
"use strict";

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

const state = { server: null, history: [], rounds: [], running: null };

// --- talking to the server ----------------------------------------------------

function headers() {
  const key = $("key").value.trim();
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

async function failure(response) {
  try {
    const body = await response.json();
    return (body.error && body.error.message) || `The server said ${response.status}.`;
  } catch {
    return `The server said ${response.status}.`;
  }
}

// One reply, piece by piece; resolves with its text and what the server says of it.
async function ask(messages, control, seed, signal, onText) {
  const response = await fetch("v1/chat/completions", {
    method: "POST",
    headers: headers(),
    signal,
    body: JSON.stringify({
      model: state.server.model,
      messages,
      stream: true,
      stream_options: { include_usage: true },
      seed,
      temperature: Number($("temperature").value),
      max_tokens: Number($("tokens").value),
      holdfast: { control },
    }),
  });
  if (!response.ok) throw new Error(await failure(response));
  const found = { text: "", share: null, score: null };
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    rest += decoder.decode(value || new Uint8Array(), { stream: !done });
    const lines = rest.split("\n");
    rest = done ? "" : lines.pop();
    for (const line of lines) read(line, found, onText);
    if (done) return found;
  }
}

function read(line, found, onText) {
  if (!line.startsWith("data:")) return;
  const data = line.slice(5).trim();
  if (data === "[DONE]" || !data) return;
  const piece = JSON.parse(data);
  if (piece.error) throw new Error(piece.error.message);
  const delta = piece.choices && piece.choices[0] && piece.choices[0].delta;
  if (delta && delta.content) {
    found.text += delta.content;
    onText(found.text);
  }
  if (piece.holdfast) {
    found.share = piece.holdfast.prompt_share ?? found.share;
    found.score = piece.holdfast.score ?? found.score;
  }
}

// --- a round --------------------------------------------------------------------

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function card(round, side, title) {
  const text = element("p", { class: "text", dir: "auto" });
  const meta = element("p", { class: "meta" });
  const marks = element("div", { class: "marks", role: "group", "aria-label": `About the reply ${title}` });
  const made = element("article", { class: `reply ${side}`, "aria-busy": "true", "aria-label": `Reply ${title}` },
    element("h3", {}, title), text, meta, marks);
  return { made, text, meta, marks };
}

function pressed(label, on, act) {
  const button = element("button", { type: "button", "aria-pressed": String(on) }, label);
  button.addEventListener("click", act);
  return button;
}

const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(1)} %`);
const number = (score) => (score === null ? "–" : score.toFixed(2));

function finish(round, side) {
  const reply = round[side];
  const { made, meta, marks } = reply.card;
  made.setAttribute("aria-busy", "false");
  const parts = [];
  if (reply.share !== null) parts.push(`prompt share ${percent(reply.share)}`);
  if (reply.score !== null) parts.push(`judge score ${number(reply.score)}`);
  meta.textContent = parts.join(" · ");
  marks.replaceChildren(
    pressed("go on from here", round.kept === side, () => keep(round, side)),
    pressed("in character", reply.mark === "passes", () => mark(round, side, "passes")),
    pressed("out of character", reply.mark === "fails", () => mark(round, side, "fails")),
  );
  const last = round === state.rounds[state.rounds.length - 1];
  marks.firstChild.disabled = !last || Boolean(state.running);
  made.classList.toggle("kept", round.kept === side);
}

function keep(round, side) {
  round.kept = side;
  state.history[state.history.length - 1] = { role: "assistant", content: round[side].text };
  for (const one of ["own", "plain"]) finish(round, one);
}

function mark(round, side, what) {
  round[side].mark = round[side].mark === what ? null : what;
  finish(round, side);
}

async function send(text) {
  const control = $("control").value.trim() || "none";
  const system = state.server.persona ? [] : $("persona").value.trim()
    ? [{ role: "system", content: $("persona").value.trim() }] : [];
  const messages = [...system, ...state.history, { role: "user", content: text }];
  const round = { text, control, kept: "own" };
  round.own = { text: "", share: null, score: null, mark: null, card: card(round, "own", `with ${control}`) };
  round.plain = { text: "", share: null, score: null, mark: null, card: card(round, "plain", "without a control") };
  const item = element("li", {},
    element("p", { class: "said", dir: "auto" }, element("b", {}, "You"), text),
    element("div", { class: "columns" }, round.own.card.made, round.plain.card.made));
  $("rounds").append(item);
  $("empty").hidden = true;
  $("persona").readOnly = true;
  item.scrollIntoView({ block: "end" });

  const running = new AbortController();
  state.running = running;
  busy(true);
  const seed = state.rounds.length + 1;
  const sides = [["own", control], ["plain", "none"]];
  const ended = await Promise.allSettled(sides.map(async ([side, named]) => {
    const reply = round[side];
    const found = await ask(messages, named, seed, running.signal, (so) => { reply.card.text.textContent = so; });
    Object.assign(reply, found);
    reply.card.text.textContent = found.text;
  }));
  state.running = null;
  busy(false);
  const failed = ended.find((one) => one.status === "rejected");
  if (failed) {
    running.abort();
    item.remove();
    $("message").value = text;
    const stopped = failed.reason && failed.reason.name === "AbortError";
    trouble(stopped ? "" : failed.reason.message || String(failed.reason));
  } else {
    trouble("");
    state.history.push({ role: "user", content: text }, { role: "assistant", content: round.own.text });
    const before = state.rounds[state.rounds.length - 1];
    state.rounds.push(round);
    if (before) for (const [side] of sides) finish(before, side);
    for (const [side] of sides) finish(round, side);
    draw();
  }
  $("empty").hidden = state.rounds.length > 0;
  $("persona").readOnly = Boolean(state.server.persona) || state.rounds.length > 0;
  $("export").disabled = state.rounds.length === 0;
  $("message").focus();
}

function busy(on) {
  $("send").disabled = on;
  $("stop").hidden = !on;
  $("again").disabled = on;
  $("rounds").setAttribute("aria-busy", String(on));
}

function trouble(said) {
  $("trouble").textContent = said;
  $("trouble").hidden = !said;
}

// --- the course of it -----------------------------------------------------------

function draw() {
  const judged = state.rounds.some((round) => round.own.score !== null || round.plain.score !== null);
  $("score-figure").hidden = !judged && state.rounds.length > 0;
  lines($("share"), "share", 1);
  lines($("score"), "score", 1);
  $("table").tBodies[0].replaceChildren(...state.rounds.map((round, i) =>
    element("tr", {}, ...[`${i + 1}`, round.control, percent(round.own.share), percent(round.plain.share),
      number(round.own.score), number(round.plain.score)].map((text) => element("td", {}, text)))));
}

function svg(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function lines(chart, field, top) {
  const [left, right, low, high] = [34, 412, 112, 8];
  const n = Math.max(state.rounds.length, 2);
  const values = state.rounds.flatMap((round) => [round.own[field], round.plain[field]]).filter((v) => v !== null);
  const most = field === "share" ? Math.max(0.1, ...values) : top;
  const x = (i) => left + 8 + ((right - left - 16) * i) / (n - 1);
  const y = (value) => low - ((low - high) * value) / most;
  const parts = [0, most / 2, most].flatMap((value) => [
    svg("line", { class: "grid", x1: left, x2: right, y1: y(value), y2: y(value) }),
    svg("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" },
      field === "share" ? `${Math.round(100 * value)}%` : value.toFixed(1)),
  ]);
  state.rounds.forEach((_, i) => {
    if (n <= 12 || i % Math.ceil(n / 12) === 0) {
      parts.push(svg("text", { x: x(i), y: 128, "text-anchor": "middle" }, String(i + 1)));
    }
  });
  for (const side of ["plain", "own"]) {
    const points = state.rounds.map((round, i) => [i, round[side][field]]).filter(([, v]) => v !== null);
    if (points.length > 1) {
      parts.push(svg("polyline", { class: side, points: points.map(([i, v]) => `${x(i)},${y(v)}`).join(" ") }));
    }
    for (const [i, v] of points) {
      parts.push(side === "own"
        ? svg("circle", { class: side, cx: x(i), cy: y(v), r: 4 })
        : svg("rect", { class: side, x: x(i) - 6, y: y(v) - 6, width: 12, height: 12 }));
    }
  }
  chart.replaceChildren(...parts);
}

// --- the persona test -------------------------------------------------------------

// A value as TOML: JSON's strings, numbers and lists are TOML's, tables are written inline.
function toml(value) {
  if (Array.isArray(value)) return `[${value.map(toml).join(", ")}]`;
  if (value !== null && typeof value === "object") {
    const inner = Object.entries(value).map(([name, held]) => `${/^[\w-]+$/.test(name) ? name : JSON.stringify(name)} = ${toml(held)}`);
    return `{ ${inner.join(", ")} }`;
  }
  // TOML wants U+007F escaped, which JSON leaves as it is.
  return JSON.stringify(value).replaceAll("\u007f", "\\u007f");
}

function personaTest() {
  const pinned = state.server.persona;
  const prompt = pinned ? pinned.prompt : $("persona").value.trim();
  const replies = state.rounds.flatMap((round) => [round.own, round.plain]).filter((one) => one.text.trim());
  const of = (one) => one.mark || (one.score === null ? null : one.score >= 0.5 ? "passes" : "fails");
  const unique = (texts) => [...new Set(texts)];
  const judge = pinned ? pinned.judge : { name: "rubric", criteria: `The reply keeps to this prompt: ${prompt}` };
  const lines = [
    "# Made from a conversation on the live page; check it with: holdfast personas check FILE",
    "[[persona]]",
    `id = ${toml(pinned ? `${pinned.id}-chat` : "from-a-chat")}`,
    `category = ${toml(pinned ? pinned.category : "character")}`,
    `prompt = ${toml(prompt)}`,
    `probes = ${toml(unique(state.rounds.map((round) => round.text)))}`,
    `judge = ${toml(judge)}`,
  ];
  for (const what of ["passes", "fails"]) {
    const held = unique(replies.filter((one) => of(one) === what).map((one) => one.text));
    if (held.length) lines.push(`${what} = ${toml(held)}`);
  }
  return `${lines.join("\n")}\n`;
}

function download() {
  if (!state.server.persona && !$("persona").value.trim()) {
    trouble("A persona test needs a persona: write the system prompt first.");
    return;
  }
  const url = URL.createObjectURL(new Blob([personaTest()], { type: "application/toml" }));
  const link = element("a", { href: url, download: "persona.toml" });
  link.click();
  URL.revokeObjectURL(url);
}

// --- the page ---------------------------------------------------------------------

function fresh() {
  state.history = [];
  state.rounds = [];
  $("rounds").replaceChildren();
  $("empty").hidden = false;
  $("export").disabled = true;
  $("persona").readOnly = Boolean(state.server.persona);
  trouble("");
  draw();
  $("message").focus();
}

function head() {
  $("left-head").textContent = `with ${$("control").value.trim() || "none"}`;
}

async function open() {
  draw();
  const response = await fetch("holdfast", { headers: headers() });
  if (response.status === 401 && !$("key").value.trim()) {
    $("model").textContent = "needs a key";
    $("key-field").hidden = false;
    return;
  }
  if (!response.ok) throw new Error(await failure(response));
  const server = await response.json();
  state.server = server;
  $("model").textContent = server.model;
  $("about").textContent = server.note ? ` · ${server.note}` : "";
  $("key-field").hidden = !server.locked;
  $("control").value = server.control === "none" ? server.controls.find((c) => c !== "none") || "none" : server.control;
  $("controls").replaceChildren(...server.controls.map((one) => element("option", { value: one })));
  if (server.persona) {
    $("persona").value = server.persona.prompt;
    $("persona").readOnly = true;
    $("persona-label").textContent = `System prompt of ${server.persona.id}, pinned to this server`;
    $("persona-note").textContent = server.persona.judged
      ? "Its judge scores every reply." : "Only a model can judge it, so replies have no score here.";
  } else {
    $("persona-note").textContent = "No persona is pinned to this server, so replies have no score: start it with --persona FILE.";
  }
  head();
}

async function start() {
  trouble("");
  await open().catch((error) => trouble(`The server could not be asked: ${error.message}`));
}

$("composer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("message").value.trim();
  if (!text || state.running) return;
  if (!state.server) await start();
  if (!state.server || state.running) return;
  $("message").value = "";
  send(text);
});
$("message").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("composer").requestSubmit();
  }
});
$("setting").addEventListener("submit", (event) => event.preventDefault());
$("control").addEventListener("input", head);
$("stop").addEventListener("click", () => state.running && state.running.abort());
$("again").addEventListener("click", fresh);
$("export").addEventListener("click", download);
$("key").addEventListener("change", start);
start();
