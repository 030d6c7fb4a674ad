// @ts-check
// The pages. Each follows what its route shows, and draws it.
import { act, ask, dateOf, facts, field, mark, momentOf, number, plot, quote, show, since, table, text, timeOf } from "./ui.js";
import { call } from "./live.js";
import { openAbuse } from "./abuse.js";
import { healthOf } from "./app.js";
import { h, put } from "./view.js";

/** @typedef {import("./app.js").App} App */

/** The words for states of nodes and of presence, with their symbols. @type {Record<string, [string, string]>} */
const states = {
  NODE_STATE_READY: ["good", "ready"], NODE_STATE_STARTING: ["doubt", "starting"], NODE_STATE_DRAINING: ["doubt", "draining"],
  NODE_STATE_CUT_OFF: ["bad", "cut off"], NODE_STATE_DOWN: ["bad", "does not answer"],
  STATE_AVAILABLE: ["good", "available"], STATE_AWAY: ["away", "away"], STATE_BUSY: ["bad", "busy"], STATE_DEAF: ["", "not listening"],
  connected: ["good", "connected"], connecting: ["doubt", "connecting"], failing: ["bad", "failing"], idle: ["", "idle"],
};

/** stateOf is a state in a word. @param {string} name */
const stateOf = name => mark(...(states[name] ?? ["unknown", "not known now"]));

/** @type {Record<string, string>} */
const roles = { NODE_ROLE_LEADER: "leader", NODE_ROLE_FOLLOWER: "follower", NODE_ROLE_NONVOTER: "without a vote" };

/** digestOf compares a node's table with those of the others. @param {any} node @param {any[]} all */
function digestOf(node, all) {
  if (!node.digest) return "not compared yet";
  const others = all.filter(one => one.id !== node.id && one.digest && one.digest_log === node.digest_log);
  if (!others.length) return "no other to compare";
  return others.every(one => one.digest === node.digest) ? "equal" : "differs";
}

/** nodeCard is one node of the site. @param {App} app @param {any} node @param {any} status @param {any} drain */
function nodeCard(app, node, status, drain) {
  const all = status.node, newest = Math.max(Number(status.position?.index ?? 0), ...all.map((/** @type {any} */ n) => Number(n.index)));
  const down = node.state === "NODE_STATE_DOWN", draining = node.state === "NODE_STATE_DRAINING";
  const total = Math.max(Number(drain?.total ?? 0), Number(node.connections));
  return h("li.card", { "data-key": node.id, "aria-label": `Node ${text(node.id)}` },
    h("header", {}, h("h3", {}, text(node.id)), node.role === "NODE_ROLE_LEADER" && h("span.badge", {}, "leader"), stateOf(node.state)),
    node.problem && h("p.help", {}, text(node.problem)),
    draining && h("div", {}, h("progress", { max: String(Math.max(1, total)), value: String(Math.max(0, total - Number(node.connections))), "aria-label": `Drain of ${text(node.id)}` }),
      h("p", {}, Number(node.connections) > 0 ? `${number(node.connections)} of ${number(total)} clients are left` : "drained: it may be stopped")),
    drain?.error && h("p.problem", {}, text(drain.error)),
    facts([
      ["Sessions", number(node.sessions)], ["Connections", number(node.connections)],
      ["Behind", down ? "–" : number(newest - Number(node.index))], ["Table", down ? "–" : digestOf(node, all)],
      ["Role", roles[node.role] ?? "–"], ["Version", text(node.version) || "–"], ["Up", down ? "–" : since(node.started)],
    ]),
    h("div.buttons", {},
      app.may("/api/node/drain") && !down && !draining && act("drain", "Drain", { node: node.id }),
      app.may("/api/node/undrain") && draining && act("undrain", "Take clients again", { node: node.id }),
      app.may("/api/leader/transfer") && node.role === "NODE_ROLE_FOLLOWER" && node.state === "NODE_STATE_READY" && act("lead", "Make it the leader", { node: node.id })));
}

