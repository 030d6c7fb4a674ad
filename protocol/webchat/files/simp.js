// @ts-check
/**
 * SIMP 1.1 over WebSocket, for browsers and for Node. It has no dependency and
 * touches no page. simp.d.ts documents what it exports.
 * @module simp
 */
/** @import { Answer, Client as C, ClientStatus, DeviceKey, KeyList, Keys, Line, ListenState, Message, Options, Params, PresenceState, Result, Verdict } from "./simp.js" */
/** @typedef {typeof import("./simp.js")} API */

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

/** @type {API["outcomeWord"]} */
export function outcomeWord(status) { return words[status] ?? "not delivered"; }

/** @type {API["stateWord"]} */
export function stateWord(state) {
  return state === "deaf" ? "not listening" : state === "unknown" ? "not known now" : state;
}

const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });
const oneByOne = new TextDecoder("latin1");

/** @param {...(string | Uint8Array)} parts */
function concat(...parts) {
  const all = parts.map(part => typeof part === "string" ? encoder.encode(part) : part), joined = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of all) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

// ---- Lines (section 2) ----

/** @type {API["formatLine"]} */
export function formatLine(tag, word, params = {}, literal) {
  let line = `${tag} ${word}`;
  for (const [key, value] of Object.entries(params)) {
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) line += ` ${key}=${formatValue(String(one))}`;
  }
  return literal ? concat(`${line} {${literal.length}}\r\n`, literal) : encoder.encode(line + "\r\n");
}

