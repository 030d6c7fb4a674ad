// @ts-check
// A site of real nodes on loopback, and a real browser.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const bin = process.env.BIN ?? "bin", password = "secret";
export const users = ["alice", "bob", "carol", "dave"].map(name => `${name}@example.com`);

/** @param {number} n @returns {Promise<number[]>} ports that were free a moment ago */
async function freePorts(n) {
  const servers = Array.from({ length: n }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map(server => once(server, "listening")));
  const ports = servers.map(server => /** @type {import("node:net").AddressInfo} */ (server.address()).port);
  await Promise.all(servers.map(server => once(server.close(), "close")));
  return ports;
}

/** Site is three nodes, each a process of its own. */
export class Site {
  constructor() {
    this.dir = mkdtempSync(join(tmpdir(), "webtest-"));
    /** @type {{ process: import("node:child_process").ChildProcess, simp: number, page: string, grpc: number, http: number }[]} */
    this.nodes = [];
  }

  /** @param {number} [count] @param {...string} settings further flags of simpd; NODE is the number of the node */
  async start(count = 3, ...settings) {
    const ports = await freePorts(6 * count), at = (/** @type {number} */ i) => `127.0.0.1:${ports[i]}`;
    for (let i = 0; i < count; i++) {
      const first = 6 * i, others = Array.from({ length: count }, (_, j) => j).filter(j => j !== i).map(j => `--join=${at(6 * j + 4)}`);
      const process = spawn(join(bin, "simpd"), ["serve", "--insecure", `--node-id=n${i + 1}`, `--bootstrap-expect=${count}`, "--domain=example.com",
        `--data-dir=${join(this.dir, `n${i + 1}`)}`, `--simp-listen=${at(first)}`, `--ws-listen=${at(first + 1)}`, `--grpc-listen=${at(first + 2)}`,
        `--cluster-listen=${at(first + 3)}`, `--gossip-listen=${at(first + 4)}`, `--http-listen=${at(first + 5)}`, "--timing=relaxed", "--drain-timeout=10s", "--log-level=error", "--http-host=chat.test", ...settings.map(one => one.replace("NODE", String(i + 1))), ...others],
      { stdio: ["ignore", "inherit", "inherit"] });
      this.nodes.push({ process, simp: ports[first], page: `http://${at(first + 1)}/`, grpc: ports[first + 2], http: ports[first + 5] });
    }
    for (const node of this.nodes) await this.awaitReady(node);
    for (let i = 0; ; i++) {
      const made = spawnSync(join(bin, "simpctl"), ["--insecure", "--addr", at(2), "account", "import", "-"], { input: users.map(user => `${user},${password}\n`).join("") });
      if (made.status === 0) return;
      if (i >= 30 || !/majority/.test(String(made.stderr))) throw new Error(String(made.stderr));
      await new Promise(resolve => setTimeout(resolve, 1000)); // an election, on a machine that is busy
    }
  }

  /** @param {{ http: number }} node */
  async awaitReady(node) {
    for (let i = 0; i < 600; i++) {
      const ready = await fetch(`http://127.0.0.1:${node.http}/readyz`).then(r => r.ok, () => false);
      if (ready) return;
      await new Promise(resolve => setTimeout(resolve, 100));
    }
    throw new Error("a node is not ready within a minute");
  }

  /** simp runs a person's client in a terminal. @param {number} node @param {string} user @param {...string} args */
  simp(node, user, ...args) {
    return spawn(join(bin, "simp"), ["--plaintext", "--server", `127.0.0.1:${this.nodes[node].simp}`, "--user", user, ...args],
      { env: { ...process.env, SIMP_PASSWORD: password, XDG_CACHE_HOME: this.dir, XDG_CONFIG_HOME: this.dir, XDG_STATE_HOME: this.dir }, stdio: ["pipe", "pipe", "inherit"] });
  }

  /** run is simp to its end; it returns what it printed. @param {string} user @param {...string} args */
  async run(user, ...args) {
    const program = this.simp(0, user, ...args);
    let out = "";
    program.stdout.on("data", data => { out += data; });
    const [code] = await once(program, "close");
    if (code !== 0) throw new Error(`simp ${args.join(" ")} exits ${code}`);
    return out;
  }

