// Clients of the nodes of a SIMP site: over TLS, with a bearer token.

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";

import * as grpc from "@grpc/grpc-js";
import * as protoLoader from "@grpc/proto-loader";

import type { ProtoGrpcType as Messages } from "./generated/message";
import type { ProtoGrpcType as Presences } from "./generated/presence";

// These options are those of `npm run generate`: they decide what types there are.
const definition = protoLoader.loadSync(["simp/v1/message.proto", "simp/v1/presence.proto"], {
  includeDirs: [resolve(__dirname, "../../../../proto")],
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
});

/** The clients of simp.v1, as types and as values. */
export const { simp } = grpc.loadPackageDefinition(definition) as unknown as Messages & Presences;

/** What is needed to call a site. */
export interface Site {
  /** The nodes' listeners for programs, HOST:PORT. */
  nodes: string[];
  credentials: grpc.ChannelCredentials;
}

/** A node that vanishes is noticed in 15 s. */
export const channelOptions: grpc.ChannelOptions = {
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 5_000,
};

/** The flags that siteOf reads, for parseArgs. */
export const siteFlags = {
  nodes: { type: "string" },
  ca: { type: "string" },
  "token-file": { type: "string" },
} as const;

type SiteFlags = ReturnType<typeof parseArgs<{ options: typeof siteFlags }>>["values"];

/** Reads the files that the flags name. */
export function siteOf(flags: SiteFlags): Site {
  const authority = readFileSync(required(flags.ca, "--ca"));
  const token = readFileSync(required(flags["token-file"], "--token-file"), "utf8").trim();
  const bearer = grpc.credentials.createFromMetadataGenerator((_, done) => {
    const metadata = new grpc.Metadata();
    metadata.set("authorization", `Bearer ${token}`);
    done(null, metadata);
  });
  return {
    nodes: required(flags.nodes, "--nodes").split(","),
    credentials: grpc.credentials.combineChannelCredentials(grpc.credentials.createSsl(authority), bearer),
  };
}

/** Returns a flag that has to be given. */
export function required(value: string | undefined, flag: string): string {
  if (!value) {
    throw new Error(`${flag} is missing`);
  }
  return value;
}

/** Waits for so many milliseconds. */
export function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

/** Reports whether an error is a status of gRPC. */
export function isStatus(error: unknown): error is grpc.ServiceError {
  return error instanceof Error && "code" in error && "details" in error;
}