/** @param {App} app @param {HTMLElement} main */
function openSite(app, main) {
  const body = h("div.stack"), draw = (/** @type {any} */ { status, findings, drains }) => {
    const [kind, word] = healthOf(status.health), spare = Number(status.spare_voters);
    show(body, h(`section.card.health${kind && `.${kind}`}`, { "aria-label": "State of the site" }, mark(kind, word), h("p", {}, text(status.summary.replace(/^(healthy|degraded): /, ""))),
      facts([
        ["It can lose", spare === 1 ? "1 voter" : `${spare} voters`], ["Listening", number(status.listeners)], ["Accounts", number(status.accounts)],
        ["Nodes", number(status.node.length)], ["Index", number(status.position?.index ?? 0)],
      ], "big")),
    h("section.card", { "aria-label": "What to do" }, h("h3", {}, "What to do"),
      findings.length ? h("ul.findings", {}, ...findings.map((/** @type {any} */ f) => h("li", {}, h("p", {}, mark(f.hint ? "doubt" : "bad", f.hint ? "hint" : "wrong"), " ", h("strong", {}, text(f.about)), `: ${text(f.what)}`), h("pre", { tabindex: "0" }, h("code", {}, text(f.mend))))))
        : h("p", {}, "Nothing: all is as it should be.")),
    h("section", { "aria-label": "Nodes" }, h("ul.nodes", {}, ...status.node.map((/** @type {any} */ node) => nodeCard(app, node, status, drains?.[node.id])))));
  };
  main.append(body);
  if (app.site) draw(app.site);
  app.onSite = value => { if (body.isConnected) draw(value); };
  app.refresh = () => { if (app.site) draw(app.site); };
  app.acts.drain = ({ dataset: { node = "" } }) => ask({
    path: "/api/node/drain", body: { node }, title: `Drain ${node}`, button: `Drain ${node}`, done: `The drain of ${node} has begun`,
    what: `${text(node)} moves its clients to other nodes without a gap, and the leadership if it leads. It takes no clients until you let it, or it is started anew.`,
    command: `simpctl node drain ${quote(node)}`,
  });
  app.acts.undrain = ({ dataset: { node = "" } }) => ask({
    path: "/api/node/undrain", body: { node }, title: `Let ${node} take clients again`, button: "Take clients again", done: `${node} takes clients again`,
    what: `${text(node)} takes clients again. Those that have moved stay where they are.`, command: `simpctl node drain ${quote(node)} --undo`,
  });
  app.acts.lead = ({ dataset: { node = "" } }) => ask({
    path: "/api/leader/transfer", body: { node }, title: `Make ${node} the leader`, button: `Make ${node} the leader`, done: `${node} leads`,
    what: `${text(node)} becomes the leader. Changes wait for a moment, messages do not.`, command: `simpctl leader transfer ${quote(node)}`,
  });
}

/** userLink leads to a user's page. @param {string} ima */
const userLink = ima => h("a", { href: `#users?ima=${encodeURIComponent(ima)}` }, h("bdi", {}, text(ima)));

/** accountState is what keeps a user out, in words. @param {any} account */
const accountState = account => account.left_source ? "has left its source" : account.disabled ? "disabled" : "";

