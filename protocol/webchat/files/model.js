// @ts-check
// What the page knows: plain data that all tabs have, and the events that
// change it.

/** @typedef {import("./simp.js").PresenceState} PresenceState */
/** A result's status is 0 while the message is being sent. @typedef {import("./simp.js").Result} Result */
/** @typedef {{ id: string, from: string, mine: boolean, text: string, time: number, results: Result[] }} Message */
/** @typedef {{ to: string[], messages: Message[], unread: number }} Conversation */
/**
 * @typedef {object} Model
 * @property {"starting" | "out" | "entering" | "in"} phase
 * @property {string} error why nobody is signed in
 * @property {string} me
 * @property {boolean} online
 * @property {boolean} stale
 * @property {boolean} listening
 * @property {import("./simp.js").ListenState} state
 * @property {string} note
 * @property {{ [address: string]: string }} contacts names by address
 * @property {{ [address: string]: { state: PresenceState, note: string } }} presence
 * @property {{ [key: string]: Conversation }} conversations
 * @property {string[]} blocked
 * @property {string[]} waiting whom the user wants to be told of when they listen
 * @property {{ history: boolean, notify: boolean }} prefs
 * @property {"no" | "offered" | "yes"} stay whether this browser stays signed in
 */
/**
 * @typedef {{ t: "set", values: Partial<Model> } | { t: "presence", address: string, state: PresenceState, note: string }
 *   | { t: "message", key: string, to: string[], m: Message } | { t: "outcome", key: string, id: string, results: Result[] }
 *   | { t: "read", key: string } | { t: "load", list: { key: string, to: string[], m: Message }[] } | { t: "notice", text: string }} Event
 */

/** @returns {Model} */
export function newModel() {
  return {
    phase: "starting", error: "", me: "", online: false, stale: false, listening: true, state: "available", note: "", contacts: {}, presence: {},
    conversations: {}, blocked: [], waiting: [], prefs: { history: false, notify: false }, stay: "no",
  };
}

/** keyOf returns the key of the conversation with these people. @param {string[]} to */
export function keyOf(to) { return [...new Set(to)].sort().join(" "); }

/** keyOfHash returns the key that the fragment of the page's address names, if there is such a conversation. @param {Model} model @param {string} hash */
export function keyOfHash(model, hash) {
  try {
    const key = decodeURIComponent(hash.slice(1));
    return Object.hasOwn(model.conversations, key) || Object.hasOwn(model.contacts, key) ? key : undefined;
  } catch {
    return undefined; // it is not encoded as it should be
  }
}

/** @param {Model} model @param {string} key @param {string[]} to */
function conversation(model, key, to) { return model.conversations[key] ??= { to, messages: [], unread: 0 }; }

/** apply changes the model by an event. @param {Model} model @param {Event} event */
export function apply(model, event) {
  switch (event.t) {
    case "set":
      Object.assign(model, event.values);
      break;
    case "presence":
      model.presence[event.address] = { state: event.state, note: event.note };
      break;
    case "message": {
      const c = conversation(model, event.key, event.to);
      c.messages.push(event.m);
      if (!event.m.mine) c.unread++;
      break;
    }
    case "outcome": {
      const m = findMessage(model, event.key, event.id);
      if (m) m.results = event.results;
      break;
    }
    case "read":
      if (model.conversations[event.key]) model.conversations[event.key].unread = 0;
      break;
    case "load":
      for (const { key, to, m } of event.list) conversation(model, key, to).messages.push(m);
      break;
  }
}

/** findMessage returns a message of the user's own. @param {Model} model @param {string} key @param {string} id */
export function findMessage(model, key, id) {
  return model.conversations[key]?.messages.findLast(m => m.mine && m.id === id);
}

/** stateOf returns the presence of a user, which is unknown while the node is cut off. @param {Model} model @param {string} address */
export function stateOf(model, address) {
  return model.online && !model.stale ? model.presence[address]?.state ?? "unknown" : "unknown";
}

/** listens reports whether a state is one of somebody who listens. @param {PresenceState} state */
export function listens(state) { return state === "available" || state === "away" || state === "busy"; }
