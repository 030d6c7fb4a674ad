// Send sends a message to users of a SIMP site, and repeats it after a doubt.
//
// If the connection is lost, or the time is over, nobody knows whether the
// message was accepted. It is sent again then, at the next node, with the same id
// and the same octets: whoever has accepted it is not shown it twice. The token
// needs the role message:send, with the sender's address.
//
//     node dist/send.js --nodes n1.example.com:7469 --ca ca.crt --token-file token \
//         --sender pager@example.com --to bob@example.com "wake up"

import { randomUUID } from "node:crypto";
import { parseArgs } from "node:util";

import * as grpc from "@grpc/grpc-js";

import type { Outcome__Output } from "./generated/simp/v1/Outcome";
import type { SendRequest } from "./generated/simp/v1/SendRequest";
import type { SendResponse__Output } from "./generated/simp/v1/SendResponse";
import { channelOptions, isStatus, pause, required, simp, siteFlags, siteOf, type Site } from "./nodes";

const delivered = 200;
const inDoubt = 201;

/** Seconds within which the recipients' clients have to accept the message. */
const answer = 10;

/** Milliseconds after which a call is given up: the node answers within answer and a second. */
const deadline = (answer + 5) * 1000;

/** Milliseconds within which a message is repeated: a site knows its id for five minutes. */
const remembered = 240_000;

/** What repeating does not help against. After all else the message is in doubt. */
const refusals = new Set([
  grpc.status.INVALID_ARGUMENT,
  grpc.status.PERMISSION_DENIED,
  grpc.status.UNAUTHENTICATED,
  grpc.status.FAILED_PRECONDITION,
  grpc.status.NOT_FOUND,
  grpc.status.UNIMPLEMENTED,
]);

/**
 * Sends until no recipient is in doubt, or the time for that is over. Returns
 * the outcomes, one for each recipient; none if no node has answered.
 */
async function send(site: Site, request: SendRequest): Promise<Outcome__Output[]> {
  let outcomes: Outcome__Output[] = [];
  const end = Date.now() + remembered;
  for (let attempt = 0; ; attempt++) {
    const node = site.nodes[attempt % site.nodes.length]!;
    try {
      outcomes = (await call(site, node, request)).outcome;
      if (outcomes.every((o) => o.status !== inDoubt)) {
        return outcomes;
      }
      console.error(`${node}: some recipients are in doubt; sending it again`);
    } catch (error) {
      if (!isStatus(error) || refusals.has(error.code)) {
        throw error;
      }
      console.error(`${node}: ${error.message}; sending it again`);
    }
    const wait = Math.min(500 * 2 ** attempt, 10_000);
    if (Date.now() + wait + deadline > end) {
      return outcomes;
    }
    await pause(wait);
  }
}

/** Sends once, at one node. */
function call(site: Site, node: string, request: SendRequest): Promise<SendResponse__Output> {
  const client = new simp.v1.MessageService(node, site.credentials, channelOptions);
  return new Promise<SendResponse__Output>((done, fail) => {
    client.Send(request, { deadline: Date.now() + deadline }, (error, response) => {
      if (error || !response) {
        fail(error ?? new Error("no response"));
      } else {
        done(response);
      }
    });
  }).finally(() => client.close());
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: {
      ...siteFlags,
      sender: { type: "string" },
      to: { type: "string", multiple: true, default: [] },
      id: { type: "string", default: randomUUID() }, // of a message that was in doubt before
    },
    allowPositionals: true,
  });
  const text = required(positionals[0], "the text");
  const outcomes = await send(siteOf(values), {
    from: required(values.sender, "--sender"),
    to: values.to,
    id: values.id, // the same in each attempt
    entity: Buffer.from(`\r\n${text}`), // no header: plain text
    timeout: { seconds: answer },
  });
  if (outcomes.length === 0) {
    console.error(`no node has answered; for five minutes from the first attempt on, try again with --id ${values.id}`);
    return 1;
  }
  for (const o of outcomes) {
    console.log(`${o.to}: ${o.status} ${o.text}`);
  }
  return outcomes.every((o) => o.status === delivered) ? 0 : 1;
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(1);
  },
);