/** @param {App} app @param {HTMLElement} main @param {HTMLElement} heading @param {URLSearchParams} query */
function openUsers(app, main, heading, query) {
  const ima = query.get("ima");
  if (ima && app.may("/api/user")) return openUser(app, main, heading, ima);
  let prefix = query.get("prefix") ?? "", after = query.get("after") ?? "";
  const input = h("input", { type: "search", value: prefix, autocapitalize: "none", spellcheck: "false", autocomplete: "off" });
  const list = h("section.card", { "aria-label": "Users" }), pager = h("div.buttons");
  /** @type {import("./live.js").Stream | undefined} */
  let stream;
  const follow = () => {
    stream?.close();
    history.replaceState(null, "", `#users?${new URLSearchParams({ ...prefix && { prefix }, ...after && { after } })}`);
    stream = app.stream(`/api/users?${new URLSearchParams({ prefix, after })}`, ({ users, more }) => {
      show(list, table("Users", ["Address", "Presence", "#Sessions", "Account"], users.map((/** @type {any} */ { account, presence }) => ({ key: account.ima, cells: [
        userLink(account.ima), presence ? stateOf(presence.state) : "–", presence ? number(presence.session.length) : "–",
        [accountState(account), account.source && `from ${text(account.source)}`].filter(Boolean).join(", ") || "active",
      ] })), prefix ? "No address starts with that." : after ? "There are no more." : "There are no accounts."));
      const last = users.at(-1)?.account.ima;
      show(pager, after && act("first", "First page"), more && act("next", "Next page", { after: last }));
    });
  };
  main.append(h("form.form", { role: "search", submit: event => event.preventDefault(), input: () => { prefix = input.value.trim(); after = ""; follow(); } }, field("Address starts with", input)), list, pager);
  app.acts.next = ({ dataset }) => { after = dataset.after ?? ""; follow(); heading.focus(); };
  app.acts.first = () => { after = ""; follow(); heading.focus(); };
  follow();
}

/** @param {App} app @param {HTMLElement} main @param {HTMLElement} heading @param {string} ima */
function openUser(app, main, heading, ima) {
  put(heading, h("bdi", {}, text(ima)));
  const body = h("div.stack");
  main.append(h("p", {}, h("a", { href: "#users" }, "All users")), body);
  const draw = (/** @type {any} */ { account, presence, sessions, app_passwords, keys }) => {
    show(body, h("section.card", { "aria-label": "Account" }, h("header", {}, h("h3", {}, "Account"), presence && stateOf(presence.state)),
      presence?.note && h("p", {}, text(presence.note)),
      facts([["State", accountState(account) || "active"], ["Created", dateOf(account.created)], ["Belongs to", text(account.source) || "this site"], ["Listening for", presence ? since(presence.since) : "–"]]),
      h("div.buttons", {}, app.may("/api/user/kick") && act("kick", "Disconnect"),
        app.may("/api/user/disable") && !account.disabled && act("disable", "Disable"), app.may("/api/user/enable") && account.disabled && act("enable", "Enable"))),
    sessions && h("section.card", { "aria-label": "Sessions" }, h("h3", {}, "Sessions"), table("Sessions", ["Session", "Node", "State", "For", "Client", "Program", "Note", ""], sessions.map((/** @type {any} */ { session: s }) => ({ key: s.id, cells: [
      text(s.id), text(s.node), stateOf(s.state), since(s.since), text(s.client), text(s.agent), text(s.note), app.may("/api/user/kick") && act("kickOne", "Disconnect", { session: s.id }),
    ] })), "No session listens.")),
    h("section.card", { "aria-label": "App passwords" }, h("h3", {}, "App passwords"), table("App passwords", ["Id", "Name", "Made", "Used", "Until", ""], app_passwords.map((/** @type {any} */ p) => ({ key: p.id, cells: [
      text(p.id), text(p.name), dateOf(p.created), p.used ? p.used.slice(0, 10) : "never", p.until ? dateOf(p.until) : "without end", app.may("/api/user/app/remove") && act("app", "Remove", { id: p.id, name: p.name }),
    ] })), "There are none.")),
    h("section.card", { "aria-label": "Keys" }, h("h3", {}, "Keys"), table("Keys", ["Id", "Name", "Made", "Revoked", ""], keys.map((/** @type {any} */ k) => ({ key: k.id, cells: [
      h("code", {}, text(k.id)), text(k.name), dateOf(k.created), k.revoked ? `${dateOf(k.revoked)}${k.revoked_by_operator ? " by an operator" : ""}` : "no", !k.revoked && app.may("/api/user/key/revoke") && act("key", "Revoke", { id: k.id, name: k.name }),
    ] })), "There are none.")));
  };
  /** @type {any} */
  let last;
  app.stream(`/api/user?${new URLSearchParams({ ima })}`, value => draw(last = value));
  app.refresh = () => { if (last) draw(last); };
  const user = text(ima), command = (/** @type {string} */ what, /** @type {string[]} */ ...more) => ["simpctl", what, quote(ima), ...more.map(quote)].join(" ");
  app.acts.kick = () => ask({ path: "/api/user/kick", body: { ima }, title: `Disconnect ${user}`, button: "Disconnect", done: `${user} is disconnected`, what: `All connections of ${user} are closed, on all nodes. The user may connect again.`, command: command("session kick") });
  app.acts.kickOne = ({ dataset: { session = "" } }) => ask({ path: "/api/user/kick", body: { session }, title: "Disconnect a session", button: "Disconnect", done: "The session is closed", what: `The connection of the session ${text(session)} of ${user} is closed. It may come again.`, command: `simpctl session kick ${quote(session)}` });
  app.acts.disable = () => ask({ path: "/api/user/disable", body: { ima }, title: `Disable ${user}`, button: "Disable", done: `${user} is disabled`, what: `${user} is disconnected and can't log in any more. The app passwords are removed.`, command: command("account disable") });
  app.acts.enable = () => ask({ path: "/api/user/enable", body: { ima }, title: `Enable ${user}`, button: "Enable", done: `${user} is enabled`, what: `${user} can log in again.`, command: command("account enable") });
  app.acts.app = ({ dataset: { id = "", name = "" } }) => ask({ path: "/api/user/app/remove", body: { ima, id }, title: "Remove an app password", button: "Remove", done: "The app password is removed", what: `The app password ${text(name)} of ${user} is removed, and the connections that were made with it are closed.`, command: command("account app remove", id) });
  app.acts.key = ({ dataset: { id = "", name = "" } }) => ask({ path: "/api/user/key/revoke", body: { ima, id }, title: "Revoke a key", button: "Revoke", done: "The key is revoked", what: `The key ${text(name)} of ${user} is revoked for good: messages that it signs later are shown as bad.`, command: command("account key revoke", id) });
}

