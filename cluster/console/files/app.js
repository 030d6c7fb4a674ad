// @ts-check
// The frame of the console: who has signed in, how the site is, the pages, and
// where to go on when this node is gone.
import { Stream, call } from "./live.js";
import { pages } from "./pages.js";
import { announce, mark, show, text } from "./ui.js";
import { h, put } from "./view.js";

/** @typedef {{ name: string, roles: string[], node: string, site: string, version: string, may: Record<string, boolean>, others: { node: string, link: string }[] | null }} Session */

const app = /** @type {HTMLElement} */ (document.getElementById("app"));

/** App is the frame, and what the pages use of it. */
export class App {
  /** @param {Session} session */
  constructor(session) {
    this.session = session;
    this.version = session.version;
    /** @type {Record<string, (element: HTMLElement) => void>} what buttons do, by data-act */
    this.acts = {};
    /** @type {Set<string>} streams that are lost */
    this.gone = new Set();
    /** @type {Stream[]} */
    this.streams = [];
    /** @type {(() => void) | undefined} draws the page once more */
    this.refresh = undefined;
    /** @type {((value: any) => void) | undefined} what the page does with the newest status */
    this.onSite = undefined;
    this.problem = h("p.problem", { role: "alert" });
    /** @type {any} the newest status of the site */
    this.site = null;
    this.health = h("span");
    this.lost = h("div.lost", { role: "alert", hidden: true });
    this.notice = h("div.notice", { hidden: true }, "This node runs a newer version. ", h("button.small", { type: "button", click: () => location.reload() }, "Reload"));
    this.nav = h("nav", { "aria-label": "Pages" });
    this.main = h("main", { id: "page" });
    put(app, h("header.top", {}, h("h1", {}, text(session.site)), this.health,
      h("div.who", {}, h("span", {}, `${text(session.name)} on ${text(session.node)}`), h("button.small", { type: "button", click: () => void this.signOut() }, "Sign out"))),
    this.nav, this.lost, this.notice, this.main);
    this.main.addEventListener("click", event => {
      const button = event.target instanceof Element ? event.target.closest("[data-act]") : null;
      if (button instanceof HTMLElement) this.acts[button.dataset.act ?? ""]?.(button);
    });
    window.addEventListener("hashchange", () => this.open(true));
    if (session.may["/api/site"]) this.frame = this.stream("/api/site", value => this.takeSite(value), undefined, true);
    setInterval(() => void this.keep(), 20_000);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) void this.keep(); });
    setInterval(() => this.refresh?.(), 10_000); // what says for how long
    this.open(false);
  }

  /** may says whether the roles allow a route. @param {string} path */
  may(path) { return this.session.may[path] === true; }

  /** open shows the page that the address names. @param {boolean} focus */
  open(focus) {
    for (const stream of this.streams) stream.close();
    this.streams = [];
    this.gone.clear();
    this.acts = {};
    this.refresh = this.onSite = undefined;
    put(this.problem);
    const [name, query] = location.hash.slice(1).split("?");
    const shown = pages.filter(page => this.may(page.route));
    const page = shown.find(one => one.id === name) ?? shown[0];
    put(this.nav, h("ul", {}, ...shown.map(one => h("li", {}, h("a", { href: `#${one.id}`, "aria-current": one === page ? "page" : undefined }, one.title)))));
    this.showLost();
    if (!page) return put(this.main, h("h2", {}, "Nothing to see"), h("p", {}, `The roles of ${text(this.session.name)} show no page: cluster:read shows all of them.`));
    document.title = `${page.title} · ${this.session.site} · SIMP console`;
    const heading = h("h2", { tabindex: "-1" }, page.title);
    put(this.main, heading);
    page.open(this, this.main, heading, new URLSearchParams(query));
    if (focus) heading.focus();
  }

  /**
   * stream follows what a route shows, for as long as the page is open.
   * @param {string} path @param {(value: any) => void} take
   * @param {(reason: string) => void} [reset]
   * @param {boolean} [frame] it stays when the page changes
   * @param {(what: string) => void} [problem] says what can't be read now; "": nothing
   */
  stream(path, take, reset, frame = false, problem = what => this.tellProblem(what)) {
    const stream = new Stream(path, {
      take: value => { problem(""); take(value); }, problem, reset,
      lost: () => { this.gone.add(path); this.showLost(); },
      found: () => { if (this.gone.delete(path)) this.showLost(); },
      ended: () => this.ended(),
    });
    if (!frame) this.streams.push(stream);
    return stream;
  }

  /** tellProblem says what can't be read now. @param {string} what */
  tellProblem(what) {
    if (what && !this.problem.isConnected) this.main.prepend(this.problem);
    if (this.problem.textContent !== text(what)) put(this.problem, text(what));
  }

  /** takeSite keeps the newest status, and shows the state of the site above every page. @param {any} value */
  takeSite(value) {
    const [kind, word] = healthOf(value.status.health), before = this.site?.status.health;
    this.site = value;
    show(this.health, mark(kind, word));
    if (before && before !== value.status.health) announce(`The site: ${word}. ${value.status.summary}`);
    this.onSite?.(value);
  }

  /** keep renews the session and the links to other nodes. */
  async keep() {
    try {
      this.session = await call("/api/session");
      if (this.session.version !== this.version) this.notice.hidden = false;
    } catch (err) {
      if (/** @type {any} */ (err).status === 401) this.ended();
    }
  }

  /** showLost says that the node is gone, and where to go on. */
  showLost() {
    const lost = this.gone.size > 0;
    this.main.classList.toggle("stale", lost);
    if (this.lost.hidden !== lost) return;
    this.lost.hidden = !lost;
    if (!lost) return put(this.lost);
    const others = this.session.others ?? [];
    put(this.lost, h("strong", {}, `${text(this.session.node)} does not answer.`),
      others.length ? h("span", {}, "What is shown may be old. Go on at ") : h("span", {}, "What is shown may be old. No other node serves a console."),
      ...others.map(({ node, link }) => h("a", { href: `${link}${link.endsWith("/") ? location.hash : ""}` }, text(node))),
      h("span", {}, "This page tries again by itself."));
  }

  /** ended says that the session is over. */
  ended() {
    for (const stream of this.streams) stream.close();
    this.frame?.close();
    put(app, h("main.gate", {}, h("h1", { tabindex: "-1" }, "Your session has ended"), h("p", {}, "To sign in again, run this command, and open the link that it prints within a minute:"), h("pre", {}, h("code", {}, "simpctl console"))));
    app.querySelector("h1")?.focus();
  }

  async signOut() {
    await call("/api/signout", {}).catch(() => {});
    this.ended();
  }
}

/** healthOf is a state of the site as a symbol and a word. @param {string} health @returns {[string, string]} */
export function healthOf(health) {
  switch (health) {
    case "HEALTH_HEALTHY": return ["good", "Healthy"];
    case "HEALTH_DEGRADED": return ["doubt", "Degraded"];
    case "HEALTH_NO_MAJORITY": return ["bad", "Majority lost"];
    case "HEALTH_NOT_FORMED": return ["bad", "Not formed"];
  }
  return ["unknown", "Not known now"];
}

call("/api/session").then(session => { new App(session); }, err => {
  put(app, h("main.gate", {}, h("h1", {}, "SIMP console"), h("p", {}, text(err.message)), h("pre", {}, h("code", {}, "simpctl console"))));
});
