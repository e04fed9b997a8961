"use strict";
// The API's page, made from its own OpenAPI document. The token stays in this page's memory: it is never stored, and is
// sent to this origin only. Texts of the document become text nodes, never markup.

const DOCUMENT = "api/v1/openapi.json";
const METHODS = ["get", "post", "put", "patch", "delete"];
const DEEPEST = 8;
const MOST_SHOWN = 200000;
let api = null;

function make(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

function resolve(schema) {
  let found = schema || {};
  for (let turn = 0; turn < 20 && found.$ref; turn += 1) found = api.components.schemas[found.$ref.split("/").pop()] || {};
  return found;
}

// ``code`` and paragraphs, as in the docstrings the texts come from.
function prose(text) {
  const box = make("div", { class: "text" });
  for (const part of (text || "").split(/\n\s*\n/)) {
    const paragraph = make("p");
    part.split(/(`{1,2}[^`]+`{1,2})/).forEach((piece) => {
      paragraph.append(piece.startsWith("`") ? make("code", {}, piece.replace(/`/g, "")) : piece);
    });
    box.append(paragraph);
  }
  return box;
}

function nameOf(schema) {
  return schema && schema.$ref ? schema.$ref.split("/").pop() : null;
}

function kindOf(schema) {
  if (!schema) return "any";
  const named = nameOf(schema);
  const found = resolve(schema);
  if (found.enum) return found.enum.map((one) => JSON.stringify(one)).join(" | ");
  if ("const" in found) return JSON.stringify(found.const);
  if (named) return named;
  for (const word of ["anyOf", "oneOf", "allOf"]) {
    if (found[word]) return found[word].map(kindOf).join(word === "allOf" ? " & " : " | ");
  }
  if (found.type === "array") return `${kindOf(found.items)}[]`;
  if (found.type === "object" && found.additionalProperties && found.additionalProperties !== true) {
    return `{ [name]: ${kindOf(found.additionalProperties)} }`;
  }
  return [].concat(found.type || "any").join(" | ") + (found.format ? ` (${found.format})` : "");
}

function limits(schema) {
  const found = resolve(schema);
  const options = [found, ...(found.anyOf || []).map(resolve)];
  const said = [];
  for (const one of options) {
    if (one.minimum !== undefined) said.push(`≥ ${one.minimum}`);
    if (one.exclusiveMinimum !== undefined) said.push(`> ${one.exclusiveMinimum}`);
    if (one.maximum !== undefined) said.push(`≤ ${one.maximum}`);
    if (one.minLength !== undefined && one.minLength > 0) said.push(`${one.minLength}+ characters`);
    if (one.maxLength !== undefined) said.push(`at most ${one.maxLength} characters`);
    if (one.maxItems !== undefined) said.push(`at most ${one.maxItems} items`);
    if (one.pattern) said.push(one.pattern);
  }
  if (found.default !== undefined && found.default !== null) said.push(`default ${JSON.stringify(found.default)}`);
  return said.join(", ");
}

// What is inside: the parts of a schema that have fields of their own.
function inner(schema, deep) {
  const found = resolve(schema);
  if (deep > DEEPEST) return [];
  if (found.properties) {
    const must = new Set(found.required || []);
    return Object.entries(found.properties).map(([name, field]) => branch(name, field, must.has(name), deep));
  }
  if (found.type === "array") return inner(found.items, deep + 1);
  const options = found.anyOf || found.oneOf || found.allOf;
  if (options) return options.flatMap((one) => {
    const nodes = inner(one, deep + 1);
    return nodes.length && nameOf(one) && options.length > 2 ? [group(nameOf(one), nodes)] : nodes;
  });
  if (found.additionalProperties && found.additionalProperties !== true) return inner(found.additionalProperties, deep + 1);
  return [];
}

function group(name, nodes) {
  return make("details", {}, make("summary", {}, make("span", { class: "kind" }, name)), ...nodes);
}

