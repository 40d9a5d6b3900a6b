import type { AdvanceLists } from "../../api/types";

/** After which failures a call goes on, in a form: numbers with commas; with both fields empty the rule of the hub holds. */
export type AdvanceFields = { statuses: string; causes: string };

function numbersOf(text: string): number[] {
  return text.split(/[\s,;]+/).filter(Boolean).map(Number);
}

export function advanceOf({ statuses, causes }: AdvanceFields): AdvanceLists | null {
  const lists = { statuses: numbersOf(statuses), causes: numbersOf(causes) };
  return lists.statuses.length + lists.causes.length === 0 ? null : lists;
}

/** What is wrong with a field, or null: the API judges the numbers themselves. */
export function numbersFault(text: string): string | null {
  return numbersOf(text).every(Number.isInteger) ? null : "Write whole numbers, with commas between them";
}

/** For people: `after 486, 503 or Q.850 34`; empty where the rule of the hub holds. */
export function advanceText(lists: AdvanceLists | null): string {
  if (lists === null) {
    return "";
  }
  const statuses = lists.statuses ?? [];
  const causes = (lists.causes ?? []).map((cause) => `Q.850 ${cause}`);
  const all = [...statuses, ...causes];
  return all.length === 0 ? "after no response" : `after ${all.join(", ")}`;
}

export function advanceFields(lists: AdvanceLists | null): AdvanceFields {
  const text = (numbers: number[] | undefined) => (numbers ?? []).join(", ");
  return { statuses: text(lists?.statuses), causes: text(lists?.causes) };
}
