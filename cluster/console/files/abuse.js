// @ts-check
// The page of abuse: what users have reported, and who is blocked.
import { act, ask, dateOf, facts, field, mark, quote, show, table, text } from "./ui.js";
import { clean } from "./text.js";
import { h, put } from "./view.js";

/** @typedef {import("./app.js").App} App */

/** What the signature of a reported message proves: a symbol, a word and a sentence. @type {Record<string, [string, string, string]>} */
const evidence = {
  EVIDENCE_UNSPECIFIED: ["", "no message", "The reporter gave no message."],
  EVIDENCE_UNSIGNED: ["doubt", "not signed", "The message is not signed: the reporter may have made it up, or changed it."],
  EVIDENCE_VERIFIED: ["good", "signature verified", "A key of the reported user signed this message for the reporter, who can't have made it up."],
  EVIDENCE_BAD: ["bad", "bad signature", "The signature is not the reported user's, or the message was changed, or was for somebody else."],
  EVIDENCE_UNCHECKED: ["unknown", "signature not checked", "The keys of the reported user could not be fetched: the reporter may have made the message up."],
};

/** evidenceOf returns what a report's signature proves. @param {any} report */
const evidenceOf = report => evidence[report.evidence] ?? ["unknown", "not known", "This page does not know what the signature proves."];

/** reasonOf is why somebody is reported. @param {any} report */
const reasonOf = report => String(report.reason).replace("REPORT_REASON_", "").toLowerCase().replace("unspecified", "–");

/** stateOf says whether a report is dealt with. @param {any} report */
const stateOf = report => report.resolved ? mark("good", "resolved") : mark("doubt", "open");

/** reporterOf is who reports, and from where. @param {any} report */
const reporterOf = report => text(report.reporter) + (report.via ? ` (passed on by ${text(report.via)})` : "");

/** For how long somebody is blocked: the words, the time for the node and for simpctl. @type {[string, string, string][]} */
const lives = [["until it is removed", "", ""], ["for a day", "86400s", "1d"], ["for a week", "604800s", "7d"], ["for 30 days", "2592000s", "30d"], ["for a year", "31536000s", "365d"]];

/** last is an argument after all flags. @param {string} argument */
const last = argument => `${argument[0] === "-" ? "-- " : ""}${quote(argument)}`;

/**
 * askBlock asks whether to block somebody.
 * @param {string} target @param {string} reason @param {[string, string, string]} life @param {() => void} [whenDone]
 */
function askBlock(target, reason, [words, expires, flag], whenDone) {
  const from = target.includes("@") ? "" : "Whoever connects from ";
  ask({
    path: "/api/block/add", body: { target, reason, ...expires && { expires } }, title: `Block ${text(target)}`, button: "Block", done: `${text(target)} is blocked`, whenDone,
    what: `${from}${text(target)} can't send messages to users of this site and can't watch them, ${words}. They are answered as if nobody listened, and are not told. This replaces an operators' block of the same target.`,
    command: `simpctl block add ${reason && `--reason=${quote(reason)} `}${flag && `--expires=${flag} `}${last(target)}`,
  });
}

/** line is an input for an address, or for text. @param {Record<string, string | boolean>} [attributes] */
const line = (attributes = {}) => h("input", { type: "text", autocapitalize: "none", spellcheck: "false", autocomplete: "off", ...attributes });

/**
 * followList shows a list page by page, as it is now. It returns what begins the
 * list anew, with another filter.
 * @param {App} app @param {HTMLElement} list @param {string} path @param {() => Record<string, string>} filter
 * @param {(value: any) => { shown: HTMLElement, next: Record<string, string> | false }} draw
 * @param {string} name of the buttons
 */
