import { useState } from "preact/hooks";
import { type Account, accountOfToken, isUserId, recentNames, requestToken, saveAccount } from "./model/account.ts";
import { Avatar } from "./ui/avatar.tsx";
import { Logo } from "./ui/icon.tsx";
import { ThemeSwitch } from "./ui/theme_switch.tsx";

interface Props {
  /** Whether the server hands out tokens for a name; else one has to be pasted. */
  hasTokens: boolean;
  notice: string | undefined;
  onEnter: (account: Account) => void;
}

/** Who are you? */
export function Welcome({ hasTokens, notice, onEnter }: Props) {
  return (
    <div class="welcome">
      <div class="welcome-corner">
        <ThemeSwitch />
      </div>
      <main class="welcome-card">
        <Logo />
        <h1>Naru</h1>
        <p class="lead">Chat on your own server. Nothing lost.</p>
        {notice && <p class="notice" role="status">{notice}</p>}
        {hasTokens ? <NameForm onEnter={onEnter} /> : <TokenForm onEnter={onEnter} />}
      </main>
      <Waves />
    </div>
  );
}

function NameForm({ onEnter }: Pick<Props, "onEnter">) {
  const [name, setName] = useState("");
  const [error, setError] = useState("");
  const [isBusy, setBusy] = useState(false);
  const names = recentNames();

  const enter = async (userId: string) => {
    if (!isUserId(userId)) return setError("Letters, digits and _ - . : @ | please, 64 at most, no spaces.");
    setBusy(true);
    try {
      // Asked for here once, so that a refusal is told here and not later.
      await requestToken(userId);
      saveAccount({ userId });
      onEnter({ userId });
    } catch (thrown) {
      setError(thrown instanceof Error ? thrown.message : String(thrown));
      setBusy(false);
    }
  };
  const submit = (event: Event) => {
    event.preventDefault();
    void enter(name.trim());
  };
  return (
    <form onSubmit={submit} novalidate>
      <label for="name">Your name</label>
      <div class="field-row">
        <input
          id="name"
          value={name}
          maxLength={64}
          autocomplete="username"
          autocapitalize="none"
          spellcheck={false}
          placeholder="alice"
          aria-invalid={error !== ""}
          aria-describedby="name-hint"
          onInput={(event) => setName(event.currentTarget.value)}
        />
        <button type="submit" class="primary" disabled={isBusy || name.trim() === ""}>
          Enter
        </button>
      </div>
      <p id="name-hint" class={error ? "error" : "hint"} role={error ? "alert" : undefined}>
        {error || "For trying things out: whoever says a name is that person."}
      </p>
      {names.length > 0 && (
        <div class="recent" role="group" aria-label="Names used here before">
          {names.map((one) => (
            <button key={one} type="button" class="chip" disabled={isBusy} onClick={() => void enter(one)}>
              <Avatar name={one} />
              {one}
            </button>
          ))}
        </div>
      )}
    </form>
  );
}

function TokenForm({ onEnter }: Pick<Props, "onEnter">) {
  const [token, setToken] = useState("");
  const [error, setError] = useState("");
  const submit = (event: Event) => {
    event.preventDefault();
    const account = accountOfToken(token);
    if (!account) return setError("That is no token: it should have three parts with dots between them.");
    saveAccount(account);
    onEnter(account);
  };
  return (
    <form onSubmit={submit}>
      <label for="token">Your token</label>
      <textarea
        id="token"
        rows={4}
        value={token}
        autocomplete="off"
        spellcheck={false}
        aria-invalid={error !== ""}
        aria-describedby="token-hint"
        onInput={(event) => setToken(event.currentTarget.value)}
      />
      <p id="token-hint" class={error ? "error" : "hint"} role={error ? "alert" : undefined}>
        {error || "This server takes tokens of your application. It stays in this tab."}
      </p>
      <button type="submit" class="primary" disabled={token.trim() === ""}>
        Enter
      </button>
    </form>
  );
}

function Waves() {
  return (
    <svg class="waves" viewBox="0 0 1200 160" preserveAspectRatio="xMidYMin slice" aria-hidden="true" focusable="false">
      <path d="M0 70c150-50 300-50 450-10s300 40 450 0 200-30 300-10v110H0z" />
      <path d="M0 120c150 0 250-45 450-45s300 45 450 45 200-25 300-35v75H0z" />
    </svg>
  );
}
