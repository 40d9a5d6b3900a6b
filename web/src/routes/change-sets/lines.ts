// What a change set announces and withdraws, as it is typed: a prefix on each line, endpoints after it.

export type Announced = { prefix: string; endpoints: string[] };

/** `+44 20 7946 ams-1; ams-2` or `+44207946,ams-1` on each line; the exchange judges what it says. */
export function announcedLines(text: string): Announced[] {
  return withoutBlank(text).map((line) => {
    const [, prefix = "", rest = ""] = /^(\+?[\d ()./-]*\d)?[\s,;]*(.*)$/.exec(line) ?? [];
    return { prefix: prefix.replace(/[ ()./-]/g, ""), endpoints: rest.split(/[;,\s]+/).filter((name) => name !== "") };
  });
}

/** A prefix on each line. */
export function withdrawnLines(text: string): string[] {
  return withoutBlank(text).map((line) => line.replace(/[ ()./-]/g, ""));
}

function withoutBlank(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
}
