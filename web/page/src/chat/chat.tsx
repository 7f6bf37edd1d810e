import { useEffect, useRef, useState } from "preact/hooks";
import type { ChatModel } from "../model/chat_model.ts";
import { go } from "../model/route.ts";
import { useStore } from "../model/store.ts";
import { Icon, Logo } from "../ui/icon.tsx";
import { ThemeSwitch } from "../ui/theme_switch.tsx";
import { ChannelListView } from "./channel_list_view.tsx";
import { ConnectionLine } from "./connection_line.tsx";
import { Conversation } from "./conversation.tsx";
import { NewConversation } from "./new_conversation.tsx";

interface Props {
  model: ChatModel;
  channelId: string | undefined;
  hasOperator: boolean;
  onSignOut: () => void;
}

/** The list and one conversation; side by side where there is room, one after the other on a phone. */
export function Chat({ model, channelId, hasOperator, onSignOut }: Props) {
  useStore(model);
  const [isStarting, setStarting] = useState(false);
  const nav = useRef<HTMLElement>(null);

  useEffect(() => model.open(channelId), [model, channelId]);
  // Looking at something else than the chat is looking at no channel.
  useEffect(() => () => model.open(undefined), [model]);
  const { unreadCount } = model.channels;
  useEffect(() => {
    document.title = unreadCount > 0 ? `(${unreadCount}) Naru` : "Naru";
  }, [unreadCount]);
  // The channel that is open is no longer the user's: back to the list.
  const isGone = channelId !== undefined && model.channels.isLoaded && !model.channels.get(channelId);
  const wasThere = useRef(false);
  useEffect(() => {
    if (isGone && wasThere.current) go("#/");
    wasThere.current = channelId !== undefined && !isGone && model.channels.isLoaded;
  }, [isGone, channelId, model.channels.isLoaded]);

  const toList = () => {
    if (matchMedia("(max-width: 719px)").matches) go("#/");
    else nav.current?.querySelector<HTMLElement>('a[tabindex="0"]')?.focus();
  };
  return (
    <div class={`chat${channelId === undefined ? " shows-list" : " shows-conversation"}`}>
      <nav class="sidebar" aria-label="Conversations" ref={nav}>
        <header class="bar">
          <Logo />
          <div class="bar-title">
            <p class="brand">Naru</p>
            <p class="quiet" data-user={model.userId}>
              {model.userId}
            </p>
          </div>
          {hasOperator && (
            <a class="icon-button" href="#/operator" title="Operator">
              <Icon name="chart" />
              <span class="hidden">Operator view</span>
            </a>
          )}
          <ThemeSwitch />
          <button type="button" class="icon-button" onClick={onSignOut} title="Sign out">
            <Icon name="leave" />
            <span class="hidden">Sign out</span>
          </button>
        </header>
        <div class="sidebar-action">
          <button type="button" class="wide" onClick={() => setStarting(true)}>
            <Icon name="plus" />
            New conversation
          </button>
        </div>
        <ChannelListView model={model} openId={channelId} />
      </nav>
      <main class="main">
        {channelId === undefined ? (
          <div class="nothing">
            <Icon name="chat" />
            <p>Choose a conversation, or start one.</p>
          </div>
        ) : (
          <Conversation key={channelId} model={model} channelId={channelId} onEscape={toList} />
        )}
      </main>
      <ConnectionLine state={model.state} onTryNow={() => model.client.tryNow()} />
      <p class="hidden" aria-live="polite">
        {model.announcement}
      </p>
      {isStarting && <NewConversation model={model} onClose={() => setStarting(false)} />}
    </div>
  );
}
