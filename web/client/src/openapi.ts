// Written by scripts/generate-types.js from openapi.json; do not edit.

export type AddMembers = {
  userIds: Array<string>;
};

/** Who was added; those who were in already are not listed. */
export type AddedMembers = {
  added: Array<string>;
};

/** A channel as the caller sees it. */
export type Channel = {
  id: string;
  kind: ChannelKind;
  lastMessage?: Entry | null;
  /** `seq` of the newest entry; 0 while there is none. */
  lastSeq: I64;
  memberCount: number;
  /** `null` for a direct channel and for a group without one. */
  name?: string | null;
  /** The caller's read cursor. */
  readSeq: I64;
  /** Messages of others after `readSeq`. */
  unreadCount: number;
  updatedAt: string;
};

export type ChannelKind = "direct" | "group";

export type ChannelPage = {
  channels: Array<Channel>;
  /** Absent on the last page. */
  nextCursor?: string | null;
};

export type Connection = {
  expiresAt: string;
  gateway: string;
  /** Good once, until `expiresAt`, for the caller only. */
  ticket: string;
  /** Where to open the WebSocket; append `?ticket=`. */
  url: string;
};

export type CreateChannel = {
  kind: ChannelKind;
  /** At most 1,000. Of a direct channel: the other participant; the caller may be named too. */
  memberIds: Array<string>;
  /** Of a group. */
  name?: string | null;
  /** For a service: the user that it acts for. */
  senderId?: string | null;
};

/** A device; which kind of target it has, never the target itself. */
export type Device = {
  deviceId: string;
  /** Set once the push service has said that the target is gone; registering it again clears it. */
  disabledAt?: string | null;
  disabledReason?: string | null;
  platform: DevicePlatform;
  /** `installationId` or `registrationToken`. */
  target: string;
  updatedAt: string;
};

export type DevicePlatform = "android" | "ios" | "web";

export type Devices = {
  devices: Array<Device>;
};

/** For the OpenAPI document only: entries write themselves. */
export type Entry = {
  channelId: string;
  /** Of a message, if its sender gave one. */
  clientMessageId?: string | null;
  /** Of a message. */
  content?: string | null;
  createdAt: string;
  id: string;
  /** Of a message. */
  kind?: string | null;
  /** Of a message: the sender's JSON object. */
  metadata?: Record<string, unknown> | null;
  /** Of `channelRenamed`. */
  name?: string | null;
  senderId: string;
  /** Position in the channel's log: from 1, without gaps. */
  seq: number;
  /** `message`, `memberJoined`, `memberLeft` or `channelRenamed`; skip what you do not know. */
  type: string;
  /** Of `memberJoined` and `memberLeft`. */
  userIds?: Array<string> | null;
};

/** Ascending `seq`. */
export type EntryPage = {
  entries: Array<Entry>;
  /** Whether there are more in the direction of paging; with `aroundSeq`, on either side. */
  hasMore: boolean;
  /** Up to here nothing is kept any more. Said when the entries do not begin right after the cursor. */
  removedSeq?: number | null;
};

/** One wrong field and its rule. */
export type FieldError = {
  detail: string;
  field: string;
};

export type MarkRead = {
  /** 0 to the channel's `lastSeq`. */
  seq: I64;
};

export type Member = {
  /** Up to here everything is on at least one device of the member that acks. */
  deliveredSeq: I64;
  joinedAt: string;
  readSeq: I64;
  role: Role;
  userId: string;
};

export type MemberPage = {
  members: Array<Member>;
  /** Absent on the last page. */
  nextCursor?: string | null;
};

/** `{type, title, status, detail, code, requestId, errors?}`. */
export type Problem = {
  code: ProblemCode;
  /** What was wrong with this request, for people. */
  detail: string;
  /** Which fields were wrong; only with `invalid_request`. */
  errors?: Array<FieldError>;
  requestId: string;
  status: number;
  title: string;
  /** Always `about:blank`: `code` says which problem it is. */
  type: string;
};

/** Stable: clients may branch on it. */
export type ProblemCode = "malformed_json" | "unauthorized" | "forbidden" | "not_found" | "channel_not_found" | "method_not_allowed" | "conflict" | "payload_too_large" | "invalid_request" | "rate_limited" | "internal" | "overloaded";