/** @param {string} value */
function formatValue(value) {
  value = value.replace(/[\u0000-\u001f\u007f]/g, "\ufffd");
  return /[ "]/.test(value) ? `"${value.replace(/["\\]/g, "\\$&")}"` : value;
}

/** @type {API["parseLines"]} */
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
      at = end + 2;
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

/** @type {API["newID"]} */
export function newID() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), octet => octet.toString(16).padStart(2, "0")).join("");
}

/** @type {API["textEntity"]} */
export function textEntity(text) { return encoder.encode("\r\n" + text); }

/** @type {API["entityText"]} */
export function entityText(entity) {
  const { type, charset, encoding, body } = splitEntity(entity);
  if (type !== "text/plain" || !["utf-8", "us-ascii", "iso-8859-1"].includes(charset)) return undefined;
  const decode = (/** @type {Uint8Array} */ octets) => charset === "iso-8859-1" ? oneByOne.decode(octets) : lenient.decode(octets);
  try {
    switch (encoding) {
      case "base64": return decode(fromBase64(lenient.decode(body).replace(/\s/g, "")));
      case "quoted-printable": return decode(fromQuotedPrintable(body));
      case "": case "7bit": case "8bit": case "binary": return decode(body);
    }
  } catch { /* it is not what it says */ }
  return undefined;
}

/** @type {API["entityType"]} */
export function entityType(entity) { return splitEntity(entity).type; }

/** @param {Uint8Array} entity */
function splitEntity(entity) {
  let end = 0, header = "";
  if (entity[0] !== 13 || entity[1] !== 10) {
    const text = oneByOne.decode(entity);
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
  const text = oneByOne.decode(body).split("\r\n").map(trimBlanks).join("\r\n").replace(/=\r\n/g, "");
  return latin1(text.replace(/=([0-9A-Fa-f]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16))));
}

/** @param {string} s */
function latin1(s) { return Uint8Array.from(s, c => c.charCodeAt(0)); }

/** @param {string} s */
function fromBase64(s) { return latin1(atob(s)); }

/** @type {API["toBase64"]} */
export function toBase64(octets) {
  let s = "";
  for (const octet of octets) s += String.fromCharCode(octet);
  return btoa(s);
}

// ---- SCRAM-SHA-256 (RFC 5802, RFC 7677) ----

const minIterations = 4096, maxIterations = 1_000_000;

/** @type {API["deriveKeys"]} */
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

export class Scram {
  /** @param {string} name @param {string} [nonce] */
  constructor(name, nonce = newID()) {
    this.nonce = nonce;
    this.first = `n,,n=${name.replace(/=/g, "=3D").replace(/,/g, "=2C")},r=${nonce}`;
    this.expected = "";
  }

  /** @param {string} challenge @param {(salt: string, iterations: number) => Keys | Promise<Keys>} derive @returns {Promise<string>} */
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

  /** @param {string} final the server's final message */
  verify(final) {
    if (!this.expected || final !== this.expected) throw new SimpError(401, "the server could not prove that it knows the password");
  }
}

/** @type {API["preparePassword"]} */
export function preparePassword(password) {
  return password.replace(/[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/g, " ")
    .replace(/[\u00ad\u034f\u1806\u180b-\u180d\u200c\u200d\u2060\ufe00-\ufe0f\ufeff]/g, "").normalize("NFKC");
}

// ---- Keys and signatures (section 15) ----

const maxSkew = 300_000, algorithm = "Ed25519", signatureField = "SIMP-Signature: ";

/** @type {API["toBase64URL"]} */
export function toBase64URL(octets) { return toBase64(octets).replace(/=/g, "").replace(/\+/g, "-").replace(/\//g, "_"); }

/** @type {API["fromBase64URL"]} */
export function fromBase64URL(text) {
  const octets = fromBase64(text.replace(/-/g, "+").replace(/_/g, "/"));
  if (toBase64URL(octets) !== text) throw new Error("it is not base64url");
  return octets;
}

/** @param {Uint8Array<ArrayBuffer>} octets */
async function sha256(octets) { return new Uint8Array(await crypto.subtle.digest("SHA-256", octets)); }

/** @type {API["foldAddress"]} */
export function foldAddress(address) {
  const at = address.lastIndexOf("@"), local = address.slice(0, at).replace(/[\uff00-\uffef]/g, c => c.normalize("NFKC"));
  return [...local].map(c => c.toLowerCase()).join("").normalize("NFC") + address.slice(at).toLowerCase();
}

/** @param {Uint8Array} key */
async function keyID(key) { return toBase64URL(await sha256(encoder.encode(`{"crv":"Ed25519","kty":"OKP","x":"${toBase64URL(key)}"}`))); }

/** @type {API["fingerprint"]} */
export function fingerprint(kid) {
  const bits = fromBase64URL(kid).reduce((all, octet) => all << 8n | BigInt(octet), 0n) >> 156n;
  return Array.from({ length: 20 }, (_, i) => "0123456789abcdefghjkmnpqrstvwxyz"[Number(bits >> BigInt(95 - 5 * i) & 31n)]).join("").replace(/.{4}(?=.)/g, "$&-");
}

/** @type {API["newDevice"]} */
export async function newDevice() {
  const pair = /** @type {CryptoKeyPair} */ (await crypto.subtle.generateKey(algorithm, false, ["sign", "verify"]));
  const key = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  return { kid: await keyID(key), key, pair };
}

const prime = 2n ** 255n - 19n;

/** @param {bigint} base @param {bigint} exponent */
function power(base, exponent) {
  let result = 1n;
  for (; exponent; exponent >>= 1n, base = base * base % prime) if (exponent & 1n) result = result * base % prime;
  return result;
}

const d = -121665n * power(121666n, prime - 2n);

/** @param {Uint8Array} octets */
function isKey(octets) {
  if (octets.length !== 32) return false;
  const y = octets.reduceRight((all, octet) => all << 8n | BigInt(octet), 0n) & 2n ** 255n - 1n, yy = y * y % prime;
  const isSmall = y * (yy - 1n) * (d * yy * yy + 2n * yy - 1n) % prime === 0n;
  return y < prime && !isSmall && power(((yy - 1n) * (d * yy + 1n) % prime + prime) % prime, (prime - 1n) / 2n) === 1n;
}

/** @param {Uint8Array<ArrayBuffer>} key */
function verifierOf(key) { return crypto.subtle.importKey("raw", key, algorithm, false, ["verify"]); }

/** @param {string} user @param {string | Uint8Array} key @param {string} label */
function proofOctets(user, key, label) { return concat(`SIMP/1.1 key\0${user}\0`, key, `\0${label}`); }

/** @type {API["proveContinuity"]} */
export async function proveContinuity({ pair }, user, key, label) {
  return toBase64(new Uint8Array(await crypto.subtle.sign(algorithm, pair.privateKey, proofOctets(user, key, label))));
}

/** @type {API["verifyList"]} */
export async function verifyList(user, { partial, params: { head } }) {
  /** @type {DeviceKey[]} */
  const keys = [];
  /** @type {string[][]} */
  const records = [];
  const add = (/** @type {number} */ number, /** @type {string[]} */ ...fields) => {
    if (!(number >= 1 && number <= 2 * partial.length) || records[number]) throw new Error("the records of the list are not numbered");
    records[number] = fields;
  };
  for (const line of partial.map(one => one.params).sort((a, b) => Number(a.record) - Number(b.record))) {
    const { name = "", signer = "", sig = "", revoked } = line, key = fromBase64(line.key), kid = await keyID(key);
    const k = { kid, name, signer, created: Date.parse(line.created), record: Number(line.record), revoked: revoked ? Date.parse(revoked) : Infinity,
      revocation: Number(line.revocation ?? 0), byOperator: !!revoked && line.by === "operator", verifier: await verifierOf(key) };
    if (toBase64(key) !== line.key || !isKey(key) || kid !== line.kid || keys.some(other => other.kid === kid)) throw new Error("a key of the list is wrong");
    if (!revoked !== !k.revocation || k.revocation && k.revocation <= k.record || isNaN(k.created + k.revoked)) throw new Error("a time or a revocation is wrong");
    if (signer || sig) {
      const by = keys.find(other => other.kid === signer), proof = fromBase64(sig);
      const verifies = async (/** @type {string | Uint8Array} */ form) => by && crypto.subtle.verify(algorithm, by.verifier, proof, proofOctets(user, form, name));
      if (!by || by.revocation && by.revocation < k.record || toBase64(proof) !== sig || !(await verifies(key) || await verifies(line.key))) throw new Error("a proof of continuity is wrong");
    }
    keys.push(k);
    add(k.record, "add", user, line.key, String(k.created), name, signer, sig);
    if (revoked) add(k.revocation, "revoke", user, kid, String(k.revoked), k.byOperator ? "operator" : "");
  }
  let octets = new Uint8Array(32);
  const heads = [toBase64URL(octets)];
  for (let i = 1; i < records.length; i++) {
    if (!records[i]) throw new Error("a record of the list is missing");
    heads[i] = toBase64URL(octets = await sha256(concat(octets, ...records[i].map(field => `${field}\0`))));
  }
  if (heads[heads.length - 1] !== head) throw new Error("the head is not that of the keys");
  return { user, keys, heads };
}

/** @param {KeyList} list @param {string} kid @param {string[]} kids */
function isVouchedFor({ keys }, kid, kids) {
  for (let key = keys.find(one => one.kid === kid); key; key = keys.find(one => one.kid === key?.signer)) if (kids.includes(key.kid)) return true;
  return false;
}

/** @type {API["sign"]} */
export async function sign({ kid, pair }, { from, to, id, time }, entity) {
  if (countFields(entity) || entity[0] === 32 || entity[0] === 9 || !to.length || to.length > 64) throw new Error("this message cannot be signed");
  const header = toBase64URL(encoder.encode(JSON.stringify({ alg: "EdDSA", kid, b64: false, crit: ["b64"], orig: from, dest: to, id, iat: Math.floor(time / 1000) })));
  const signature = new Uint8Array(await crypto.subtle.sign(algorithm, pair.privateKey, concat(header, ".", entity)));
  return concat(`${signatureField}${header}..${toBase64URL(signature)}\r\n`, entity);
}

/** @param {Uint8Array} entity */
function countFields(entity) {
  const header = /^(?:[^\r\n]+(?:\r\n|\r|\n|$))*/.exec(oneByOne.decode(entity))?.[0] ?? "";
  return header.match(/^SIMP-Signature[ \t]*:/gim)?.length ?? 0;
}

/** @param {string} encoded @returns {{ [name: string]: any }} */
function decodeHeader(encoded) {
  const text = strict.decode(fromBase64URL(encoded)), members = JSON.parse(text), names = new Set();
  let depth = 0, before = "", member = "";
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}:,]|[^\s[\]{}:,"]+/g)) {
    if (member === "iat" && !/^\d+$/.test(token)) throw new Error();
    member = "";
    if (token === ":" && depth === 1) {
      member = JSON.parse(before);
      if (names.has(member)) throw new Error();
      names.add(member);
    }
    depth += token === "{" || token === "[" ? 1 : token === "}" || token === "]" ? -1 : 0;
    before = token;
  }
  return members;
}

/** @param {Message} m @param {string} recipient */
function readSignature({ from, id, time, entity }, recipient) {
  const count = countFields(entity);
  if (count > 1) throw new Error("the message has two signatures");
  const field = /^SIMP-Signature: ([\w-]+)\.\.([\w-]{86})\r\n(?![ \t])/.exec(oneByOne.decode(entity));
  if (!field) throw new Error("the signature does not have the right form, or is not first");
  let header, signature;
  try {
    header = decodeHeader(field[1]);
    signature = fromBase64URL(field[2]);
  } catch { /* told below */ }
  const { alg, kid, b64, crit, orig, dest, id: signedID, iat } = header ?? {}, isText = (/** @type {unknown} */ one) => typeof one === "string";
  if (!signature || alg !== "EdDSA" || b64 !== false || !Array.isArray(crit) || crit.length !== 1 || crit[0] !== "b64" || ![kid, orig, signedID].every(isText) ||
    !Array.isArray(dest) || !dest.length || dest.length > 64 || !dest.every(isText) || !(iat >= 0 && iat <= 253402300799)) throw new Error("the signature's header is wrong");
  const wrong = foldAddress(orig) !== foldAddress(from) ? "as another user's" : !dest.some(one => foldAddress(one) === foldAddress(recipient)) ? "for other recipients" :
    signedID !== id ? "with another id" : !(Math.abs(1000 * iat - Date.parse(time)) <= maxSkew) && "at another time";
  if (wrong) throw new Error(`the message was signed ${wrong}`);
  return { kid: String(kid), signature, input: concat(field[1], ".", entity.subarray(field[0].length)) };
}

/** @param {unknown} err @returns {Verdict} */
function bad(err, recheck = false) { return { state: "bad", why: err instanceof Error ? err.message : String(err), recheck }; }

/** @type {API["checkSignature"]} */
export function checkSignature(m, recipient) {
  try {
    if (!countFields(m.entity)) return { state: "unsigned" };
    return void readSignature(m, recipient);
  } catch (err) {
    return bad(err);
  }
}

/** @type {API["classify"]} */
export async function classify(m, recipient, list, known) {
  const early = checkSignature(m, recipient);
  if (early) return early;
  const { kid, signature, input } = readSignature(m, recipient), time = Date.parse(m.time), key = list?.keys.find(one => one.kid === kid);
  if (list?.user !== foldAddress(m.from)) return bad("the sender's list of keys contradicts itself");
  if (known.head && !list.heads.includes(known.head)) return bad("the sender's server rewrote their list of keys", true);
  if (!key) return bad("the key is not one of the sender's", true);
  if (time < key.created - maxSkew || time >= key.revoked) return bad("the key was not valid when the message was sent: it was revoked before, or added later");
  if (!await crypto.subtle.verify(algorithm, key.verifier, signature, input)) return bad("the signature is not that of the message and the key");
  return { state: known.kids.length && !isVouchedFor(list, kid, known.kids) ? "new key" : "signed", kid };
}

// ---- Connection (section 4) ----

const greetingTime = 15_000, pingTime = 20_000, silence = 45_000, longestLine = 4096;

class Connection {
  /** @param {Pick<Client, "handle">} client @param {Required<Pick<Options, "url" | "WebSocket">>} options @param {number} run of the client */
  constructor(client, options, run) {
    this.client = client;
    this.run = run;
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
    this.moveBy = 0;
    this.moving = false;
    this.replaced = false;
    this.stale = false;
    this.heard = Date.now();
    this.history = "";
    /** @type {string[]} */
    this.mechanisms = [];
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
    if (line.status > 101 && line.status < 200) return;
    this.pending.delete(line.tag);
    request.resolve({ status: line.status, params: line.params, text: line.text, partial: request.partial });
  }

  /** @param {string} tag @param {number} status */
  respond(tag, status) {
    if (tag !== "*" && this.open) this.socket.send(formatLine(tag, status));
  }

  /** @param {string} verb @param {Params} [params] @param {Uint8Array} [literal] @param {string} [tag] @returns {Promise<Answer>} */
  roundTrip(verb, params, literal, tag = String(++this.tags)) {
    return new Promise((resolve, reject) => {
      if (!this.open) return reject(new SimpError(503, "not connected"));
      const octets = formatLine(tag, verb, params, literal);
      if (octets.length - (literal?.length ?? 0) > longestLine) return reject(new SimpError(413, "the request does not fit in a line"));
      this.pending.set(tag, { partial: [], resolve, reject });
      this.socket.send(octets);
    });
  }

  /** @param {string} verb @param {Params} [params] */
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

  /** @param {string | undefined} agent @param {string} address @param {() => Promise<unknown>} next */
  async greetAnd(agent, address, next) {
    const timer = setTimeout(() => this.close(new SimpError(0, "the server does not answer")), greetingTime);
    try {
      await Promise.race([new Promise(resolve => { this.greet = resolve; }), this.closed.then(() => { throw this.reason; })]);
      const hello = await this.request("HELLO", { version: "SIMP/1.1", agent: agent ?? "simp.js", domain: domainOf(address) }).catch(err => { throw Object.assign(err, { login: true }); });
      this.mechanisms = (hello.params.auth ?? "").split(",");
      this.history = hello.params.history ?? "";
      this.size = Number(hello.params.size) || this.size;
      await next();
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param {string} address @param {string | undefined} token @param {(salt: string, iterations: number) => Keys | Promise<Keys>} derive */
  async logIn(address, token, derive) {
    const scram = new Scram(address), tag = String(++this.tags);
    const encode = (/** @type {string} */ s) => toBase64(encoder.encode(s));
    const decode = (/** @type {string | undefined} */ s) => lenient.decode(fromBase64(s ?? ""));
    const more = (/** @type {string} */ data) => this.request("MORE", { data: encode(data) }, undefined, tag);
    try {
      let done;
      if (token !== undefined) {
        const name = scram.first.slice(5).replace(/,r=[^]*/, "");
        done = await this.request("AUTH", { mech: "OAUTHBEARER" }, encoder.encode(encode(`n,a=${name},\x01auth=Bearer ${token}\x01\x01`)), tag);
        if (done.status === 101) done = await more("\x01");
      } else {
        const challenge = await this.request("AUTH", { mech: "SCRAM-SHA-256", data: encode(scram.first) }, undefined, tag);
        if (challenge.status !== 101) throw new SimpError(502, "the server has not asked for the password");
        done = await more(await scram.final(decode(challenge.params.data), derive));
        scram.verify(decode(done.params.data));
      }
      this.ima = done.params.ima ?? "";
    } catch (err) {
      throw err instanceof SimpError && err.status ? Object.assign(err, { login: true }) : err;
    }
  }

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
 * @template T
 * @param {Pick<Options, "url" | "address" | "agent" | "WebSocket">} options
 * @param {(connection: Connection) => Promise<T>} act
 */
async function visit({ url, address, agent, WebSocket: Socket = WebSocket }, act) {
  const connection = new Connection({ handle() {} }, { url, WebSocket: Socket }, 0);
  try {
    /** @type {T | undefined} */
    let result;
    await connection.greetAnd(agent, address, async () => { result = await act(connection); });
    return /** @type {T} */ (result);
  } finally {
    connection.close();
  }
}

/** @type {API["mechanisms"]} */
export function mechanisms(options) { return visit(options, async connection => connection.mechanisms); }

/** @type {API["join"]} */
export function join(options) {
  return visit(options, async connection => {
    const { address: ima, code, password } = options, data = toBase64(encoder.encode(preparePassword(password)));
    return (await connection.request("JOIN", { code, ima, data })).params.ima ?? ima;
  });
}

// ---- Client ----

const memory = 10 * 60_000, firstDelay = 500, longestDelay = 30_000, longestRetry = 300, maxLine = 3000;

export class Client {
  /** @param {Options} options */
  constructor(options) {
    this.address = options.address;
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
    this.history = "";
    /** @private @type {Set<() => void>} */ this.waiters = new Set();
    /** @private @type {ReturnType<typeof setInterval> | undefined} */ this.watchdog = undefined;
    /** @private */ this.wakeUp = () => {};
  }

  start() {
    if (this.status !== "ended") return;
    this.setStatus("connecting");
    this.watchdog = setInterval(() => {
      if (this.current && Date.now() - this.current.heard > silence) this.current.checkAlive();
    }, silence / 3);
    void this.keepConnected(++this.run);
  }

  async stop() {
    const conn = this.current;
    this.finish();
    if (conn) await quit(conn);
  }

  async suspend() {
    const conn = this.current;
    this.finish();
    if (!conn) return;
    if (this.listening) conn.roundTrip("UNLISTEN").catch(() => {});
    await quit(conn);
  }

  wake() {
    if (this.current) this.current.checkAlive();
    this.wakeUp();
  }

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
        if (this.options.token && error?.status === 401) return this.finish(error);
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

  /** @private @param {number} delay @param {number} least */
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

  /** @private @param {number} run @returns {Promise<Connection | undefined>} */
  async connect(run) {
    const conn = new Connection(this, { url: this.options.url, WebSocket: this.options.WebSocket ?? WebSocket }, run);
    try {
      await conn.greetAnd(this.options.agent, this.address, () => conn.logIn(this.address, this.options.token, (salt, n) => this.derive(salt, n)));
      this.passwords.splice(1);
      if (run === this.run && conn.ima) this.address = conn.ima;
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
        this.passwords.shift();
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

  /** @private */
  wish() { return this.listening ? `${this.state} ${this.note}` : ""; }

  /** @private @param {Connection} conn */
  adopt(conn) {
    this.current = conn;
    void this.catchUp();
    if (conn.moveBy) void this.move(conn);
  }

  /** @private */
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

  /** @private @param {Connection} conn @param {string[]} addresses */
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

  /** @param {Connection} conn @param {Line} line */
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
      case "KEYS": return conn.replaced ? undefined : this.handlers.listChange?.(line.params.ima ?? "", line.params.head ?? "");
      case "MOVE":
        conn.moveBy = Date.now() + 1000 * (Number(line.params.within) || 30);
        return void this.move(conn);
      default: conn.respond(line.tag, 405);
    }
  }

  /** @private @param {Connection} conn @param {Line} line */
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

  /** @private @param {Line} line @param {string} [moment] */
  show({ params }, moment) {
    const address = params.ima ?? "", index = Number(params.index ?? moment ?? NaN), last = this.indexes.get(address);
    if (!this.watched.has(address) || last !== undefined && index < last) return;
    if (index >= 0 && params.state !== "unknown" && domainOf(address) === domainOf(this.address)) this.indexes.set(address, index);
    this.handlers.presence?.({ address, state: /** @type {PresenceState} */ (params.state), note: params.note ?? "", since: params.since ?? "" });
  }

  /** @private @param {Connection} old */
  async move(old) {
    if (old.moving || old !== this.current) return;
    old.moving = true;
    const run = this.run;
    while (old.open && old === this.current && run === this.run && Date.now() < old.moveBy) {
      try {
        const conn = await this.connect(run);
        if (!conn) return;
        if (old !== this.current) return conn.close();
        old.replaced = true;
        this.adopt(conn);
        if (old.stale && !conn.stale) this.handlers.fresh?.();
        return void quit(old);
      } catch (err) {
        if (isFinal(/** @type {SimpError} */ (err))) return;
        await new Promise(resolve => setTimeout(resolve, retryOf(err) + 1000 * (0.5 + (this.options.random ?? Math.random)())));
      }
    }
  }

  /** @private @param {number} time */
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

  /** @type {C["send"]} */
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
      if (err instanceof SimpError && err.status) return all(err.status, err.message);
      return { id, results: resultsOf(to, /** @type {{ partial?: Line[] }} */ (err).partial ?? [], 201, "the connection has ended") };
    } finally {
      clearTimeout(timer);
    }
  }

  /** @type {C["request"]} */
  async request(verb, params, literal) { return (await this.online(5000)).request(verb, params, literal); }

  /** @type {C["setState"]} */
  async setState(state, note = this.note) {
    const conn = await this.online(5000);
    await conn.request(this.listening ? "STATE" : "LISTEN", { state, note });
    Object.assign(this, { listening: true, state, note });
    await this.changed(conn);
  }

  async unlisten() {
    if (!this.listening) return;
    const conn = await this.online(5000);
    await conn.request("UNLISTEN");
    this.listening = false;
    await this.changed(conn);
  }

  /** @private @param {Connection} conn */
  async changed(conn) {
    conn.told = this.wish();
    if (conn !== this.current) await this.catchUp();
  }

  /** @type {C["watch"]} */
  async watch(addresses) {
    for (const address of addresses) this.watched.add(address);
    const refusal = this.current && await this.watchOn(this.current, addresses);
    if (refusal) throw refusal;
  }

  /** @type {C["unwatch"]} */
  async unwatch(addresses) {
    for (const address of addresses) {
      this.watched.delete(address);
      this.indexes.delete(address);
      this.current?.watched.delete(address);
    }
    if (this.current) for (const ima of chunks(addresses)) await this.request("UNWATCH", { ima });
  }

  /** @type {C["watchers"]} */
  async watchers() { return (await this.request("WATCHERS")).partial.map(line => line.params.ima); }

  /** @type {C["contacts"]} */
  async contacts() { return (await this.request("CONTACT")).partial.map(({ params }) => ({ address: params.ima, name: params.name ?? "" })); }

  /** @type {C["rules"]} */
  async rules() {
    return (await this.request("ACL")).partial.map(({ params }) => ({ who: params.who, message: params.message ?? "", presence: params.presence ?? "" }));
  }
}

/** @param {Connection} conn */
async function quit(conn) {
  const timer = setTimeout(() => conn.close(), greetingTime);
  await conn.roundTrip("QUIT").catch(() => {});
  clearTimeout(timer);
  conn.close();
}

/** @param {string} line */
function trimBlanks(line) {
  let end = line.length;
  while (end > 0 && (line[end - 1] === " " || line[end - 1] === "\t")) end--;
  return line.slice(0, end);
}

/** @param {SimpError} error */
function isFinal(error) {
  return [400, 401, 403, 404, 405, 505].includes(error.status) && ("login" in error || error.status === 505);
}

/** @param {any} error */
function retryOf(error) { return 1000 * Math.min(Math.max(Number(error?.params?.retry) || 0, 0), longestRetry); }

/** @param {string[]} addresses */
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

/** @param {readonly string[]} to @param {Line[]} partial @param {number} status @param {string} text */
function resultsOf(to, partial, status, text) {
  const said = new Map(partial.map(line => [line.params.to?.toLowerCase(), line]));
  return to.map(one => {
    const line = said.get(one.toLowerCase());
    return { to: one, status: line ? Number(line.params.status) : status, text: line ? line.text : text };
  });
}

/** @param {string} address */
function domainOf(address) { return address.slice(address.lastIndexOf("@") + 1).toLowerCase(); }

/** @param {Uint8Array} entity */
function markOf(entity) {
  let a = 0x811c9dc5, b = 0x9747b28c;
  for (const octet of entity) {
    a = Math.imul(a ^ octet, 0x01000193);
    b = Math.imul(b ^ octet, 0x85ebca6b) + 1;
  }
  return `${entity.length}:${a}:${b}`;
}
