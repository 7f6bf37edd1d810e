const paths = {
  back: "M15 5l-7 7 7 7",
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  send: "M5 12h13M12.5 6l6 6-6 6",
  people: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20c.6-3.6 3.2-5.5 6.5-5.5s5.9 1.9 6.5 5.5M16 4.5a3.5 3.5 0 0 1 0 6.3M18 14.9c1.9.8 3.1 2.5 3.5 5.1",
  sun: "M12 16.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM12 2v2M12 20v2M4.9 4.9l1.4 1.4M17.7 17.7l1.4 1.4M2 12h2M20 12h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
  system: "M4 5h16v11H4zM9 20h6M12 16v4",
  chart: "M4 19V5M4 19h16M8 15l3.5-4 3 2.5L20 7",
  leave: "M14 4h5v16h-5M10 8l-4 4 4 4M6 12h9",
  down: "M12 5v13M6 12.5l6 6 6-6",
  chat: "M4 5.5h16v11H11l-4 3.5v-3.5H4z",
} as const;

export type IconName = keyof typeof paths;

/** Decoration: whoever uses it says in words what it means. */
export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={paths[name]} />
    </svg>
  );
}

/** The ferry, as on the page's icon. */
export function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect class="logo-ground" width="32" height="32" rx="9" />
      <path class="logo-sail" d="M16 6v9M16 7.5 22 15H16z" />
      <path class="logo-hull" d="M7 17.5h18l-2.6 4.2H9.6z" />
      <path class="logo-water" d="M6 25c1.7 0 1.7-1.2 3.3-1.2S11 25 12.7 25s1.7-1.2 3.3-1.2S17.7 25 19.3 25s1.7-1.2 3.4-1.2S24.3 25 26 25" />
    </svg>
  );
}
