// The portal's own icons: strokes of one weight on a grid of 20.
const STROKES = {
  overview: "M3 11l4-5 4 4 6-7M3 17h14",
  plug: "M7 2v5M13 2v5M5 7h10v3a5 5 0 0 1-10 0zM10 15v3",
  endpoint: "M3 4h14v5H3zM3 11h14v5H3zM6 6.5h.01M6 13.5h.01",
  range: "M4 4v12M16 4v12M4 10h12M8 7.5v5M12 7.5v5",
  announcement: "M4 8v4h3l6 4V4L7 8zM16 7.5a4 4 0 0 1 0 5",
  agreement: "M2 10l4-4 4 3 4-3 4 4M6 6l-1 8 5 3 5-3-1-8",
  club: "M10 7.5a2.2 2.2 0 1 0 0-4.5 2.2 2.2 0 0 0 0 4.5zM4.5 17a2.2 2.2 0 1 0 0-4.5 2.2 2.2 0 0 0 0 4.5zM15.5 17a2.2 2.2 0 1 0 0-4.5 2.2 2.2 0 0 0 0 4.5zM8.9 7.3L5.6 12.6M11.1 7.3l3.3 5.3M6.7 14.8h6.6",
  call: "M4 3h3.5l1.5 4-2 1.5a10 10 0 0 0 4.5 4.5L13 11l4 1.5V16a1.5 1.5 0 0 1-1.5 1.5C9 17.5 2.5 11 2.5 4.5A1.5 1.5 0 0 1 4 3z",
  trace: "M4 2v16M16 2v16M4 6h11M12.5 4L15 6l-2.5 2M16 13H5M7.5 11L5 13l2.5 2",
  lookup: "M9 15A6 6 0 1 0 9 3a6 6 0 0 0 0 12zM13.5 13.5L18 18",
  token: "M12.5 11.5a4 4 0 1 0-4-4c0 .5.1 1 .3 1.5L2.5 15.3V17.5H6V15.5h2V13.5l1.5-1.5M13.5 6.5h.01",
  member: "M10 10a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM3.5 17.5c.5-3.5 3-5 6.5-5s6 1.5 6.5 5",
  history: "M3 10a7 7 0 1 0 2-5L3 7M3 3v4h4M10 6v4.5l3 1.5",
  node: "M10 2l7 4v8l-7 4-7-4V6zM3 6l7 4 7-4M10 10v8",
  sun: "M10 13.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM10 2v1.5M10 16.5V18M2 10h1.5M16.5 10H18M4.3 4.3l1.1 1.1M14.6 14.6l1.1 1.1M4.3 15.7l1.1-1.1M14.6 5.4l1.1-1.1",
  moon: "M16.5 11.5A7 7 0 0 1 8.5 3.5a7 7 0 1 0 8 8z",
  leave: "M8 3H4v14h4M8 10h9M13.5 6.5L17 10l-3.5 3.5",
  check: "M4 10.5l4 4 8-9",
  cross: "M5 5l10 10M15 5L5 15",
  copy: "M7 7h10v10H7zM3 13V3h10",
  plus: "M10 4v12M4 10h12",
  arrow: "M4 10h12M11 5l5 5-5 5",
  upload: "M10 13V3M6 7l4-4 4 4M3 13v4h14v-4",
  wait: "M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM10 6v4l2.5 2",
} as const;

export type IconName = keyof typeof STROKES;

/** Decoration beside a text that says the same; never the only label. */
export function Icon({ name, size = 17 }: { name: IconName; size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 20 20"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.5"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      <path d={STROKES[name]} />
    </svg>
  );
}