/**
 * nodeChoice is a choice between all nodes and one of them.
 * @param {(node: string) => void} choose
 */
function nodeChoice(choose) {
  const select = h("select", { change: () => choose(select.value) }, h("option", { value: "" }, "all nodes"));
  return { element: field("Of", select), take: (/** @type {string[]} */ nodes) => {
    for (const node of nodes) if (![...select.options].some(one => one.value === node)) select.append(h("option", { value: node }, text(node)));
  } };
}

/** silent says which nodes have not told. @param {string[]} nodes */
const silent = nodes => nodes.length > 0 && h("p", {}, mark("doubt", `Not told by ${text(nodes.join(", "))}: no answer`));

/**
 * followNodes shows what nodes tell, of all or of one.
 * @param {App} app @param {HTMLElement} main @param {string} path @param {(value: any) => HTMLElement} draw
 */
function followNodes(app, main, path, draw) {
  const list = h("section.card", { "aria-label": "Found" });
  /** @type {import("./live.js").Stream | undefined} */
  let stream;
  /** @type {any} */
  let last;
  const show_ = () => { if (last) show(list, silent(last.silent), draw(last)); };
  const follow = (/** @type {string} */ node) => {
    stream?.close();
    stream = app.stream(`${path}?${new URLSearchParams({ node })}`, value => {
      last = value;
      choice.take(value.nodes);
      show_();
    });
  };
  const choice = nodeChoice(follow);
  main.append(h("div.form", {}, choice.element), list);
  app.refresh = show_;
  follow("");
}

/** @param {App} app @param {HTMLElement} main */
function openDomains(app, main) {
  if (app.may("/api/domain/check")) main.append(domainCheck());
  followNodes(app, main, "/api/domains", ({ found }) => table("Other sites", ["Domain", "For", "Node", "State", "For how long", "Reason", "Route", "#Waiting", "#Watches"], found.map((/** @type {any} */ d) => ({ key: `${d.node} ${d.own} ${d.domain}`, cells: [
    text(d.domain), text(d.own), text(d.node), stateOf(d.state), d.since ? since(d.since) : d.next ? `next attempt at ${timeOf(d.next)}` : "–",
    d.reason ? `${d.status}: ${text(d.reason)}` : "", d.route ? `${text(d.route)} (configured)` : d.address ? text(d.address) : "by DNS", number(d.waiting), number(d.watches),
  ] })), "This site has not dealt with another lately."));
}

