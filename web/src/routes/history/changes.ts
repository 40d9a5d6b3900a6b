// What one entry of the history changed, field by field.

type Fields = Record<string, unknown> | null;

export type FieldChange = { field: string; before: string | null; after: string | null };

/** The fields that differ; of an object that was made or removed, all of them. */
export function changesOf(before: Fields, after: Fields): FieldChange[] {
  const fields = new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})]);
  return [...fields]
    .map((field) => ({ field, before: written(before?.[field]), after: written(after?.[field]) }))
    .filter((change) => change.before !== change.after)
    .sort((one, other) => one.field.localeCompare(other.field));
}

function written(value: unknown): string | null {
  if (value === undefined || value === null) return null;
  return typeof value === "string" ? value : JSON.stringify(value);
}
