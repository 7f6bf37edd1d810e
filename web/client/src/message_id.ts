/** A new `clientMessageId`: 128 random bits. `randomUUID` is not there on plain http, nor in React Native. */
export function newMessageId(): string {
  const bytes = new Uint8Array(16);
  if (typeof crypto === "object" && crypto.getRandomValues) crypto.getRandomValues(bytes);
  // It only has to differ from the same user's others in the same channel; nobody gains by guessing it.
  else for (let at = 0; at < bytes.length; at += 1) bytes[at] = Math.random() * 256;
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
