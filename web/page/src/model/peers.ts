import type { Channel, NaruClient } from "@naru/client";
import { load, save } from "./saved.ts";

const AT_ONCE = 4;

/**
 * Whom each direct channel is with. A channel does not tell, but its members do, and those of a direct channel never
 * change: each is asked for once.
 */
export class Peers {
  readonly #known: Map<string, string>;
  readonly #queue: string[] = [];
  #running = 0;

  constructor(
    private readonly client: NaruClient,
    private readonly changed: () => void,
  ) {
    this.#known = new Map(Object.entries(load<Record<string, string>>("local", this.#key) ?? {}));
  }

  of(channelId: string): string | undefined {
    return this.#known.get(channelId);
  }

  /** Without a call where something else has told it. */
  note(channelId: string, userId: string): void {
    if (userId === this.client.userId || this.#known.get(channelId) === userId) return;
    this.#known.set(channelId, userId);
    save("local", this.#key, Object.fromEntries(this.#known));
    this.changed();
  }

  want(channel: Channel): void {
    if (channel.kind !== "direct" || this.#known.has(channel.id) || this.#queue.includes(channel.id)) return;
    if (channel.lastMessage) this.note(channel.id, channel.lastMessage.senderId);
    if (this.#known.has(channel.id)) return;
    this.#queue.push(channel.id);
    void this.#work();
  }

  async #work(): Promise<void> {
    if (this.#running >= AT_ONCE) return;
    this.#running += 1;
    for (let channelId = this.#queue.shift(); channelId; channelId = this.#queue.shift()) {
      try {
        const other = (await this.client.calls.members(channelId)).find(({ userId }) => userId !== this.client.userId);
        if (other) this.note(channelId, other.userId);
      } catch {
        // Asked again when the channel is looked at.
      }
    }
    this.#running -= 1;
  }

  get #key(): string {
    return `peers.${this.client.userId}`;
  }
}
