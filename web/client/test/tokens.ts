// Unsigned tokens: the fake server believes everybody.
let counter = 0;

export function makeToken(userId: string, ttlSeconds = 3600, nowMs = Date.now()): string {
  counter += 1;
  const payload = { sub: userId, exp: Math.floor(nowMs / 1000) + ttlSeconds, jti: counter };
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${encode({ alg: "none" })}.${encode(payload)}.x`;
}

makeToken.read = (token: string): string => {
  const [, payload = ""] = token.split(".");
  return payload ? (JSON.parse(Buffer.from(payload, "base64url").toString()) as { sub: string }).sub : "";
};
