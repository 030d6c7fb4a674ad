// @ts-check
// A server of SIMP over WebSocket in memory, which plays one user's node.
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
    this.greeting = "* HELLO version=SIMP/1.0 domain=example.com";
    this.history = "h1";
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
      case "HELLO": return this.say(`${tag} 200 version=SIMP/1.0 domain=example.com size=65536 idle=300 auth=SCRAM-SHA-256 history=${this.site.history}`);
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
    this.say(`${tag} 200 ima=alice@example.com data=${base64("v=" + base64(await mac(keys.serverKey)))}`);
  }
}
