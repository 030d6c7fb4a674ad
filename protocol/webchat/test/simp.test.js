// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, Scram, deriveKeys, entityText, entityType, formatLine, join, mechanisms, newID, outcomeWord, parseLines, preparePassword, stateWord, textEntity } from "../files/simp.js";
import { Site } from "./fake.js";

const octets = (/** @type {string} */ s) => new TextEncoder().encode(s);
const text = (/** @type {Uint8Array} */ s) => new TextDecoder().decode(s);
const one = (/** @type {string} */ s) => parseLines(octets(s))[0];

test("SCRAM-SHA-256 gives the messages of RFC 7677", async () => {
  const scram = new Scram("user", "rOprNGfwEbeRWgbNEkqO");
  assert.equal(scram.first, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
  const challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
  const final = await scram.final(challenge, (salt, n) => deriveKeys("pencil", salt, n));
  assert.equal(final, "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
  scram.verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
  assert.throws(() => scram.verify("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), { status: 401 });
});

test("SCRAM escapes the name and refuses bad challenges", async () => {
  assert.equal(new Scram("a=b,c", "x").first, "n,,n=a=3Db=2Cc,r=x");
  const keys = () => { throw new Error("must not be asked for"); };
  for (const bad of ["r=other1,s=QQ==,i=4096", "r=x,s=QQ==,i=4096", "r=xy,s=QQ==,i=4095", "r=xy,s=QQ==,i=1000001", "m=ext,r=xy,s=QQ==,i=4096", ""]) {
    await assert.rejects(new Scram("a", "x").final(bad, keys), { status: 502 }, bad);
  }
  assert.throws(() => new Scram("a").verify(""), { status: 401 });
});

test("a password is prepared as by SASLprep", () => {
  assert.equal(preparePassword("I\u00adX"), "IX");
  assert.equal(preparePassword("\u00aa\u2168"), "aIX");
  assert.equal(preparePassword("a\u3000b"), "a b");
});

test("lines are formatted with quotes where they are needed", () => {
  assert.equal(text(formatLine("1", "LISTEN", { state: "away", note: 'say "hi" \\ now', mode: undefined })), '1 LISTEN state=away note="say \\"hi\\" \\\\ now"\r\n');
  assert.equal(text(formatLine("2", "WATCH", { ima: ["a@b", "c@d"] })), "2 WATCH ima=a@b ima=c@d\r\n");
  assert.equal(text(formatLine("3", "STATE", { note: "" })), "3 STATE note=\r\n");
  assert.equal(text(formatLine("4", "STATE", { note: "a\r\nQUIT" })), "4 STATE note=a\ufffd\ufffdQUIT\r\n");
  assert.equal(text(formatLine("5", "SEND", { to: "a@b" }, octets("\r\nhé"))), "5 SEND to=a@b {5}\r\n\r\nhé");
});

test("lines are parsed as they are formatted", () => {
  const line = one('7 100 ima=b@c state=away note="a \\"b\\" \\\\c :x {3}" X=1 x=2 index=4\r\n');
  assert.deepEqual({ ...line.params }, { ima: "b@c", state: "away", note: 'a "b" \\c :x {3}', x: "1", index: "4" });
  assert.deepEqual([line.tag, line.verb, line.status], ["7", "", 100]);
  assert.equal(one("* bye status=503 :going away\r\n").verb, "BYE");
  assert.equal(one("* BYE status=503 :going : {2}\r\n").text, "going : {2}");
  assert.equal(one("1 200 note=\r\n").params.note, "");
  const lines = parseLines(octets("\r\nm1 MESSAGE from=a@b id=x {4}\r\n\r\nhi2 200\r\n"));
  assert.deepEqual(lines.map(l => [l.tag, l.literal && text(l.literal)]), [["m1", "\r\nhi"], ["2", undefined]]);
});

test("malformed lines are errors", () => {
  for (const bad of ["1 200", "1 200\n", "1 2000\r\n", "1  200\r\n", "+ 200\r\n", '1 200 a="b\r\n', '1 200 a=b"c\r\n', "1 200 {3}\r\nab", "1 200 {03}\r\nabc",
    "1 200 a\tb=c\r\n", "1 200 a b\r\n", `${"x".repeat(33)} 200\r\n`]) {
    assert.throws(() => parseLines(octets(bad)), { status: 400 }, JSON.stringify(bad));
  }
  assert.throws(() => parseLines(new Uint8Array([49, 32, 50, 48, 48, 32, 58, 255, 13, 10])), { status: 400 });
});

test("entities are read as text where they are text", () => {
  const read = (/** @type {string} */ s) => entityText(octets(s));
  assert.equal(entityText(textEntity("grüß dich")), "grüß dich");
  assert.equal(read("Content-Type: text/plain; charset=UTF-8\r\n\r\nhé"), "hé");
  assert.equal(read("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\naMOp\r\n"), "hé");
  assert.equal(read("content-type: text/plain;\r\n charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nh=C3=A9 =\r\nx"), "hé x");
  assert.equal(read("Subject: x\r\n\r\nhi"), "hi");
  assert.equal(read("Content-Type: image/png\r\n\r\nhi"), undefined);
  assert.equal(read("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n!"), undefined);
  assert.equal(entityType(octets("Content-Type: Image/PNG; x=y\r\n\r\nhi")), "image/png");
  assert.equal(entityText(new Uint8Array()), "");
});

test("outcomes and states have the words that all programs use", () => {
  const said = [200, 201, 480, 481, 486, 404, 429, 502, 503, 504].map(outcomeWord);
  assert.deepEqual(said, ["delivered", "in doubt", "not listening", "not reading", "refused", "no such user", "slow down", "unreachable", "unreachable", "unreachable"]);
  assert.deepEqual(/** @type {const} */ (["available", "away", "busy", "deaf", "unknown"]).map(stateWord), ["available", "away", "busy", "not listening", "not known now"]);
  assert.match(newID(), /^[0-9a-f]{32}$/);
});

/** @param {Site} site @param {Partial<import("../files/simp.js").Options>} [options] */
function connect(site, options = {}) {
  /** @type {string[]} */
  const statuses = [];
  const handlers = { status: (/** @type {string} */ s) => { statuses.push(s); }, ...options.handlers };
  const client = new Client({ url: "ws://test/simp", address: "alice@example.com", password: "secret", WebSocket: site.WebSocket, random: () => 0, ...options, handlers });
  client.start();
  return { client, statuses };
}

test("a client logs in, listens and ends in good order", async () => {
  const site = new Site();
  const { client, statuses } = connect(site, { state: "busy", note: "at work" });
  await site.until(() => client.status === "online");
  assert.equal(site.log.find(l => / LISTEN /.test(l))?.slice(2), 'LISTEN state=busy note="at work"');
  await client.stop();
  assert.match(site.log.at(-1) ?? "", / QUIT$/);
  assert.deepEqual(statuses, ["connecting", "online", "ended"]);
});

test("a wrong password ends the client, and is not tried again", async () => {
  const site = new Site("other");
  /** @type {import("../files/simp.js").SimpError | undefined} */
  let error;
  const { client } = connect(site, { handlers: { status: (_, e) => { error = e; } } });
  await site.until(() => client.status === "ended");
  assert.equal(error?.status, 401);
  assert.equal(site.sockets.length, 1);
});

test("a token logs in, and its end is the client's", async () => {
  const site = new Site(), token = "x".repeat(6000);
  /** @type {string[]} */
  const said = [];
  site.script = (socket, { tag, verb, params, literal }) => {
    if (verb === "AUTH") {
      said.push(`${params.mech} ${Buffer.from(text(literal ?? new Uint8Array()), "base64")}`);
      socket.say(`${tag} 200 ima=alice@example.com`);
    }
    return verb === "AUTH";
  };
  /** @type {import("../files/simp.js").SimpError | undefined} */
  let error;
  const { client, statuses } = connect(site, { password: undefined, token, handlers: { status: (_, e) => { error = e; } } });
  await site.until(() => client.status === "online");
  assert.deepEqual(said, [`OAUTHBEARER n,a=alice@example.com,\x01auth=Bearer ${token}\x01\x01`]);
  site.sockets[0].say("* BYE status=401 :token expired");
  await site.until(() => client.status === "ended");
  assert.deepEqual([error?.status, error?.message, site.sockets.length], [401, "token expired", 1]);
  assert.deepEqual(statuses, []);
});

test("a token that is refused ends the client", async () => {
  const site = new Site();
  site.script = (socket, { tag, verb, params }) => {
    if (verb === "AUTH") socket.say(`${tag} 101 data=${btoa('{"status":"invalid_token"}')}`);
    if (verb === "MORE") socket.say(`${tag} ${params.data === "AQ==" ? 401 : 400} :the token is not valid`);
    return verb === "AUTH" || verb === "MORE";
  };
  /** @type {import("../files/simp.js").SimpError | undefined} */
  let error;
  const { client } = connect(site, { token: "old", handlers: { status: (_, e) => { error = e; } } });
  await site.until(() => client.status === "ended");
  assert.deepEqual([error?.status, error?.message], [401, "the token is not valid"]);
});

test("the site says which mechanisms a domain has", async () => {
  const site = new Site();
  site.mechanisms = "OAUTHBEARER,SCRAM-SHA-256";
  assert.deepEqual(await mechanisms({ url: "ws://test/simp", address: "alice@example.com", WebSocket: site.WebSocket }), ["OAUTHBEARER", "SCRAM-SHA-256"]);
  assert.match(site.log[0], / HELLO version=SIMP\/1.1 agent=simp.js domain=example.com$/);
  assert.equal(site.sockets[0].open, false);
  site.script = (socket, { tag }) => { socket.say(`${tag} 403 :not served`); return true; };
  await assert.rejects(mechanisms({ url: "ws://test/simp", address: "alice@other.example", WebSocket: site.WebSocket }), { status: 403 });
});

test("changes of key lists are told", async () => {
  const site = new Site();
  /** @type {string[]} */
  const told = [];
  const { client } = connect(site, { handlers: { listChange: (address, head) => { told.push(`${address} ${head}`); } } });
  await site.until(() => client.status === "online");
  site.sockets[0].say("* KEYS ima=bob@example.com head=abc index=4");
  await site.until(() => told.length > 0);
  assert.deepEqual(told, ["bob@example.com abc"]);
  await client.stop();
});

test("an invitation creates an account", async () => {
  const site = new Site(), options = { url: "ws://test/simp", address: "dave@example.com", password: "I\u00adX", code: "k3fm-7qpd", WebSocket: site.WebSocket };
  site.script = (socket, { tag, verb }) => verb === "JOIN" && (socket.say(`${tag} 200 ima=dave@example.com`), true);
  assert.equal(await join(options), "dave@example.com");
  assert.match(site.log.at(-1) ?? "", / JOIN code=k3fm-7qpd ima=dave@example.com data=SVg=$/);
  assert.equal(site.sockets[0].open, false);
  site.script = (socket, { tag, verb }) => verb === "JOIN" && (socket.say(`${tag} 401 :the code is wrong`), true);
  await assert.rejects(join(options), { status: 401, message: "the code is wrong" });
  site.script = (socket, { verb }) => verb === "JOIN" && (socket.close(), true);
  await assert.rejects(join(options), { status: 0 });
});

test("a client connects again, listens and watches as before", async () => {
  const site = new Site();
  const { client, statuses } = connect(site);
  await site.until(() => client.status === "online");
  await client.watch(["bob@example.com"]);
  await client.setState("away", "lunch");
  site.sockets[0].close();
  await site.until(() => client.status === "waiting");
  client.wake();
  await site.until(() => site.sockets.length === 2 && client.status === "online");
  assert.deepEqual(site.log.slice(-2).map(l => l.replace(/^\S+ /, "")), ["LISTEN state=away note=lunch", "WATCH ima=bob@example.com"]);
  assert.deepEqual(statuses, ["connecting", "online", "waiting", "connecting", "online"]);
  await client.stop();
});

test("keys serve instead of the password, until the password changes", async () => {
  const site = new Site();
  /** @type {import("../files/simp.js").Keys | undefined} */
  let keys;
  const first = connect(site, { handlers: { keys: k => { keys = k; } } });
  await site.until(() => first.client.status === "online");
  await first.client.stop();
  const second = connect(site, { password: undefined, keys });
  await site.until(() => second.client.status === "online");
  await second.client.stop();
  site.password = "changed";
  const third = connect(site, { password: undefined, keys });
  await site.until(() => third.client.status === "ended");
});

test("a message is handed on once, and its repeat gets the same answer", async () => {
  const site = new Site();
  /** @type {string[]} */
  const got = [];
  /** @type {(status: number) => void} */
  let take = () => {};
  const { client } = connect(site, { handlers: { message: m => { got.push(entityText(m.entity) ?? ""); return new Promise(resolve => { take = resolve; }); } } });
  await site.until(() => client.status === "online");
  site.sockets[0].say("m1 MESSAGE from=bob@example.com to=alice@example.com id=x time=t", "\r\nhi");
  await site.until(() => got.length === 1);
  assert.ok(!site.log.includes("m1 200"), "answered before it was taken");
  site.sockets[0].say("m2 MESSAGE from=bob@example.com to=alice@example.com id=x time=t", "\r\nhi");
  take(200);
  await site.until(() => site.log.includes("m1 200") && site.log.includes("m2 200"));
  site.sockets[0].say("m3 MESSAGE from=bob@example.com to=alice@example.com id=x time=t", "\r\nother");
  await site.until(() => site.log.includes("m3 409"));
  site.sockets[0].close();
  await site.until(() => client.status === "waiting");
  client.wake();
  await site.until(() => client.status === "online");
  site.sockets[1].say("m4 MESSAGE from=bob@example.com to=alice@example.com id=x time=t", "\r\nhi");
  await site.until(() => site.log.includes("m4 200"));
  assert.deepEqual(got, ["hi"]);
  await client.stop();
});

test("a refused message may come again", async () => {
  const site = new Site();
  let status = 486, calls = 0;
  const { client } = connect(site, { handlers: { message: () => { calls++; return status; } } });
  await site.until(() => client.status === "online");
  site.sockets[0].say("m1 MESSAGE from=bob@example.com id=x", "\r\nhi");
  await site.until(() => site.log.includes("m1 486"));
  status = 200;
  site.sockets[0].say("m2 MESSAGE from=bob@example.com id=x", "\r\nhi");
  await site.until(() => site.log.includes("m2 200"));
  assert.equal(calls, 2);
  await client.stop();
});

test("a message has an outcome for each recipient", async () => {
  const site = new Site();
  site.script = (socket, line) => {
    if (line.verb !== "SEND") return false;
    if (line.params.id === "single") socket.say(`${line.tag} 480 id=single :no`);
    else {
      socket.say(`${line.tag} 100 to=bob@example.com status=200`);
      socket.say(`${line.tag} 100 to=carol@example.com status=486 :no`);
      socket.say(`${line.tag} 207 id=several`);
    }
    return true;
  };
  const { client } = connect(site);
  await site.until(() => client.status === "online");
  const single = await client.send(["bob@example.com"], textEntity("x"), { id: "single" });
  assert.deepEqual(single, { id: "single", results: [{ to: "bob@example.com", status: 480, text: "no" }] });
  const several = await client.send(["Bob@example.com", "carol@example.com"], textEntity("x"), { id: "several" });
  assert.deepEqual(several.results.map(r => r.status), [200, 486]);
  await client.stop();
});

test("a message whose connection ends is in doubt, and is never sent again unasked", async () => {
  const site = new Site();
  site.script = (socket, line) => {
    if (line.verb !== "SEND") return false;
    socket.say(`${line.tag} 100 to=bob@example.com status=200`);
    setImmediate(() => socket.close());
    return true;
  };
  const { client } = connect(site);
  await site.until(() => client.status === "online");
  const report = await client.send(["bob@example.com", "carol@example.com"], textEntity("x"), { id: "x" });
  assert.deepEqual(report.results.map(r => r.status), [200, 201]);
  await site.until(() => client.status === "waiting");
  client.wake();
  await site.until(() => client.status === "online");
  assert.equal(site.log.filter(l => / SEND /.test(l)).length, 1);
  site.script = () => false;
  const again = await client.send(["carol@example.com"], textEntity("x"), { id: "x" });
  assert.equal(again.results[0].status, 200);
  assert.match(site.log.at(-1) ?? "", /SEND to=carol@example.com id=x timeout=10/);
  await client.stop();
});

test("a message for which there is no connection was certainly not delivered", async () => {
  const site = new Site();
  const { client } = connect(site);
  await site.until(() => client.status === "online");
  await client.stop();
  assert.equal((await client.send(["bob@example.com"], textEntity("x"))).results[0].status, 503);
});

test("after MOVE the client listens at the new connection before it leaves the old", async () => {
  const site = new Site();
  const { client, statuses } = connect(site);
  await site.until(() => client.status === "online");
  await client.watch(["bob@example.com"]);
  site.log.length = 0;
  site.sockets[0].say("* MOVE within=30 :going away");
  await site.until(() => !site.sockets[0].open);
  const verbs = site.log.map(l => l.split(" ")[1]);
  assert.deepEqual(verbs, ["HELLO", "AUTH", "MORE", "LISTEN", "WATCH", "QUIT"]);
  assert.ok(site.sockets[1].open);
  assert.deepEqual(statuses, ["connecting", "online"]);
  await client.stop();
});

test("a MOVE that comes while a connection is still being made is followed", async () => {
  const site = new Site();
  site.script = (socket, line) => {
    if (line.verb === "LISTEN" && socket === site.sockets[0]) socket.say("* MOVE within=30 :going away");
    return false;
  };
  const { client, statuses } = connect(site);
  await site.until(() => site.sockets.length === 2 && !site.sockets[0].open);
  assert.deepEqual(site.log.map(l => l.split(" ")[1]), ["HELLO", "AUTH", "MORE", "LISTEN", "HELLO", "AUTH", "MORE", "LISTEN", "QUIT"]);
  assert.ok(site.sockets[1].open);
  assert.deepEqual(statuses, ["connecting", "online"]);
  await client.stop();
});

test("presence of an older index than was shown is dropped", async () => {
  const site = new Site();
  /** @type {string[]} */
  const shown = [];
  site.script = (socket, line) => {
    if (line.verb !== "WATCH") return false;
    socket.say(`${line.tag} 100 ima=bob@example.com state=available index=5`);
    socket.say(`${line.tag} 200 index=9`);
    return true;
  };
  const { client } = connect(site, { handlers: { presence: p => { shown.push(p.state); } } });
  await site.until(() => client.status === "online");
  await client.watch(["bob@example.com"]);
  site.sockets[0].say("* PRESENCE ima=bob@example.com state=busy index=12");
  site.sockets[0].say("* PRESENCE ima=bob@example.com state=away index=11");
  site.sockets[0].say("* PRESENCE ima=eve@example.com state=away index=13");
  site.sockets[0].say("m1 MESSAGE from=bob@example.com id=x", "\r\nhi");
  await site.until(() => site.log.includes("m1 486"));
  assert.deepEqual(shown, ["available", "busy"]);
  site.history = "h2"; // the site was restored: its numbers begin anew
  site.sockets[0].close();
  await site.until(() => client.status === "waiting");
  client.wake();
  await site.until(() => client.status === "online");
  assert.deepEqual(shown, ["available", "busy", "available"]);
  await client.stop();
});

test("STALE, FRESH, UNLISTENED and PING are understood", async () => {
  const site = new Site();
  /** @type {string[]} */
  const said = [];
  const { client } = connect(site, { handlers: { stale: () => { said.push("stale"); }, fresh: () => { said.push("fresh"); }, unlistened: why => { said.push(why); } } });
  await site.until(() => client.status === "online");
  for (const line of ["* STALE", "* FRESH index=9", "* NEWS x=y", "* UNLISTENED :elsewhere", "p PING", "q DANCE"]) site.sockets[0].say(line);
  await site.until(() => site.log.includes("q 405"));
  assert.ok(site.log.includes("p 200"));
  assert.deepEqual(said, ["stale", "fresh", "elsewhere"]);
  assert.equal(client.listening, false);
  await client.stop();
});

test("what may not be watched keeps nobody from connecting", async () => {
  const site = new Site();
  site.script = (socket, line) => {
    if (line.verb !== "WATCH") return false;
    socket.say(`${line.tag} 413 :too many`);
    return true;
  };
  const { client } = connect(site);
  await site.until(() => client.status === "online");
  await assert.rejects(client.watch(["bob@example.com"]), { status: 413 });
  site.sockets[0].close();
  await site.until(() => client.status === "waiting");
  client.wake();
  await site.until(() => client.status === "online");
  await client.stop();
});

test("a list that is longer than a line is watched in parts", async () => {
  const site = new Site();
  const { client } = connect(site);
  await site.until(() => client.status === "online");
  await client.watch(Array.from({ length: 300 }, (_, i) => `user${i}@example.com`));
  const lines = site.log.filter(l => / WATCH /.test(l));
  assert.ok(lines.length > 1 && lines.every(l => l.length < 4000));
  assert.equal(lines.join(" ").match(/ima=/g)?.length, 300);
  await client.stop();
});

test("a move away from a node that is cut off ends that", async () => {
  const site = new Site();
  /** @type {string[]} */
  const said = [];
  const { client } = connect(site, { handlers: { stale: () => { said.push("stale"); }, fresh: () => { said.push("fresh"); } } });
  await site.until(() => client.status === "online");
  site.sockets[0].say("* STALE");
  site.sockets[0].say("* MOVE within=30");
  await site.until(() => !site.sockets[0].open);
  assert.deepEqual(said, ["stale", "fresh"]);
  await client.stop();
});

test("suspend stops listening first, and start listens again", async () => {
  const site = new Site();
  const { client } = connect(site);
  await site.until(() => client.status === "online");
  await client.suspend();
  assert.deepEqual(site.log.slice(-2).map(l => l.split(" ")[1]), ["UNLISTEN", "QUIT"]);
  client.start();
  await site.until(() => client.status === "online");
  assert.match(site.log.at(-1) ?? "", / LISTEN /);
  await client.stop();
});

test("what a line says may have separators of lines", () => {
  assert.equal(one("1 486 :a\u2028b\u2029c\r\n").text, "a\u2028b\u2029c");
});

test("the worst entities are read in linear time", () => {
  const start = performance.now(), spaces = " ".repeat(1 << 20);
  assert.equal(entityType(octets(`Content-Type:${spaces}x${spaces}y\r\n\r\nhi`)).length, spaces.length + 2);
  assert.equal(entityText(octets(`Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n${spaces}x  \r\n`)), `${spaces}x\r\n`);
  assert.ok(performance.now() - start < 20_000);
});

test("a connection that is made for MOVE is closed if the old one ends meanwhile", async () => {
  const site = new Site();
  let got = 0;
  /** @type {(() => void)[]} */
  const held = [];
  const { client } = connect(site, { handlers: { message: () => { got++; return 200; } } });
  await site.until(() => client.status === "online");
  site.script = (socket, line) => {
    if (line.verb !== "LISTEN" || socket !== site.sockets[1]) return false;
    held.push(() => void socket.answer(line));
    return true;
  };
  site.sockets[0].say("* MOVE within=30");
  await site.until(() => held.length === 1);
  site.sockets[0].close();
  await site.until(() => client.status === "waiting");
  client.wake();
  await site.until(() => client.status === "online");
  held[0]();
  await site.until(() => !site.sockets[1].open);
  assert.deepEqual(site.sockets.map(s => s.open), [false, false, true]);
  await client.stop();
  assert.equal(got, 0);
});

test("what comes after the end is neither handed on nor answered", async () => {
  const site = new Site();
  let got = 0;
  const { client } = connect(site, { handlers: { message: () => { got++; return 200; } } });
  await site.until(() => client.status === "online");
  site.script = (socket, line) => {
    if (line.verb !== "QUIT") return false;
    socket.say("m1 MESSAGE from=bob@example.com id=x", "\r\nhi");
    return false;
  };
  await client.stop();
  assert.equal(got, 0);
  assert.ok(!site.log.some(l => l.startsWith("m1 ")));
});

test("one address that may not be watched hides no other", async () => {
  const site = new Site();
  /** @type {string[]} */
  const shown = [];
  site.script = (socket, line) => {
    if (line.verb !== "WATCH") return false;
    /** @type {string[]} */
    const asked = site.log.at(-1)?.match(/[^ =]+@\S+/g) ?? [];
    if (asked.includes("bad@example.com")) socket.say(`${line.tag} 400 :malformed`);
    else {
      for (const one of asked) socket.say(`${line.tag} 100 ima=${one} state=away`);
      socket.say(`${line.tag} 200`);
    }
    return true;
  };
  const { client } = connect(site, { handlers: { presence: p => { shown.push(`${p.address} ${p.state}`); } } });
  await site.until(() => client.status === "online");
  const all = ["a@example.com", "b@example.com", "bad@example.com", "c@example.com"];
  await assert.rejects(client.watch(all), { status: 400 });
  assert.deepEqual(shown.sort(), ["a@example.com away", "b@example.com away", "bad@example.com unknown", "c@example.com away"]);
  site.sockets[0].close();
  await site.until(() => client.status === "waiting");
  client.wake();
  await site.until(() => client.status === "online");
  assert.match(site.log.at(-1) ?? "", / WATCH ima=a@example.com ima=b@example.com ima=c@example.com$/);
  await client.stop();
});

test("a node that does not answer LISTEN or WATCH is left", async t => {
  for (const verb of ["LISTEN", "WATCH"]) {
    const site = new Site();
    const { client } = connect(site);
    await site.until(() => client.status === "online");
    await client.watch(["bob@example.com"]);
    site.script = (_, line) => line.verb === verb;
    site.log.length = 0;
    site.sockets[0].close();
    await site.until(() => client.status === "waiting");
    t.mock.timers.enable({ apis: ["setTimeout"] });
    client.wake();
    t.mock.timers.tick(0);
    await site.until(() => site.log.some(l => l.split(" ")[1] === verb));
    t.mock.timers.tick(60_000);
    await site.until(() => !site.sockets[1].open && client.status === "waiting");
    t.mock.timers.reset();
    await client.stop();
  }
});

test("a request that does not fit in a line is not sent", async () => {
  const site = new Site();
  const { client } = connect(site);
  await site.until(() => client.status === "online");
  const to = Array.from({ length: 64 }, (_, i) => `${"x".repeat(60)}${i}@example.com`);
  const report = await client.send(to, textEntity("x"));
  assert.deepEqual(new Set(report.results.map(r => r.status)), new Set([413]));
  await assert.rejects(client.watch([`${"x".repeat(5000)}@example.com`]), { status: 413 });
  await assert.rejects(client.setState("away", "x".repeat(5000)), { status: 413 });
  assert.equal((await client.send(["bob@example.com"], new Uint8Array(10_000))).results[0].status, 200);
  assert.ok(site.log.every(l => l.length < 4096));
  await client.stop();
});

test("wake does not cut the time that the server asks to wait", async t => {
  const site = new Site();
  site.script = (socket, line) => {
    if (line.verb !== "HELLO") return false;
    socket.say(`${line.tag} 429 retry=60`);
    return true;
  };
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const { client } = connect(site, { random: () => 1 });
  await site.until(() => client.status === "waiting");
  t.mock.timers.tick(59_999);
  client.wake();
  await new Promise(resolve => setImmediate(resolve));
  assert.equal(site.sockets.length, 1);
  t.mock.timers.tick(1);
  await site.until(() => site.sockets.length === 2);
  await site.until(() => client.status === "waiting");
  t.mock.timers.tick(60_000); // without wake there is jitter in addition
  await new Promise(resolve => setImmediate(resolve));
  assert.equal(site.sockets.length, 2);
  await client.stop();
  t.mock.timers.reset();
});

test("a MOVE waits as long as the server asks before it tries again", async t => {
  const site = new Site();
  const { client } = connect(site);
  await site.until(() => client.status === "online");
  site.script = (socket, line) => {
    if (line.verb !== "HELLO") return false;
    socket.say(`${line.tag} 429 retry=20`);
    return true;
  };
  t.mock.timers.enable({ apis: ["setTimeout"] });
  site.sockets[0].say("* MOVE within=30");
  await site.until(() => site.sockets.length === 2 && !site.sockets[1].open);
  for (let i = 0; i < 10; i++) await new Promise(resolve => setImmediate(resolve));
  t.mock.timers.tick(20_000);
  for (let i = 0; i < 10; i++) await new Promise(resolve => setImmediate(resolve));
  assert.equal(site.sockets.length, 2);
  t.mock.timers.tick(500);
  await site.until(() => site.sockets.length === 3);
  t.mock.timers.reset();
  await client.stop();
});

test("what changes during a MOVE holds at the new connection", async () => {
  const site = new Site();
  const { client } = connect(site);
  await site.until(() => client.status === "online");
  await client.watch(["bob@example.com", "carol@example.com"]);
  /** @type {(() => void)[]} */
  const held = [];
  site.script = (socket, line) => {
    if (line.verb !== "WATCH" || socket !== site.sockets[1] || held.length) return false;
    held.push(() => void socket.answer(line));
    return true;
  };
  site.sockets[0].say("* MOVE within=30");
  await site.until(() => held.length === 1);
  await client.setState("busy", "moving");
  await client.watch(["dave@example.com"]);
  await client.unwatch(["carol@example.com"]);
  site.log.length = 0;
  held[0]();
  await site.until(() => site.log.some(l => / WATCH /.test(l)) && !site.sockets[0].open);
  assert.deepEqual(site.log.map(l => l.replace(/^\S+ /, "")).filter(l => l !== "QUIT"), ["STATE state=busy note=moving", "UNWATCH ima=carol@example.com", "WATCH ima=dave@example.com"]);
  await client.stop();
});

test("a state whose answer comes after a MOVE holds at the new connection", async () => {
  const site = new Site();
  const { client } = connect(site);
  await site.until(() => client.status === "online");
  /** @type {(() => void)[]} */
  const held = [];
  site.script = (socket, line) => {
    if (socket !== site.sockets[0] || line.verb !== "UNLISTEN" && line.verb !== "QUIT") return false;
    held.push(() => void socket.answer(line));
    return true;
  };
  const done = client.unlisten();
  site.sockets[0].say("* MOVE within=30");
  await site.until(() => held.length === 2);
  assert.match(site.log.at(-1) ?? "", / QUIT$/);
  for (const answer of held) answer();
  await done;
  assert.deepEqual([client.listening, site.log.at(-1)?.split(" ")[1]], [false, "UNLISTEN"]);
  await client.stop();
});

test("an interim response of a later version is not final", async () => {
  const site = new Site();
  site.script = (socket, line) => {
    if (line.verb === "SEND") socket.say(`${line.tag} 102 :wait`);
    return false;
  };
  const { client } = connect(site);
  await site.until(() => client.status === "online");
  assert.equal((await client.send(["bob@example.com"], textEntity("x"))).results[0].status, 200);
  await client.stop();
});

test("the address is what the server says it is", async () => {
  const site = new Site();
  const { client } = connect(site, { address: "Alice@example.com" });
  await site.until(() => client.status === "online");
  assert.equal(client.address, "alice@example.com");
  await client.stop();
});