  /**
   * balance returns the address of a balancer that leads each connection to
   * the next node of those that run.
   * @param {number} next the first
   */
  async balance(next) {
    const server = createServer(client => {
      const attempt = (/** @type {number} */ left) => {
        const { hostname, port } = new URL(this.nodes[next++ % this.nodes.length].page);
        const node = connect(Number(port), hostname);
        let met = false;
        node.on("connect", () => {
          met = true;
          client.pipe(node).pipe(client);
        });
        node.on("error", () => { if (!met && left > 1) attempt(left - 1); });
        node.on("close", () => { if (met || left <= 1) client.destroy(); });
        client.on("close", () => node.destroy());
      };
      client.on("error", () => {});
      attempt(this.nodes.length);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    server.unref();
    return `http://127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (server.address()).port}/`;
  }

  /** kill ends a node's process as a power failure would. @param {number} node */
  async kill(node) {
    this.nodes[node].process.kill("SIGKILL");
    await once(this.nodes[node].process, "exit");
  }

  /** operate runs an operator's command; the balancers go on meanwhile. @param {...string} args @returns {Promise<string>} */
  async operate(...args) {
    const command = spawn(join(bin, "simpctl"), ["--insecure", "--addr", `127.0.0.1:${this.nodes[0].grpc}`, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let out = "", err = "";
    command.stdout.on("data", data => { out += data; });
    command.stderr.on("data", data => { err += data; });
    const [code] = await once(command, "close");
    if (code !== 0) throw new Error(err);
    return out;
  }

  /**
   * listenAs listens as a user over TCP, and returns a connection whose said
   * resolves with the next MESSAGE's tag. It answers nothing of its own accord.
   * @param {number} node @param {string} user
   */
  async listenAs(node, user) {
    const socket = connect(this.nodes[node].simp, "127.0.0.1");
    /** @type {((line: string) => boolean)[]} */
    const waiting = [];
    let text = "";
    socket.on("data", data => {
      text += data;
      for (let at; (at = text.indexOf("\r\n")) >= 0; text = text.slice(at + 2)) {
        const i = waiting.findIndex(one => one(text.slice(0, at)));
        if (i >= 0) waiting.splice(i, 1);
      }
    });
    const line = (/** @type {RegExp} */ wanted) => new Promise(resolve => {
      waiting.push(line => {
        const found = wanted.exec(line);
        if (found) resolve(found[1]);
        return found !== null;
      });
    });
    const ask = async (/** @type {string} */ request) => {
      const answer = line(new RegExp(`^${request.split(" ")[0]} (200)`));
      socket.write(`${request}\r\n`);
      await answer;
    };
    await ask("1 HELLO version=SIMP/1.0");
    await ask(`2 AUTH mech=PLAIN data=${btoa(`\0${user}\0${password}`)}`);
    await ask("3 LISTEN");
    const status = async (/** @type {string} */ request) => {
      const answer = line(new RegExp(`^${request.split(" ")[0]} ([245][0-9]{2})`));
      socket.write(`${request}\r\n`);
      return Number(await answer);
    };
    return { status, message: () => line(/^(\S+) MESSAGE /), answer: (/** @type {string} */ tag, /** @type {number} */ status) => socket.write(`${tag} ${status}\r\n`), end: () => socket.destroy() };
  }

  async stop() {
    await Promise.all(this.nodes.map(async ({ process }) => {
      if (process.exitCode !== null || process.signalCode !== null) return;
      process.kill("SIGKILL");
      await once(process, "exit");
    }));
    rmSync(this.dir, { recursive: true, force: true });
  }
}

// What Chromium calls errors, and is none here: connections to nodes that were
// killed, and a header that counts only on secure origins.
const harmless = /WebSocket connection to|ERR_CONNECTION|Cross-Origin-Opener-Policy header has been ignored/;

/** launch starts the browser. */
export function launch() {
  return chromium.launch({ executablePath: process.env.BROWSER ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-quic", "--host-resolver-rules=MAP chat.test 127.0.0.1"] });
}

/**
 * launchPlain starts a browser whose pages are hidden and frozen as those of
 * people are: playwright keeps the pages of other browsers in view.
 */
export async function launchPlain() {
  const profile = mkdtempSync(join(tmpdir(), "webtest-profile-"));
  const program = spawn(process.env.BROWSER ?? "/usr/bin/chromium", ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync",
    "--remote-debugging-port=0", `--user-data-dir=${profile}`, "about:blank"], { stdio: ["ignore", "ignore", "pipe"] });
  const address = await new Promise((resolve, reject) => {
    let said = "";
    program.stderr.on("data", data => {
      said += data;
      const found = /DevTools listening on (ws:\S+)/.exec(said);
      if (found) resolve(found[1]);
    });
    program.on("exit", () => reject(new Error(`the browser has ended: ${said}`)));
  });
  const browser = await chromium.connectOverCDP(address, { noDefaults: true }), [page] = browser.contexts()[0].pages();
  const stop = async () => {
    await browser.close();
    if (program.exitCode === null && program.signalCode === null) {
      program.kill("SIGKILL");
      await once(program, "exit");
    }
    rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 });
  };
  return { page, session: await page.context().newCDPSession(page), stop };
}

/**
 * openPage opens the web chat as a user with a profile of their own, and notes
 * what must not happen: violations of the policy, requests to other hosts, and
 * errors.
 * @param {import("playwright-core").Browser} browser
 * @param {string} url
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export async function openPage(browser, url, options = {}) {
  const context = await browser.newContext({ locale: "en-GB", ...options });
  /** @type {string[]} */
  const faults = [];
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", event => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
  });
  context.on("request", request => {
    if (new URL(request.url()).host !== new URL(url).host) faults.push(`request to ${request.url()}`);
  });
  context.on("console", message => {
    if (message.type() === "error" && !harmless.test(message.text())) faults.push(message.text());
  });
  context.on("weberror", error => { faults.push(String(error.error().stack)); });
  const page = await context.newPage();
  await page.goto(url);
  return { context, page, faults };
}

