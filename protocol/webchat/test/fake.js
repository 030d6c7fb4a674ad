// @ts-check
// A server of SIMP over WebSocket in memory, which plays one user's node.
import { readFileSync } from "node:fs";
import { deriveKeys, formatLine, parseLines } from "../files/simp.js";

const text = new TextDecoder(), octets = new TextEncoder();
const base64 = (/** @type {string | Uint8Array} */ s) => Buffer.from(/** @type {any} */ (s)).toString("base64");
const salt = "W22ZaJ0SNY7soEsUEjb6gQ==", iterations = 4096;

/** Site answers each connection by its script: a function from a request to lines. */
export class Site {
  constructor(password = "secret") {
    this.password = password;
    /** @type {FakeSocket[]} */
    this.sockets = [];
    /** @type {string[]} what was requested, on all connections */
    this.log = [];
    /** @type {(socket: FakeSocket, line: import("../files/simp.js").Line) => boolean | void} */
    this.script = () => false;
    this.greeting = "* HELLO version=SIMP/1.1 domain=example.com";
    this.history = "h1";
    this.ima = "alice@example.com";
    this.version = "SIMP/1.1";
    this.mechanisms = "SCRAM-SHA-256";
    const site = this;
    this.WebSocket = /** @type {any} */ (class extends FakeSocket { constructor() { super(site); } });
  }

  /** @param {(() => boolean)} done */
  async until(done) {
    while (!done()) await new Promise(resolve => setImmediate(resolve));
  }
}

export class FakeSocket {
  /** @param {Site} site */
  constructor(site) {
    this.site = site;
    this.open = true;
    /** @type {(event: { data: ArrayBuffer }) => void} */
    this.onmessage = () => {};
    this.onclose = () => {};
    this.first = this.challenge = "";
    site.sockets.push(this);
    queueMicrotask(() => this.say(site.greeting));
  }

  /** @param {string} line @param {string} [literal] */
  say(line, literal) {
    const head = octets.encode(line + (literal === undefined ? "" : ` {${octets.encode(literal).length}}`) + "\r\n" + (literal ?? ""));
    queueMicrotask(() => { if (this.open) this.onmessage({ data: head.buffer }); });
  }

  close() {
    if (!this.open) return;
    this.open = false;
    queueMicrotask(() => this.onclose());
  }

  /** @param {Uint8Array} data */
  send(data) {
    if (!this.open) return;
    for (const line of parseLines(data)) {
      this.site.log.push(text.decode(data).split("\r\n")[0]);
      if (!this.site.script(this, line)) void this.answer(line);
    }
  }

  /** @param {import("../files/simp.js").Line} line */
  async answer(line) {
    const { tag, verb, params } = line;
    switch (verb) {
      case "": return;
      case "HELLO": return this.say(`${tag} 200 version=${this.site.version} domain=example.com size=65536 idle=300 auth=${this.site.mechanisms} history=${this.site.history}`);
      case "AUTH": {
        this.first = text.decode(Buffer.from(params.data, "base64")).slice(3);
        this.challenge = `r=${this.first.split(",r=")[1]}server,s=${salt},i=${iterations}`;
        return this.say(`${tag} 101 data=${base64(this.challenge)}`);
      }
      case "MORE": return this.prove(tag, text.decode(Buffer.from(params.data, "base64")));
      case "QUIT":
        this.say(`${tag} 200`);
        return queueMicrotask(() => this.close());
      default: this.say(text.decode(formatLine(tag, 200, { index: 7 })).trim());
    }
  }

  /** @param {string} tag @param {string} final */
  async prove(tag, final) {
    const keys = await deriveKeys(this.site.password, salt, iterations);
    const [bare, proof] = final.split(",p=");
    const signed = `${this.first},${this.challenge},${bare}`;
    const mac = async (/** @type {any} */ key) => new Uint8Array(await crypto.subtle.sign("HMAC",
      await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]), octets.encode(signed)));
    const signature = await mac(await crypto.subtle.digest("SHA-256", keys.clientKey));
    if (base64(keys.clientKey.map((octet, i) => octet ^ signature[i])) !== proof) return this.say(`${tag} 401 :wrong`);
    this.say(`${tag} 200 ima=${this.site.ima} data=${base64("v=" + base64(await mac(keys.serverKey)))}`);
  }
}

/** installDatabase gives the modules an IndexedDB in memory, of what is not indexed. It returns what is in it. */
export function installDatabase() {
  /** @type {Map<string, any>} */
  const kept = new Map();
  const done = (/** @type {any} */ result) => {
    const request = { result, onsuccess() {} };
    setImmediate(() => request.onsuccess());
    return request;
  };
  const store = {
    get: (/** @type {string} */ key) => done(kept.get(key)),
    put: (/** @type {any} */ value, /** @type {string} */ key) => done(void kept.set(key, structuredClone(value))),
    delete: (/** @type {string} */ key) => done(void kept.delete(key)),
  };
  const transaction = () => {
    const one = { objectStore: () => store, oncomplete() {} };
    setImmediate(() => setImmediate(() => one.oncomplete()));
    return one;
  };
  Object.assign(globalThis, { indexedDB: { open: () => done({ transaction }) } });
  return kept;
}

/** vectors are those of package signature. */
export const vectors = JSON.parse(readFileSync(new URL("../../signature/testdata/vectors.json", import.meta.url), "utf8"));

/** device returns the device of the vectors that has a private key. @param {string} seed @returns {Promise<import("../files/simp.js").Device>} */
export async function device(seed) {
  const { key, kid } = vectors.keys.find((/** @type {any} */ one) => one.seed === seed), raw = new Uint8Array(Buffer.from(key, "base64"));
  const pkcs8 = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.from(seed, "base64")]);
  const privateKey = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", false, ["sign"]);
  return { kid, key: raw, pair: { privateKey, publicKey: await crypto.subtle.importKey("raw", raw, "Ed25519", true, ["verify"]) } };
}