function branch(name, field, must, deep) {
  const about = [resolve(field).description || field.description, limits(field)].filter(Boolean).join(" — ");
  const line = [
    make("span", { class: must ? "must" : "" }, name), " ",
    make("span", { class: "kind" }, kindOf(field)), " ",
    make("span", { class: "doc" }, about.replace(/`/g, "")),
  ];
  const probe = resolve(field);
  const has = probe.properties || probe.items || probe.anyOf || probe.oneOf || probe.allOf || typeof probe.additionalProperties === "object";
  if (!has || !inner(field, deep + 1).length) return make("div", { class: "leaf" }, ...line);
  const details = make("details", {}, make("summary", {}, ...line));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(...inner(field, deep + 1));
  });
  return details;
}

function tree(schema) {
  const box = make("div", { class: "tree" }, make("div", { class: "leaf kind" }, kindOf(schema)));
  box.append(...inner(schema, 0));
  return box;
}

function example(schema, deep = 0) {
  const found = resolve(schema);
  if (found.examples && found.examples.length) return found.examples[0];
  if (found.default !== undefined) return found.default;
  if ("const" in found) return found.const;
  if (found.enum) return found.enum[0];
  if (deep > 4) return null;
  const options = found.anyOf || found.oneOf;
  if (options) return options.some((one) => one.type === "null") ? null : example(options[0], deep + 1);
  if (found.properties) {
    const must = new Set(found.required || []);
    const shown = Object.entries(found.properties).filter(([name]) => must.has(name) || deep === 0);
    return Object.fromEntries(shown.map(([name, field]) => [name, example(field, deep + 1)]));
  }
  const kind = [].concat(found.type || [])[0];
  return { object: {}, array: [], integer: found.minimum || 0, number: found.minimum || 0, boolean: false, null: null, string: "" }[kind] ?? null;
}

function control(schema) {
  const found = resolve(schema);
  const chosen = found.enum ? found : (found.anyOf || []).map(resolve).find((one) => one.enum);
  const yesNo = found.type === "boolean" || (found.anyOf || []).some((one) => one.type === "boolean");
  const words = chosen ? chosen.enum.map(String) : yesNo ? ["true", "false"] : null;
  if (words === null) return make("input", { type: "text", spellcheck: "false", autocomplete: "off" });
  return make("select", {}, ...["", ...words].map((word) => make("option", { value: word }, word)));
}

function parameters(operation) {
  const given = [];
  const box = make("div", { class: "fields" });
  for (const parameter of operation.parameters || []) {
    const input = control(parameter.schema);
    input.setAttribute("aria-label", parameter.name);
    const about = [parameter.description || resolve(parameter.schema).description, limits(parameter.schema)].filter(Boolean).join(" — ");
    given.push({ parameter, input });
    box.append(make("div", { class: "field" },
      make("div", { class: "name" }, make("span", { class: parameter.required ? "must" : "" }, parameter.name), " ", make("span", { class: "where" }, parameter.in)),
      input,
      make("div", { class: "about" }, about.replace(/`/g, ""))));
  }
  return { given, box };
}

function bodyOf(operation) {
  const content = operation.requestBody ? operation.requestBody.content : {};
  const kinds = Object.keys(content);
  if (!kinds.length) return null;
  const kind = make("select", { "aria-label": "Content-Type" }, ...kinds.map((one) => make("option", { value: one }, one)));
  const json = content["application/json"];
  const binary = kinds.every((one) => one.startsWith("audio/"));
  const input = binary ? make("input", { type: "file", "aria-label": "Body" }) : make("textarea", { spellcheck: "false", "aria-label": "Body" });
  if (json) input.value = JSON.stringify(example(json.schema), null, 2);
  return { kind, input, several: kinds.length > 1, schema: json ? json.schema : null, read: () => (binary ? input.files[0] : input.value) };
}

async function send(method, path, given, body, box) {
  const query = new URLSearchParams();
  const headers = {};
  let target = path;
  for (const { parameter, input } of given) {
    const value = input.value;
    if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (value === "") continue;
    else if (parameter.in === "query") query.append(parameter.name, value);
    else headers[parameter.name] = value;
  }
  const token = document.getElementById("token").value.trim();
  if (token) headers.Authorization = `Bearer ${token}`;
  const options = { method: method.toUpperCase(), headers, cache: "no-store", credentials: "omit", redirect: "error" };
  if (body) {
    headers["Content-Type"] = body.kind.value;
    options.body = body.read();
  }
  const asked = target.replace(/^\//, "") + (query.size ? `?${query}` : "");
  const began = performance.now();
  try {
    const response = await fetch(asked, options);
    const kind = response.headers.get("Content-Type") || "";
    if (kind.startsWith("text/event-stream")) {
      await follow(response, box);
      return;
    }
    const raw = await response.blob();
    const took = Math.round(performance.now() - began);
    show(box, response, kind, raw, await textOf(kind, raw), `${took} ms`);
  } catch (error) {
    box.replaceChildren(make("div", { class: "line" }, make("span", { class: "bad" }, String(error))));
  }
}

async function textOf(kind, raw) {
  if (!raw.size) return "";
  if (!/json|text|xml/.test(kind)) return null;
  const text = await raw.text();
  if (!kind.includes("json")) return text.slice(0, MOST_SHOWN);
  try {
    return JSON.stringify(JSON.parse(text), null, 2).slice(0, MOST_SHOWN);
  } catch {
    return text.slice(0, MOST_SHOWN);
  }
}

function show(box, response, kind, raw, text, took) {
  const line = make("div", { class: "line" }, make("span", { class: response.ok ? "good" : "bad" }, `${response.status} ${response.statusText}`), make("span", {}, took));
  for (const name of ["ETag", "Location", "Idempotency-Replayed"]) {
    if (response.headers.has(name)) line.append(make("span", {}, `${name}: ${response.headers.get(name)}`));
  }
  const inside = [line];
  if (text) inside.push(make("pre", {}, text));
  if (text === null) inside.push(make("pre", {}, `${raw.size} bytes of ${kind}`));
  box.replaceChildren(...inside);
}

async function follow(response, box) {
  const pre = make("pre");
  const reader = response.body.getReader();
  const stop = make("button", { type: "button", onclick: () => reader.cancel() }, "Stop");
  box.replaceChildren(make("div", { class: "line" }, make("span", { class: "good" }, "200, following"), stop), pre);
  const decoder = new TextDecoder();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    pre.textContent = (pre.textContent + decoder.decode(part.value, { stream: true })).slice(-MOST_SHOWN);
    pre.scrollTop = pre.scrollHeight;
  }
  stop.disabled = true;
}

