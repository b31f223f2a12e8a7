// The page: shows what the connection reports. All text from outside enters the document as text, never as markup.

import { Connection } from "./connection.js";

// Older rows leave the list: a page may stay open for weeks.
const ROWS_MAX = 300;
const CUT_MS = 10_000;
const QUESTION_TOPIC = "agent:demo";

const $ = (id) => document.getElementById(id);
const user = new URLSearchParams(location.search).get("user") || "demo";
const tokenInAddress = () => new URLSearchParams(location.hash.slice(1)).get("token");
const store = `towline:${user}`;

const counts = { received: 0, replayed: 0, duplicates: 0, holes: 0 };
let rows = []; // newest last: {before, at}, where a reload begins again
let waiting = []; // rows on their way into the list
let retryAt = null;
let stateText = "";
let stateName = "connecting";
let who = user;

const ICONS = [
  ["agent.started", "start"], ["agent.error", "error"], ["agent.step_completed", "step"], ["tool_", "tool"], ["partial_result", "part"],
  ["agent.paused", "hand"], ["approval.", "hand"], ["system.", "system"],
];
const iconOf = (type) => /(^|\.)completed$/.test(type) && type !== "agent.step_completed"
  ? "done" : ICONS.find(([start]) => type.startsWith(start))?.[1] ?? "other";

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** What an event says, in a line or two, whoever published it. */
function summary({ data }) {
  if (data === null || typeof data !== "object") return data === undefined || data === null ? "" : String(data);
  for (const key of ["answer", "message", "excerpt", "rationale", "question", "content", "action"]) {
    if (typeof data[key] === "string" && data[key]) return data[key];
  }
  if (data.best_so_far) return `best so far: ${data.best_so_far.heading || "(opening)"}, ${data.best_so_far.file}:${data.best_so_far.line}`;
  const text = JSON.stringify(data);
  return text === "{}" ? "" : text;
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
function ago(at) {
  const seconds = Math.min(0, Math.round(at - Date.now() / 1000));
  if (seconds > -5) return "now";
  if (seconds > -60) return relative.format(seconds, "second");
  if (seconds > -3600) return relative.format(Math.round(seconds / 60), "minute");
  if (seconds > -86400) return relative.format(Math.round(seconds / 3600), "hour");
  return new Date(at * 1000).toLocaleDateString();
}

function eventRow(event, replayed) {
  const row = element("li", "event");
  const severity = ["warning", "action_required"].includes(event.severity) ? event.severity : "info";
  row.dataset.severity = severity;
  row.dataset.type = event.type;
  row.dataset.offset = event.offset;
  row.dataset.id = event.id;
  if (event.type === "agent.completed") row.classList.add("answer");
  row.append(icon(iconOf(event.type)));

  const body = element("div", "body");
  const title = element("p", "title", event.title || event.type);
  if (severity !== "info") title.append(" ", element("span", "tag", severity === "warning" ? "warning" : "action required"));
  if (replayed) title.append(" ", element("span", "tag quiet", "replayed"));
  body.append(title);
  const said = summary(event).slice(0, 600);
  if (said && said !== event.title) body.append(element("p", "said", said));
  if (Array.isArray(event.data?.sources) && event.data.sources.length) {
    const sources = element("ul", "sources");
    for (const source of event.data.sources.slice(0, 8)) sources.append(element("li", "", `${source.file}:${source.line} ${source.heading ?? ""}`));
    body.append(sources);
  }
  const facts = element("p", "facts");
  const time = element("time", "", ago(event.ts));
  time.dateTime = new Date(event.ts * 1000).toISOString();
  time.title = new Date(event.ts * 1000).toLocaleString();
  facts.append(time, ` · ${event.type} · #${event.offset}`);
  if (typeof event.data?.confidence === "number") facts.append(` · confidence ${Math.round(event.data.confidence * 100)} %`);
  body.append(facts);
  row.append(body);
  return row;
}

function markRow(iconName, text, kind) {
  const row = element("li", `mark ${kind}`);
  row.append(icon(iconName), element("p", "title", text));
  return row;
}

/** Rows enter together, so that a long replay costs one layout and not thousands. */
function add(row, place) {
  if (waiting.length === 0) setTimeout(flush, 30);
  waiting.push({ row, place });
  if (waiting.length > ROWS_MAX) waiting.shift();
}

function flush() {
  const feed = $("feed");
  for (const { row, place } of waiting) {
    feed.prepend(row);
    rows.push(place);
  }
  waiting = [];
  rows = rows.slice(-ROWS_MAX);
  while (feed.children.length > ROWS_MAX) feed.lastChild.remove();
  $("empty").hidden = feed.children.length > 0;
  for (const [name, count] of Object.entries(counts)) $(`count-${name}`).textContent = count.toLocaleString("en");
  $("holes").classList.toggle("bad", counts.holes > 0);
  remember();
}

/** A reload begins again behind the oldest row shown, so that the page comes back as it was, and with what came meanwhile. */
function remember() {
  const begin = rows.find((place) => place);
  if (!begin) return;
  try {
    sessionStorage.setItem(store, JSON.stringify(begin));
  } catch { /* storage is full or forbidden: a reload then begins with the next event */ }
}

function remembered() {
  try {
    const { epoch, offset } = JSON.parse(sessionStorage.getItem(store)) ?? {};
    return typeof epoch === "string" && Number.isSafeInteger(offset) ? { epoch, offset } : null;
  } catch {
    return null;
  }
}

function showState() {
  const seconds = retryAt ? Math.max(0, Math.ceil((retryAt - Date.now()) / 1000)) : 0;
  const text = stateName === "reconnecting" ? `${stateText}, reconnecting in ${seconds} s`
    : stateName === "cut" ? `${stateText}, back in ${seconds} s` : stateText;
  if ($("state-text").textContent !== text) $("state-text").textContent = text;
  $("cut-text").textContent = stateName === "cut" ? `Cut: back in ${seconds} s` : "Cut my network for 10 s";
}

function note(text) {
  $("ask-note").textContent = text;
  $("ask-note").hidden = !text;
}

function plural(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function verdict(text, good) {
  $("proof").textContent = text;
  $("proof").dataset.verdict = good ? "good" : "bad";
}

const connection = new Connection({
  user,
  token: tokenInAddress(),
  from: remembered(),
  on: {
    state({ name, text, retryAt: at }) {
      stateName = name;
      stateText = text;
      retryAt = at ?? null;
      $("state").dataset.state = name;
      $("cut").disabled = name !== "live";
      $("ask-button").disabled = name === "cut" || name === "refused";
      showState();
    },
    welcome({ user_id: id }) {
      who = id;
      $("user").textContent = id;
      $("example").textContent = `towline pub user:${id} agent.started`;
    },
    event(event, replayed) {
      counts.received += 1;
      if (replayed) counts.replayed += 1;
      add(eventRow(event, replayed), { epoch: event.epoch, offset: event.prev ?? event.offset - 1 });
      if (["agent.completed", "agent.error"].includes(event.type)) $("spoken").textContent = `${event.title ?? event.type}. ${summary(event)}`;
    },
    duplicate() {
      counts.duplicates += 1;
      add(document.createDocumentFragment(), null);
    },
    hole(after, got) {
      counts.holes += 1;
      add(markRow("error", `Hole: ${got} came after ${after}. Asked again from there.`, "bad"), null);
    },
    gap({ reason, resume_after: after }) {
      const why = { trimmed: "it was removed by retention", epoch_changed: "the log began anew", unknown_id: "it is not known any more" };
      add(markRow("error", `History is missing: ${why[reason] ?? reason}. Going on behind #${after.offset}.`, "bad"), null);
    },
    resumed({ missed, replayed, verified, cut, first }) {
      const text = first ? `Reloaded, replayed ${plural(replayed, "event")}` : `Reconnected, replayed ${plural(replayed, "event")}`;
      add(markRow("link", text, verified ? "good" : "bad"), null);
      $("proof").dataset.missed = missed;
      $("proof").dataset.verified = verified;
      if (!verified) return verdict(`Of ${missed} missed, ${replayed} were replayed: order NOT verified`, false);
      if (!cut) return verdict(`${text}, order verified`, true);
      if (missed === 0) return verdict("Back again. Nothing happened while away: cut it while the agent works", true);
      return verdict(`Missed ${missed} while away, all ${replayed} replayed, order verified`, true);
    },
    notice: note,
  },
});

$("user").textContent = user;
$("cut").addEventListener("click", () => {
  verdict("The network is cut. The agent goes on without you…", true);
  add(markRow("cut", "Network cut by you, for 10 s", "cut"), null);
  connection.cut(CUT_MS);
});

/** Asks with an id of its own, so that asking again after a lost answer asks once. */
async function ask(question) {
  const body = JSON.stringify({ topic: QUESTION_TOPIC, type: "question.asked", id: crypto.randomUUID(), data: { question, user_id: who } });
  const headers = { "content-type": "application/json" };
  const token = tokenInAddress();
  if (token) headers.authorization = `Bearer ${token}`;
  const url = token ? "/api/v1/events" : `/api/v1/events?user_id=${encodeURIComponent(user)}`;
  let failure = "";
  for (let attempt = 0; attempt < 4; attempt += 1) {
    if (attempt > 0) await new Promise((resolve) => { setTimeout(resolve, 500 * 2 ** attempt); });
    try {
      const response = await fetch(url, { method: "POST", headers, body, signal: AbortSignal.timeout(10_000) });
      const answer = await response.json();
      const error = answer.error ?? answer.results?.find(({ status }) => status === "refused")?.error;
      if (!error) return "";
      failure = error.message;
      if (!error.retryable) break;
    } catch {
      failure = "the server cannot be reached";
    }
  }
  return `The question was not taken: ${failure}`;
}

$("ask").addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  const field = $("question");
  const question = field.value.trim();
  if (!question) return;
  $("ask-button").disabled = true;
  note("");
  const failure = await ask(question);
  note(failure);
  if (!failure) field.value = "";
  $("ask-button").disabled = stateName === "cut" || stateName === "refused";
});
$("examples").addEventListener("click", ({ target }) => {
  if (target.tagName !== "BUTTON") return;
  $("question").value = target.textContent;
  $("ask").requestSubmit();
});

addEventListener("hashchange", () => { if (tokenInAddress()) connection.renew(tokenInAddress()); });
setInterval(showState, 250);
setInterval(() => {
  for (const time of document.querySelectorAll("time")) time.textContent = ago(Date.parse(time.dateTime) / 1000);
}, 10_000);
