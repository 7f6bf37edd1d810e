import type { MessageEntry, MessageState, OutboxItem } from "@naru/client";
import { useMemo } from "preact/hooks";
import { Avatar } from "../ui/avatar.tsx";
import { timeOf, wholeTimeOf } from "../ui/time.ts";

type Shown = MessageState | OutboxItem["state"];

const words: Record<Shown, string> = {
  queued: "Waiting to be sent",
  sending: "Sending",
  sent: "Sent",
  delivered: "Delivered",
  read: "Read",
  failed: "Not sent",
};

/** Different shapes, not only colours. */
const shapes: Record<Shown, string> = {
  queued: "M10 4.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM10 7v3.2l2 1.3",
  sending: "M10 4.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM10 7v3.2l2 1.3",
  sent: "M4.5 10.5l3.5 3.5 7.5-8",
  delivered: "M1.5 10.5 5 14l7.5-8M9.5 13l1 1L18 6",
  read: "M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15zM6.5 10.2l2.5 2.5 4.5-5",
  failed: "M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15zM10 6v5M10 13.8v.2",
};

export function StateMark({ state }: { state: Shown }) {
  return (
    <span class={`state is-${state}`} title={words[state]}>
      <svg viewBox="0 0 20 20" aria-hidden="true" focusable="false">
        <path d={shapes[state]} />
      </svg>
      <span class="hidden">{words[state]}</span>
    </span>
  );
}

interface Props {
  entry: MessageEntry;
  isOwn: boolean;
  /** The first of several in a row by the same sender. */
  isFirst: boolean;
  showsSender: boolean;
  state: MessageState | undefined;
}

export function MessageView({ entry, isOwn, isFirst, showsSender, state }: Props) {
  // The same element as long as nothing of it changes: a long conversation costs little when one message comes.
  return useMemo(
    () => (
      <li class={`message${isOwn ? " is-own" : ""}${isFirst ? " is-first" : ""}`} data-seq={entry.seq}>
        {showsSender && <Avatar name={entry.senderId} />}
        <div class="bubble">
          <span class={showsSender ? "sender" : "hidden"}>{isOwn ? "You" : entry.senderId}</span>
          <span class="content">{entry.content}</span>
          <span class="meta">
            <time dateTime={entry.createdAt} title={wholeTimeOf(entry.createdAt)}>
              {timeOf(entry.createdAt)}
            </time>
            {state && <StateMark state={state} />}
          </span>
        </div>
      </li>
    ),
    [entry, isOwn, isFirst, showsSender, state],
  );
}

interface WaitingProps {
  item: OutboxItem;
  isFirst: boolean;
  onRetry: () => void;
  onDiscard: () => void;
}

/** One of the outbox: on its way, or refused. */
export function WaitingMessage({ item, isFirst, onRetry, onDiscard }: WaitingProps) {
  const about = `${isFirst ? " is-first" : ""}${item.state === "failed" ? " is-failed" : ""}`;
  return (
    <li class={`message is-own is-waiting${about}`}>
      <div class="bubble">
        <span class="hidden">You: </span>
        <span class="content">{item.content}</span>
        <span class="meta">
          <time dateTime={new Date(item.createdAtMs).toISOString()}>{timeOf(item.createdAtMs)}</time>
          <StateMark state={item.state} />
        </span>
      </div>
      {item.state === "failed" && (
        <p class="failure">
          <span>{item.failure?.message ?? "The server refused it."}</span>
          <button type="button" class="link" onClick={onRetry}>
            Try again
          </button>
          <button type="button" class="link" onClick={onDiscard}>
            Discard
          </button>
        </p>
      )}
    </li>
  );
}
