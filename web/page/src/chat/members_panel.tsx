import { type Channel, type Member, NaruError } from "@naru/client";
import { useEffect, useRef, useState } from "preact/hooks";
import type { ChatModel } from "../model/chat_model.ts";
import { go } from "../model/route.ts";
import { Avatar } from "../ui/avatar.tsx";
import { Icon } from "../ui/icon.tsx";
import { splitNames } from "./new_conversation.tsx";

interface Props {
  model: ChatModel;
  channel: Channel;
  onClose: () => void;
}

/** Who is in, and what may be changed by whom: the server decides, the panel offers what it would allow. */
export function MembersPanel({ model, channel, onClose }: Props) {
  const [members, setMembers] = useState<Member[] | undefined>();
  const [error, setError] = useState("");
  const [isLeaving, setLeaving] = useState(false);
  const heading = useRef<HTMLHeadingElement>(null);
  const version = model.membersVersion.get(channel.id) ?? 0;
  const role = members?.find(({ userId }) => userId === model.userId)?.role;
  const isGroup = channel.kind === "group";
  const manages = isGroup && (role === "owner" || role === "admin");

  useEffect(() => heading.current?.focus(), []);
  useEffect(() => {
    model.client.calls.members(channel.id).then(setMembers, (thrown: Error) => setError(thrown.message));
  }, [channel.id, version]);

  const attempt = async (work: () => Promise<unknown>) => {
    setError("");
    try {
      await work();
      setMembers(await model.client.calls.members(channel.id));
      return true;
    } catch (thrown) {
      setError(thrown instanceof NaruError ? thrown.message : String(thrown));
      return false;
    }
  };
  const leave = async () => {
    setError("");
    try {
      await model.client.calls.removeMember(channel.id, model.userId);
      go("#/");
    } catch (thrown) {
      setError(thrown instanceof NaruError ? thrown.message : String(thrown));
    }
  };

  return (
    <aside class="panel" aria-labelledby="panel-title" onKeyDown={(event) => event.key === "Escape" && onClose()}>
      <header class="bar">
        <h2 id="panel-title" ref={heading} tabIndex={-1}>
          {isGroup ? "Group" : "Conversation"}
        </h2>
        <button type="button" class="icon-button" onClick={onClose}>
          <Icon name="close" />
          <span class="hidden">Close members</span>
        </button>
      </header>
      <div class="panel-body">
        {manages && (
          <OneField
            key={`name ${channel.name ?? ""}`}
            id="rename"
            label="Name"
            start={channel.name ?? ""}
            action="Rename"
            onSubmit={(name) => attempt(() => model.client.calls.renameChannel(channel.id, name))}
          />
        )}
        <h3>{members ? `${members.length} ${members.length === 1 ? "member" : "members"}` : "Members"}</h3>
        <ul class="members">
          {members?.map((member) => (
            <li key={member.userId}>
              <Avatar name={member.userId} />
              <span class="member-name">
                {member.userId}
                {member.userId === model.userId && <span class="quiet"> (you)</span>}
              </span>
              {isGroup && member.role !== "member" && <span class="role">{member.role}</span>}
              {manages && member.userId !== model.userId && (role === "owner" || member.role === "member") && (
                <button
                  type="button"
                  class="icon-button small"
                  onClick={() => void attempt(() => model.client.calls.removeMember(channel.id, member.userId))}
                >
                  <Icon name="close" />
                  <span class="hidden">Remove {member.userId}</span>
                </button>
              )}
            </li>
          ))}
        </ul>
        {manages && (
          <OneField
            id="add"
            label="Add people"
            start=""
            action="Add"
            placeholder="dave, erin"
            onSubmit={(text) => attempt(() => model.client.calls.addMembers(channel.id, splitNames(text)))}
          />
        )}
        <p class="error" role="alert">
          {error}
        </p>
        {isGroup &&
          (isLeaving ? (
            <div class="confirm" role="group" aria-label="Leave this group?">
              <p>Leave this group? Somebody else has to add you again.</p>
              <button type="button" class="danger" onClick={() => void leave()}>
                Leave
              </button>
              <button type="button" onClick={() => setLeaving(false)}>
                Stay
              </button>
            </div>
          ) : (
            <button type="button" class="quiet-button" onClick={() => setLeaving(true)}>
              <Icon name="leave" />
              Leave the group
            </button>
          ))}
      </div>
    </aside>
  );
}

interface OneFieldProps {
  id: string;
  label: string;
  start: string;
  action: string;
  placeholder?: string;
  onSubmit: (text: string) => Promise<boolean>;
}

function OneField({ id, label, start, action, placeholder, onSubmit }: OneFieldProps) {
  const [text, setText] = useState(start);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (await onSubmit(text.trim())) setText(start === "" ? "" : text.trim());
  };
  return (
    <form class="one-field" onSubmit={(event) => void submit(event)}>
      <label for={id}>{label}</label>
      <div class="field-row">
        <input
          id={id}
          value={text}
          autocomplete="off"
          {...(placeholder === undefined ? {} : { placeholder })}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <button type="submit" disabled={text.trim() === "" || text.trim() === start}>
          {action}
        </button>
      </div>
    </form>
  );
}
