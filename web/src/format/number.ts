// Writes E.164 numbers and prefixes in the groups people read them in, where the plan leaves no doubt.

/** Widths of the groups after the country code, for numbers that begin with `lead` (country code first). */
type Plan = { lead: string; country: number; groups: number[] };

// Only plans whose groups follow from the first digits; everything else stays plain after the plus sign.
const PLANS: Plan[] = [
  { lead: "1", country: 1, groups: [3, 3, 4] },
  { lead: "33", country: 2, groups: [1, 2, 2, 2, 2] },
  { lead: "316", country: 2, groups: [1, 8] },
  { lead: "3120", country: 2, groups: [2, 3, 4] },
  { lead: "3110", country: 2, groups: [2, 3, 4] },
  { lead: "442", country: 2, groups: [2, 4, 4] },
  { lead: "443", country: 2, groups: [3, 3, 4] },
  { lead: "448", country: 2, groups: [3, 3, 4] },
  { lead: "4411", country: 2, groups: [3, 3, 4] },
  { lead: "447", country: 2, groups: [4, 6] },
  { lead: "34", country: 2, groups: [3, 3, 3] },
  { lead: "45", country: 2, groups: [2, 2, 2, 2] },
  { lead: "48", country: 2, groups: [3, 3, 3] },
  { lead: "351", country: 3, groups: [3, 3, 3] },
  { lead: "352", country: 3, groups: [2, 2, 2, 2] },
];

/**
 * The groups of an E.164 number or prefix, the first with its plus sign: `+44 20 7946 0000`.
 *
 * One group holds the whole text where it is no number, its plan is not known, or it is longer than its plan.
 */
export function groupsOf(text: string): string[] {
  const digits = /^\+?([1-9]\d*)$/.exec(text)?.[1];
  if (digits === undefined) return [text];
  const plain = text.startsWith("+") ? text : `+${digits}`;
  const plan = PLANS.find(({ lead }) => digits.startsWith(lead));
  if (!plan) return [plain];
  const longest = plan.groups.reduce((sum, width) => sum + width, plan.country);
  if (digits.length > longest) return [plain];

  const groups = [`+${digits.slice(0, plan.country)}`];
  let at = plan.country;
  for (const width of plan.groups) {
    if (at >= digits.length) break;
    groups.push(digits.slice(at, at + width));
    at += width;
  }
  return groups;
}

/** The plain digits, with the plus sign, of whatever people type: spaces, dashes, brackets, a leading 00. */
export function plainNumber(typed: string): string {
  const kept = typed.trim().replace(/[\s().\-/]/g, "");
  if (/^00[1-9]\d*$/.test(kept)) return `+${kept.slice(2)}`;
  if (/^[1-9]\d*$/.test(kept)) return `+${kept}`;
  return kept;
}

/** Whether it reads as an E.164 prefix: a plus sign and 1 to 15 digits, the first not 0. */
export function isPrefix(text: string): boolean {
  return /^\+[1-9]\d{0,14}$/.test(text);
}
