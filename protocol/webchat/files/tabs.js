// @ts-check
// One connection for all tabs: the tab that holds the lock runs the engine,
// the others ask it. When it goes, another goes on with what it knows.
import { Engine } from "./engine.js";
import { apply, newModel } from "./model.js";

/** @typedef {import("./model.js").Event} Event */

/** Tabs is this tab's part. */
export class Tabs {
  /** @param {(event: Event | { t: "all" }) => void} show is called after each change of the model */
  constructor(show) {
    this.model = newModel();
    this.show = show;
    /** @type {import("./engine.js").Secrets} */
    this.secrets = undefined;
    /** @type {Engine | undefined} */
    this.engine = undefined;
    this.release = () => {};
    this.self = crypto.randomUUID();
    /** holder names the engine whose events this tab follows; only that one performs its calls. */
    this.holder = "";
    this.calls = 0;
    /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
    this.pending = new Map();
    this.channel = new BroadcastChannel("simp");
    this.channel.onmessage = event => void this.receive(event.data);
    this.channel.postMessage({ t: "join", tab: this.self });
    this.wait();
  }

  /** wait waits until this tab may hold the connection, and holds it until it is frozen or closed. */
  wait() {
    this.stopWaiting = new AbortController();
    navigator.locks.request("simp", { signal: this.stopWaiting.signal }, () => {
      this.engine = new Engine(this.model, this.secrets, event => {
        this.channel.postMessage({ t: "event", event });
        this.show(event);
      }, secrets => {
        this.secrets = secrets;
        this.channel.postMessage({ t: "secrets", secrets });
      });
      this.follow(crypto.randomUUID());
      this.channel.postMessage({ t: "holder", holder: this.holder });
      void this.engine.begin();
      return new Promise(resolve => { this.release = () => resolve(undefined); });
    }).catch(() => {}); // it was frozen while it waited
  }

  /** freeze ends this tab's part: it stops listening first. */
  async freeze() {
    this.stopWaiting?.abort();
    const engine = this.engine;
    this.engine = undefined;
    const gone = engine?.client?.suspend();
    if (engine) this.secrets = engine.secrets;
    this.release();
    await gone;
  }

  /** thaw takes part again. */
  thaw() {
    if (this.engine) return;
    this.channel.postMessage({ t: "join", tab: this.self });
    this.wait();
  }

  /** @param {any} said */
  async receive(said) {
    switch (said.t) {
      case "join":
        if (this.engine) this.channel.postMessage({ t: "snapshot", tab: said.tab, holder: this.holder, model: this.model, secrets: this.secrets });
        return;
      case "holder":
        if (this.engine) return;
        this.follow(said.holder);
        if (this.model.phase === "starting") this.channel.postMessage({ t: "join", tab: this.self }); // nobody was there to answer
        return;
      case "call": {
        if (!this.engine || said.holder !== this.holder) return;
        const reply = { t: "reply", tab: said.tab, call: said.call };
        try {
          this.channel.postMessage({ ...reply, value: await this.perform(said.name, said.args) });
        } catch (err) {
          this.channel.postMessage({ ...reply, error: /** @type {Error} */ (err).message });
        }
        return;
      }
      case "reply": {
        const call = said.tab === this.self ? this.pending.get(said.call) : undefined;
        this.pending.delete(call ? said.call : -1);
        return said.error === undefined ? call?.resolve(said.value) : call?.reject(new Error(said.error));
      }
      case "snapshot":
        if (this.engine || said.tab !== this.self) return;
        this.follow(said.holder);
        Object.assign(this.model, said.model);
        this.secrets = said.secrets;
        return this.show({ t: "all" });
      case "secrets":
        this.secrets = said.secrets;
        return;
      case "event":
        if (this.engine) return;
        apply(this.model, said.event);
        this.show(said.event);
    }
  }

  /** follow has an engine perform what is called from now on. What another has not answered fails. @param {string} holder */
  follow(holder) {
    if (holder === this.holder) return;
    this.holder = holder;
    for (const { reject } of this.pending.values()) reject(new Error("The tab that held the connection has gone. Try again."));
    this.pending.clear();
  }

  /** call has the engine do something, here or in another tab. @param {string} name @param {object} [args] @returns {Promise<any>} */
  call(name, args = {}) {
    if (this.engine) return this.perform(name, args);
    return new Promise((resolve, reject) => {
      const call = ++this.calls;
      this.pending.set(call, { resolve, reject });
      this.channel.postMessage({ t: "call", tab: this.self, holder: this.holder, call, name, args });
    });
  }

  /** @param {string} name @param {object} args */
  async perform(name, args) { return /** @type {any} */ (this.engine)[name](args); }
}
