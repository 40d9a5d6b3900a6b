// What stands behind a verified range, in words.
import type { Range } from "../api/types";

const KINDS: Record<NonNullable<Range["verified_by"]>, string> = {
  document: "the operator's word",
  regulator: "the regulator's file",
  certificate: "an STI certificate",
  challenge: "a challenge call",
};

/** By which evidence the range is verified, or `null` where it is not. */
export function verifiedBy({ verified_by }: Range): string | null {
  return verified_by && `by ${KINDS[verified_by]}`;
}
