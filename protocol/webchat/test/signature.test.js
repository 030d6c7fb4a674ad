// @ts-check
// Signatures: the vectors that package signature has too, and every bit.
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkSignature, classify, fingerprint, foldAddress, fromBase64URL, newDevice, proveContinuity, sign, toBase64, toBase64URL, verifyList } from "../files/simp.js";
import { device, vectors } from "./fake.js";

const octets = (/** @type {string} */ base64) => new Uint8Array(Buffer.from(base64, "base64"));

/** answer returns a list as KEYS answers it. @param {any} list */
const answer = list => ({ status: 200, params: { head: list.head }, text: "", partial: list.lines.map((/** @type {any} */ params) => ({ tag: "1", verb: "", status: 100, params, text: "" })) });
const listOf = (/** @type {string} */ name) => verifyList(vectors.lists[name].user, answer(vectors.lists[name]));

test("fingerprints are those of package signature", () => {
  for (const { kid, fingerprint: want } of vectors.keys) assert.equal(fingerprint(kid), want);
});

test("proofs of continuity have the same octets", async () => {
  for (const { seed, user, key, name, sig } of vectors.proofs) assert.equal(await proveContinuity(await device(seed), user, octets(key), name), sig);
});

test("signed messages have the same octets", async () => {
  for (const { seed, from, to, id, time, entity, signed } of vectors.signed) {
    assert.deepEqual(await sign(await device(seed), { from, to, id, time }, octets(entity)), octets(signed));
  }
});

test("what cannot be verified is not signed", async () => {
  const { seed, from, to, id, time, entity, signed } = vectors.signed[0], by = await device(seed), refused = { message: "this message cannot be signed" };
  await assert.rejects(sign(by, { from, to, id, time }, octets(signed)), refused);
  await assert.rejects(sign(by, { from, to, id, time }, new TextEncoder().encode(" folded: x\r\n\r\n")), refused);
  await assert.rejects(sign(by, { from, to: [], id, time }, octets(entity)), refused);
  await assert.rejects(sign(by, { from, to: Array(65).fill("a@b"), id, time }, octets(entity)), refused);
});

for (const [name, list] of Object.entries(vectors.lists)) {
  test(`the list "${name}" is ${list.wrong ? "refused" : "accepted"}`, async () => {
    if (list.wrong) return void await assert.rejects(listOf(name));
    const { user, heads, keys } = await listOf(name);
    assert.deepEqual([user, heads.at(-1), keys.length], [list.user, list.head, list.lines.length]);
    const shuffled = await verifyList(list.user, answer({ ...list, lines: list.lines.toReversed?.() ?? [...list.lines].reverse() }));
    assert.equal(shuffled.heads.at(-1), list.head);
  });
}

for (const v of vectors.messages) {
  test(`"${v.name}" is ${v.state}`, async () => {
    const m = { from: v.from, to: v.recipient, id: v.id, time: v.time, entity: octets(v.entity) };
    const verdict = await classify(m, v.recipient, v.list ? await listOf(v.list) : undefined, { kids: v.kids, head: v.head });
    assert.equal(verdict.state, v.state, verdict.why);
    assert.equal(verdict.kid, v.kid);
    assert.equal(verdict.why !== undefined, v.state === "bad");
    const early = checkSignature(m, v.recipient);
    assert.ok(!early || early.state === v.state);
  });
}

test("no bit of a signed message can be changed", async () => {
  const v = vectors.messages.find((/** @type {any} */ one) => one.name === "the first contact"), list = await listOf("one"), good = octets(v.entity);
  for (let i = 0; i < good.length; i++) for (let bit = 0; bit < 8; bit++) {
    const entity = good.slice();
    entity[i] ^= 1 << bit;
    const { state } = await classify({ from: v.from, to: v.recipient, id: v.id, time: v.time, entity }, v.recipient, list, { kids: [], head: "" });
    assert.ok(state === "bad" || state === "unsigned", `octet ${i}, bit ${bit}: ${state}`);
  }
});

test("a device signs what others verify, and its private key stays in it", async () => {
  const by = await newDevice();
  assert.equal(by.pair.privateKey.extractable, false);
  await assert.rejects(crypto.subtle.exportKey("pkcs8", by.pair.privateKey));
  assert.equal(fromBase64URL(by.kid).length, 32);
  const entity = await sign(by, { from: "a@b", to: ["c@d"], id: "x", time: 1e12 }, new TextEncoder().encode("\r\nhi"));
  const verifier = by.pair.publicKey, key = { kid: by.kid, name: "", created: 1e12, signer: "", record: 1, revoked: Infinity, revocation: 0, byOperator: false, verifier };
  const m = { from: "A@b", to: "c@d", id: "x", time: new Date(1e12).toISOString(), entity };
  assert.deepEqual(await classify(m, "C@D", { user: "a@b", keys: [key], heads: [""] }, { kids: [], head: "" }), { state: "signed", kid: by.kid });
});

test("addresses are compared as the servers do", () => {
  assert.equal(foldAddress("\u00c9@Example.COM"), foldAddress("e\u0301@example.com"));
  assert.equal(foldAddress("\uff21lice@x"), "alice@x");
  assert.equal(foldAddress("\u03a3@x"), "\u03c3@x");
  assert.equal(foldAddress("A@b@C"), "a@b@c");
});

test("base64url is read as strictly as it is written", () => {
  assert.equal(toBase64URL(new Uint8Array([251, 255])), "-_8");
  assert.equal(toBase64(new Uint8Array([251, 255])), "+/8=");
  for (const bad of ["-_9", "-_8=", "+/8", "-_ 8", "-"]) assert.throws(() => fromBase64URL(bad), Error, bad);
});
