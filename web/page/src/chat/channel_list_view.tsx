import { type Channel, isMessage } from "@naru/client";
import { useRef } from "preact/hooks";
import type { ChatModel } from "../model/chat_model.ts";
import { hrefOf } from "../model/route.ts";
import { Avatar } from "../ui/avatar.tsx";
import { shortTimeOf } from "../ui/time.ts";

interface Props {
  model: ChatModel;
  openId: string | undefined;
}

/** Links, one of which is in the tab order; arrow keys, Home and End go from one to the next. */
export function ChannelListView({ model, openId }: Props) {
  const list = useRef<HTMLUListElement>(null);
  const channels = model.channels.sorted;
  const tabStop = channels.some(({ id }) => id === openId) ? openId : channels[0]?.id;

  const move = (event: KeyboardEvent) => {
    const links = [...(list.current?.querySelectorAll("a") ?? [])];
    const at = links.indexOf(document.activeElement as HTMLAnchorElement);
    const target = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 }[event.key];
    if (target === undefined || at < 0) return;
    event.preventDefault();
    links[Math.min(Math.max(target, 0), links.length - 1)]?.focus();
  };

  if (!model.channels.isLoaded) return <ListSkeleton />;
  if (channels.length === 0) {
    return (
      <p class="empty-list">
        No conversations yet.
        <br />
        Start one with somebody’s name.
      </p>
    );
  }
  return (
    <ul class="channels" ref={list} onKeyDown={move}>
      {channels.map((channel) => (
        <li key={channel.id}>
          <ChannelLink model={model} channel={channel} isOpen={channel.id === openId} isTabStop={channel.id === tabStop} />
        </li>
      ))}
    </ul>
  );
}

function ChannelLink(props: { model: ChatModel; channel: Channel; isOpen: boolean; isTabStop: boolean }) {
  const { model, channel, isOpen, isTabStop } = props;
  const name = model.nameOf(channel);
  return (
    <a
      class={`channel${channel.unreadCount > 0 ? " is-unread" : ""}`}
      href={hrefOf(channel.id)}
      aria-current={isOpen ? "true" : undefined}
      tabIndex={isTabStop ? 0 : -1}
    >
      <Avatar name={name} isGroup={channel.kind === "group"} />
      <span class="channel-name">{name}</span>
      <time class="channel-time" dateTime={channel.updatedAt}>
        {shortTimeOf(channel.updatedAt)}
      </time>
      <span class="channel-last">{preview(model, channel)}</span>
      {channel.unreadCount > 0 && (
        <span class="badge">
          {channel.unreadCount > 99 ? "99+" : channel.unreadCount}
          <span class="hidden"> unread</span>
        </span>
      )}
    </a>
  );
}

function preview(model: ChatModel, channel: Channel): string {
  const waiting = model.outbox.findLast((item) => item.channelId === channel.id);
  if (waiting) return `${waiting.state === "failed" ? "Not sent" : "Sending"}: ${waiting.content}`;
  const last = channel.lastMessage;
  if (!last || !isMessage(last)) return channel.kind === "group" ? `${channel.memberCount} members` : "Say hello";
  const sender = last.senderId === model.userId ? "You: " : channel.kind === "group" ? `${last.senderId}: ` : "";
  return sender + last.content;
}

function ListSkeleton() {
  return (
    <div class="channels is-loading" role="status">
      <span class="hidden">Loading conversations</span>
      {[0, 1, 2].map((at) => (
        <div key={at} class="channel skeleton" aria-hidden="true">
          <span class="avatar" />
          <span class="channel-name" />
          <span class="channel-last" />
        </div>
      ))}
    </div>
  );
}
