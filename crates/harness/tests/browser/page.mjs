// Drives the demo page in a real browser, against a running server and demo agent.
//
//   node page.mjs <base_url>
//
// Needs: a server in development mode at <base_url> (`towline dev`); the demo agent connected to it, with documents to search and the
// default pace of 300 ms or slower (`towline-demo-agent --url <base_url>`); a Chromium at $CHROMIUM (default /usr/bin/chromium);
// `npm ci` in this folder. Takes about 40 s. Speaks to <base_url> only.
// Writes screenshots to $SCREENSHOTS (default: target/screenshots of the project).
// Exit code: 0 proven, 1 disproven, 2 wrong arguments. Final line: `browser: ok, …` or `browser: FAILED, …`.
//
// Proves: the steps of an agent are shown live; what happens while the network is cut is replayed completely, in order, once; a reload
// brings the page back; holes and repetitions on the wire are noticed and healed; a refusal stops reconnection; the page works at 360
// pixels and in the dark, loads nothing from elsewhere and keeps to its content policy.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

const PATIENCE_MS = 30_000; // a bound for failures, not a measure
const QUESTION = "How does a client resume after its network was lost?";

const base = process.argv[2];
if (!/^https?:\/\/[^/]+\/?$/.test(base ?? "")) {
  console.error("usage: node page.mjs <base_url>, for example http://127.0.0.1:8080");
  process.exit(2);
}
const origin = new URL(base).origin;
const screenshots = process.env.SCREENSHOTS ?? fileURLToPath(new URL("../../../../target/screenshots/", import.meta.url));
mkdirSync(screenshots, { recursive: true });
const profile = mkdtempSync(join(tmpdir(), "towline-browser-"));

/** A page of its own user, which fails the test if it complains or reaches elsewhere. */
async function open(browser, name, options = {}) {
  const user = `${name}-${process.pid}-${Date.now().toString(36)}`;
  const context = await browser.newContext({ viewport: { width: 1100, height: 900 }, ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const troubles = [];
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) troubles.push(message.text()); });
  page.on("pageerror", (error) => troubles.push(String(error)));
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol !== "data:" && url.host !== new URL(origin).host) troubles.push(`request to ${url.host}`);
  });
  return { context, page, user, troubles, visit: () => page.goto(`${origin}/?user=${user}`) };
}

const inState = (page, state) => page.waitForSelector(`#state[data-state=${state}]`);
const count = async (page, name) => Number(await page.textContent(`#count-${name}`));
/** What is shown, oldest first. */
const shown = (page) => page.$$eval("#feed li.event", (rows) =>
  rows.reverse().map((row) => ({ id: row.dataset.id, type: row.dataset.type, offset: Number(row.dataset.offset) })));
const ended = (page) => page.waitForSelector("#feed li[data-type='agent.completed'], #feed li[data-type='agent.error']");

async function ask(page, question) {
  await page.fill("#question", question);
  await page.click("#ask-button");
}

/** What the server's log says of the user. */
async function stored(user) {
  const response = await fetch(`${origin}/api/v1/agents/events?since=0&limit=200&user_id=${user}`);
  assert.equal(response.status, 200);
  const { events } = await response.json();
  return events.map(({ id, event_id: eventId }) => eventId ?? id);
}

async function isWhole(page, user) {
  const events = await shown(page);
  events.forEach(({ offset }, at) => assert.equal(offset, at + 1, `row ${at} has offset ${offset}`));
  assert.deepEqual(events.map(({ id }) => id), await stored(user), "the page shows what the log holds, in its order, each once");
  return events;
}

async function fits(page, width) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= width, `the page is ${wide} pixels wide on a screen of ${width}`);
}

/** The scene: ask, watch, cut the network for 10 s, and miss nothing. */
async function cutAndResume(browser) {
  const { context, page, user, troubles, visit } = await open(browser, "cut");
  await visit();
  await inState(page, "live");
  await page.screenshot({ path: join(screenshots, "empty.png") });
  await ask(page, QUESTION);
  await page.waitForFunction(() => document.querySelectorAll("#feed li.event").length >= 3);
  await page.click("#cut");
  await inState(page, "cut");
  const before = (await shown(page)).length;
  await page.waitForFunction(() => /back in [1-8] s/.test(document.querySelector("#cut").textContent));
  assert.equal((await shown(page)).length, before, "nothing arrives while the network is cut");
  assert.ok((await stored(user)).length > before, "the agent works on meanwhile");
  await page.screenshot({ path: join(screenshots, "cut.png") });

  await page.waitForSelector("#proof[data-verified]");
  const verdict = await page.textContent("#proof");
  const missed = Number(await page.getAttribute("#proof", "data-missed"));
  assert.equal(await page.getAttribute("#proof", "data-verified"), "true", verdict);
  assert.ok(missed > 0, "something was missed");
  assert.equal(verdict, `Missed ${missed} while away, all ${missed} replayed, order verified`);
  await ended(page);
  await page.waitForFunction(() => Number(document.querySelector("#count-received").textContent) === document.querySelectorAll("#feed li.event").length);
  const events = await isWhole(page, user);
  assert.equal(events[0].type, "agent.started");
  assert.ok(events.some(({ type }) => type === "tool_executing") && events.some(({ type }) => type === "agent.step_completed"));
  assert.deepEqual([await count(page, "replayed"), await count(page, "duplicates"), await count(page, "holes")], [missed, 0, 0]);
  await page.screenshot({ path: join(screenshots, "replayed.png"), fullPage: true });

  await page.reload();
  await inState(page, "live");
  await page.waitForSelector("#proof[data-verified=true]");
  await page.waitForFunction((rows) => document.querySelectorAll("#feed li.event").length === rows, events.length);
  assert.deepEqual(await shown(page), events, "a reload brings the page back as it was");

  await page.setViewportSize({ width: 360, height: 760 });
  await fits(page, 360);
  await page.screenshot({ path: join(screenshots, "phone.png") });
  await page.emulateMedia({ colorScheme: "dark" });
  await page.screenshot({ path: join(screenshots, "phone-dark.png") });
  await page.setViewportSize({ width: 1100, height: 900 });
  await page.screenshot({ path: join(screenshots, "dark.png") });
  assert.deepEqual(troubles, []);
  await context.close();
  return missed;
}

