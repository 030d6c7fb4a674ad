// @ts-check
// What the page asks of its node, and how it stays up to date.

/** Refused is an answer that is not the one asked for. */
export class Refused extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status; // of HTTP; 0: the node did not answer
  }
}

/**
 * call asks the node. With a body it changes something.
 * @param {string} path
 * @param {object} [body]
 * @returns {Promise<any>}
 */
export async function call(path, body) {
  let response;
  try {
    response = await fetch(path, body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {});
  } catch {
    throw new Refused(0, "This node does not answer.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer.error ?? `The node answered ${response.status}.`);
  return answer;
}

/** silence is how long a stream may say nothing, in milliseconds; the node says something every 2 s. */
const silence = 6000;

/**
 * Stream is a stream of events that opens itself again. It is closed while the
 * page is hidden: browsers keep at most six connections to a host without TLS,
 * for all its pages together.
 */
export class Stream {
  /**
   * @param {string} path
   * @param {{ take: (value: any) => void, problem?: (text: string) => void, reset?: (reason: string) => void, lost: () => void, found: () => void, ended: () => void }} hooks
   */
  constructor(path, hooks) {
    this.path = path;
    this.hooks = hooks;
    this.closed = false;
    this.last = "";
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** @type {EventSource | undefined} */
    this.source = undefined;
    this.turn = () => this.open();
    document.addEventListener("visibilitychange", this.turn);
    this.open();
  }

  open() {
    this.source?.close();
    clearTimeout(this.timer);
    if (document.hidden) return;
    const at = this.last && `${this.path.includes("?") ? "&" : "?"}after=${encodeURIComponent(this.last)}`;
    const source = this.source = new EventSource(this.path + at);
    const heard = () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.again(), silence);
    };
    const on = (/** @type {string} */ kind, /** @type {(value: any) => void} */ take) => source.addEventListener(kind, event => {
      heard();
      if (event.lastEventId) this.last = event.lastEventId;
      this.hooks.found();
      take(JSON.parse(event.data));
    });
    heard();
    on("message", value => this.hooks.take(value));
    on("beat", () => {});
    on("problem", value => this.hooks.problem?.(value.error));
    on("reset", value => this.hooks.reset?.(value.reason));
    on("end", () => this.again());
    source.onerror = () => this.again();
  }

  /** again opens the stream once more, after a moment; whether the session has ended shows meanwhile. */
  again() {
    this.source?.close();
    clearTimeout(this.timer);
    if (this.closed) return;
    call("/api/session").then(() => {}, err => {
      if (this.closed) return;
      if (err.status === 401) this.hooks.ended();
      else this.hooks.lost();
    });
    this.timer = setTimeout(() => { if (!this.closed) this.open(); }, 1000);
  }

  close() {
    this.closed = true;
    document.removeEventListener("visibilitychange", this.turn);
    clearTimeout(this.timer);
    this.source?.close();
  }
}
