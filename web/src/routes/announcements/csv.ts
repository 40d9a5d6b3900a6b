// Reads a CSV file of announcements for its preview. The hub reads the same file again and has the last word.
import { isPrefix } from "../../format/number";

/** The first line of the file. */
export const HEADER = "prefix,endpoints";

/** Most rows of one file; the API takes no more. */
export const MAX_ROWS = 100_000;

export type Row = {
  /** Line of the file, from 1: the header is line 1. */
  line: number;
  prefix: string;
  endpoints: string[];
  /** What the preview found wrong, if anything. */
  fault: string | null;
};

export type Preview = {
  /** Why the file as a whole cannot be taken. */
  fault: string | null;
  rows: Row[];
  faults: number;
};

const NOTHING = { rows: [], faults: 0 };

export function preview(text: string): Preview {
  const [header, ...lines] = text.replace(/^\uFEFF/, "").split(/\r\n|\n|\r/);
  const named = cells(header ?? "").map((cell) => cell.trim().toLowerCase());
  if (named.join(",") !== HEADER) {
    return { ...NOTHING, fault: `The first line must be "${HEADER}".` };
  }

  const rows: Row[] = [];
  const lineOf = new Map<string, number>();
  for (const [index, line] of lines.entries()) {
    if (line.trim() === "") continue;
    const row = rowOf(line, index + 2);
    const first = lineOf.get(row.prefix);
    if (row.fault === null && first !== undefined) row.fault = `The prefix is on line ${first} already.`;
    if (first === undefined) lineOf.set(row.prefix, row.line);
    rows.push(row);
  }
  if (rows.length === 0) return { ...NOTHING, fault: "The file has no rows." };
  if (rows.length > MAX_ROWS) {
    return { ...NOTHING, fault: `The file has ${rows.length} rows; at most ${MAX_ROWS} fit in one request.` };
  }
  return { fault: null, rows, faults: rows.filter(({ fault }) => fault !== null).length };
}

function rowOf(line: string, number: number): Row {
  const [prefix = "", endpoints = "", ...more] = cells(line).map((cell) => cell.trim());
  const row: Row = {
    line: number,
    prefix,
    endpoints: endpoints.split(/[;\s]+/).filter((name) => name !== ""),
    fault: null,
  };
  if (more.some((cell) => cell !== "")) row.fault = "There are more than two columns; separate endpoints by a semicolon.";
  else if (!isPrefix(prefix.replaceAll(" ", ""))) row.fault = "The prefix must be a plus sign and 1 to 15 digits.";
  else if (row.endpoints.length === 0) row.fault = "No endpoint is named.";
  return row;
}

/** The cells of one line (RFC 4180); a line break inside quotes is not taken. */
function cells(line: string): string[] {
  const found: string[] = [];
  let cell = "";
  let quoted = false;
  for (let at = 0; at < line.length; at++) {
    const char = line.charAt(at);
    if (quoted) {
      if (char !== '"') cell += char;
      else if (line.charAt(at + 1) === '"') cell += line.charAt(++at);
      else quoted = false;
    } else if (char === '"') quoted = true;
    else if (char === ",") {
      found.push(cell);
      cell = "";
    } else cell += char;
  }
  found.push(cell);
  return found;
}
