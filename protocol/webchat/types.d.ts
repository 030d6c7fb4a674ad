/**
 * The types of the web chat's own modules. They are for the type check and
 * for readers: this file is not served. simp.d.ts has those of the protocol.
 */
import type { Keys, ListenState, PresenceState, Result } from "./files/simp.js";

/** What a tab hands on so that another tab can go on: a login, and what stands for the password. */
export type Secrets = { address: string; password?: string; token?: string; keys?: Keys } | undefined;

/** What is said of who wrote a message. */
export interface Mark {
  state: "signed" | "new key" | "unsigned" | "bad" | "not verified";
  /** Why the signature is bad or not verified. */
  why?: string;
  /** The key that signed, its fingerprint, and whether the user compared that. */
  kid?: string;
  print?: string;
  verified?: boolean;
  /** The head of the list that has the key. */
  head?: string;
}

export interface Message {
  id: string;
  from: string;
  mine: boolean;
  text: string;
  time: number;
  /** One for each recipient of the user's own message. The status is 0 while it is being sent. */
  results: Result[];
  /** A received message as it came, for a report. */
  entity?: Uint8Array;
  /** Missing in messages that were kept before there were signatures. */
  mark?: Mark;
  /** The header field that signed the user's own message: a retry has the same octets. */
  field?: string;
  /** The line is not a message: it says that the keys of the partner have changed. */
  notice?: boolean;
}

export interface Conversation { to: string[]; messages: Message[]; unread: number }

/** Plain data that all tabs have. */
export interface Model {
  phase: "starting" | "out" | "entering" | "in";
  /** Why nobody is signed in. */
  error: string;
  me: string;
  online: boolean;
  /** The node is cut off from its site. */
  stale: boolean;
  listening: boolean;
  state: ListenState;
  note: string;
  /** Names by address. */
  contacts: { [address: string]: string };
  presence: { [address: string]: { state: PresenceState; note: string } };
  conversations: { [key: string]: Conversation };
  blocked: string[];
  /** Whom the user wants to be told of when they listen. */
  waiting: string[];
  prefs: { history: boolean; notify: boolean };
  /** Whether this browser stays signed in. */
  stay: "no" | "offered" | "yes";
}

/** What changes the model, in all tabs. */
export type Event =
  | { t: "set"; values: Partial<Model> }
  | { t: "presence"; address: string; state: PresenceState; note: string }
  | { t: "message"; key: string; to: string[]; m: Message }
  | { t: "outcome"; key: string; id: string; results: Result[] }
  | { t: "read"; key: string }
  | { t: "load"; list: Kept[] }
  | { t: "notice"; text: string };

/** A message in IndexedDB. */
export interface Kept { key: string; to: string[]; m: Message }

/** What is remembered of another user's keys. */
export interface Contact { kids: string[]; verified: string[]; head: string }

/** A key as dialogs show it. */
export interface ShownKey { kid: string; print: string; name: string; mine: boolean; verified: boolean; vouched: boolean; revoked: "" | "revoked" | "revoked by an operator" }

/** What h and put take as a child; what is false or missing is left out. */
export type Child = Node | string | false | null | undefined;
