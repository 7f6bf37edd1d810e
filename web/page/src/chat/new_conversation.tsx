import { NaruError } from "@naru/client";
import { useState } from "preact/hooks";
import { isUserId } from "../model/account.ts";
import type { ChatModel } from "../model/chat_model.ts";
import { go, hrefOf } from "../model/route.ts";
import { Modal } from "../ui/modal.tsx";

/** Starts a direct channel with one name, or a group with several. */
export function NewConversation({ model, onClose }: { model: ChatModel; onClose: () => void }) {
  const [kind, setKind] = useState<"direct" | "group">("direct");
  const [people, setPeople] = useState("");
  const [name, setName] = useState("");
  const [error, setError] = useState("");
  const [isBusy, setBusy] = useState(false);

  const submit = async (event: Event) => {
    event.preventDefault();
    const members = splitNames(people);
    const wrong = members.find((member) => !isUserId(member));
    if (wrong) return setError(`“${wrong}” is no name: letters, digits and _ - . : @ | only.`);
    if (kind === "direct" && members.length !== 1) return setError("One name, please; for more start a group.");
    if (kind === "direct" && members[0] === model.userId) return setError("That is you. Somebody else’s name, please.");
    if (kind === "group" && name.trim() === "") return setError("A group needs a name.");
    setBusy(true);
    try {
      const channel = await model.openChannel(kind, members, kind === "group" ? name.trim() : undefined);
      onClose();
      go(hrefOf(channel.id));
    } catch (thrown) {
      setError(thrown instanceof NaruError ? thrown.message : String(thrown));
      setBusy(false);
    }
  };

  return (
    <Modal title="New conversation" onClose={onClose}>
      <form class="stack" onSubmit={(event) => void submit(event)} novalidate>
        <fieldset class="segments">
          <legend class="hidden">Kind</legend>
          {(["direct", "group"] as const).map((one) => (
            <label key={one}>
              <input type="radio" name="kind" checked={kind === one} onChange={() => setKind(one)} />
              <span>{one === "direct" ? "One person" : "Group"}</span>
            </label>
          ))}
        </fieldset>
        {kind === "group" && (
          <div>
            <label for="group-name">Name of the group</label>
            <input
              id="group-name"
              value={name}
              maxLength={128}
              placeholder="Ferry crew"
              onInput={(event) => setName(event.currentTarget.value)}
            />
          </div>
        )}
        <div>
          <label for="people">{kind === "direct" ? "With whom" : "Who else, with spaces or commas between"}</label>
          <input
            id="people"
            value={people}
            autofocus
            autocomplete="off"
            autocapitalize="none"
            spellcheck={false}
            placeholder={kind === "direct" ? "bob" : "bob, carol"}
            aria-invalid={error !== ""}
            aria-describedby="people-hint"
            onInput={(event) => setPeople(event.currentTarget.value)}
          />
          <p id="people-hint" class={error ? "error" : "hint"} role={error ? "alert" : undefined}>
            {error || "Anybody’s name will do: it waits for them until they come."}
          </p>
        </div>
        <div class="actions">
          <button type="submit" class="primary" disabled={isBusy || (kind === "direct" && people.trim() === "")}>
            Start
          </button>
        </div>
      </form>
    </Modal>
  );
}

export function splitNames(text: string): string[] {
  return [...new Set(text.split(/[\s,;]+/).filter((name) => name !== ""))];
}