function followList(app, list, path, filter, draw, name) {
  /** @type {import("./live.js").Stream | undefined} */
  let stream;
  const follow = (/** @type {Record<string, string>} */ from) => {
    stream?.close();
    stream = app.stream(`${path}?${new URLSearchParams({ ...filter(), ...from })}`, value => {
      const { shown, next } = draw(value);
      show(list, shown, (from.after || next) && h("div.buttons", {}, from.after && act(`${name}First`, "First page"), next && act(`${name}Next`, "Next page", next)));
    }, undefined, false, what => { if (what) put(list, h("p.problem", { role: "alert" }, text(what))); });
  };
  app.acts[`${name}First`] = () => follow({});
  app.acts[`${name}Next`] = ({ dataset: { after = "", feed = "" } }) => follow({ after, ...feed && { feed } });
  follow({});
  return () => {
    put(list, h("p.empty", {}, "Searching…"));
    follow({});
  };
}

/** @param {App} app @param {HTMLElement} main @param {HTMLElement} heading @param {URLSearchParams} query */
export function openAbuse(app, main, heading, query) {
  const id = query.get("report");
  if (id) return openReport(app, main, heading, id);
  main.append(openReports(app), openBlocks(app));
}

/** openReports lists what users have reported. @param {App} app */
function openReports(app) {
  const list = h("div.stack"), about = line({ type: "search" });
  const which = h("select", {}, h("option", { value: "" }, "open"), h("option", { value: "yes" }, "open and resolved"));
  const search = followList(app, list, "/api/reports", () => ({ all: which.value, reported: about.value.trim() }), ({ reports, more }) => ({
    next: more && { after: reports.at(-1).id },
    shown: table("Reports", ["@Report", "@Made", "Reported", "@For", "Reporter", "@Message", "@State"], reports.map((/** @type {any} */ r) => ({ key: r.id, cells: [
      h("a", { href: `#abuse?report=${r.id}`, "aria-label": `Report ${r.id}` }, r.id), dateOf(r.created), h("bdi", {}, text(r.reported)), reasonOf(r), h("span", {}, h("bdi", {}, reporterOf(r)), r.text && h("span", {}, ": ", h("q", {}, text(r.text)))),
      mark(evidenceOf(r)[0], evidenceOf(r)[1]), stateOf(r),
    ] })), about.value || which.value ? "There are none." : "No report is open."),
  }), "reports");
  which.addEventListener("change", search);
  return h("section.card", { "aria-label": "Reports" }, h("h3", {}, "Reports"),
    h("form.form", { role: "search", "aria-label": "Search reports", submit: event => { event.preventDefault(); search(); } }, field("Reports that are", which), field("About the user", about), h("button", { type: "submit" }, "Search")), list);
}

/** openBlocks lists who is blocked. @param {App} app */
function openBlocks(app) {
  const list = h("div.stack"), matching = line({ type: "search" });
  const search = followList(app, list, "/api/blocks", () => ({ matching: matching.value.trim() }), ({ blocks, more }) => ({
    next: more && { after: blocks.at(-1).target, feed: blocks.at(-1).feed },
    shown: table("Blocks", ["Target", "Why", "@Until", "@Added", "By", ""], blocks.map((/** @type {any} */ b) => ({ key: `${b.feed} ${b.target}`, cells: [
      h("bdi", {}, text(b.target)), text(b.reason), b.until ? dateOf(b.until) : "no end", dateOf(b.created), b.feed ? `feed ${text(b.feed)}` : text(b.by),
      !b.feed && app.may("/api/block/remove") && act("unblock", "Remove", { target: b.target }),
    ] })), matching.value ? "No block concerns that." : "Nobody is blocked."),
  }), "blocks");
  app.acts.unblock = ({ dataset: { target = "" } }) => ask({
    path: "/api/block/remove", body: { target }, title: `Remove the block of ${text(target)}`, button: "Remove", done: `${text(target)} is not blocked any more`,
    what: `${text(target)} can send messages and watch again, if no other block concerns them.`, command: `simpctl block remove ${last(target)}`,
  });
  return h("section.card", { "aria-label": "Blocks" }, h("h3", {}, "Blocks"), app.may("/api/block/add") && blockForm(),
    h("form.form", { role: "search", "aria-label": "Search blocks", submit: event => { event.preventDefault(); search(); } }, field("Blocks that concern", matching), h("button", { type: "submit" }, "Search")), list);
}