/** signIn fills in the form. @param {import("playwright-core").Page} page @param {string} user */
export async function signIn(page, user, secret = password) {
  const form = page.getByRole("form", { name: "Sign in" });
  await form.getByLabel("Address").fill(user);
  await form.getByLabel("Password").fill(secret);
  await form.getByRole("button", { name: "Sign in" }).click();
}

/** open opens the conversation with an address. @param {import("playwright-core").Page} page @param {string} address */
export async function open(page, address) {
  const item = page.getByRole("listitem", { name: address });
  if (!await item.count()) {
    await page.getByRole("button", { name: "Add contact" }).click();
    const dialog = page.getByRole("dialog", { name: "Add contact" });
    await dialog.getByLabel("Address").fill(address);
    await dialog.getByRole("button", { name: "Add", exact: true }).click();
    await dialog.waitFor({ state: "detached" });
  } else {
    await item.getByRole("button").click();
  }
  await page.getByRole("log", { name: `Messages with ${address}` }).waitFor();
}

/** send writes a message and waits for nothing. @param {import("playwright-core").Page} page @param {string} text */
export async function send(page, text) {
  await page.getByRole("textbox", { name: "Message" }).fill(text);
  await page.getByRole("button", { name: "Send" }).click();
}

/** outcome waits until a message has this outcome. @param {import("playwright-core").Page} page @param {string} text @param {string} word */
export async function outcome(page, text, word) {
  await page.locator(".message.mine", { hasText: text }).locator(".result", { hasText: word }).first().waitFor({ timeout: 20_000 });
}

/** check has axe-core look for violations of WCAG 2.1 A and AA. @param {import("playwright-core").Page} page @param {string} what */
export async function check(page, what) {
  await page.evaluate(source => { (0, eval)(source); }, axe).catch(() => page.addScriptTag({ content: axe }));
  const result = await page.evaluate(() => /** @type {any} */ (window).axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }));
  const found = result.violations.map((/** @type {any} */ v) => `${v.id}: ${v.nodes.map((/** @type {any} */ n) => n.html).join(" ")}`);
  assert.deepEqual(found, [], what);
}

/**
 * look has axe-core look at a page, checks that it does not scroll sideways,
 * and takes a picture if SHOTS names a folder.
 * @param {import("playwright-core").Page} page @param {string} what
 */
export async function look(page, what) {
  await check(page, what);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${what} scrolls sideways`);
  const { width = 0 } = page.viewportSize() ?? {}, scheme = await page.evaluate(() => matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/${what.replaceAll(" ", "-")}-${width}-${scheme}.png` });
}
