import type { Entry } from "./openapi.ts";
import type { NaruError } from "./problem.ts";

export type { Channel, ChannelKind, Device, Entry, EntryPage, Member, Role } from "./openapi.ts";

/** An entry of type `message`. */
export interface MessageEntry extends Entry {
  type: "message";
  kind: string;
  content: string;
}

export function isMessage(entry: Entry): entry is MessageEntry {
  return entry.type === "message";
}

/** Where the connection stands. `nextTryAtMs` is in milliseconds since 1970. */
export type ConnectionState =
  | { phase: "connecting" }
  | { phase: "online"; sessionId: string; gatewayId: string; isCaughtUp: boolean }
  | { phase: "waiting"; nextTryAtMs: number; attempts: number }
  /** `nextTryAtMs` is absent when nothing is tried until somebody acts. */
  | { phase: "offline"; reason: "stopped" | "network" | "signedOut"; nextTryAtMs?: number };

/** A message on its way out. */
export interface OutboxItem {
  clientMessageId: string;
  channelId: string;
  content: string;
  kind?: string;
  metadata?: Record<string, unknown>;
  /** Milliseconds since 1970, by this device's clock. */
  createdAtMs: number;
  /** Grows with each item: the order in which they were written. */
  position: number;
  /** `sent`: stored by the server, its entry is about to come. `failed`: refused for good, see `failure`. */
  state: "queued" | "sending" | "sent" | "failed";
  seq?: number;
  failure?: { message: string; status?: number; code?: string };
}

/** What has become of an own message that the server has stored. */
export type MessageState = "sent" | "delivered" | "read";

/** One channel's cursors of its other participants; `deliveredSeq` where the server tells it. */
export interface Receipt {
  userId: string;
  readSeq: number;
  deliveredSeq: number;
}

/** A frame without `seq`: `read`, `typing`, `presence`, and what a newer server may add. */
export interface EphemeralFrame {
  type: string;
  [field: string]: unknown;
}

export type { NaruError };
