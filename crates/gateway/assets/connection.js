// The page's connection: one socket, one topic, an unbroken history. It knows no DOM.
//
// It reconnects with back-off, resumes behind the last event, verifies that each event follows the one before, drops repetitions, and
// reports what it does through the callbacks it is given:
//   state({name, text, retryAt?})  connecting | live | reconnecting | offline | cut | refused
//   welcome(data)                  a connection stands
//   subscribed(position)           the topic is followed from here
//   event(envelope, replayed)      the next event, once
//   duplicate(envelope)            an event came again and was dropped
//   gap({reason, resume_after})    the server cannot give what was asked for
//   hole(after, got)               an event did not follow; it is asked for again
//   resumed({missed, replayed, verified, cut})  a reconnection has caught up
//   notice(text)                   something a person should know

const SUBPROTOCOL = "towline.v1";
const BASE_MS = 1_000;
const CEILING_MS = 30_000;
const CONNECT_TIMEOUT_MS = 10_000;
// Codes after which trying again cannot help. 4401 asks for another token first.
const FINAL = new Set([1000, 1002, 1003, 1007, 1009, 4401, 4403, 4429]);

/** 1 s, 2 s, 4 s, 8 s … at most 30 s, each plus up to 10 %. */
export function createReconnect({ baseDelay = BASE_MS, maxDelay = CEILING_MS, random = Math.random } = {}) {
  let attempt = 0;
  return {
    nextDelay: () => Math.min(baseDelay * 2 ** attempt++, maxDelay) * (1 + 0.1 * random()),
    reset: () => { attempt = 0; },
  };
}

export class Connection {
  #on;
  #user;
  #token;
  #socket = null;
  #timer = null;
  #watch = null;
  #backoff = createReconnect();
  #topic = null;
  #last; // {epoch, offset}: everything up to here was handed on
  #lastId = null;
  #asked = null; // the id of the subscribe whose answer opens the topic
  #requests = 0;
  #open = false;
  #replay = null; // {after, to, skipped, early, all}: between a subscribe's answer and the live events
  #whole = true; // no hole and no gap since the last time the live events were reached
  #welcomes = 0;
  #opened = false; // the present socket's handshake has succeeded
  #heardAt = 0;
  #idleMs = 60_000;
  #pinged = false;
  #retryAfterMs = null;
  #cutUntil = 0;
  #wasCut = false;
  #stopped = false;

