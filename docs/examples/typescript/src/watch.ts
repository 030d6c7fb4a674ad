// Watch prints who is reachable on a SIMP site, and each change of it.
//
// It goes on at the next node when one fails, after the change that it has seen
// last: nothing is missed, and nothing comes twice. The token needs the role
// presence:read.
//
//     node dist/watch.js --nodes n1.example.com:7469,n2.example.com:7469 --ca ca.crt --token-file token

import { parseArgs } from "node:util";

import type { Position } from "./generated/simp/v1/Position";
import type { WatchResponse__Output } from "./generated/simp/v1/WatchResponse";
import { channelOptions, isStatus, pause, simp, siteFlags, siteOf, type Site } from "./nodes";

/** Milliseconds without a response after which a node is given up: it sends progress every 10 s. */
const silence = 15_000;

/** Milliseconds between two attempts. */
const retry = 500;

/** Follows the changes of a domain's users, "" being all. */
class Follower {
  /** Where to go on; undefined: with the present state. */
  private position: Position | undefined;

  constructor(
    private readonly site: Site,
    private readonly domain: string,
  ) {}

  /** Watches at one node until it fails, and goes on at the next. */
  async run(): Promise<never> {
    for (;;) {
      for (const node of this.site.nodes) {
        await this.watch(node).catch((error: unknown) => {
          console.error(`${node}: ${isStatus(error) ? error.message : String(error)}; going on at the next node`);
        });
        await pause(retry);
      }
    }
  }

  private async watch(node: string): Promise<void> {
    const client = new simp.v1.PresenceService(node, this.site.credentials, channelOptions);
    const stream = client.Watch({ domain: this.domain, after: this.position ?? null });
    const timer = setTimeout(() => stream.cancel(), silence);
    try {
      for await (const response of stream as AsyncIterable<WatchResponse__Output>) {
        timer.refresh();
        this.tell(response);
      }
    } finally {
      clearTimeout(timer);
      client.close();
    }
  }

  /** Prints a response, and keeps where to go on after it. */
  private tell(response: WatchResponse__Output): void {
    switch (response.event) {
      case "presence": {
        const user = response.presence!;
        const state = user.state.replace(/^STATE_/, "").toLowerCase();
        console.log(`${user.ima} ${state} ${user.note}`.trimEnd());
        break;
      }
      case "synced":
        console.log("all others are deaf");
        break;
      case "reset":
        console.log(`all over again: ${response.reset!.reason}`);
        this.position = undefined;
        return;
    }
    this.position = response.position ?? this.position;
  }
}

const { values } = parseArgs({ options: { ...siteFlags, domain: { type: "string", default: "" } } });
process.on("SIGINT", () => process.exit(0));
void new Follower(siteOf(values), values.domain).run();