/** The wire loses one event and repeats another: both are noticed, and the page ends up whole. */
async function holesAreHealed(browser) {
  const { context, page, user, troubles, visit } = await open(browser, "hole");
  let events = 0;
  await page.routeWebSocket(/\/ws/, (socket) => {
    const server = socket.connectToServer();
    server.onMessage((message) => {
      const isEvent = JSON.parse(message).offset !== undefined;
      if (isEvent) events += 1;
      if (isEvent && events === 3) return;
      socket.send(message);
      if (isEvent && events === 2) socket.send(message);
    });
  });
  await visit();
  await inState(page, "live");
  await ask(page, QUESTION);
  await ended(page);
  await isWhole(page, user);
  assert.deepEqual([await count(page, "duplicates"), await count(page, "holes")], [1, 1]);
  assert.deepEqual(troubles, []);
  await context.close();
}

/** The brake in the middle of the agent's work: nothing of it comes behind the stop, until it is let go on and finishes. */
async function brakeStops(browser) {
  const { context, page, user, troubles, visit } = await open(browser, "brake");
  await visit();
  await inState(page, "live");
  await ask(page, QUESTION);
  await page.waitForFunction(() => document.querySelectorAll("#feed li.event").length >= 3);
  await page.click("#brake");
  await page.waitForSelector("#brake[data-state=paused]");
  assert.match(await page.textContent("#brake-state"), /^Agents paused/);
  const types = (await isWhole(page, user)).map(({ type }) => type);
  const behind = types.slice(types.indexOf("run.stopped") + 1);
  assert.ok(types.includes("run.stopped") && !types.includes("agent.completed"), types.join(" "));
  const own = behind.filter((type) => !type.startsWith("system.brake."));
  assert.deepEqual(own, ["run.stop_acknowledged"], "behind the stop the agent says only that it heard of it");
  await page.screenshot({ path: join(screenshots, "braked.png") });

  await page.click("#brake");
  await page.waitForSelector("#brake[data-state=running]");
  await ended(page);
  await isWhole(page, user);
  assert.deepEqual(troubles, []);
  await context.close();
}

/** A refusal is final: the reason is shown and no further socket is opened. A restart of the server is not. */
async function refusalStops(browser) {
  const { context, page, visit } = await open(browser, "refused");
  let sockets = 0;
  await page.routeWebSocket(/\/ws/, (socket) => {
    sockets += 1;
    if (sockets === 1) socket.close({ code: 1012, reason: "restarting" });
    else socket.close({ code: 4401, reason: "the token has expired" });
  });
  await visit();
  await inState(page, "reconnecting");
  assert.match(await page.textContent("#state"), /The server restarts, reconnecting in \d s/);
  await inState(page, "refused");
  assert.equal(await page.textContent("#state-text"), "Not signed in: the token has expired");
  // What wakes a waiting page must not wake a refused one.
  await page.evaluate(() => dispatchEvent(new Event("online")));
  await page.evaluate(() => new Promise((resolve) => { setTimeout(resolve, 0); }));
  assert.equal(sockets, 2);
  await page.screenshot({ path: join(screenshots, "refused.png") });
  // A fresh token in the address is taken up.
  await page.evaluate(() => { location.hash = "token=fresh"; });
  await page.waitForFunction(() => document.querySelector("#state").dataset.state !== "connecting");
  assert.equal(sockets, 3);
  await context.close();
}

const flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
let browser;
try {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: flags, env: { ...process.env, HOME: profile },
  });
  const missed = await cutAndResume(browser);
  await holesAreHealed(browser);
  await brakeStops(browser);
  await refusalStops(browser);
  console.log(`browser: ok, missed ${missed} events while cut and replayed them all; screenshots in ${screenshots}`);
} catch (error) {
  console.error(error);
  console.log(`browser: FAILED, ${String(error.message).split("\n")[0]}`);
  process.exitCode = 1;
} finally {
  await browser?.close();
  rmSync(profile, { recursive: true, force: true });
}
