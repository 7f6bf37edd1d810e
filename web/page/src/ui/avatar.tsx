const COLOURS = 8;

/** The same colour for the same name, on every device. */
function colourOf(name: string): number {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  return hash % COLOURS;
}

/** Beside a name in words, so it is decoration. */
export function Avatar({ name, isGroup = false }: { name: string; isGroup?: boolean }) {
  // The first letter of a person's name, of a group's first two words.
  const words = name.match(/[\p{L}\p{N}]+/gu) ?? ["?"];
  const initials = words.slice(0, isGroup ? 2 : 1).map((word) => [...word][0]).join("");
  return (
    <span class={`avatar colour-${colourOf(name)}${isGroup ? " is-group" : ""}`} aria-hidden="true">
      {initials.toUpperCase()}
    </span>
  );
}
