/** SIMP 1.1 over WebSocket: new Client(options).start(), and then send, watch and so on. */

export type ClientStatus = "connecting" | "online" | "waiting" | "ended";
export type ListenState = "available" | "away" | "busy";
/** "unknown": it cannot be known now. */
export type PresenceState = ListenState | "deaf" | "unknown";
/** A value that is a list is written once for each item; undefined is left out. */
export type Params = { [key: string]: string | number | readonly string[] | undefined };
/** A request has a verb, a response a status; the other is "" or 0. */
export interface Line {
  tag: string;
  verb: string;
  status: number;
  params: { [key: string]: string };
  text: string;
  literal?: Uint8Array;
}
/** The final response to a request, and the 100 lines before it. */
export interface Answer {
  status: number;
  params: { [key: string]: string };
  text: string;
  partial: Line[];
}
export interface Message {
  from: string;
  to: string;
  id: string;
  time: string;
  entity: Uint8Array;
}
export interface Presence {
  address: string;
  state: PresenceState;
  note: string;
  since: string;
}
/** 200: delivered; 201: in doubt; anything else: certainly not delivered. */
export interface Result {
  to: string;
  status: number;
  text: string;
}
export interface Report {
  id: string;
  results: Result[];
}
/** What SCRAM needs instead of the password, for one salt. */
export interface Keys {
  salt: string;
  iterations: number;
  clientKey: Uint8Array<ArrayBuffer>;
  serverKey: Uint8Array<ArrayBuffer>;
}
export interface Handlers {
  /** The error says why the client waits or has ended. */
  status?: (status: ClientStatus, error?: SimpError) => void;
  /** Returns the answer: 200 once the message is shown or kept, 486 to refuse it. */
  message?: (m: Message) => number | Promise<number>;
  presence?: (p: Presence) => void;
  /** The node is cut off: presence cannot be known. */
  stale?: () => void;
  /** The node is back: what it said before holds again, and changes follow. */
  fresh?: () => void;
  /** The session does not listen any more. */
  unlistened?: (why: string) => void;
  /** The login succeeded; keys serve instead of the password. */
  keys?: (keys: Keys) => void;
  /** The list of a user's device keys has another head: of a user who is watched, or of the own one. */
  listChange?: (address: string, head: string) => void;
}
export interface Options {
  url: string;
  address: string;
  password?: string;
  /** Those of an earlier login, instead of the password. */
  keys?: Keys;
  /** An OAuth access token, instead of both. The client ends when it expires. */
  token?: string;
  agent?: string;
  /** Whether to listen; true if not given. */
  listening?: boolean;
  state?: ListenState;
  note?: string;
  handlers?: Handlers;
  WebSocket?: new (url: string, protocol: string) => WebSocket;
  /** Returns 0 to 1, for jitter. */
  random?: () => number;
}

/** An answer of status 4xx or 5xx, or a connection that failed (status 0). */
export class SimpError extends Error {
  constructor(status: number, text?: string, params?: { [key: string]: string });
  status: number;
  params: { [key: string]: string };
}

/** Keeps one user connected: it connects again, follows MOVE, and repeats no message by itself. */
export class Client {
  constructor(options: Options);
  readonly address: string;
  readonly status: ClientStatus;
  readonly listening: boolean;
  readonly state: ListenState;
  readonly note: string;
  /** Names the site's history, to which all indexes belong. */
  readonly history: string;
  /** Of a message, in octets. */
  readonly maxSize: number;
  /** Connects, and again until stop or a refused login. */
  start(): void;
  /** Says QUIT and ends the connection. */
  stop(): Promise<void>;
  /** Stops listening and then ends the connection, as before a page is frozen. */
  suspend(): Promise<void>;
  /** Connects at once if the client waits, and otherwise checks the connection. */
  wake(): void;
  /** Does not throw. To repeat a message in doubt, give its id and the same entity: only a 200 ends the doubt. */
  send(to: readonly string[], entity: Uint8Array, options?: { id?: string; timeout?: number }): Promise<Report>;
  request(verb: string, params?: Params, literal?: Uint8Array): Promise<Answer>;
  /** Changes what others see; listens if the client does not. */
  setState(state: ListenState, note?: string): Promise<void>;
  unlisten(): Promise<void>;
  /** Tells the presence handler of these users, now and at each change, also after a reconnect. */
  watch(addresses: string[]): Promise<void>;
  unwatch(addresses: string[]): Promise<void>;
  watchers(): Promise<string[]>;
  contacts(): Promise<{ address: string; name: string }[]>;
  rules(): Promise<{ who: string; message: string; presence: string }[]>;
}

