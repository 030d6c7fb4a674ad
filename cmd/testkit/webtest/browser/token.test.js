// @ts-check
// Sign in with an OAuth token, from a provider that is played here.
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { SignJWT, exportJWK } from "jose";
import { Site, launch, look, openPage } from "./site.js";

const erin = "erin@example.com", { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const site = new Site();
/** @type {import("playwright-core").Browser} */
let browser;
let issuer = "";
const provider = createServer(async (request, response) => {
  const keys = { keys: [{ ...await exportJWK(publicKey), kid: "1", alg: "ES256", use: "sig" }] };
  const configuration = { issuer, jwks_uri: `${issuer}/keys`, authorization_endpoint: `${issuer}/auth`, token_endpoint: `${issuer}/token`, id_token_signing_alg_values_supported: ["ES256"], response_types_supported: ["code"], subject_types_supported: ["public"] };
  response.setHeader("Content-Type", "application/json").end(JSON.stringify(request.url === "/keys" ? keys : configuration));
});

before(async () => {
  browser = await launch();
  provider.listen(0, "127.0.0.1");
  await once(provider, "listening");
  issuer = `http://127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (provider.address()).port}`;
  const file = join(site.dir, "accounts.yaml");
  writeFileSync(file, `sources:\n  login:\n    type: oidc\n    issuer: ${issuer}\n    audience: simp\n    client_id: simp\ndomains:\n  example.com: [login, table]\n`);
  await site.start(1, `--accounts-file=${file}`);
});

after(async () => {
  await browser.close();
  await site.stop();
  provider.close();
});

/** tokenFor returns an access token that ends in some seconds. @param {number} seconds */
function tokenFor(seconds) {
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({ email: erin, email_verified: true }).setProtectedHeader({ alg: "ES256", kid: "1" }).setIssuer(issuer).setAudience("simp")
    .setSubject("erin").setIssuedAt(now - 60).setExpirationTime(now + seconds).sign(privateKey);
}

test("a token signs in where the site takes tokens, and its end is said", async () => {
  const { page, faults, context } = await openPage(browser, site.nodes[0].page, { bypassCSP: true });
  page.setDefaultTimeout(30_000);
  const form = page.getByRole("form", { name: "Sign in" }), other = form.getByRole("button", { name: "Sign in with a token" });
  await form.getByLabel("Address").waitFor();
  assert.equal(await other.isVisible(), false);
  const enter = async (/** @type {string} */ token) => {
    await form.getByLabel("Address").fill(erin);
    await form.getByLabel("Address").press("Tab");
    await other.click();
    await form.getByLabel("Access token").fill(token);
    await look(page, "token");
    await form.getByRole("button", { name: "Sign in", exact: true }).click();
  };
  await enter(await tokenFor(-30));
  await page.getByText("The token is not valid, or has expired.").waitFor();
  await enter(await tokenFor(8));
  await page.getByRole("heading", { name: erin }).waitFor();
  await page.getByText("The token has expired. Sign in with a new one.").waitFor();
  await form.waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});