/** blockForm adds a block. */
function blockForm() {
  const target = line({ required: true }), reason = line({ maxlength: "256" }), life = h("select", {}, ...lives.map(([words], i) => h("option", { value: i }, words)));
  const form = h("form.form", { "aria-label": "Block somebody", submit: event => {
    event.preventDefault();
    askBlock(target.value.trim(), reason.value.trim(), lives[Number(life.value)], () => form.reset());
  } }, field("Address, @domain or IP addresses", target), field("Why, for operators", reason), field("How long", life), h("button.primary", { type: "submit" }, "Block"));
  return form;
}

/** openReport shows one report. @param {App} app @param {HTMLElement} main @param {HTMLElement} heading @param {string} id */
function openReport(app, main, heading, id) {
  put(heading, `Report ${text(id)}`);
  const body = h("div.stack"), done = line({ maxlength: "1024" });
  const form = h("form.form", { "aria-label": "Resolve", hidden: true, submit: event => {
    event.preventDefault();
    const resolution = done.value.trim();
    ask({
      path: "/api/report/resolve", body: { id, resolution }, title: `Resolve the report ${text(id)}`, button: "Resolve", done: `The report ${text(id)} is resolved`,
      what: "The report is marked as dealt with, with your name and what was done. Neither the reporter nor the reported user is told.",
      command: `simpctl report resolve ${resolution && `--text=${quote(resolution)} `}${last(id)}`,
    });
  } }, field("What was done, for operators", done), h("button.primary", { type: "submit" }, "Resolve"));
  main.append(h("p", {}, h("a", { href: "#abuse" }, "All reports and blocks")), body, form);
  app.stream(`/api/report?${new URLSearchParams({ id })}`, ({ report: r, message }) => {
    const [kind, word, sentence] = evidenceOf(r);
    form.hidden = !!r.resolved || !app.may("/api/report/resolve");
    show(body, h("section.card", { "aria-label": "Report" }, h("header", {}, h("h3", {}, h("bdi", {}, text(r.reported))), stateOf(r)),
      facts([["For", reasonOf(r)], ["Reporter", h("bdi", {}, reporterOf(r))], ["Made", dateOf(r.created)], ["Message id", text(r.message_id) || "–"],
        ["Passed on", r.passed_on ? `${r.passed_on} ${text(r.passed_on_text)}` : "no"]]),
      r.text && h("p", {}, "The reporter says: ", h("q", {}, text(r.text))),
      r.resolved && h("p", {}, `Resolved ${dateOf(r.resolved)} by ${text(r.resolved_by)}${r.resolution && `: ${text(r.resolution)}`}`),
      h("div.buttons", {}, app.may("/api/block/add") && act("block", "Block the reported user", { target: r.reported }))),
    h("section.card", { "aria-label": "Message" }, h("header", {}, h("h3", {}, "Message"), mark(kind, word)), h("p", {}, sentence), r.key_id && h("p", {}, "The key: ", h("code", {}, text(r.key_id))),
      message ? r.entity && h("pre.message", { tabindex: "0", role: "region", "aria-label": "Octets of the message" }, h("code", {}, messageOf(r.entity)))
        : r.entity_size > 0 && h("p.help", {}, `Its ${r.entity_size} octets are shown to the role abuse:admin only.`)));
  });
  app.acts.block = ({ dataset: { target = "" } }) => askBlock(target, `report ${id}`, lives[0]);
}

/** messageOf makes a message safe to show: octets that are no text, and characters that could disguise it, are visible. @param {string} base64 */
const messageOf = base64 => clean(new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(atob(base64), c => c.charCodeAt(0))));
