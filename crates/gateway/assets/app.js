// The page: shows what the connection reports. All text from outside enters the document as text, never as markup.

import { Brake } from "./brake.js";
import { Connection } from "./connection.js";

// Older rows leave the list: a page may stay open for weeks.
const ROWS_MAX = 300;
const CUT_MS = 10_000;
const QUESTION_TOPIC = "agent:demo";

const $ = (id) => document.getElementById(id);
const address = new URLSearchParams(location.search);
const user = address.get("user") || address.get("user_id") || "demo";
const tokenInAddress = () => new URLSearchParams(location.hash.slice(1)).get("token");
const store = `towline:${user}`;

const counts = { received: 0, replayed: 0, duplicates: 0, holes: 0 };
let places = []; // the position before each row, newest last: a reload begins again at the first
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

const SAID_MAX = 2_000;
const TELLING = ["answer", "message", "text", "excerpt", "rationale", "question", "content", "action"];

/** What an event says, in a line or two, whoever published it. */
function summary({ type, data }) {
  if (data === null || data === undefined) return "";
  if (typeof data !== "object") return String(data);
  const telling = type === "partial_result" ? ["text", ...TELLING] : TELLING;
  const key = telling.find((name) => typeof data[name] === "string" && data[name]);
  if (key) return data[key].length > SAID_MAX ? `${data[key].slice(0, SAID_MAX)}…` : data[key];
  if (data.best_so_far) return `best so far: ${data.best_so_far.heading || "(opening)"}, ${data.best_so_far.file}:${data.best_so_far.line}`;
  const flat = (value) => Array.isArray(value) ? value.slice(0, 12).map(String).join(", ") : String(value);
  const isFlat = (value) => typeof value !== "object" || (Array.isArray(value) && value.length > 0 && value.every((item) => typeof item !== "object"));
  const pairs = Object.entries(data).filter(([, value]) => isFlat(value)).map(([name, value]) => `${name.replaceAll("_", " ")}: ${flat(value)}`);
  return pairs.slice(0, 8).join(" · ").slice(0, 400);
}

/** The places in documents that an event names. */
function placesNamed({ data }) {
  const named = Array.isArray(data?.sources) ? data.sources : data?.file && data?.line ? [data] : [];
  return named.slice(0, 8).map(({ file, line, heading }) => `${file}:${line} ${heading ?? ""}`);
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
  const said = summary(event);
  if (said && !event.title?.includes(said)) body.append(element("p", "said", said));
  const named = placesNamed(event);
  if (named.length) {
    const sources = element("ul", "sources");
    sources.append(...named.map((place) => element("li", "", place)));
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

/** What changed is shown together, so that a long replay costs one layout and not thousands. */
let scheduled = false;
function schedule() {
  if (!scheduled) setTimeout(flush, 30);
  scheduled = true;
}

function add(row) {
  waiting.push(row);
  if (waiting.length > ROWS_MAX) waiting.shift();
  schedule();
}

function flush() {
  scheduled = false;
  const feed = $("feed");
  for (const row of waiting) feed.prepend(row);
  waiting = [];
  while (feed.children.length > ROWS_MAX) feed.lastChild.remove();
  $("empty").hidden = feed.children.length > 0;
  for (const [name, count] of Object.entries(counts)) $(`count-${name}`).textContent = count.toLocaleString("en");
  $("holes").classList.toggle("bad", counts.holes > 0);
  remember();
}

/** A reload begins again behind the oldest row shown, so that the page comes back as it was, and with what came meanwhile. */
function remember() {
  places = places.slice(-ROWS_MAX);
  if (places.length === 0) return;
  try {
    sessionStorage.setItem(store, JSON.stringify(places[0]));
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
  if ($("state-text").textContent !== stateText) $("state-text").textContent = stateText;
  // Apart from the text, because a screen reader should not hear every second.
  $("state-rest").textContent = stateName === "reconnecting" ? `, reconnecting in ${seconds} s` : stateName === "cut" ? `, back in ${seconds} s` : "";
  $("cut-text").textContent = stateName === "cut" ? `Cut: back in ${seconds} s` : "Cut my network for 10 s";
}

function note(text, kind = "bad") {
  $("ask-note").dataset.kind = kind;
  $("ask-note").textContent = text;
  $("ask-note").hidden = !text;
}

function plural(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function verdict(text, good) {
  $("proof").textContent = text;
  $("proof").dataset.verdict = good === undefined ? "" : good ? "good" : "bad";
}

const brake = new Brake({
  user: () => who,
  token: tokenInAddress,
  show({ text, label, state, busy }) {
    $("brake-state").textContent = text;
    $("brake-text").textContent = label;
    $("brake").dataset.state = state;
    $("brake").disabled = busy;
  },
});

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
      note("");
      showState();
    },
    welcome({ user_id: id }) {
      who = id;
      $("user").textContent = id;
      $("example").textContent = `towline pub user:${id} agent.started`;
      brake.ask();
    },
    subscribed(position) {
      if (places.length === 0) places.push(position);
      schedule();
    },
    event(event, replayed) {
      if (event.type.startsWith("system.brake.")) brake.hear(event.data);
      counts.received += 1;
      if (replayed) counts.replayed += 1;
      places.push({ epoch: event.epoch, offset: event.prev ?? event.offset - 1 });
      add(eventRow(event, replayed));
      if (["agent.completed", "agent.error"].includes(event.type)) $("spoken").textContent = `${event.title ?? event.type}. ${summary(event)}`;
    },
    duplicate() {
      counts.duplicates += 1;
      schedule();
    },
    hole(after, got) {
      counts.holes += 1;
      add(markRow("error", `Hole: ${got} came after ${after}. Asked again from there.`, "bad"));
    },
    gap({ reason, resume_after: after }) {
      places = [after];
      const why = { trimmed: "it was removed by retention", epoch_changed: "the log began anew", unknown_id: "it is not known any more" };
      add(markRow("error", `History is missing: ${why[reason] ?? reason}. Going on behind #${after.offset}.`, "bad"));
    },
    resumed({ missed, replayed, verified, cut, first }) {
      const text = first ? `Reloaded, replayed ${plural(replayed, "event")}` : `Reconnected, replayed ${plural(replayed, "event")}`;
      add(markRow("link", text, verified ? "good" : "bad"));
      $("proof").dataset.missed = missed;
      $("proof").dataset.verified = verified;
      if (!verified) return verdict(`Of ${missed} missed, ${replayed} were replayed: order NOT verified`, false);
      if (!cut) return verdict(`${text}, order verified`, true);
      if (missed === 0) return verdict("Back again. Nothing happened while away: cut it while the agent works", true);
      return verdict(`Missed ${missed} while away, all ${replayed} replayed, order verified`, true);
    },
    notice: (text) => note(text, "info"),
  },
});

$("user").textContent = user;
$("brake").addEventListener("click", () => brake.press());
$("cut").addEventListener("click", () => {
  verdict("The network is cut. The agent goes on without you…");
  add(markRow("cut", "Network cut by you, for 10 s", "cut"));
  connection.cut(CUT_MS);
});

/** A random id; browsers give `randomUUID` only to pages from https or this machine. */
function freshId() {
  return crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Asks with an id of its own, so that asking again after a lost answer asks once. */
async function ask(question) {
  const body = JSON.stringify({ topic: QUESTION_TOPIC, type: "question.asked", id: freshId(), data: { question, user_id: who } });
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
