import { useEffect, useRef, useState } from "preact/hooks";
import type { ChatModel } from "../model/chat_model.ts";
import { Avatar } from "../ui/avatar.tsx";
import { Icon } from "../ui/icon.tsx";
import { Composer } from "./composer.tsx";
import { MembersPanel } from "./members_panel.tsx";
import { MessageList } from "./message_list.tsx";

interface Props {
  model: ChatModel;
  channelId: string;
  onEscape: () => void;
}

/** One channel: its log, what is being written, and its members on demand. */
export function Conversation({ model, channelId, onEscape }: Props) {
  const [hasPanel, setPanel] = useState(false);
  const peopleButton = useRef<HTMLButtonElement>(null);
  const title = useRef<HTMLHeadingElement>(null);
  const channel = model.channels.get(channelId);
  const window = model.windowOf(channelId);
  const isMissing = model.channels.isLoaded && !channel;

  // On a touch screen the composer does not take the focus, but a screen reader should know where it is.
  useEffect(() => {
    if (matchMedia("(pointer: coarse)").matches) title.current?.focus();
  }, []);

  if (isMissing) {
    return (
      <div class="nothing">
        <p>This conversation is not there, or no longer yours.</p>
        <a href="#/">Back to the conversations</a>
      </div>
    );
  }
  const name = channel ? model.nameOf(channel) : "…";
  const closePanel = () => {
    setPanel(false);
    peopleButton.current?.focus();
  };
  const count = channel?.memberCount ?? 0;
  return (
    <>
      <section class="conversation" aria-labelledby="conversation-title">
        <header class="bar">
          <a class="icon-button back" href="#/">
            <Icon name="back" />
            <span class="hidden">Back to the conversations</span>
          </a>
          <Avatar name={name} isGroup={channel?.kind === "group"} />
          <div class="bar-title">
            <h1 id="conversation-title" ref={title} tabIndex={-1}>
              {name}
            </h1>
            <p class="quiet">{channel?.kind === "group" ? `${count} members` : "Direct"}</p>
          </div>
          <button
            type="button"
            class="icon-button"
            ref={peopleButton}
            aria-expanded={hasPanel}
            onClick={() => (hasPanel ? closePanel() : setPanel(true))}
          >
            <Icon name="people" />
            <span class="hidden">Members</span>
          </button>
        </header>
        {window?.state === "failed" ? (
          <div class="nothing">
            <p>The messages could not be read.</p>
            <button type="button" onClick={() => void window.load()}>
              Try again
            </button>
          </div>
        ) : window?.state === "ready" ? (
          <MessageList model={model} channelId={channelId} window={window} />
        ) : (
          <div class="messages-frame" aria-busy="true" />
        )}
        <Composer
          channelId={channelId}
          name={name}
          onSend={(content) => model.send(channelId, content)}
          onEscape={hasPanel ? closePanel : onEscape}
        />
      </section>
      {hasPanel && channel && <MembersPanel model={model} channel={channel} onClose={closePanel} />}
    </>
  );
}
