// The page: every message goes to two conversations, one with a control and one without.
// Text from models is only ever set as text, never as markup.
"use strict";

const PASS = 0.5; // a reply holds from this score on
const OFFERED = 8; // starters that are shown
const SIDES = ["own", "plain"];

const state = { server: null, histories: { own: [], plain: [] }, rounds: [], running: null, playing: false };

// --- talking to the server ----------------------------------------------------

function headers() {
  return { "Content-Type": "application/json", ...authorization($("key").value.trim()) };
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
async function ask(messages, options, seed, signal, onText) {
  const response = await fetch("v1/chat/completions", {
    method: "POST",
    headers: headers(),
    signal,
    body: JSON.stringify({
      model: model(),
      messages,
      stream: true,
      stream_options: { include_usage: true },
      seed,
      temperature: Number($("temperature").value),
      top_p: 0.9, // as `holdfast drift` samples
      max_tokens: Number($("tokens").value),
      ...(state.server.locked ? {} : { holdfast: options }),
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
    if (done) break;
  }
  if (found.score === null && judged()) found.score = await score(found.text, signal);
  return found;
}

function read(line, found, onText) {
  if (!line.startsWith("data:")) return;
  const data = line.slice(5).trim();
  if (data === "[DONE]" || !data) return;
  const piece = JSON.parse(data);
  if (piece.error) throw new Error(piece.error.message || String(piece.error));
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

// The judge's score of a reply, where the reply brought none.
async function score(reply, signal) {
  const response = await fetch("holdfast/score", {
    method: "POST", headers: headers(), signal, body: JSON.stringify({ reply }),
  });
  return response.ok ? (await response.json()).score : null;
}

const model = () => state.server.model || $("model-name").value.trim();
const prompt = () => $("persona").value.trim();
const judged = () => state.server.persona.judged && prompt() === state.server.persona.prompt;
const control = () => $("control").value.trim() || "none";
const sides = () => (state.server && state.server.locked ? ["own"] : SIDES);

// --- elements -------------------------------------------------------------------

function button(label, act, attributes = {}) {
  const made = element("button", { type: "button", ...attributes }, label);
  made.addEventListener("click", act);
  return made;
}

function card(side, title) {
  const text = element("p", { class: "text", dir: "auto" });
  const badge = element("span", { class: "badge" });
  const marks = element("div", { class: "marks", role: "group", "aria-label": `About the reply ${title}` });
  const made = element("article", { class: `reply ${side}`, "aria-busy": "true", "aria-label": `Reply ${title}` },
    element("h3", {}, element("span", {}, title), badge), text, marks);
  return { made, text, badge, marks };
}

const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(1)}\u00a0%`);

// Whether a reply held: what a reader marked goes before what the judge says; null if nobody knows.
function holds(reply) {
  if (reply.mark) return reply.mark === "passes";
  return reply.score === null ? null : reply.score >= PASS;
}

// --- a round --------------------------------------------------------------------

function finish(reply) {
  const { made, badge, marks } = reply.card;
  const kept = holds(reply);
  made.setAttribute("aria-busy", "false");
  made.classList.toggle("held", kept === true);
  made.classList.toggle("slipped", kept === false);
  badge.textContent = kept === null ? "" : kept ? "✓ held" : "✗ slipped";
  badge.title = reply.score === null ? "" : `The judge's score is ${number(reply.score)}; a reply holds from ${PASS} on.`;
  marks.replaceChildren(
    button("in character", () => mark(reply, "passes"), { "aria-pressed": String(reply.mark === "passes") }),
    button("out of character", () => mark(reply, "fails"), { "aria-pressed": String(reply.mark === "fails") }),
  );
}

function mark(reply, what) {
  reply.mark = reply.mark === what ? null : what;
  finish(reply);
  draw();
}

async function send(text) {
  const named = control();
  const round = { text, control: named };
  const system = state.server.pinned || !prompt() ? [] : [{ role: "system", content: prompt() }];
  for (const side of sides()) {
    const title = side === "own" ? `with ${named}` : "without";
    round[side] = { text: "", share: null, score: null, mark: null, card: card(side, title) };
  }
  const item = element("li", {},
    element("p", { class: "said", dir: "auto" }, element("b", {}, `${state.rounds.length + 1}`), text),
    element("div", { class: sides().length > 1 ? "columns" : "columns single" }, ...sides().map((side) => round[side].card.made)));
  $("rounds").append(item);
  $("empty").hidden = true;
  const running = new AbortController();
  state.running = running;
  busy(true);
  follow();
  const seed = state.rounds.length + 1;
  const ended = await Promise.allSettled(sides().map(async (side) => {
    const messages = [...system, ...state.histories[side], { role: "user", content: text }];
    const show = (so) => { round[side].card.text.textContent = so; follow(); };
    const options = side === "own" ? { control: named } : { control: "none", watch: false }; // no traffic: it is to compare with
    const found = await ask(messages, options, seed, running.signal, show);
    Object.assign(round[side], found);
    round[side].card.text.textContent = found.text;
  }));
  state.running = null;
  busy(false);
  const failed = ended.find((one) => one.status === "rejected");
  if (failed) undo(item, text, failed.reason, running);
  else {
    trouble("");
    for (const side of sides()) {
      state.histories[side].push({ role: "user", content: text }, { role: "assistant", content: round[side].text });
      finish(round[side]);
    }
    state.rounds.push(round);
  }
  draw();
  follow();
  $("empty").hidden = state.rounds.length > 0;
  return !failed;
}

function undo(item, text, reason, running) {
  running.abort();
  item.remove();
  $("message").value = text;
  trouble(reason && reason.name === "AbortError" ? "" : reason.message || String(reason));
}

// Keep the newest reply in sight.
function follow() {
  $("talk").scrollTop = $("talk").scrollHeight;
}

function busy(on) {
  $("send").disabled = on;
  $("send").hidden = on;
  $("stop").hidden = !on;
  for (const id of ["again", "play"]) $(id).disabled = on || state.playing;
  for (const one of $("starters").children) one.disabled = on || state.playing;
  $("rounds").setAttribute("aria-busy", String(on));
}

// Send the starters one after the other.
async function play() {
  if (!(await ready()) || state.running) return;
  state.playing = true;
  const texts = state.server.starters;
  for (let i = 0; i < state.server.rounds && state.playing; i += 1) {
    if (!(await send(texts[state.rounds.length % texts.length]))) break;
  }
  state.playing = false;
  busy(false);
}

// --- who holds --------------------------------------------------------------------

const scored = (side) => state.rounds.map((round) => round[side] && holds(round[side])).filter((one) => one === true || one === false);
const held = (side) => scored(side).filter(Boolean).length;

function draw() {
  for (const side of sides()) drawSide(side);
  drawVerdict();
  lines($("score"), "score");
  lines($("share"), "share");
  const has = (name) => state.rounds.some((round) => sides().some((side) => round[side][name] !== null));
  $("score-figure").hidden = !has("score");
  $("share-figure").hidden = !has("share");
  const cell = (round, side, name, form) => (round[side] ? form(round[side][name]) : "–");
  $("table").tBodies[0].replaceChildren(...state.rounds.map((round, i) =>
    element("tr", {}, ...[`${i + 1}`, round.control, cell(round, "own", "score", number), cell(round, "plain", "score", number),
      cell(round, "own", "share", percent), cell(round, "plain", "share", percent)].map((text) => element("td", {}, text)))));
  $("export").disabled = state.rounds.length === 0;
  $("play").classList.toggle("quiet", state.rounds.length > 0);
  const fixed = state.rounds.length > 0;
  $("persona").readOnly = Boolean(state.server && state.server.pinned) || fixed;
}

function drawSide(side) {
  const n = scored(side).length;
  $(`${side}-tally`).textContent = n ? `held ${held(side)} of ${n}` : "–";
  $(`${side}-squares`).replaceChildren(...state.rounds.map((round) => {
    const kept = holds(round[side]);
    return element("i", { class: kept === null ? "" : kept ? "held" : "slipped" }, kept === null ? "" : kept ? "✓" : "✗");
  }));
  const shares = state.rounds.map((round) => round[side].share).filter((one) => one !== null);
  const meaning = state.rounds.length || !state.server ? "" : meaningOf(side === "own" ? control() : "none");
  $(`${side}-tally`).parentElement.hidden = !state.rounds.length;
  $(`${side}-share`).replaceChildren(meaning, ...(shares.length ? [spark(shares), `attention to the persona, last round ${percent(shares[shares.length - 1])}`] : []));
  $(`${side}-share`).title = "The part of the model's attention that goes to the persona's prompt while it writes.";
}

function meaningOf(text) {
  const known = state.server.controls.find((one) => one.text === text);
  return known ? known.meaning : "";
}

function drawVerdict() {
  const n = scored("own").length;
  const verdict = $("verdict");
  if (!state.server) return;
  if (!state.rounds.length) {
    verdict.replaceChildren(element("small", {}, `Does it still hold after some rounds? Press “Play ${state.server.rounds} rounds”, or write.`));
    return;
  }
  if (!n) {
    verdict.replaceChildren(element("small", {}, "No judge knows this persona: mark the replies as in or out of character."));
    return;
  }
  const m = scored("plain").length;
  const gap = sides().length < 2 ? 0 : held("own") / n - held("plain") / (m || 1);
  const tone = (good, bad) => (good ? "own" : bad ? "slipped" : "");
  const own = element("span", { class: tone(held("own") === n || gap > 0, gap < 0) }, `Held ${held("own")} of ${n}`);
  const name = state.rounds[state.rounds.length - 1].control;
  if (sides().length < 2) return void verdict.replaceChildren(own, ` with ${name}`);
  const plain = element("span", { class: tone(gap < 0, gap > 0) }, `without ${held("plain")} of ${m}`);
  const words = gap > 0 ? `${name} keeps the persona in more rounds.` : gap < 0 ? `${name} keeps the persona in fewer rounds.` : "So far both sides do alike.";
  verdict.replaceChildren(own, ` with ${name}, `, plain, element("small", {}, words));
}

function spark(values) {
  const top = Math.max(...state.rounds.flatMap((round) => sides().map((side) => round[side].share ?? 0)), 0.01);
  const x = (i) => (values.length === 1 ? 0 : (70 * i) / (values.length - 1));
  const made = svg("svg", { class: "spark", viewBox: "0 0 70 16", "aria-hidden": "true" });
  made.append(svg("polyline", { points: values.map((v, i) => `${x(i)},${15 - (14 * v) / top}`).join(" ") }));
  return made;
}

function lines(chart, field) {
  const [left, right, low, high] = [34, 552, 112, 8];
  const n = Math.max(state.rounds.length, 2);
  const values = state.rounds.flatMap((round) => sides().map((side) => round[side][field])).filter((v) => v !== null);
  const most = field === "share" ? Math.max(0.1, ...values) : 1;
  const x = (i) => left + 8 + ((right - left - 16) * i) / (n - 1);
  const y = (value) => low - ((low - high) * value) / most;
  const parts = [0, most / 2, most].flatMap((value) => [
    svg("line", { class: field === "score" && value === PASS ? "half" : "grid", x1: left, x2: right, y1: y(value), y2: y(value) }),
    svg("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" },
      field === "share" ? `${Math.round(100 * value)}%` : value.toFixed(1)),
  ]);
  state.rounds.forEach((_, i) => {
    if (n <= 12 || i % Math.ceil(n / 12) === 0) {
      parts.push(svg("text", { class: "round", x: x(i), y: 128, "text-anchor": "middle" }, String(i + 1)));
    }
  });
  for (const side of [...sides()].reverse()) {
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
    const inner = Object.entries(value).map(([name, one]) => `${/^[\w-]+$/.test(name) ? name : JSON.stringify(name)} = ${toml(one)}`);
    return `{ ${inner.join(", ")} }`;
  }
  // TOML wants U+007F escaped, which JSON leaves as it is.
  return JSON.stringify(value).replaceAll("\u007f", "\\u007f");
}

function personaTest() {
  const { persona } = state.server;
  const own = prompt() === persona.prompt;
  const replies = state.rounds.flatMap((round) => sides().map((side) => round[side])).filter((one) => one.text.trim());
  const unique = (texts) => [...new Set(texts)];
  const judge = own ? persona.judge : { name: "rubric", criteria: `The reply keeps to this prompt: ${prompt()}` };
  const written = [
    "# Made from a conversation on the live page; check it with: holdfast personas check FILE",
    "[[persona]]",
    `id = ${toml(own ? `${persona.id}-chat` : "from-a-chat")}`,
    `category = ${toml(own ? persona.category : "character")}`,
    `prompt = ${toml(prompt())}`,
    `probes = ${toml(unique(state.rounds.map((round) => round.text)))}`,
    `judge = ${toml(judge)}`,
  ];
  for (const [name, kept] of [["passes", true], ["fails", false]]) {
    const texts = unique(replies.filter((one) => holds(one) === kept).map((one) => one.text));
    if (texts.length) written.push(`${name} = ${toml(texts)}`);
  }
  return `${written.join("\n")}\n`;
}

function download() {
  if (!prompt()) {
    trouble("A persona test needs a persona: write the system prompt first (Settings).");
    return;
  }
  const url = URL.createObjectURL(new Blob([personaTest()], { type: "application/toml" }));
  element("a", { href: url, download: "persona.toml" }).click();
  URL.revokeObjectURL(url);
}

// --- the page ---------------------------------------------------------------------

function fresh() {
  state.histories = { own: [], plain: [] };
  state.rounds = [];
  $("rounds").replaceChildren();
  $("empty").hidden = false;
  trouble("");
  draw();
  $("message").focus();
}

// What depends on the settings.
function head() {
  const { server } = state;
  $("persona-text").textContent = prompt() || "none: the model answers as itself";
  $("own-name").replaceChildren("with ", element("b", {}, control()));
  $("plain-name").textContent = "without a control";
  $("control-note").textContent = meaningOf(control());
  $("own-name").title = meaningOf(control());
  if (!state.rounds.length) for (const side of sides()) drawSide(side);
  $("persona-note").textContent = server.pinned
    ? `Pinned to this server as ${server.persona.name}.`
    : judged() ? "An example that shows at a glance. Its judge knows it; any other prompt has no judge, and you mark the replies." : "Your own prompt has no judge: mark the replies yourself, or start the server with --persona FILE.";
}

function showServer(server) {
  nameModel();
  $("about").textContent = server.note ? ` · ${server.note}` : "";
  $("key-field").hidden = !server.keyed;
  $("control").value = server.control === "none" && !server.locked ? (server.controls.find((one) => one.text !== "none") || { text: "none" }).text : server.control;
  $("control").readOnly = server.locked;
  $("controls").replaceChildren(...server.controls.map((one) => element("option", { value: one.text }, one.meaning)));
  $("persona").value = server.persona.prompt;
  $("plain-side").hidden = server.locked;
  $("board").classList.toggle("single", server.locked);
  if (server.locked) $("empty-text").textContent = "Persona and control are locked on this server, so that there is one conversation.";
  $("starters").replaceChildren(...server.starters.slice(0, OFFERED).map((text) => button(text, () => submit(text))));
  $("play").textContent = `Play ${server.rounds} rounds`;
  $("model-field").hidden = Boolean(server.model);
}

function nameModel() {
  $("model").textContent = model() || "a model behind an API";
}

async function models() {
  const response = await fetch("v1/models", { headers: headers() });
  if (!response.ok) return;
  const { data } = await response.json();
  const names = Array.isArray(data) ? data.map((one) => String(one.id)) : [];
  $("models").replaceChildren(...names.map((name) => element("option", { value: name })));
  if (!$("model-name").value && names.length) $("model-name").value = names[0];
  nameModel();
}

// A server that needs a key shows nothing but the field for it.
function closed(on) {
  document.body.classList.toggle("closed", on);
  $("key-form").hidden = !on;
  if (on) $("first-key").focus();
}

async function open() {
  const response = await fetch("holdfast", { headers: headers() });
  closed(response.status === 401);
  if (response.status === 401) {
    $("model").textContent = "needs a key";
    trouble($("key").value.trim() ? "The server does not know this key." : "This server needs a key.");
    return;
  }
  if (!response.ok) throw new Error(await failure(response));
  state.server = await response.json();
  showServer(state.server);
  head();
  draw();
  if (!state.server.model) await models();
}

async function start() {
  trouble("");
  await open().catch((error) => trouble(`The server could not be asked: ${error.message}`));
}

async function ready() {
  if (!state.server) await start();
  return Boolean(state.server);
}

async function submit(text) {
  if (!text || state.running || state.playing || !(await ready()) || state.running) return;
  $("message").value = "";
  await send(text);
  $("message").focus();
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit($("message").value.trim());
});
$("message").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("composer").requestSubmit();
  }
});
for (const id of ["control", "persona"]) $(id).addEventListener("input", () => state.server && head());
$("setting-open").addEventListener("click", () => $("setting-dialog").showModal());
$("numbers-open").addEventListener("click", () => $("numbers").showModal());
$("stop").addEventListener("click", () => { state.playing = false; if (state.running) state.running.abort(); });
$("play").addEventListener("click", play);
$("again").addEventListener("click", fresh);
$("export").addEventListener("click", download);
$("key").addEventListener("change", start);
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  $("key").value = $("first-key").value.trim();
  start();
});
$("model-name").addEventListener("input", nameModel);
start();
