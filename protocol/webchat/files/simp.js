// @ts-check
/**
 * SIMP 1.0 over WebSocket, for browsers and for Node. It has no dependency and
 * touches no page.
 *
 *     import { Client, textEntity, entityText } from "/simp.js";
 *
 *     const client = new Client({
 *       url: "wss://example.com/simp",
 *       address: "alice@example.com",
 *       password: "secret",
 *       handlers: {
 *         status: (status, error) => console.log(status, error?.message),
 *         message: m => { console.log(m.from, entityText(m.entity)); return 200; },
 *         presence: p => console.log(p.address, p.state),
 *       },
 *     });
 *     client.start();
 *     await client.watch(["bob@example.com"]);
 *     const report = await client.send(["bob@example.com"], textEntity("hello"));
 *     console.log(outcomeWord(report.results[0].status)); // "delivered", "in doubt", ...
 *
 * A Client logs in with SCRAM-SHA-256, listens, and connects again with
 * jitter when its connection ends; it then listens with the same state and
 * note, and watches what it watched. When its node goes away (MOVE), it
 * connects to the usual address first and ends the old connection afterwards.
 * It never repeats a message of its own accord: to repeat one that is in
 * doubt, call send again with its id and the same octets.
 *
 * The status 200 of a message means that a client of the recipient has
 * acknowledged it; 201, that it is in doubt; anything else, that it was
 * certainly not delivered. The server's answer to a message that comes in is
 * what your message handler returns: return 200 once you have shown or kept it.
 * @module simp
 */

/** @typedef {"connecting" | "online" | "waiting" | "ended"} ClientStatus */
/** @typedef {"available" | "away" | "busy"} ListenState */
/** @typedef {ListenState | "deaf" | "unknown"} PresenceState */
/** @typedef {{ [key: string]: string | number | readonly string[] | undefined }} Params */
/**
 * Line holds one request or response. A request has a verb, a response has a
 * status.
 * @typedef {{ tag: string, verb: string, status: number, params: { [key: string]: string }, text: string, literal?: Uint8Array }} Line
 */
/**
 * Answer holds the final response to a request, and the 100 lines before it.
 * @typedef {{ status: number, params: { [key: string]: string }, text: string, partial: Line[] }} Answer
 */
/** @typedef {{ from: string, to: string, id: string, time: string, entity: Uint8Array }} Message */
/**
 * Presence holds what is known of a user. The state "unknown" means that it
 * cannot be known now.
 * @typedef {{ address: string, state: PresenceState, note: string, since: string }} Presence
 */
/** @typedef {{ to: string, status: number, text: string }} Result */
/** @typedef {{ id: string, results: Result[] }} Report */
/**
 * Keys are what SCRAM needs instead of the password, for one salt.
 * @typedef {{ salt: string, iterations: number, clientKey: Uint8Array<ArrayBuffer>, serverKey: Uint8Array<ArrayBuffer> }} Keys
 */
/**
 * Handlers are called by a Client. All are optional. message returns the
 * status to answer with, or a promise of it: 200 once the message has been
 * shown or kept, 486 to refuse it. Without a message handler all are refused.
 * @typedef {object} Handlers
 * @property {(status: ClientStatus, error?: SimpError) => void} [status]
 * @property {(m: Message) => number | Promise<number>} [message]
 * @property {(p: Presence) => void} [presence]
 * @property {() => void} [stale] the node is cut off: presence cannot be known
 * @property {() => void} [fresh] the node is back: what it said before holds again, and changes follow
 * @property {(why: string) => void} [unlistened] the session does not listen any more
 * @property {(keys: Keys) => void} [keys] logged in; keys serve instead of the password
 */
/**
 * Options configure a Client.
 * @typedef {object} Options
 * @property {string} url the WebSocket, as wss://example.com/simp
 * @property {string} address whose client it is
 * @property {string} [password]
 * @property {Keys} [keys] of an earlier login, instead of the password
 * @property {string} [agent] the program's name and version
 * @property {boolean} [listening] whether to listen; true
 * @property {ListenState} [state] available
 * @property {string} [note]
 * @property {Handlers} [handlers]
 * @property {new (url: string, protocol: string) => WebSocket} [WebSocket] for tests and for Node
 * @property {() => number} [random] returns 0 to 1, for jitter
 */

/** SimpError is an answer of status 4xx or 5xx, or a connection that failed (status 0). */
export class SimpError extends Error {
  /** @param {number} status @param {string} [text] @param {{ [key: string]: string }} [params] */
  constructor(status, text, params = {}) {
    super(text || outcomeWord(status));
    this.name = "SimpError";
    this.status = status;
    this.params = params;
  }
}

/** @type {{ [status: number]: string }} */
const words = {
  200: "delivered", 201: "in doubt", 404: "no such user", 413: "too large", 429: "slow down", 480: "not listening",
  481: "not reading", 409: "refused", 486: "refused", 502: "unreachable", 503: "unreachable", 504: "unreachable",
};

/**
 * outcomeWord returns the word for what became of a message.
 * @param {number} status
 * @returns {string}
 */
export function outcomeWord(status) { return words[status] ?? "not delivered"; }

/**
 * stateWord returns the word for a presence state.
 * @param {PresenceState} state
 * @returns {string}
 */
