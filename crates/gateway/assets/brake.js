// The emergency brake of the page's user. It shows what the server says and never what was hoped for: a press is `asked`, then whatever
// the answer and the events say.

const TEXTS = {
  running: "Agents active",
  pausing: "Pausing: waiting for the agents to acknowledge. Nothing of theirs is shown any more.",
  paused: "Agents paused",
  partial: "Partially paused: some agents do not answer. Nothing of theirs is shown all the same.",
  resuming: "Resuming…",
};
const ENGAGED = ["pausing", "paused", "partial"];

export class Brake {
  #user;
  #token;
  #show;
  #state = "unknown";
  /** Events of the brake so far. An answer that they overtook is older than they are. */
  #heard = 0;

  constructor({ user, token, show }) {
    this.#user = user;
    this.#token = token;
    this.#show = show;
  }

  /** What an event of the brake says. */
  hear(data) {
    this.#heard += 1;
    this.#say(data);
  }

  #say({ state, paused_tasks_count: paused = 0, stuck_tasks: stuck = [] }) {
    if (!TEXTS[state]) return;
    this.#state = state;
    const counts = ENGAGED.includes(state) && paused + stuck.length > 0 ? ` (${paused} stopped${stuck.length ? `, ${stuck.length} stuck` : ""})` : "";
    this.#tell(TEXTS[state] + counts, false);
  }

  /** Asks where the brake stands. */
  ask() {
    return this.#request("GET", "brake/status");
  }

  /** Stops all agents, or lets them go on. */
  press() {
    const release = ENGAGED.includes(this.#state);
    this.#tell(release ? "Asking the server to resume…" : "Asking the server to stop…", true);
    return this.#request("POST", release ? "resume" : "brake");
  }

  #tell(text, busy) {
    const label = ENGAGED.includes(this.#state) ? "Let the agents go on" : "Stop all agents";
    this.#show({ text, label, state: this.#state, busy });
  }

  async #request(method, what) {
    const token = this.#token();
    const query = token ? "" : `?user_id=${encodeURIComponent(this.#user())}`;
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    const heard = this.#heard;
    try {
      const response = await fetch(`/api/v1/agents/${what}${query}`, { method, headers, signal: AbortSignal.timeout(10_000) });
      const answer = await response.json();
      if (response.ok && heard !== this.#heard) return;
      if (response.ok) this.#say(answer);
      else this.#tell(`Not done: ${answer.error?.message ?? response.status}`, false);
    } catch {
      this.#tell("Not known: the server cannot be reached", false);
    }
  }
}
