// Says in words what the numbering plans know of a number or of all numbers with a prefix.
import type { Numbering } from "../api/types";

/** Countries that are named one by one; more are counted. */
const NAMED = 3;

/** Types that are named one by one; a prefix with more is not yet of any type. */
const TYPES = 2;

const REGIONS = new Intl.DisplayNames(["en"], { type: "region" });

/** Where numbers lie and what they are: `United Kingdom, fixed line`. */
export function describeNumbering({ country_code, countries, types }: Numbering): string {
  const where =
    countries.length > NAMED
      ? `+${country_code}, shared by ${countries.length} countries`
      : countries.map((country) => (country === "001" ? "international" : (REGIONS.of(country) ?? country))).join(" or ");
  if (types.length > TYPES) return `${where}, several types`;
  return `${where}, ${types.map((type) => type.replaceAll("_", " ")).join(" or ")}`;
}
