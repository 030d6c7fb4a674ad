// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, Scram, deriveKeys, entityText, entityType, formatLine, newID, outcomeWord, parseLines, preparePassword, stateWord, textEntity } from "../files/simp.js";
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
