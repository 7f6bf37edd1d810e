import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { load, save } from "../model/saved.ts";
import { Icon } from "../ui/icon.tsx";

/** The contract's limit, in characters as Unicode counts them. */
const MAX_CHARACTERS = 4_096;
const WARN_FROM = 3_900;
/** A soft keyboard that opens by itself covers what somebody came to read. */
const isTouch = () => matchMedia("(pointer: coarse)").matches;

interface Props {
  channelId: string;
  /** For its label. */
  name: string;
  onSend: (content: string) => void;
  onEscape: () => void;
}

/** Enter sends, Shift+Enter begins a new line. What was begun is still there after a reload. */
export function Composer({ channelId, name, onSend, onEscape }: Props) {
  const key = `draft.${channelId}`;
  const [text, setText] = useState(() => load<string>("session", key) ?? "");
  const field = useRef<HTMLTextAreaElement>(null);
  const characters = [...text].length;
  const canSend = text.trim() !== "" && characters <= MAX_CHARACTERS;

  useEffect(() => {
    if (!isTouch()) field.current?.focus({ preventScroll: true });
  }, []);
  useLayoutEffect(() => {
    const area = field.current;
    if (!area) return;
    // By the style object: a style attribute would need a looser Content-Security-Policy.
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
  }, [text]);

  const write = (next: string) => {
    setText(next);
    save("session", key, next === "" ? undefined : next);
  };
  const send = () => {
    if (!canSend) return;
    onSend(text.trim());
    write("");
    field.current?.focus({ preventScroll: true });
  };
  const pressed = (event: KeyboardEvent) => {
    // While an input method composes, as for Korean, Enter belongs to it.
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      send();
    } else if (event.key === "Escape") {
      onEscape();
    }
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div class="composer-field">
        <textarea
          ref={field}
          rows={1}
          value={text}
          aria-label={`Message to ${name}`}
          aria-describedby="composer-hint"
          placeholder="Write a message"
          enterkeyhint="send"
          onInput={(event) => write(event.currentTarget.value)}
          onKeyDown={pressed}
        />
        <button type="submit" class="send" disabled={!canSend}>
          <Icon name="send" />
          <span class="hidden">Send</span>
        </button>
      </div>
      <p id="composer-hint" class={characters > MAX_CHARACTERS ? "hint error" : "hint"}>
        {characters > WARN_FROM ? `${characters} of ${MAX_CHARACTERS} characters` : "Enter sends · Shift + Enter for a new line"}
      </p>
    </form>
  );
}