function responses(operation) {
  const box = make("div");
  for (const [status, answer] of Object.entries(operation.responses).sort()) {
    const content = Object.entries(answer.content || {});
    const kind = content.map(([name, one]) => (one.schema ? kindOf(one.schema) : name)).join(", ");
    const headers = Object.keys(answer.headers || {});
    const words = [answer.description, kind, headers.length ? `headers ${headers.join(", ")}` : ""].filter(Boolean).join(" · ");
    box.append(make("div", { class: "status" }, make("b", { class: status < "400" ? "good" : "" }, status), make("span", { class: "note" }, words)));
    if (status < "300" && content.length && content[0][1].schema) box.append(tree(content[0][1].schema));
  }
  return box;
}

function inside(method, path, operation) {
  const { given, box: fields } = parameters(operation);
  const body = bodyOf(operation);
  const answer = make("div", { class: "answer", hidden: true });
  const button = make("button", { type: "button" }, "Send");
  button.addEventListener("click", async () => {
    button.disabled = true;
    answer.hidden = false;
    answer.replaceChildren(make("div", { class: "line" }, "…"));
    await send(method, path, given, body, answer);
    button.disabled = false;
  });
  const parts = [prose(operation.description)];
  if (given.length) parts.push(make("h3", {}, "Parameters"), fields);
  if (body) {
    parts.push(make("h3", {}, "Body"), body.several ? body.kind : null, body.input);
    if (body.schema) parts.push(make("details", {}, make("summary", { class: "note" }, "Fields"), tree(body.schema)));
  }
  const open = (operation.security || [null]).length === 0;
  parts.push(make("div", { class: "send" }, button, open ? "needs no token" : ""), answer, make("h3", {}, "Answers"), responses(operation));
  return make("div", { class: "inside" }, ...parts.filter(Boolean));
}

function pathNode(path) {
  const node = make("span", { class: "path" });
  path.split(/(\{\w+\})/).forEach((part) => {
    const shown = part.replace(/^\/api\/v1/, "");
    if (part !== shown) node.append(make("b", {}, "/api/v1"));
    node.append(part.startsWith("{") ? make("i", {}, part) : shown);
  });
  return node;
}

function route(method, path, operation) {
  const details = make("details", { class: "route", id: operation.operationId },
    make("summary", {}, make("span", { class: `method ${method}` }, method.toUpperCase()), pathNode(path), make("span", { class: "summary" }, (operation.summary || "").replace(/`/g, ""))));
  details.dataset.words = `${method} ${path} ${operation.summary}`.toLowerCase();
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(inside(method, path, operation));
  });
  return details;
}

function build() {
  document.getElementById("version").textContent = api.info.version;
  const tags = new Map();
  for (const [path, operations] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((one) => operations[one])) {
      const operation = operations[method];
      const tag = (operation.tags || ["other"])[0];
      if (!tags.has(tag)) tags.set(tag, []);
      tags.get(tag).push(route(method, path, operation));
    }
  }
  const main = document.getElementById("routes");
  const nav = document.getElementById("tags");
  main.replaceChildren();
  for (const [tag, routes] of tags) {
    main.append(make("section", { id: `tag-${tag}` }, make("h2", {}, tag), ...routes));
    nav.append(make("a", { href: `#tag-${tag}` }, tag, make("span", {}, String(routes.length))));
  }
  main.append(make("p", { class: "note", id: "nothing", hidden: true }, "No route has these words."));
  reveal();
}

function filter() {
  const words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  let any = false;
  for (const section of document.querySelectorAll("section")) {
    let shown = false;
    for (const details of section.querySelectorAll("details.route")) {
      details.hidden = !words.every((word) => details.dataset.words.includes(word));
      shown = shown || !details.hidden;
    }
    section.hidden = !shown;
    any = any || shown;
  }
  document.getElementById("nothing").hidden = any;
}

function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  if (target.matches("details.route")) target.open = true;
  target.scrollIntoView();
}

async function start() {
  document.getElementById("filter").addEventListener("input", filter);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/INPUT|TEXTAREA|SELECT/.test(document.activeElement.tagName)) {
      event.preventDefault();
      document.getElementById("filter").focus();
    }
  });
  window.addEventListener("hashchange", reveal);
  try {
    api = await (await fetch(DOCUMENT)).json();
  } catch (error) {
    document.getElementById("loading").textContent = `The document cannot be read: ${error}`;
    return;
  }
  build();
}

start();