/** Exactly one of the two targets. */
export type PutDevice = {
  /** Firebase installation id, what FCM asks for since 2026. */
  installationId?: string | null;
  platform: DevicePlatform;
  /** The older registration token. */
  registrationToken?: string | null;
};

export type ReadCursor = {
  /** Where the cursor stands now: it never moves back. */
  readSeq: I64;
};

export type RenameChannel = {
  name: string;
};

export type Role = "owner" | "admin" | "member";

/** A message to send. */
export type SendMessage = {
  channelId: string;
  /** The sender's own name for this message: sending it again makes no second one. */
  clientMessageId?: string | null;
  content: string;
  /** `text`, or a word of the application's. */
  kind?: string | null;
  /** Any JSON object of at most 4 KiB; kept byte for byte. */
  metadata?: Record<string, unknown> | null;
  /** For a service: the user that it sends for. */
  senderId?: string | null;
};

export type SetRole = {
  role: Role;
};

export type Sync = {
  /** Cursor by channel id: the highest `seq` up to which the client has everything. At most 1,000. */
  channels: Record<string, number>;
  /** Entries for each channel, 1 to 200; 100 when absent. With many channels fewer are sent, and `hasMore` says so. */
  limit?: number | null;
};

export type Synced = {
  /** Those of the named channels that the caller is in. */
  channels: Record<string, EntryPage>;
  /** The caller's channels that were not named. */
  newChannels: Array<string>;
};

export type I64 = number;

/** Every REST call, by method and path. */
export interface Operations {
  /** List my channels, latest activity first. */
  "get /channels": { path: undefined; query: { limit?: string | number | undefined; cursor?: string | number | undefined }; body: undefined; result: ChannelPage };
  /** Create a channel. */
  "post /channels": { path: undefined; query: undefined; body: CreateChannel; result: Channel };
  /** Show one channel. */
  "get /channels/{channelId}": { path: { channelId: string }; query: undefined; body: undefined; result: Channel };
  /** Rename a group (owner, admin). */
  "patch /channels/{channelId}": { path: { channelId: string }; query: undefined; body: RenameChannel; result: Channel };
  /** List the members, by user id. */
  "get /channels/{channelId}/members": { path: { channelId: string }; query: { limit?: string | number | undefined; cursor?: string | number | undefined }; body: undefined; result: MemberPage };
  /** Add members to a group (owner, admin). */
  "post /channels/{channelId}/members": { path: { channelId: string }; query: undefined; body: AddMembers; result: AddedMembers };
  /** Change a member's role (owner). */
  "patch /channels/{channelId}/members/{userId}": { path: { channelId: string; userId: string }; query: undefined; body: SetRole; result: Member };
  /** Remove a member, or leave. */
  "delete /channels/{channelId}/members/{userId}": { path: { channelId: string; userId: string }; query: undefined; body: undefined; result: undefined };
  /** Read a channel's log. */
  "get /channels/{channelId}/messages": { path: { channelId: string }; query: { beforeSeq?: string | number | undefined; afterSeq?: string | number | undefined; aroundSeq?: string | number | undefined; limit?: string | number | undefined }; body: undefined; result: EntryPage };
  /** Move my read cursor forward. */
  "put /channels/{channelId}/read": { path: { channelId: string }; query: undefined; body: MarkRead; result: ReadCursor };
  /** Get a gateway and a ticket. */
  "post /connect": { path: undefined; query: undefined; body: undefined; result: Connection };
  /** List my devices. */
  "get /devices": { path: undefined; query: undefined; body: undefined; result: Devices };
  /** Register a device, or give it another target. */
  "put /devices/{deviceId}": { path: { deviceId: string }; query: undefined; body: PutDevice; result: Device };
  /** Remove a device. */
  "delete /devices/{deviceId}": { path: { deviceId: string }; query: undefined; body: undefined; result: undefined };
  /** Does the process live? */
  "get /livez": { path: undefined; query: undefined; body: undefined; result: undefined };
  /** Should this server be sent traffic? */
  "get /readyz": { path: undefined; query: undefined; body: undefined; result: undefined };
  /** Send a message. */
  "post /send/message": { path: undefined; query: undefined; body: SendMessage; result: Entry };
  /** Read what was missed. */
  "post /sync": { path: undefined; query: undefined; body: Sync; result: Synced };
}