/** One login by SCRAM-SHA-256, without channel binding. */
export class Scram {
  constructor(name: string, nonce?: string);
  readonly first: string;
  final(challenge: string, derive: (salt: string, iterations: number) => Keys | Promise<Keys>): Promise<string>;
  /** Throws unless the server has proved that it knows the password. */
  verify(final: string): void;
}

/** A device's key pair; the private key cannot be read. IndexedDB can keep it. */
export interface Device {
  kid: string;
  key: Uint8Array<ArrayBuffer>;
  pair: CryptoKeyPair;
}
/** A key of a list. revoked is Infinity if it is not; signer vouches for the key, if there is one. */
export interface DeviceKey {
  kid: string;
  name: string;
  created: number;
  signer: string;
  record: number;
  revoked: number;
  revocation: number;
  byOperator: boolean;
  verifier: CryptoKey;
}
/** A verified list, and its heads after each record. */
export interface KeyList {
  user: string;
  keys: DeviceKey[];
  heads: string[];
}
/** why says what is bad. If recheck is set, a list by fresh=yes may tell more. */
export interface Verdict {
  state: "signed" | "new key" | "unsigned" | "bad";
  kid?: string;
  why?: string;
  recheck?: boolean;
}
/** A NotSupportedError where Ed25519 is missing. */
export function newDevice(): Promise<Device>;
export function fingerprint(kid: string): string;
/** An address as lists and signatures have it. */
export function foldAddress(address: string): string;
/** The sig= of KEY for a new key of the same user. */
export function proveContinuity(device: Device, user: string, key: Uint8Array, name: string): Promise<string>;
/** Verifies what KEY or KEYS answers; throws if it contradicts itself. */
export function verifyList(user: string, answer: Answer): Promise<KeyList>;
/** Returns the entity with a signature, which covers what it has to be sent with. */
export function sign(device: Device, claims: { from: string; to: readonly string[]; id: string; time: number }, entity: Uint8Array): Promise<Uint8Array<ArrayBuffer>>;
/** The state of a message if the sender's keys do not matter: it is unsigned, or bad. */
export function checkSignature(m: Message, recipient: string): Verdict | undefined;
/** The state of a message. known are keys and a head that the recipient accepted before. */
export function classify(m: Message, recipient: string, list: KeyList | undefined, known: { kids: string[]; head: string }): Promise<Verdict>;
export function toBase64(octets: Uint8Array): string;
export function toBase64URL(octets: Uint8Array): string;
export function fromBase64URL(text: string): Uint8Array<ArrayBuffer>;

/** The login mechanisms that the site offers to the domain of an address. */
export function mechanisms(options: Pick<Options, "url" | "address" | "agent" | "WebSocket">): Promise<string[]>;
/** Creates an account with the code of an invitation, and returns its address. */
export function join(options: Pick<Options, "url" | "address" | "agent" | "WebSocket"> & { password: string; code: string }): Promise<string>;
export function deriveKeys(password: string, salt: string, iterations: number): Promise<Keys>;
/** Returns a password as SASLprep (RFC 4013) writes it. */
export function preparePassword(password: string): string;
export function outcomeWord(status: number): string;
export function stateWord(state: PresenceState): string;
export function newID(): string;
export function textEntity(text: string): Uint8Array<ArrayBuffer>;
/** The text of a MIME entity; undefined if it is not plain text. */
export function entityText(entity: Uint8Array): string | undefined;
/** The media type of a MIME entity, as text/plain. */
export function entityType(entity: Uint8Array): string;
export function formatLine(tag: string, word: string | number, params?: Params, literal?: Uint8Array): Uint8Array<ArrayBuffer>;
export function parseLines(octets: Uint8Array): Line[];
