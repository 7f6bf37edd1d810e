import { type Entry, isMessage } from "@naru/client";
import { Fragment } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { ChannelWindow } from "../model/channel_window.ts";
import type { ChatModel } from "../model/chat_model.ts";
import { Icon } from "../ui/icon.tsx";
import { dayOf, isSameDay } from "../ui/time.ts";
import { MessageView, WaitingMessage } from "./message_view.tsx";
import { useReading } from "./use_reading.ts";

/** This near to the end somebody is taken to read the newest. */
const NEAR_END_PX = 80;
/** Older entries are asked for this far before they are needed. */
const NEAR_START_PX = 600;
/** Messages of one sender within this time stand together. */
const TOGETHER_MS = 5 * 60_000;

export function MessageList({ model, channelId, window }: { model: ChatModel; channelId: string; window: ChannelWindow }) {
  const scroller = useRef<HTMLDivElement>(null);
  const before = useRef({ firstSeq: 0, height: 0, hasPlaced: false });
  // Not before it has been looked at: whoever is at the end has read everything.
  const [isAtEnd, setAtEnd] = useState(false);
  const { entries } = window;
  const waiting = model.outbox.filter((item) => item.channelId === channelId);
  const ownWaiting = waiting.at(-1)?.clientMessageId;
  const isDirect = model.channels.get(channelId)?.kind === "direct";
  const unreadFrom = model.unreadFrom.get(channelId);
  const unseen = isAtEnd ? 0 : entries.filter((entry) => entry.seq > (model.channels.get(channelId)?.readSeq ?? 0)).length;

  useReading(model, channelId, isAtEnd ? window.lastSeq : 0);

  const toEnd = () => {
    const area = scroller.current;
    if (area) area.scrollTop = area.scrollHeight;
  };
  const scrolled = () => {
    const area = scroller.current;
    if (!area) return;
    setAtEnd(area.scrollHeight - area.scrollTop - area.clientHeight < NEAR_END_PX);
    if (area.scrollTop < NEAR_START_PX) void window.loadOlder();
  };

  // Before the browser paints: what somebody looks at stays where it is, whatever comes above or below.
  useLayoutEffect(() => {
    const area = scroller.current;
    if (!area || window.state !== "ready") return;
    const last = before.current;
    if (!last.hasPlaced) {
      const mark = area.querySelector(".unread-mark");
      if (mark) area.scrollTop = (mark as HTMLElement).offsetTop - area.clientHeight / 3;
      else toEnd();
      scrolled();
    } else if (window.firstSeq < last.firstSeq) {
      area.scrollTop += area.scrollHeight - last.height;
    } else if (isAtEnd) {
      window.trim();
      toEnd();
    }
    before.current = { firstSeq: window.firstSeq, height: area.scrollHeight, hasPlaced: true };
  });
  // An own message is what its writer wants to see.
  useLayoutEffect(() => {
    if (ownWaiting) toEnd();
  }, [ownWaiting]);
  // A keyboard on a phone takes half of the room; the end stays in sight.
  useEffect(() => {
    const area = scroller.current;
    if (!area) return;
    const observer = new ResizeObserver(() => isAtEnd && toEnd());
    observer.observe(area);
    return () => observer.disconnect();
  }, [isAtEnd]);

  return (
    <div class={`messages-frame${isDirect ? " is-direct" : ""}`}>
      <div class="messages" ref={scroller} onScroll={scrolled} tabIndex={0} role="region" aria-label="Messages">
        <p class="start" aria-hidden={window.hasOlder}>
          {window.hasOlder ? "\u00a0" : "This is where it begins."}
        </p>
        <ol aria-busy={window.isLoadingOlder}>
          {entries.map((entry, at) => (
            <Fragment key={entry.seq}>
              {!isSameDay(entries[at - 1]?.createdAt ?? "1970", entry.createdAt) && (
                <li class="day">
                  <span>{dayOf(entry.createdAt)}</span>
                </li>
              )}
              {entry.seq === unreadFrom && (
                <li class="unread-mark">
                  <span>New</span>
                </li>
              )}
              <EntryView
                model={model}
                entry={entry}
                previous={entries[at - 1]}
                isAfterMark={entry.seq === unreadFrom}
                isDirect={isDirect}
              />
            </Fragment>
          ))}
          {waiting.map((item, at) => (
            <WaitingMessage
              key={item.clientMessageId}
              item={item}
              isFirst={at === 0 && entries.at(-1)?.senderId !== model.userId}
              onRetry={() => void model.client.retry(item.clientMessageId)}
              onDiscard={() => void model.client.discard(item.clientMessageId)}
            />
          ))}
        </ol>
      </div>
      {!isAtEnd && (
        <button type="button" class="to-end" onClick={toEnd}>
          <Icon name="down" />
          {unseen > 0 ? `${unseen} new` : <span class="hidden">To the newest</span>}
        </button>
      )}
    </div>
  );
}

interface EntryProps {
  model: ChatModel;
  entry: Entry;
  previous: Entry | undefined;
  isAfterMark: boolean;
  isDirect: boolean;
}

function EntryView(props: EntryProps) {
  const { model, entry, previous } = props;
  if (isMessage(entry)) {
    const isOwn = entry.senderId === model.userId;
    const isTogether =
      !props.isAfterMark &&
      previous?.type === "message" &&
      previous.senderId === entry.senderId &&
      isSameDay(previous.createdAt, entry.createdAt) &&
      Date.parse(entry.createdAt) - Date.parse(previous.createdAt) < TOGETHER_MS;
    const state = isOwn ? model.client.messageState(entry) : undefined;
    const showsSender = !isOwn && !isTogether && !props.isDirect;
    return <MessageView entry={entry} isOwn={isOwn} isFirst={!isTogether} showsSender={showsSender} state={state} />;
  }
  const text = describe(entry);
  // A type that this page does not know: skipped, as the contract says.
  return text === undefined ? null : <li class="notice-line">{text}</li>;
}

function describe(entry: Entry): string | undefined {
  const people = (entry.userIds ?? []).join(", ");
  const isSelf = entry.userIds?.length === 1 && entry.userIds[0] === entry.senderId;
  switch (entry.type) {
    case "memberJoined":
      return isSelf ? `${people} joined` : `${entry.senderId} added ${people}`;
    case "memberLeft":
      return isSelf ? `${people} left` : `${entry.senderId} removed ${people}`;
    case "channelRenamed":
      return `${entry.senderId} named this group “${entry.name ?? ""}”`;
    default:
      return undefined;
  }
}
