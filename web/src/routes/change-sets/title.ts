import type { ChangeSet } from "../../api/types";

/** What a change set is for, in a line. */
export function titleOf({ note }: ChangeSet): string {
  const [line = ""] = note.split("\n");
  return line === "" ? "without a note" : line;
}