export function stateWord(state) {
  return state === "deaf" ? "not listening" : state === "unknown" ? "not known now" : state;
}

const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });

// ---- Lines (section 2) ----

/**
 * formatLine returns the octets of a request or a response; word is its verb
 * or status. Control characters in values become U+FFFD.
 * @param {string} tag
 * @param {string | number} word
 * @param {Params} [params]
 * @param {Uint8Array} [literal]
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function formatLine(tag, word, params = {}, literal) {
  let line = `${tag} ${word}`;
  for (const [key, value] of Object.entries(params)) {
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) line += ` ${key}=${formatValue(String(one))}`;
  }
  if (!literal) return encoder.encode(line + "\r\n");
  const head = encoder.encode(`${line} {${literal.length}}\r\n`);
  const all = new Uint8Array(head.length + literal.length);
  all.set(head);
  all.set(literal, head.length);
  return all;
}

/** @param {string} value */
function formatValue(value) {
  value = value.replace(/[\u0000-\u001f\u007f]/g, "\ufffd");
  return /[ "]/.test(value) ? `"${value.replace(/["\\]/g, "\\$&")}"` : value;
}

/**
 * parseLines returns the lines of a WebSocket message, which holds whole lines
 * with their literals. It throws a SimpError if the octets are something else.
 * @param {Uint8Array} octets
 * @returns {Line[]}
 */
export function parseLines(octets) {
  const lines = [];
  for (let at = 0; at < octets.length;) {
    const end = octets.indexOf(13, at);
    if (end < 0 || octets[end + 1] !== 10) throw new SimpError(400, "a line does not end with CRLF");
    if (end > at) {
      const [line, size] = parseLine(octets.subarray(at, end));
      at = end + 2;
      if (size >= 0) {
        if (at + size > octets.length) throw new SimpError(400, "a literal is not complete");
        line.literal = octets.slice(at, at + size);
        at += size;
      }
      lines.push(line);
    } else {
      at = end + 2; // an empty line is ignored
    }
  }
  return lines;
}

const startOfLine = /^(\*|[A-Za-z0-9._-]{1,32}) (?:([0-9]{3})|([A-Za-z]{1,16}))(?= |$)/;
const param = / ([A-Za-z][A-Za-z0-9-]{0,15})=(?:"((?:[^"\\]|\\["\\])*)"|([^ "]*))(?= |$)/y;
const endOfLine = /(?: :([^]*)| \{(0|[1-9][0-9]{0,7})\})?$/y;

/** @param {Uint8Array} octets @returns {[Line, number]} the line and the size of its literal, -1 if there is none */
function parseLine(octets) {
  let text;
  try {
    text = strict.decode(octets);
  } catch {
    throw new SimpError(400, "a line is not UTF-8");
  }
  const start = startOfLine.exec(text);
  if (!start || /[\u0000-\u001f\u007f]/.test(text)) throw new SimpError(400, "a line is malformed");
  /** @type {Line} */
  const line = { tag: start[1], verb: (start[3] ?? "").toUpperCase(), status: Number(start[2] ?? 0), params: Object.create(null), text: "" };
  let at = start[0].length;
  for (;;) {
    param.lastIndex = at;
    const found = param.exec(text);
    if (!found) break;
    const key = found[1].toLowerCase();
    line.params[key] ??= found[2] === undefined ? found[3] : found[2].replace(/\\(["\\])/g, "$1");
    at = param.lastIndex;
  }
  endOfLine.lastIndex = at;
  const rest = endOfLine.exec(text);
  if (!rest) throw new SimpError(400, "a line is malformed");
  line.text = rest[1] ?? "";
  return [line, rest[2] === undefined ? -1 : Number(rest[2])];
}

// ---- Messages (section 6) ----

/**
 * newID returns a random id for a message.
 * @returns {string}
 */
export function newID() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), octet => octet.toString(16).padStart(2, "0")).join("");
}

/**
 * textEntity returns the MIME entity of a plain text.
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function textEntity(text) { return encoder.encode("\r\n" + text); }

/**
 * entityText returns the text of a MIME entity, or undefined if it is not
 * plain text in UTF-8, ASCII or Latin-1.
 * @param {Uint8Array} entity
 * @returns {string | undefined}
 */
export function entityText(entity) {
  const { type, charset, encoding, body } = splitEntity(entity);
  if (type !== "text/plain" || !["utf-8", "us-ascii", "iso-8859-1"].includes(charset)) return undefined;
  const decode = (/** @type {Uint8Array} */ octets) => charset === "iso-8859-1" ? new TextDecoder("latin1").decode(octets) : lenient.decode(octets);
  try {
    switch (encoding) {
      case "base64": return decode(fromBase64(lenient.decode(body).replace(/\s/g, "")));
      case "quoted-printable": return decode(fromQuotedPrintable(body));
      case "": case "7bit": case "8bit": case "binary": return decode(body);
    }
  } catch { /* it is not what it says */ }
  return undefined;
}

/**
 * entityType returns the media type of a MIME entity, as text/plain.
 * @param {Uint8Array} entity
 * @returns {string}
 */
export function entityType(entity) { return splitEntity(entity).type; }

/** @param {Uint8Array} entity */
function splitEntity(entity) {
  let end = 0, header = "";
  if (entity[0] !== 13 || entity[1] !== 10) {
    const text = new TextDecoder("latin1").decode(entity);
    const at = text.indexOf("\r\n\r\n");
    end = at < 0 ? entity.length : at + 2;
    header = text.slice(0, end).replace(/\r\n[ \t]+/g, " ");
  }
  const field = (/** @type {string} */ name) => new RegExp(`^${name}:(.*)`, "im").exec(header)?.[1].trim() ?? "";
  const content = field("content-type") || "text/plain; charset=utf-8";
  const type = content.split(";")[0].trim().toLowerCase();
  const charset = (/;\s*charset="?([^\s";]+)/i.exec(content)?.[1] ?? "us-ascii").toLowerCase();
  return { type, charset, encoding: field("content-transfer-encoding").toLowerCase(), body: entity.subarray(Math.min(end + 2, entity.length)) };
}

/** @param {Uint8Array} body */
function fromQuotedPrintable(body) {
  const text = new TextDecoder("latin1").decode(body).split("\r\n").map(trimBlanks).join("\r\n").replace(/=\r\n/g, "");
  return latin1(text.replace(/=([0-9A-Fa-f]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16))));
}

/** @param {string} s */
function latin1(s) { return Uint8Array.from(s, c => c.charCodeAt(0)); }

/** @param {string} s */
function fromBase64(s) { return latin1(atob(s)); }

/** @param {Uint8Array} octets */
function toBase64(octets) {
  let s = "";
  for (const octet of octets) s += String.fromCharCode(octet);
  return btoa(s);
}

// ---- SCRAM-SHA-256 (RFC 5802, RFC 7677) ----

const minIterations = 4096, maxIterations = 1_000_000;

/**
 * deriveKeys returns the keys of a password for a salt (in Base64).
 * @param {string} password
 * @param {string} salt
 * @param {number} iterations
 * @returns {Promise<Keys>}
 */
export async function deriveKeys(password, salt, iterations) {
  const key = await crypto.subtle.importKey("raw", encoder.encode(password), "PBKDF2", false, ["deriveBits"]);
  const bits = await crypto.subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt: fromBase64(salt), iterations }, key, 256);
  const salted = new Uint8Array(bits);
  return { salt, iterations, clientKey: await hmac(salted, "Client Key"), serverKey: await hmac(salted, "Server Key") };
}

/** @param {Uint8Array<ArrayBuffer>} key @param {string} text */
async function hmac(key, text) {
  const k = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", k, encoder.encode(text)));
}

/**
 * Scram is one login by SCRAM-SHA-256, without channel binding, which pages
 * cannot do.
 */
export class Scram {
  /** @param {string} name @param {string} [nonce] */
  constructor(name, nonce = newID()) {
    this.nonce = nonce;
    /** first is the client's first message. */
    this.first = `n,,n=${name.replace(/=/g, "=3D").replace(/,/g, "=2C")},r=${nonce}`;
    this.expected = "";
  }

  /**
   * final returns the client's final message. derive returns the keys for the
   * salt that the server names.
   * @param {string} challenge
   * @param {(salt: string, iterations: number) => Keys | Promise<Keys>} derive
   * @returns {Promise<string>}
   */
  async final(challenge, derive) {
    const parts = /^r=([^,]+),s=([A-Za-z0-9+/=]+),i=([1-9][0-9]{0,8})(?:,|$)/.exec(challenge);
    if (!parts || !parts[1].startsWith(this.nonce) || parts[1] === this.nonce) throw new SimpError(502, "the server's challenge is malformed");
    const iterations = Number(parts[3]);
    if (iterations < minIterations || iterations > maxIterations) throw new SimpError(502, `the server asks for ${iterations} iterations`);
    const keys = await derive(parts[2], iterations);
    const bare = `c=biws,r=${parts[1]}`;
    const signed = `${this.first.slice(3)},${challenge},${bare}`;
    const stored = new Uint8Array(await crypto.subtle.digest("SHA-256", keys.clientKey));
    const signature = await hmac(stored, signed);
    this.expected = `v=${toBase64(await hmac(keys.serverKey, signed))}`;
    return `${bare},p=${toBase64(keys.clientKey.map((octet, i) => octet ^ signature[i]))}`;
  }

  /**
   * verify throws unless the server has proved that it knows the password.
   * @param {string} final the server's final message
   */
  verify(final) {
    if (!this.expected || final !== this.expected) throw new SimpError(401, "the server could not prove that it knows the password");
  }
}

/**
 * preparePassword returns a password as SASLprep (RFC 4013) writes it.
 * @param {string} password
 * @returns {string}
 */
export function preparePassword(password) {
  return password.replace(/[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/g, " ")
    .replace(/[\u00ad\u034f\u1806\u180b-\u180d\u200c\u200d\u2060\ufe00-\ufe0f\ufeff]/g, "").normalize("NFKC");
}

// ---- Connection (section 4) ----

const greetingTime = 15_000, pingTime = 20_000, silence = 45_000, longestLine = 4096;

/** Connection is one WebSocket. It is used by Client and join only. */
class Connection {
  /** @param {Pick<Client, "handle">} client @param {Required<Pick<Options, "url" | "WebSocket">>} options @param {number} run of the client */
  constructor(client, options, run) {
    this.client = client;
    this.run = run;
    /** told is what the server knows of the user's state, and watched, whom it tells of. */
    this.told = "";
    /** @type {Set<string>} */
    this.watched = new Set();
    this.ima = "";
    this.tags = 0;
    /** @type {Map<string, { partial: Line[], resolve: (a: Answer) => void, reject: (e: SimpError) => void }>} */
    this.pending = new Map();
    /** @type {SimpError | undefined} what BYE said, or why it was closed */
    this.reason = undefined;
    this.open = true;
    this.moveBy = 0; // what MOVE said, as Date.now tells it
    this.moving = false;
    this.replaced = false;
    this.stale = false;
    this.heard = Date.now();
    this.history = "";
    this.size = 65536;
    this.socket = new options.WebSocket(options.url, "simp");
    this.socket.binaryType = "arraybuffer";
    /** @type {(greeting: Line) => void} */
    this.greet = () => {};
    /** @type {Promise<void>} */
    this.closed = new Promise(resolve => { this.socket.onclose = () => { this.end(); resolve(); }; });
    this.socket.onmessage = event => this.receive(event.data);
  }

  /** @param {string | ArrayBuffer} data */
  receive(data) {
    this.heard = Date.now();
    try {
      for (const line of parseLines(typeof data === "string" ? encoder.encode(data) : new Uint8Array(data))) this.dispatch(line);
    } catch (err) {
      this.close(err instanceof SimpError ? err : new SimpError(0, String(err)));
    }
  }

  /** @param {Line} line */
  dispatch(line) {
    if (line.verb) {
      if (line.tag === "*" && line.verb === "HELLO") this.greet(line);
      else if (line.tag === "*" && line.verb === "BYE") this.close(new SimpError(Number(line.params.status) || 0, line.text, line.params));
      else if (line.verb === "PING") this.respond(line.tag, 200);
      else this.client.handle(this, line);
      return;
    }
    const request = this.pending.get(line.tag);
    if (!request) return;
    if (line.status === 100) {
      request.partial.push(line);
      return;
    }
    if (line.status > 101 && line.status < 200) return; // interim, of a later version
    this.pending.delete(line.tag);
    request.resolve({ status: line.status, params: line.params, text: line.text, partial: request.partial });
  }

  /** @param {string} tag @param {number} status */
  respond(tag, status) {
    if (tag !== "*" && this.open) this.socket.send(formatLine(tag, status));
  }

  /**
   * roundTrip returns the final response, whatever its status. It rejects with
   * a SimpError of status 0 that bears the partial results if the connection ends.
   * @param {string} verb @param {Params} [params] @param {Uint8Array} [literal] @param {string} [tag]
   * @returns {Promise<Answer>}
   */
  roundTrip(verb, params, literal, tag = String(++this.tags)) {
    return new Promise((resolve, reject) => {
      if (!this.open) return reject(new SimpError(503, "not connected"));
      const octets = formatLine(tag, verb, params, literal);
      if (octets.length - (literal?.length ?? 0) > longestLine) return reject(new SimpError(413, "the request does not fit in a line"));
      this.pending.set(tag, { partial: [], resolve, reject });
      this.socket.send(octets);
    });
  }

  /** promptly is roundTrip, and closes the connection if no answer comes in time. @param {string} verb @param {Params} [params] */
  async promptly(verb, params) {
    const timer = setTimeout(() => this.close(new SimpError(0, "the server does not answer")), pingTime);
    try {
      return await this.roundTrip(verb, params);
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param {string} verb @param {Params} [params] @param {Uint8Array} [literal] @param {string} [tag] */
  async request(verb, params, literal, tag) {
    const answer = await this.roundTrip(verb, params, literal, tag);
    if (answer.status >= 400) throw new SimpError(answer.status, answer.text, answer.params);
    return answer;
  }

  /**
   * greetAnd says HELLO, and then does what follows, in time.
   * @param {string} agent @param {() => Promise<unknown>} next
   */
  async greetAnd(agent, next) {
    const timer = setTimeout(() => this.close(new SimpError(0, "the server does not answer")), greetingTime);
    try {
      await Promise.race([new Promise(resolve => { this.greet = resolve; }), this.closed.then(() => { throw this.reason; })]);
      const hello = await this.request("HELLO", { version: "SIMP/1.0", agent });
      this.history = hello.params.history ?? "";
      this.size = Number(hello.params.size) || this.size;
      await next();
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param {string} address @param {(salt: string, iterations: number) => Keys | Promise<Keys>} derive */
  async logIn(address, derive) {
    const scram = new Scram(address), tag = String(++this.tags);
    const encode = (/** @type {string} */ s) => toBase64(encoder.encode(s));
    const decode = (/** @type {string | undefined} */ s) => lenient.decode(fromBase64(s ?? ""));
    try {
      const challenge = await this.request("AUTH", { mech: "SCRAM-SHA-256", data: encode(scram.first) }, undefined, tag);
      if (challenge.status !== 101) throw new SimpError(502, "the server has not asked for the password");
      const done = await this.request("MORE", { data: encode(await scram.final(decode(challenge.params.data), derive)) }, undefined, tag);
      scram.verify(decode(done.params.data));
      this.ima = done.params.ima ?? "";
    } catch (err) {
      throw err instanceof SimpError && err.status ? Object.assign(err, { login: true }) : err;
    }
  }

  /** checkAlive closes the connection unless the server answers a PING. */
  checkAlive() { this.promptly("PING").catch(() => {}); }

  /** @param {SimpError} [reason] */
  close(reason) {
    this.reason ??= reason;
    this.end();
    this.socket.close();
  }

  end() {
    if (!this.open) return;
    this.open = false;
    this.reason ??= new SimpError(0, "the connection has ended");
    for (const { reject, partial } of this.pending.values()) reject(Object.assign(new SimpError(0, "the connection has ended"), { partial }));
    this.pending.clear();
  }
}

/**
 * join creates an account with the code of an invitation (SIMP.md, section 4).
 * It rejects with a SimpError: of status 401, if the code creates no account;
 * of status 0, if it is not known whether there is an account now.
 * @param {Pick<Options, "url" | "address" | "agent" | "WebSocket"> & { password: string, code: string }} options
 * @returns {Promise<string>} the address of the account
 */
export async function join(options) {
  const connection = new Connection({ handle() {} }, { url: options.url, WebSocket: options.WebSocket ?? WebSocket }, 0);
  try {
    let ima = options.address;
    await connection.greetAnd(options.agent ?? "simp.js", async () => {
      const data = toBase64(encoder.encode(preparePassword(options.password)));
      const answer = await connection.request("JOIN", { code: options.code, ima, data });
      ima = answer.params.ima ?? ima;
    });
    return ima;
  } finally {
    connection.close();
  }
}

// ---- Client ----

const memory = 5 * 60_000, firstDelay = 500, longestDelay = 30_000, longestRetry = 300, maxLine = 3000;

/** Client keeps one user connected. */
export class Client {
  /** @param {Options} options */
  constructor(options) {
    this.address = options.address;
    /** listening reports whether the client means to listen. */
    this.listening = options.listening ?? true;
    this.state = options.state ?? "available";
    this.note = options.note ?? "";
    /** @type {ClientStatus} */
    this.status = "ended";
    /** @private */ this.options = options;
    /** @private */ this.handlers = options.handlers ?? {};
    /** @private @type {string[]} */ this.passwords = options.password === undefined ? [] : [...new Set([preparePassword(options.password), options.password])];
    /** @private @type {Keys | undefined} */ this.keys = options.keys;
    /** @private @type {Connection | undefined} */ this.current = undefined;
    /** @private */ this.run = 0;
    /** @private @type {Set<string>} */ this.watched = new Set();
    /** @private @type {Map<string, { mark: string, status: Promise<number>, time: number }>} */ this.seen = new Map();
    /** @private @type {Map<string, number>} */ this.indexes = new Map();
    /** @private */ this.history = "";
    /** @private @type {Set<() => void>} */ this.waiters = new Set();
    /** @private @type {ReturnType<typeof setInterval> | undefined} */ this.watchdog = undefined;
    /** @private */ this.wakeUp = () => {};
  }

  /** start connects, and connects again until stop is called or the login is refused. */
  start() {
    if (this.status !== "ended") return;
    this.setStatus("connecting");
    this.watchdog = setInterval(() => {
      if (this.current && Date.now() - this.current.heard > silence) this.current.checkAlive();
    }, silence / 3);
    void this.keepConnected(++this.run);
  }

  /** stop says QUIT and ends the connection. */
  async stop() {
    const conn = this.current;
    this.finish();
    if (conn) await quit(conn);
  }

  /**
   * suspend stops listening and then ends the connection, as before a page
   * is frozen. start connects again.
   */
  async suspend() {
    const conn = this.current;
    this.finish();
    if (!conn) return;
    if (this.listening) conn.roundTrip("UNLISTEN").catch(() => {}); // both are on their way at once
    await quit(conn);
  }

  /** wake connects now if the client waits, and otherwise checks the connection. */
  wake() {
    if (this.current) this.current.checkAlive();
    this.wakeUp();
  }

  /** maxSize returns the largest message in octets. */
  get maxSize() { return this.current?.size ?? 65536; }

  /** @private @param {SimpError} [error] */
  finish(error) {
    this.run++;
    this.current = undefined;
    clearInterval(this.watchdog);
    this.wakeUp();
    this.setStatus("ended", error);
  }

  /** @private @param {ClientStatus} status @param {SimpError} [error] */
  setStatus(status, error) {
    this.status = status;
    if (status === "online" || status === "ended") for (const done of [...this.waiters]) done();
    this.handlers.status?.(status, error);
  }

  /** @private @param {number} run */
  async keepConnected(run) {
    for (let attempt = 0; run === this.run;) {
      let delay = firstDelay * 2 ** Math.min(attempt++, 8), error;
      try {
        let conn = await this.connect(run);
        if (!conn) return;
        this.adopt(conn);
        this.setStatus("online");
        const since = Date.now();
        while (conn.open || conn !== this.current) {
          await conn.closed;
          if (run !== this.run) return;
          if (!this.current) break;
          conn = this.current;
        }
        if (Date.now() - since > 10_000) attempt = 1;
        delay = attempt > 1 ? delay : firstDelay;
        error = conn.reason;
      } catch (err) {
        error = err instanceof SimpError ? err : new SimpError(0, String(err));
        if (run !== this.run) return;
        if (isFinal(error)) return this.finish(error);
      }
      if (run !== this.run) return;
      this.current = undefined;
      this.setStatus("waiting", error);
      await this.pause(Math.min(delay, longestDelay), retryOf(error));
      if (run === this.run) this.setStatus("connecting");
    }
  }

  /**
   * pause waits for least milliseconds, which nothing but the end of the run
   * cuts, and then for half of delay to all of it, or until wake.
   * @private @param {number} delay @param {number} least
   */
  async pause(delay, least) {
    const run = this.run, start = Date.now();
    await new Promise(resolve => {
      let timer = setTimeout(resolve, least + delay * (0.5 + 0.5 * (this.options.random ?? Math.random)()));
      this.wakeUp = () => {
        clearTimeout(timer);
        timer = setTimeout(resolve, run === this.run ? Math.max(0, start + least - Date.now()) : 0);
      };
    });
    if (run === this.run) this.wakeUp = () => {};
  }

  /**
   * connect returns a connection that is logged in, listens and watches; or
   * nothing if the run has ended meanwhile.
   * @private @param {number} run @returns {Promise<Connection | undefined>}
   */
  async connect(run) {
    const conn = new Connection(this, { url: this.options.url, WebSocket: this.options.WebSocket ?? WebSocket }, run);
    try {
      await conn.greetAnd(this.options.agent ?? "simp.js", () => conn.logIn(this.address, (salt, n) => this.derive(salt, n)));
      this.passwords.splice(1); // it was this one
      if (run === this.run && conn.ima) this.address = conn.ima; // as the site writes it
      if (this.keys) this.handlers.keys?.(this.keys);
      if (conn.history !== this.history) this.indexes.clear();
      this.history = conn.history;
      if (run === this.run) {
        await this.listenOn(conn);
        await this.watchOn(conn, [...this.watched]);
      }
    } catch (err) {
      conn.close();
      if (err instanceof SimpError && err.status === 401 && this.passwords.length > 1) {
        this.passwords.shift(); // SASLprep may have no form for it: as typed
        this.keys = undefined;
        return this.connect(run);
      }
      throw err;
    }
    if (run === this.run) return conn;
    conn.close();
    return undefined;
  }

  /** @private @param {string} salt @param {number} iterations */
  async derive(salt, iterations) {
    if (this.keys?.salt === salt && this.keys.iterations === iterations) return this.keys;
    if (!this.passwords.length) throw new SimpError(401, "the password was changed");
    return this.keys = await deriveKeys(this.passwords[0], salt, iterations);
  }

  /** @private @param {Connection} conn */
  async listenOn(conn) {
    if (!this.listening) return;
    conn.told = this.wish();
    const { status, text, params } = await conn.promptly("LISTEN", { state: this.state, note: this.note || undefined });
    if (status < 400) return;
    if (status !== 409) throw new SimpError(status, text, params);
    conn.told = "";
    this.listening = false;
    this.handlers.unlistened?.(text || outcomeWord(status));
  }

  /** wish returns what a connection should have told the server, "" for not to listen. @private */
  wish() { return this.listening ? `${this.state} ${this.note}` : ""; }

  /** adopt makes a connection the current one. @private @param {Connection} conn */
  adopt(conn) {
    this.current = conn;
    void this.catchUp();
    if (conn.moveBy) void this.move(conn);
  }

  /** catchUp tells the server what has changed while the current connection was being made; if it cannot, another is made. @private */
  async catchUp() {
    const conn = this.current;
    if (conn) await this.tellChanges(conn).catch(err => conn.close(err));
  }

  /** @private @param {Connection} conn */
  async tellChanges(conn) {
    const { state, note } = this, wish = this.wish(), had = conn.told;
    conn.told = wish;
    if (wish !== had) await (wish ? conn.request(had ? "STATE" : "LISTEN", { state, note }) : conn.request("UNLISTEN"));
    for (const ima of chunks([...conn.watched].filter(one => !this.watched.has(one)))) {
      for (const one of ima) conn.watched.delete(one);
      await conn.request("UNWATCH", { ima });
    }
    await this.watchOn(conn, [...this.watched].filter(one => !conn.watched.has(one)));
  }

  /**
   * watchOn watches, except for what the server refuses for good; it returns
   * that refusal. A refusal is for a whole line: its halves are tried.
   * @private @param {Connection} conn @param {string[]} addresses
   */
  async watchOn(conn, addresses) {
    let refusal;
    const parts = chunks(addresses);
    for (const some of parts) {
      for (const one of some) conn.watched.add(one);
      const answer = await conn.promptly("WATCH", { ima: some }).catch(err => {
        if (err.status !== 413) throw err;
        return { status: 413, text: err.message, params: {}, partial: [] };
      });
      if (answer.status < 400) {
        this.takePresence(answer);
        continue;
      }
      for (const one of some) conn.watched.delete(one);
      const error = new SimpError(answer.status, answer.text, answer.params);
      if (answer.status === 429 || answer.status >= 500) throw error;
      if (some.length > 1) {
        const half = some.length >> 1;
        parts.push(some.slice(0, half), some.slice(half));
        continue;
      }
      refusal = error;
      this.watched.delete(some[0]);
      this.indexes.delete(some[0]);
      this.handlers.presence?.({ address: some[0], state: "unknown", note: "", since: "" });
    }
    return refusal;
  }

  /**
   * handle takes a request of the server. Its connections call it.
   * @ignore @param {Connection} conn @param {Line} line
   */
  handle(conn, line) {
    switch (line.verb) {
      case "MESSAGE": return void this.take(conn, line);
      case "PRESENCE": return conn.replaced ? undefined : this.show(line);
      case "STALE": case "FRESH":
        conn.stale = line.verb === "STALE";
        return conn.replaced ? undefined : conn.stale ? this.handlers.stale?.() : this.handlers.fresh?.();
      case "UNLISTENED":
        if (conn.replaced) return;
        conn.told = "";
        this.listening = false;
        return this.handlers.unlistened?.(line.text);
      case "MOVE":
        conn.moveBy = Date.now() + 1000 * (Number(line.params.within) || 30);
        return void this.move(conn); // or adopt does it
      default: conn.respond(line.tag, 405);
    }
  }

  /**
   * take hands a message on, once, and answers it. Once the run has ended,
   * nobody sees what comes, and nothing is answered.
   * @private @param {Connection} conn @param {Line} line
   */
  async take(conn, line) {
    if (!conn.open || conn.run !== this.run) return;
    const { from = "", to = "", id = "", time = "" } = line.params, entity = line.literal ?? new Uint8Array();
    const key = `${id} ${from}`, mark = markOf(entity), now = Date.now();
    for (const [old, { time }] of this.seen) {
      if (now - time < memory) break;
      this.seen.delete(old);
    }
    let known = this.seen.get(key);
    if (!known) {
      const status = Promise.resolve().then(() => this.handlers.message?.({ from, to, id, time, entity }) ?? 486).catch(() => 486);
      known = { mark, status, time: now };
      this.seen.set(key, known);
    }
    const status = known.mark === mark ? await known.status : 409;
    if (status >= 400 && known.mark === mark) this.seen.delete(key);
    if (conn.run === this.run) conn.respond(line.tag, status);
  }

  /** @private @param {Answer} answer */
  takePresence(answer) {
    for (const line of answer.partial) this.show(line, answer.params.index);
  }

  /**
   * show hands a presence on, unless something newer was shown: a new
   * connection may lead to a node that lags. The indexes of other sites are
   * not compared. moment is the index of the whole answer.
   * @private @param {Line} line @param {string} [moment]
   */
  show({ params }, moment) {
    const address = params.ima ?? "", index = Number(params.index ?? moment ?? NaN), last = this.indexes.get(address);
    if (!this.watched.has(address) || last !== undefined && index < last) return;
    if (index >= 0 && params.state !== "unknown" && domainOf(address) === domainOf(this.address)) this.indexes.set(address, index);
    this.handlers.presence?.({ address, state: /** @type {PresenceState} */ (params.state), note: params.note ?? "", since: params.since ?? "" });
  }

  /**
   * move connects anew while the old connection still listens, and then ends
   * it. A new connection may reach the same node, which does not greet it.
   * @private @param {Connection} old
   */
  async move(old) {
    if (old.moving || old !== this.current) return;
    old.moving = true;
    const run = this.run;
    while (old.open && old === this.current && run === this.run && Date.now() < old.moveBy) {
      try {
        const conn = await this.connect(run);
        if (!conn) return;
        if (old !== this.current) return conn.close(); // the old one has ended, and keepConnected makes another
        old.replaced = true;
        this.adopt(conn);
        if (old.stale && !conn.stale) this.handlers.fresh?.();
        return void quit(old);
      } catch (err) {
        if (isFinal(/** @type {SimpError} */ (err))) return; // the old connection is used until it ends
        await new Promise(resolve => setTimeout(resolve, retryOf(err) + 1000 * (0.5 + (this.options.random ?? Math.random)())));
      }
    }
  }

  /** online waits until the client is connected, for at most some milliseconds. @private @param {number} time */
  async online(time) {
    if (!this.current && this.status !== "ended") {
      await new Promise(resolve => {
        const done = () => { clearTimeout(timer); this.waiters.delete(done); resolve(undefined); };
        const timer = setTimeout(done, time);
        this.waiters.add(done);
      });
    }
    if (!this.current?.open) throw new SimpError(503, "not connected");
    return this.current;
  }

  /**
   * send sends an entity and returns its outcome for each recipient; it does
   * not throw. To repeat a message that is in doubt, give its id and the same
   * entity: only a 200 ends the doubt.
   * @param {readonly string[]} to
   * @param {Uint8Array} entity
   * @param {{ id?: string, timeout?: number }} [options]
   * @returns {Promise<Report>}
   */
  async send(to, entity, { id = newID(), timeout = 10 } = {}) {
    const all = (/** @type {number} */ status, /** @type {string} */ text) => ({ id, results: to.map(one => ({ to: one, status, text })) });
    let conn;
    try {
      conn = await this.online(5000);
    } catch (err) {
      return all(503, err instanceof SimpError ? err.message : "");
    }
    const timer = setTimeout(() => conn.close(new SimpError(0, "the server does not answer")), 1000 * (timeout + 6));
    try {
      const answer = await conn.roundTrip("SEND", { to, id, timeout }, entity);
      return { id, results: resultsOf(to, answer.partial, answer.status === 207 ? 201 : answer.status, answer.text) };
    } catch (err) {
      if (err instanceof SimpError && err.status) return all(err.status, err.message); // it was not sent
      return { id, results: resultsOf(to, /** @type {{ partial?: Line[] }} */ (err).partial ?? [], 201, "the connection has ended") };
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * request sends any other request, and throws a SimpError if it fails.
   * @param {string} verb
   * @param {Params} [params]
   * @returns {Promise<Answer>}
   */
  async request(verb, params) { return (await this.online(5000)).request(verb, params); }

  /**
   * setState changes what others see, and listens if the client does not.
   * @param {ListenState} state
   * @param {string} [note]
   */
  async setState(state, note = this.note) {
    const conn = await this.online(5000);
    await conn.request(this.listening ? "STATE" : "LISTEN", { state, note });
    Object.assign(this, { listening: true, state, note });
    await this.changed(conn);
  }

  /** unlisten stops listening; the connection stays. */
  async unlisten() {
    if (!this.listening) return;
    const conn = await this.online(5000);
    await conn.request("UNLISTEN");
    this.listening = false;
    await this.changed(conn);
  }

  /** changed has the current connection follow what another was told. @private @param {Connection} conn */
  async changed(conn) {
    conn.told = this.wish();
    if (conn !== this.current) await this.catchUp();
  }

  /**
   * watch tells the presence handler of these users, now and at each change,
   * also after a reconnect.
   * @param {string[]} addresses
   */
  async watch(addresses) {
    for (const address of addresses) this.watched.add(address);
    const refusal = this.current && await this.watchOn(this.current, addresses);
    if (refusal) throw refusal;
  }

  /** @param {string[]} addresses */
  async unwatch(addresses) {
    for (const address of addresses) {
      this.watched.delete(address);
      this.indexes.delete(address);
      this.current?.watched.delete(address);
    }
    if (this.current) for (const ima of chunks(addresses)) await this.request("UNWATCH", { ima });
  }

  /**
   * watchers returns who watches this user now.
   * @returns {Promise<string[]>}
   */
  async watchers() { return (await this.request("WATCHERS")).partial.map(line => line.params.ima); }

  /**
   * contacts returns the user's list.
   * @returns {Promise<{ address: string, name: string }[]>}
   */
  async contacts() { return (await this.request("CONTACT")).partial.map(({ params }) => ({ address: params.ima, name: params.name ?? "" })); }

  /**
   * rules returns the user's rules.
   * @returns {Promise<{ who: string, message: string, presence: string }[]>}
   */
  async rules() {
    return (await this.request("ACL")).partial.map(({ params }) => ({ who: params.who, message: params.message ?? "", presence: params.presence ?? "" }));
  }
}

/** quit ends a connection once its requests are answered. @param {Connection} conn */
async function quit(conn) {
  const timer = setTimeout(() => conn.close(), greetingTime);
  await conn.roundTrip("QUIT").catch(() => {});
  clearTimeout(timer);
  conn.close();
}

/** trimBlanks returns a line without the blanks at its end. @param {string} line */
function trimBlanks(line) {
  let end = line.length;
  while (end > 0 && (line[end - 1] === " " || line[end - 1] === "\t")) end--;
  return line.slice(0, end);
}

/** isFinal reports whether another attempt to log in would fail too. @param {SimpError} error */
function isFinal(error) {
  return [400, 401, 403, 404, 405, 505].includes(error.status) && ("login" in error || error.status === 505);
}

/** retryOf returns for how many milliseconds the server asks to wait. @param {any} error */
function retryOf(error) { return 1000 * Math.min(Math.max(Number(error?.params?.retry) || 0, 0), longestRetry); }

/** chunks splits addresses so that each part fits in a line. @param {string[]} addresses */
function chunks(addresses) {
  /** @type {string[][]} */
  const parts = [];
  let room = 0;
  for (const address of addresses) {
    const size = encoder.encode(address).length + 8;
    if (size > room) {
      parts.push([]);
      room = maxLine;
    }
    room -= size;
    parts[parts.length - 1].push(address);
  }
  return parts;
}

/** resultsOf returns one result per recipient. @param {readonly string[]} to @param {Line[]} partial @param {number} status @param {string} text */
function resultsOf(to, partial, status, text) {
  const said = new Map(partial.map(line => [line.params.to?.toLowerCase(), line]));
  return to.map(one => {
    const line = said.get(one.toLowerCase());
    return { to: one, status: line ? Number(line.params.status) : status, text: line ? line.text : text };
  });
}

/** domainOf returns what follows the last @. @param {string} address */
function domainOf(address) { return address.slice(address.lastIndexOf("@") + 1).toLowerCase(); }

/** markOf returns a number that tells entities apart. @param {Uint8Array} entity */
function markOf(entity) {
  let a = 0x811c9dc5, b = 0x9747b28c;
  for (const octet of entity) {
    a = Math.imul(a ^ octet, 0x01000193);
    b = Math.imul(b ^ octet, 0x85ebca6b) + 1;
  }
  return `${entity.length}:${a}:${b}`;
}