  /** `from`: a position to resume behind, or null to begin with the next event. */
  constructor({ user, token, from, on }) {
    this.#user = user;
    this.#token = token;
    this.#last = from;
    this.#on = on;
    addEventListener("online", () => this.#hurry());
    addEventListener("offline", () => { if (!this.#socket) this.#say("offline", "Offline: this device has no network"); });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.#hurry(); });
    this.#watch = setInterval(() => this.#check(), 2_000);
    this.#connect();
  }

  get live() { return this.#open; }

  /** Gives up the socket and lets no new one open for a while, as a tunnel or a closed lid would. */
  cut(ms) {
    this.#cutUntil = Date.now() + ms;
    this.#wasCut = true;
    this.#drop(1000, "the network was cut by its user");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), ms);
    this.#say("cut", "Network cut", this.#cutUntil);
  }

  /** A fresh token: taken on the open socket, or for the next one. */
  renew(token) {
    this.#token = token;
    if (this.#open) this.#send({ id: "auth", type: "auth", data: { token } });
    else if (this.#stopped) {
      this.#stopped = false;
      this.#connect();
    }
  }

  #say(name, text, retryAt) { this.#on.state({ name, text, retryAt }); }

  #connect() {
    clearTimeout(this.#timer);
    if (this.#stopped || this.#socket || Date.now() < this.#cutUntil) return;
    this.#say("connecting", "Connecting…");
    const url = new URL("/ws", location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.hash = "";
    // A token goes as a subprotocol: addresses end in logs.
    if (this.#token) url.search = "";
    else url.searchParams.set("user_id", this.#user);
    let socket;
    try {
      socket = new WebSocket(url, this.#token ? [SUBPROTOCOL, `jwt.${this.#token}`] : [SUBPROTOCOL]);
    } catch {
      this.#stop("The token in the address cannot be used");
      return;
    }
    this.#socket = socket;
    this.#opened = false;
    this.#heardAt = Date.now();
    this.#pinged = false;
    this.#retryAfterMs = null;
    // A socket that was given up must not speak any more: its late close would start a second life.
    const mine = (handle) => (happening) => { if (this.#socket === socket) handle(happening); };
    socket.onopen = mine(() => { this.#opened = true; });
    socket.onmessage = mine((message) => this.#receive(message.data));
    socket.onclose = mine(({ code, reason }) => this.#closed(code, reason));
  }

  /** Lets go of the socket, and reports nothing. */
  #drop(code, reason) {
    const socket = this.#socket;
    this.#socket = null;
    this.#open = false;
    this.#asked = null;
    this.#replay = null;
    socket?.close(code, reason);
  }

  #closed(code, reason) {
    this.#drop();
    if (FINAL.has(code)) return this.#stop(reason || `Closed with code ${code}`, code);
    const delay = Math.min(Math.max(this.#retryAfterMs ?? this.#backoff.nextDelay(), 100), 300_000);
    this.#timer = setTimeout(() => this.#connect(), delay);
    const text = code === 1012 ? "The server restarts" : reason || "Connection lost";
    if (navigator.onLine === false) this.#say("offline", "Offline: this device has no network");
    else this.#say("reconnecting", text, Date.now() + delay);
    if (!this.#opened) this.#askWhy();
  }

  /** A browser does not say why a handshake failed. If it was a refusal, plain HTTP does, and repeating it cannot help. */
  async #askWhy() {
    try {
      const headers = this.#token ? { authorization: `Bearer ${this.#token}` } : {};
      const who = this.#token ? "" : `&user_id=${encodeURIComponent(this.#user)}`;
      const response = await fetch(`/api/v1/agents/activity?limit=1${who}`, { headers, signal: AbortSignal.timeout(CONNECT_TIMEOUT_MS) });
      if (response.ok || ![401, 403].includes(response.status)) return;
      const { error } = await response.json();
      if (this.#socket) return;
      clearTimeout(this.#timer);
      this.#stop(error.message, response.status === 401 ? 4401 : 4403);
    } catch { /* the server is away: the timer goes on */ }
  }

  #stop(text, code) {
    this.#stopped = true;
    this.#say("refused", code === 4401 ? `Not signed in: ${text}` : text);
    if (code === 4401) this.#on.notice("Put a token behind #token= in the address of this page");
  }

  /** The network is back, or somebody looks: no need to wait out the pause. */
  #hurry() {
    this.#check();
    if (!this.#socket) this.#connect();
  }

  /** A connection on which nothing comes is dead, whatever the system says. Half-way, it is asked. */
  #check() {
    if (!this.#socket) return;
    const silence = Date.now() - this.#heardAt;
    const patience = this.#welcomed() ? this.#idleMs : CONNECT_TIMEOUT_MS;
    if (silence >= patience) {
      this.#drop(4408, "nothing was heard for too long");
      this.#closed(4408, "Nothing was heard from the server for too long");
    } else if (silence >= patience / 2 && this.#welcomed() && !this.#pinged) {
      this.#pinged = true;
      this.#send({ type: "ping" });
    }
  }

  #welcomed() { return this.#topic !== null && this.#socket?.readyState === WebSocket.OPEN; }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ v: 1, ...message }));
  }

  #subscribe() {
    this.#asked = `s${++this.#requests}`;
    this.#open = false;
    const from = this.#last ?? "latest";
    this.#send({ id: this.#asked, type: "subscribe", data: { topics: [{ topic: this.#topic, from }] } });
  }

  #receive(text) {
    this.#heardAt = Date.now();
    this.#pinged = false;
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return this.#distrust("The server sent something that is not JSON");
    }
    // A place in a history is what only events have; an application may name its events as it likes.
    if (message.offset !== undefined) return this.#event(message);
    const data = message.data ?? {};
    switch (message.type) {
      case "welcome":
        this.#backoff.reset();
        this.#welcomes += 1;
        this.#idleMs = data.idle_timeout_ms || this.#idleMs;
        this.#topic = `user:${data.user_id}`;
        this.#on.welcome(data);
        return this.#subscribe();
      case "subscribe_ack":
        return this.#answered(message, data);
      case "caught_up":
        if (data.topic === this.#topic && this.#open) this.#caughtUp(data.replayed);
        return;
      case "gap":
        if (data.topic === this.#topic && this.#open) this.#gap(data);
        return;
      case "ping":
        return this.#send({ type: "pong", data: this.#lastId ? { last_seen: { [this.#topic]: this.#lastId } } : {} });
      case "auth_expiring":
        return this.#on.notice(`The token expires in ${data.seconds_left} s: put a fresh one behind #token= in the address`);
      case "auth_ack":
        return this.#on.notice("The fresh token was taken, the feed goes on");
      case "reconnect":
        this.#retryAfterMs = data.retry_after_ms;
        return;
      case "error":
        return this.#on.notice(`${data.code}: ${data.message}`);
      default: // a newer server may say more
    }
  }

  #answered(message, { subscriptions = [], errors = [] }) {
    if (message.correlation_id !== this.#asked) return;
    const [mine] = subscriptions;
    if (!mine) {
      this.#stop(errors[0]?.message ?? "The topic was refused");
      return this.#drop(1000, "refused");
    }
    this.#asked = null;
    this.#open = true;
    this.#replay = { after: mine.from.offset, to: mine.to.offset, skipped: 0, early: 0, all: 0 };
    if (mine.gap) this.#gap(mine.gap); // delivery begins behind it, so it is told first
    // The server may not begin later than it was asked to without a word.
    else if (this.#last && (mine.from.epoch !== this.#last.epoch || mine.from.offset > this.#last.offset)) {
      this.#gap({ reason: "epoch_changed", resume_after: mine.from });
    }
    this.#last ??= mine.from;
    this.#on.subscribed(mine.from);
    this.#say("live", "Live");
    if (mine.from.offset === mine.to.offset) this.#caughtUp(0);
  }

  #event(event) {
    if (!this.#open || event.topic !== this.#topic) return;
    const { epoch, offset } = this.#last;
    if (event.epoch === epoch && event.offset <= offset) return this.#on.duplicate(event);
    const prev = event.prev ?? event.offset - 1;
    if (event.epoch !== epoch || prev > offset) {
      this.#on.hole(offset, event.offset);
      this.#whole = false;
      return this.#subscribe();
    }
    this.#last = { epoch, offset: event.offset };
    this.#lastId = event.id;
    const replay = this.#replay;
    const replayed = replay !== null && event.offset <= replay.to;
    if (replay) replay.all += 1;
    if (replayed) {
      replay.early += 1;
      // Numbers that no event has, as some logs leave them.
      replay.skipped += event.offset - prev - 1;
    }
    this.#on.event(event, replayed);
  }

  #caughtUp(said) {
    const replay = this.#replay;
    const whole = this.#whole;
    this.#replay = null;
    this.#whole = true;
    const first = this.#welcomes === 1;
    if (!replay || (first && said === 0)) return;
    // Proven here and not only promised there: each event behind the one before, as many as lie between where this side stopped and
    // the head that the server named, and as many as it says it sent.
    const missed = replay.to - replay.after - replay.skipped;
    const verified = whole && replay.early === missed && replay.all === said && this.#last.offset >= replay.to;
    this.#on.resumed({ missed, replayed: replay.early, verified, cut: this.#wasCut, first });
    this.#wasCut = false;
  }

  #gap(gap) {
    this.#last = { epoch: gap.resume_after.epoch, offset: gap.resume_after.offset };
    this.#whole = false;
    this.#on.gap(gap);
  }

  #distrust(why) {
    this.#drop(1002, why);
    this.#closed(1006, why);
  }
}
