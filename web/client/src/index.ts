export type { Calls, Position } from "./calls.ts";
export { NaruClient, type NaruEvents } from "./client.ts";
export type { Clock } from "./clock.ts";
export { closeCode } from "./close_codes.ts";
export type { Environment } from "./environment.ts";
export { IndexedDbStorage } from "./indexeddb_storage.ts";
export type { Operations } from "./openapi.ts";
export type { NaruOptions } from "./options.ts";
export type { Draft } from "./outbox.ts";
export { NaruError, type ErrorKind } from "./problem.ts";
export type { WebSocketConstructor, WebSocketLike } from "./session.ts";
export { type ClientStorage, MemoryStorage } from "./storage.ts";
export { readClaims, type TokenCallback, type TokenReason } from "./tokens.ts";
export {
  type Channel,
  type ChannelKind,
  type ConnectionState,
  type Entry,
  type EntryPage,
  type EphemeralFrame,
  isMessage,
  type Member,
  type MessageEntry,
  type MessageState,
  type OutboxItem,
  type Receipt,
  type Role,
} from "./types.ts";
