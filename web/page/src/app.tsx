import { useEffect, useState } from "preact/hooks";
import { Chat } from "./chat/chat.tsx";
import { type Account, loadAccount, readTryConfig, saveAccount, type TryConfig } from "./model/account.ts";
import { ChatModel } from "./model/chat_model.ts";
import { go, useRoute } from "./model/route.ts";
import { Operator } from "./operator/operator.tsx";
import { Welcome } from "./welcome.tsx";

/** Which view, and for whom. */
export function App() {
  const route = useRoute();
  const [config, setConfig] = useState<TryConfig | undefined>();
  const [account, setAccount] = useState<Account | undefined>(loadAccount);
  const [model, setModel] = useState<ChatModel | undefined>();
  const [notice, setNotice] = useState<string | undefined>();

  const signOut = (why?: string) => {
    saveAccount(undefined);
    setNotice(why);
    setAccount(undefined);
    go("#/");
  };
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout>;
    // The page can outlive its server, from a cache for instance, and then waits for it.
    const read = () => readTryConfig().then(setConfig, () => (timer = setTimeout(read, 2_000)));
    void read();
    return () => clearTimeout(timer);
  }, []);
  useEffect(() => {
    if (!account) return;
    const next = new ChatModel(account);
    next.client.on("state", (state) => {
      if (state.phase === "offline" && state.reason === "signedOut") {
        signOut("The token is no longer good. Enter again; what was not sent yet is kept.");
      }
    });
    setModel(next);
    return () => {
      setModel(undefined);
      next.close();
    };
  }, [account]);

  if (route.view === "operator") {
    return config ? <Operator isServed={config.operator} /> : <Waiting />;
  }
  if (!account) return config ? <Welcome hasTokens={config.tokens} notice={notice} onEnter={setAccount} /> : <Waiting />;
  if (!model) return <Waiting />;
  return (
    <Chat
      model={model}
      channelId={route.channelId}
      hasOperator={config?.operator ?? false}
      onSignOut={() => signOut()}
    />
  );
}

function Waiting() {
  return <main class="waiting" aria-busy="true" />;
}
