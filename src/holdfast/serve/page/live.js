// Live traffic: whether the persona holds in production, by round, and what the tests say.
// Text is only ever set as text, never as markup.
"use strict";

const EVERY = 5000; // milliseconds between two looks
let shown = null; // the server's answer that is on the page

const count = (n, one) => `${n.toLocaleString("en")} ${one}${n === 1 ? "" : "s"}`;

const replies = (n) => (n === 1 ? "1 scored reply" : `${n.toLocaleString("en")} scored replies`);

function verdict(state) {
  const last = state.alarms[state.alarms.length - 1];
  if (state.drifts && last) {
    const drop = last.rounds === "first" ? `in the first rounds replies score ${number(last.drop)} less than expected` :
      `in round ${last.rounds} replies score ${number(last.drop)} less than at the beginning`;
    return element("p", { class: "verdict" },
      element("span", { class: "slipped" }, `It drifts: ${drop}.`),
      element("small", {}, `Noticed ${count(last.delay, "conversation")} after the likeliest beginning of the change${last.time ? `, ${new Date(1000 * last.time).toLocaleString()}` : ""}.`));
  }
  const later = state.tests.filter((one) => one.rounds !== "first");
  const sure = later.filter((one) => one.conversations >= state.enough).pop(); // the last rounds that enough conversations reached
  return element("p", { class: "verdict" }, element("span", { class: sure ? "own" : "" }, quiet(state, later, sure)),
    element("small", {}, `The test raises at most one false alarm in ${state.per_false_alarm.toLocaleString("en")} conversations.`));
}

// What can be said without an alarm. Few conversations raise none, whether the persona holds or not.
function quiet(state, later, sure) {
  if (!state.replies) return state.others ? `No reply under ${state.control} has been scored yet.` : "No reply has been scored yet.";
  if (sure) return `It holds up to round ${sure.rounds.split("-").pop()}: no drop of ${number(state.drop)} is seen in ${count(sure.conversations, "conversation")}.`;
  const most = Math.max(0, ...later.map((one) => one.conversations));
  return `Too early to say: ${count(most, "conversation")} went on after the first rounds, and a drop of ${number(state.drop)} can take ${state.enough.toLocaleString("en")} to show.`;
}

// Mean score by round as bars, and the first rounds' mean as a line.
function chart(state) {
  const [left, right, low, high] = [34, 700, 172, 28];
  const made = svg("svg", { class: "chart", viewBox: "0 0 712 196", role: "img", "aria-label": "Mean score by round" });
  const y = (value) => low - (low - high) * value;
  for (const value of [0, 0.5, 1]) {
    made.append(svg("line", { class: "grid", x1: left, x2: right, y1: y(value), y2: y(value) }),
      svg("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(1)));
  }
  const step = (right - left) / Math.max(state.rounds.length, 1);
  state.rounds.forEach((one, i) => {
    if (one.score === null) return; // replies under other controls only
    const x = left + step * i + step * 0.2;
    const dropped = state.first !== null && state.first - one.score > state.drop;
    made.append(svg("rect", { class: dropped ? "bar slipped" : "bar", x, y: y(one.score), width: step * 0.6, height: Math.max(1, low - y(one.score)) }),
      svg("text", { class: "round", x: x + step * 0.3, y: 188, "text-anchor": "middle" }, one.rounds),
      svg("text", { x: x + step * 0.3, y: y(one.score) - 6, "text-anchor": "middle" }, number(one.score)));
  });
  if (state.first !== null) made.append(svg("line", { class: "half", x1: left, x2: right, y1: y(state.first), y2: y(state.first) }));
  return made;
}

function table(head, rows) {
  return element("div", { class: "scroll" }, element("table", {},
    element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((text) => element("td", {}, text)))))));
}

function section(state) {
  const others = [...new Set(state.rounds.flatMap((one) => Object.keys(one.controls)))].filter((one) => one !== state.control);
  const parts = [
    element("h1", {}, element("span", { class: "label" }, state.alias ? `The persona of the alias ${state.alias}` : "The persona"), element("q", { dir: "auto" }, state.prompt)), verdict(state),
    element("p", { class: "hint" }, `${state.persona} under ${state.control}: ${count(state.conversations, "conversation")}, ${replies(state.replies)}; ${count(state.slips, "conversation")} lost the persona for certain.`),
  ];
  if (!state.judged) parts.push(element("p", { class: "hint" }, "Only a model can judge this persona: a sample of the replies is scored in the background."));
  if (state.others) parts.push(element("p", { class: "hint" }, `Beside them ${replies(state.others)} under controls that clients chose: they are in the table, and in no bar and no test.`));
  if (state.replies) {
    parts.push(element("figure", {}, element("figcaption", {}, `Mean score of the replies under ${state.control} by round of their conversation. The dotted line is the first rounds' mean; a bar in red is lower by more than the drop that the test looks for.`), chart(state)));
  }
  if (state.rounds.length) {
    parts.push(table(["round", "replies", "score", ...others.map((one) => `under ${one}`)],
      state.rounds.map((one) => [one.rounds, `${one.replies}`, number(one.score), ...others.map((name) => number(one.controls[name]))])));
  }
  if (state.tests.length) {
    parts.push(element("details", {}, element("summary", {}, "The tests"),
      element("p", { class: "hint" }, "Each compares a conversation's later rounds with its own first ones, and “first” these with the score that is expected of them. At evidence 1 it raises the alarm."),
      table(["rounds", "conversations", "mean drop", "evidence"], state.tests.map((one) => [one.rounds, `${one.conversations}`, number(one.drop), number(one.evidence)]))));
  }
  return element("section", { class: "persona" }, ...parts);
}

async function look() {
  const key = $("key").value.trim();
  const response = await fetch("holdfast/traffic", { headers: authorization(key) });
  $("key-form").hidden = response.status !== 401 && !key;
  if (response.status === 401) return void trouble(key ? "The server does not know this key." : "This server needs a key.");
  if (response.status === 403) return void trouble("This key is for chats under its own models: it does not show the traffic.");
  if (response.status === 404) return void trouble("This server does not watch its traffic.");
  if (!response.ok) return void trouble(`The server said ${response.status}.`);
  const text = await response.text();
  const state = JSON.parse(text); // null without a persona
  trouble(state ? "" : "No persona is pinned to this server, so there is nothing to watch: start it with --persona FILE.");
  if (text !== shown) show(state ? [state, ...(state.aliases ?? [])] : []);
  shown = text; // what stays the same keeps its focus, and no screen reader says it again
  $("when").textContent = ` as of ${new Date().toLocaleTimeString()}`;
}

function show(personas) {
  const open = [...document.querySelectorAll("details")].map((one) => one.open);
  $("personas").replaceChildren(...personas.map(section));
  [...document.querySelectorAll("details")].forEach((one, i) => { one.open = Boolean(open[i]); });
}

function again() {
  look().catch((error) => trouble(`The server could not be asked: ${error.message}`));
}

$("key-form").addEventListener("submit", (event) => { event.preventDefault(); again(); });
again();
setInterval(() => { if (!document.hidden) again(); }, EVERY);
