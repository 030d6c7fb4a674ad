// @ts-check
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as simp from "../files/simp.js";

const declarations = readFileSync(new URL("../files/simp.d.ts", import.meta.url), "utf8");

test("simp.d.ts declares what simp.js exports", () => {
  const declared = [...declarations.matchAll(/^export (?:class|function) (\w+)/gm)].map(found => found[1]);
  assert.deepEqual(declared.sort(), Object.keys(simp).sort());
});

test("simp.d.ts declares methods and fields that exist", () => {
  const client = new simp.Client({ url: "ws://test/simp", address: "alice@example.com" });
  const body = /export class Client \{(.*?)^\}/ms.exec(declarations)?.[1] ?? "";
  const members = [...body.matchAll(/^  (?:readonly )?(\w+)[(:]/gm)].map(found => found[1]).filter(name => name !== "constructor");
  assert.ok(members.length > 15);
  for (const name of members) assert.ok(name in client, name);
});
