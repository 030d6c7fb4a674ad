// @ts-check
// Another implementation of JWS verifies what simp.js signs, and the other way round.
import assert from "node:assert/strict";
import { test } from "node:test";
import { FlattenedSign, flattenedVerify } from "jose";
import { classify, newDevice, sign } from "../../../../protocol/webchat/files/simp.js";

const text = "Content-Type: text/plain; charset=utf-8\r\n\r\nLunch at noon? \u{1f35c}\r\n", entity = new TextEncoder().encode(text);
const [from, to, id, time] = ["alice@example.com", ["bob@example.org"], "m1", Date.parse("2026-11-30T12:00:00.250Z")];

/** listOf is a list with one key. @param {import("../../../../protocol/webchat/files/simp.js").Device} device */
function listOf({ kid, pair }) {
  const key = { kid, name: "", created: time, signer: "", record: 1, revoked: Infinity, revocation: 0, byOperator: false, verifier: pair.publicKey };
  return { user: from, keys: [key], heads: [""] };
}

test("jose verifies what simp.js signs", async () => {
  const device = await newDevice(), signed = Buffer.from(await sign(device, { from, to, id, time }, entity));
  const end = signed.indexOf("\r\n"), [protectedHeader, signature] = signed.subarray(0, end).toString().replace("SIMP-Signature: ", "").split("..");
  const payload = signed.subarray(end + 2);
  const result = await flattenedVerify({ protected: protectedHeader, payload, signature }, device.pair.publicKey);
  assert.deepEqual(result.protectedHeader, { alg: "EdDSA", kid: device.kid, b64: false, crit: ["b64"], orig: from, dest: to, id, iat: Math.floor(time / 1000) });
  assert.deepEqual(Buffer.from(result.payload), Buffer.from(entity));
  payload[9] ^= 1;
  await assert.rejects(flattenedVerify({ protected: protectedHeader, payload, signature }, device.pair.publicKey), { code: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED" });
});

test("simp.js verifies what jose signs", async () => {
  const device = await newDevice(), header = { alg: "EdDSA", kid: device.kid, b64: false, crit: ["b64"], orig: from, dest: to, id, iat: Math.floor(time / 1000) };
  const jws = await new FlattenedSign(entity).setProtectedHeader(header).sign(device.pair.privateKey);
  assert.equal(jws.payload, "");
  const received = (/** @type {string} */ body) => ({ from, to: to[0], id, time: new Date(time).toISOString(), entity: new TextEncoder().encode(`SIMP-Signature: ${jws.protected}..${jws.signature}\r\n${body}`) });
  const none = { kids: [], head: "" };
  assert.deepEqual(await classify(received(text), to[0], listOf(device), none), { state: "signed", kid: device.kid });
  assert.equal((await classify(received(`${text}.`), to[0], listOf(device), none)).state, "bad");
});