/** domainCheck tries to reach another site, step by step. */
function domainCheck() {
  const input = h("input", { type: "text", autocapitalize: "none", spellcheck: "false", autocomplete: "off", required: true });
  const result = h("div", { role: "status" }), button = h("button.primary", { type: "submit" }, "Check"), problem = h("p.problem", { role: "alert" });
  return h("section.card", { "aria-label": "Check a domain" }, h("h3", {}, "Check a domain"), h("p.help", {}, "Tries to reach another site from this node, step by step. It changes nothing."),
    h("form.form", { submit: async event => {
      event.preventDefault();
      const domain = input.value.trim();
      button.disabled = true;
      put(problem);
      put(result, h("p", {}, `Checking ${text(domain)}…`));
      try {
        const { check, reached } = await call("/api/domain/check", { domain });
        put(result, h("p", {}, mark(reached ? "good" : "bad", reached ? "reached" : "not reached")),
          h("ol.steps", {}, ...check.map((/** @type {any} */ c) => h("li", {}, h("span", {}, mark(c.ok ? "good" : "bad", c.ok ? "ok" : "failed"), ` ${text(c.step)}: ${text(c.text)}`), c.advice && h("strong", {}, text(c.advice))))),
          h("p.help", {}, "The same as a command:"), h("pre", { tabindex: "0" }, h("code", {}, `simpctl domain check ${quote(domain)}`)));
      } catch (err) {
        put(result);
        put(problem, text(/** @type {Error} */ (err).message));
      }
      button.disabled = false;
    } }, field("Domain", input), button), problem, result);
}

/** maxChanges is how many changes the page of presence keeps. */
const maxChanges = 200;

/** @param {App} app @param {HTMLElement} main */
function openPresence(app, main) {
  /** @type {any[]} the newest first */
  let changes = [];
  let paused = false, skipped = 0, match = "", reset = "";
  const input = h("input", { type: "search", autocapitalize: "none", spellcheck: "false", autocomplete: "off" });
  const state = h("p.help"), list = h("section.card", { "aria-label": "Changes" });
  const pause = h("button", { type: "button", "aria-pressed": "false", click: () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    put(pause, paused ? "Go on" : "Pause");
    draw();
  } }, "Pause");
  const draw = () => {
    show(state, changes.length ? `Shown up to index ${number(changes[0].index)}${skipped ? `; ${number(skipped)} came too fast to be shown` : ""}${reset ? `. The list begins anew: ${text(reset)}` : ""}` : "Waiting for a change.");
    if (!paused) show(list, table("Changes", ["#Index", "@Time", "Address", "Presence", "Note", "Sessions on"], changes.map(({ index, time, presence: p }) => ({ key: String(index), cells: [
      number(index), timeOf(time), app.may("/api/user") ? userLink(p.ima) : text(p.ima), stateOf(p.state), text(p.note), text([...new Set(p.session.map((/** @type {any} */ s) => s.node))].join(", ")) || "–",
    ] })), "Nobody's presence has changed lately."));
  };
  /** @type {import("./live.js").Stream | undefined} */
  let stream;
  const follow = () => {
    stream?.close();
    changes = [];
    skipped = 0;
    stream = app.stream(`/api/presence?${new URLSearchParams({ match })}`, value => {
      skipped += value.skipped ?? 0;
      changes = [...value.changes.toReversed(), ...changes].slice(0, maxChanges);
      draw();
    }, reason => {
      reset = reason;
      changes = [];
      draw();
    });
    draw();
  };
  main.append(h("form.form", { role: "search", submit: event => event.preventDefault(), input: () => { match = input.value.trim(); follow(); } }, field("Address contains", input), pause), state, list);
  follow();
}

