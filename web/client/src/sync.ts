import type { Inbox } from "./inbox.ts";
import type { Rest } from "./rest.ts";

/** Cursors in one call; the contract's limit. */
const MAX_CHANNELS = 1_000;
/** Entries for each channel in one answer; the contract's limit. */
const PAGE = 200;

export interface Synced {
  /** Channels that the user is in and the inbox does not know. */
  newChannels: string[];
  /** Channels that were asked for and that the user is no longer in. */
  goneChannels: string[];
}

/**
 * Reads what these channels are missing by `POST /sync`, page by page, into the inbox. Live entries may come in
 * meanwhile: the inbox holds back what is early and drops what comes twice.
 */
export async function sync(rest: Rest, inbox: Inbox, channelIds: Iterable<string>): Promise<Synced> {
  const known = [...channelIds];
  const newChannels = new Set<string>();
  const goneChannels: string[] = [];
  // Once at least: without a cursor it tells which channels there are.
  for (let start = 0; start === 0 || start < known.length; start += MAX_CHANNELS) {
    let behind = known.slice(start, start + MAX_CHANNELS);
    do {
      const cursors = Object.fromEntries(behind.map((channelId) => [channelId, inbox.cursorOf(channelId) ?? 0]));
      const answer = await rest.call("post /sync", { body: { channels: cursors, limit: PAGE } });
      for (const channelId of answer.newChannels) newChannels.add(channelId);
      behind = behind.filter((channelId) => {
        const page = answer.channels[channelId];
        if (!page) {
          goneChannels.push(channelId);
          return false;
        }
        if (page.removedSeq) inbox.skip(channelId, page.removedSeq);
        inbox.offer(channelId, page.entries);
        // A page without entries that promises more would be asked for for ever.
        return page.hasMore && page.entries.length > 0;
      });
    } while (behind.length > 0);
  }
  return { newChannels: [...newChannels].filter((channelId) => inbox.cursorOf(channelId) === undefined), goneChannels };
}
