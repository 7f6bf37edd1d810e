import type { Channel, EntryPage, Member, Role } from "./openapi.ts";
import type { Request, Operation, Rest, Result } from "./rest.ts";

export interface CallsEvents {
  /** Before the call's promise resolves, so that a new channel is known when its creator goes on. */
  opened(channel: Channel): void;
  left(channelId: string): void;
  readMembers(channelId: string, members: Member[]): void;
  readEntries(channelId: string, page: EntryPage): void;
}

export interface Position {
  beforeSeq?: number;
  afterSeq?: number;
  aroundSeq?: number;
  limit?: number;
}

/** The REST calls that an app makes itself, by name. Each throws a `NaruError`. */
export class Calls {
  constructor(
    private readonly rest: Rest,
    private readonly userId: string,
    private readonly events: CallsEvents,
  ) {}

  /** A direct channel that exists already is returned as it is. */
  async createChannel(kind: Channel["kind"], memberIds: string[], name?: string): Promise<Channel> {
    const body = { kind, memberIds, ...(name === undefined ? {} : { name }) };
    const channel = await this.rest.call("post /channels", { body });
    this.events.opened(channel);
    return channel;
  }

  channel(channelId: string): Promise<Channel> {
    return this.rest.call("get /channels/{channelId}", { path: { channelId } });
  }

  renameChannel(channelId: string, name: string): Promise<Channel> {
    return this.rest.call("patch /channels/{channelId}", { path: { channelId }, body: { name } });
  }

  /** A page of a channel's log; the newest without a position. */
  async history(channelId: string, position: Position = {}): Promise<EntryPage> {
    const request = { path: { channelId }, query: { ...position } };
    const page = await this.rest.call("get /channels/{channelId}/messages", request);
    this.events.readEntries(channelId, page);
    return page;
  }

  /** All members, by user id. */
  async members(channelId: string): Promise<Member[]> {
    const members: Member[] = [];
    let cursor: string | undefined;
    do {
      const query = { limit: 1_000, cursor };
      const page = await this.rest.call("get /channels/{channelId}/members", { path: { channelId }, query });
      members.push(...page.members);
      cursor = page.nextCursor ?? undefined;
    } while (cursor);
    this.events.readMembers(channelId, members);
    return members;
  }

  /** Returns those who were no members before. */
  async addMembers(channelId: string, userIds: string[]): Promise<string[]> {
    const request = { path: { channelId }, body: { userIds } };
    return (await this.rest.call("post /channels/{channelId}/members", request)).added;
  }

  setRole(channelId: string, userId: string, role: Role): Promise<Member> {
    const path = { channelId, userId };
    return this.rest.call("patch /channels/{channelId}/members/{userId}", { path, body: { role } });
  }

  async removeMember(channelId: string, userId: string): Promise<void> {
    await this.rest.call("delete /channels/{channelId}/members/{userId}", { path: { channelId, userId } });
    // The server tells nobody of their own leaving.
    if (userId === this.userId) this.events.left(channelId);
  }

  /** Any other call of the OpenAPI document. */
  call<Name extends Operation>(name: Name, request: Request<Name>): Promise<Result<Name>> {
    return this.rest.call(name, request);
  }
}