/** places is how many samples half an hour has. */
const places = 900;

/** @param {App} app @param {HTMLElement} main */
function openMessages(app, main) {
  /** @type {{ t: number, r: number[] }[]} */
  let samples = [];
  const body = h("div.stack");
  main.append(body);
  app.stream("/api/messages", ({ words, samples: more, totals }) => {
    const newest = samples.at(-1)?.t ?? 0;
    samples = [...samples, ...more.filter((/** @type {any} */ s) => s.t > newest)].slice(-places);
    const nodes = Object.keys(totals).sort(), sum = samples.map(s => s.r.reduce((a, b) => a + b, 0)), top = Math.max(1, ...sum);
    const rate = (/** @type {number} */ v) => v >= 100 ? number(Math.round(v)) : v.toFixed(1);
    const now = sum.at(-1) ?? 0;
    show(body, h("section.card", { "aria-label": "All messages" }, h("header", {}, h("h3", {}, "All outcomes"), h("strong", {}, `${rate(now)} a second`)),
      h("div.scale", {}, h("span", {}, `${rate(top)} a second`)),
      plotHost(`All outcomes: ${rate(now)} a second now, at most ${rate(top)} within half an hour`, sum, top, 900, 160),
      h("div.scale", {}, h("span", {}, "30 minutes ago"), h("span", {}, "now"))),
    h("section.card", { "aria-label": "By outcome" }, h("h3", {}, "By outcome"), table("By outcome", ["Outcome", "Half an hour", "#A second", "#Since the start"], words.map((/** @type {string} */ word, /** @type {number} */ i) => {
      const values = samples.map(s => s.r[i]), most = Math.max(...values, 0), latest = values.at(-1) ?? 0;
      return { key: word, cells: [mark(["good", "doubt"][i] ?? "", word), plotHost(`${word}: ${rate(latest)} a second now, at most ${rate(most)} within half an hour`, values, Math.max(most, .5), 300, 36), rate(latest), number(nodes.reduce((n, node) => n + totals[node][i], 0))] };
    }), ""), h("p.help", {}, `Each recipient counts once. The sums are of ${text(nodes.join(", ")) || "no node"}, since each has started.`)));
  });
}

/** plotHost is a graph in an element that can be replaced as a whole. @param {string} label @param {number[]} values @param {number} top @param {number} width @param {number} height */
const plotHost = (label, values, top, width, height) => /** @type {any} */ (plot(label, values, top, places, width, height));

/** @param {App} app @param {HTMLElement} main */
function openAudit(app, main) {
  main.append(h("p.help", {}, "The newest records that the nodes have in memory since they were started. Each node's log has all of them."));
  followNodes(app, main, "/api/audit", ({ found }) => table("Audit log", ["@Time", "Who", "What", "On whom or what", "Outcome", "@Node"], found.map((/** @type {any} */ r) => ({ key: "", cells: [
    momentOf(r.time), text(r.who) + (r.via ? ` (${text(r.via)})` : ""), text(r.what), text(r.whom), r.outcome === "OK" ? mark("good", "OK") : h("span", {}, mark("bad", text(r.outcome)), r.why && ` ${text(r.why)}`), text(r.node),
  ] })), "Nothing was changed since the nodes were started."));
}

/** The pages in their order: each is shown to whoever may use its route. */
export const pages = [
  { id: "site", title: "Site", route: "/api/site", open: openSite },
  { id: "users", title: "Users", route: "/api/users", open: openUsers },
  { id: "sites", title: "Other sites", route: "/api/domains", open: openDomains },
  { id: "presence", title: "Presence", route: "/api/presence", open: openPresence },
  { id: "messages", title: "Messages", route: "/api/messages", open: openMessages },
  { id: "abuse", title: "Abuse", route: "/api/reports", open: openAbuse },
  { id: "audit", title: "Audit", route: "/api/audit", open: openAudit },
];
