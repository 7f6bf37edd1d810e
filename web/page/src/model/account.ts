import { readClaims } from "@naru/client";
import { load, save } from "./saved.ts";

/** Who uses this tab. With `token` it was pasted; without, the server is asked for one by name. */
export interface Account {
  userId: string;
  token?: string;
}

/** What a server lets people try; a plain api-server has no such page and answers 404. */
export interface TryConfig {
  tokens: boolean;
  operator: boolean;
}

const MAX_RECENT = 4;

/** In the tab's own storage: two tabs are two people, and a reload stays the same one. */
export const loadAccount = () => load<Account>("session", "account");

export function saveAccount(account: Account | undefined): void {
  save("session", "account", account);
  if (!account || account.token) return;
  const others = recentNames().filter((name) => name !== account.userId);
  save("local", "names", [account.userId, ...others].slice(0, MAX_RECENT));
}

export const recentNames = () => load<string[]>("local", "names") ?? [];

export async function readTryConfig(): Promise<TryConfig> {
  const response = await fetch("/try/config");
  if (response.status === 404) return { tokens: false, operator: false };
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  const { tokens, operator } = (await response.json()) as Partial<TryConfig>;
  return { tokens: tokens === true, operator: operator === true };
}

/** A token for trying, for whoever says this name. */
export async function requestToken(name: string): Promise<string> {
  const response = await fetch("/try/token", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name }),
  });
  const answer = (await response.json().catch(() => ({}))) as { token?: string; detail?: string };
  if (!response.ok || !answer.token) throw new Error(answer.detail ?? `The server gave no token (${response.status}).`);
  return answer.token;
}

/** For the client: a name's token can be had again, a pasted one is what it is. */
export function tokenCallback(account: Account): () => Promise<string | null> {
  if (account.token === undefined) return () => requestToken(account.userId);
  let pasted: string | null = account.token;
  return async () => {
    const token = pasted;
    pasted = null;
    return token;
  };
}

export function accountOfToken(token: string): Account | undefined {
  const userId = readClaims(token.trim()).sub;
  return userId === undefined ? undefined : { userId, token: token.trim() };
}

export const isUserId = (text: string) => /^[A-Za-z0-9_\-.:@|]{1,64}$/.test(text);
