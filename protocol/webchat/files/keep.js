// @ts-check
// What stays in this browser, in IndexedDB: preferences, an app password, and
// messages if the user has chosen that.

/** @typedef {{ key: string, to: string[], m: import("./model.js").Message }} Kept */

/** @type {Promise<IDBDatabase> | undefined} */
let database;

function open() {
  return database ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("simp", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("settings");
      request.result.createObjectStore("messages", { keyPath: ["me", "key", "m.from", "m.id"] }).createIndex("time", ["me", "m.time"]);
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/**
 * run performs one transaction, and returns once it is on disk.
 * @template T
 * @param {"settings" | "messages"} name
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest<T>} act
 * @returns {Promise<T>}
 */
async function run(name, mode, act) {
  const transaction = (await open()).transaction(name, mode, { durability: mode === "readwrite" ? "strict" : "default" });
  const request = act(transaction.objectStore(name));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = transaction.onerror = () => reject(transaction.error ?? request.error);
  });
}

/** @param {string} key */
export function load(key) { return run("settings", "readonly", store => store.get(key)); }

/** save keeps a value; undefined removes it. @param {string} key @param {unknown} value */
export function save(key, value) {
  return run("settings", "readwrite", store => /** @type {IDBRequest<unknown>} */ (value === undefined ? store.delete(key) : store.put(value, key)));
}

/** @param {string} me @param {Kept} kept */
export function keepMessage(me, kept) { return run("messages", "readwrite", store => store.put({ me, ...kept })); }

export function deleteMessages() { return run("messages", "readwrite", store => store.clear()); }

/** loadMessages returns the newest messages of a user, oldest first. @param {string} me @param {number} most @returns {Promise<Kept[]>} */
export async function loadMessages(me, most) {
  /** @type {Kept[]} */
  const list = [];
  await run("messages", "readonly", store => {
    const request = store.index("time").openCursor(IDBKeyRange.bound([me], [me, []]), "prev");
    request.onsuccess = () => {
      const cursor = request.result;
      if (!cursor || list.length >= most) return;
      list.push(cursor.value);
      cursor.continue();
    };
    return request;
  });
  return list.reverse();
}
