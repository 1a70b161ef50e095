// What both pages need. Text is only ever set as text, never as markup.
"use strict";

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const number = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));

// The header of a request that carries the key, where one was given.
const authorization = (key) => (key ? { Authorization: `Bearer ${key}` } : {});

function trouble(said) {
  $("trouble").textContent = said;
  $("trouble").hidden = !said;
}

function svg(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}
