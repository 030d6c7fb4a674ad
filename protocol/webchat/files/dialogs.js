// @ts-check
// The dialogs.
import { canonical, cleanLine } from "./text.js";
import { keyOf } from "./model.js";
import { field, h, openDialog, put } from "./view.js";

/** @typedef {import("./app.js").Page} Page */

/**
 * askAddresses asks for addresses until act has taken them.
 * @param {Page} page @param {string} title @param {string} label @param {string} help @param {string} action @param {(addresses: string[]) => Promise<void>} act
 */
function askAddresses(page, title, label, help, action, act) {
  const input = h("input", { type: "text", inputmode: "email", autocapitalize: "none", spellcheck: "false", autocomplete: "off", required: true });
  const problem = h("p.problem", { role: "alert" });
  const form = h("form", { submit: async event => {
    event.preventDefault();
    const typed = input.value.split(/[\s,;]+/).filter(Boolean), addresses = [...new Set(typed.map(one => canonical(one, page.model.me)))];
    if (!typed.length || addresses.includes("")) return put(problem, "An address must look like bob@example.com.");
    if (addresses.length > 64) return put(problem, "At most 64 recipients are allowed.");
    try {
      await act(addresses);
      dialog.close();
    } catch (err) {
      put(problem, cleanLine(/** @type {Error} */ (err).message));
    }
  } }, field(label, input), h("p.help", {}, help), problem, h("button.primary", { type: "submit" }, action));
  const dialog = openDialog(title, form);
  input.focus();
}

/** showAdd asks for new contacts. @param {Page} page */
export function showAdd(page) {
  askAddresses(page, "Add contact", "Address", "You see when they listen, if they allow it.", "Add", async addresses => {
    for (const address of addresses) await page.tabs.call("addContact", { address });
    page.openKey(addresses[0], true);
  });
}

/** showSeveral asks for the recipients of messages to several. @param {Page} page */
export function showSeveral(page) {
  askAddresses(page, "Write to several", "Addresses", "Separate them with spaces or commas. Each outcome is shown.", "Write", async addresses => page.openKey(keyOf(addresses), true));
}

/** showSettings shows the settings, who sees the user, and whom the user blocks. @param {Page} page */
export function showSettings(page) {
  const { prefs, stay, blocked } = page.model;
  const box = (/** @type {string} */ label, /** @type {boolean} */ on, /** @type {(on: boolean) => void} */ change) =>
    h("label.choice", {}, h("input", { type: "checkbox", checked: on, change: event => change(event.target.checked) }), label);
  const list = (/** @type {string[]} */ addresses, /** @type {string} */ none) => addresses.length
    ? h("ul", {}, ...addresses.map(one => h("li", {}, h("bdi", {}, cleanLine(one))))) : h("p", {}, none);
  const seen = h("div"), kept = h("span", { role: "status" });
  openDialog("Settings",
    box("Keep messages in this browser", prefs.history, history => page.act("setPrefs", { history })),
    box("Notify me of messages while this page is open", prefs.notify, async on => {
      const notify = on && "Notification" in window && await Notification.requestPermission() === "granted";
      await page.call("setPrefs", { notify });
      if (on && !notify) page.tell("This browser does not allow notifications from this page.");
    }),
    h("p", {}, h("button", { type: "button", click: async () => { await page.call("deleteHistory"); put(kept, " Deleted."); } }, "Delete kept messages"), kept),
    stay === "offered" && h("p", {}, h("button", { type: "button", click: event => void page.call("staySignedIn").then(() => event.target.replaceWith("This browser stays signed in until you sign out."), () => {}) }, "Stay signed in")),
    stay === "yes" && h("p", {}, "This browser stays signed in until you sign out."),
    h("h3", {}, "Who sees me"),
    h("p", {}, h("button", { type: "button", click: async () => put(seen, list(await page.call("watchers"), "Nobody watches you now.")) }, "Show who watches me now")), seen,
    h("h3", {}, "Blocked"), blocked.length ? h("ul.blocked", {}, ...blocked.map(address => {
      const item = h("li", {}, h("bdi", {}, cleanLine(address)), h("button", { type: "button", click: () => void page.call("block", { address, on: false }).then(() => item.remove(), () => {}) }, "Unblock"));
      return item;
    })) : h("p", {}, "Nobody is blocked."));
}

/** confirmBlock says what a block does, and has it done if the user agrees. @param {string} address @param {() => void} act */
export function confirmBlock(address, act) {
  const dialog = openDialog("Block", h("p", {}, h("bdi", {}, cleanLine(address)), " can then neither write to you nor see whether you listen. They are not told: for them you do not listen."),
    h("button.primary", { type: "button", click: () => { dialog.close(); act(); } }, "Block this address"));
}
