// Sends the file of an import in parts, from where the exchange has come to.
import { answer, api } from "../../api/client";
import type { Import } from "../../api/types";

/** Octets of one part: it arrives within the minute that a request may take. */
export const PART = 4 * 1024 * 1024;

/** What a part is of a file of `size` octets, from `first` on (RFC 9110, section 14.4). */
export function rangeOf(first: number, size: number): { end: number; header: string } {
  const end = Math.min(first + PART, size);
  return { end, header: `bytes ${first}-${end - 1}/${size}` };
}

/** The same file with the same wishes has the same key, so that an upload that broke off is found again. */
export function keyOf(file: Pick<File, "name" | "size" | "lastModified">, ...wishes: string[]): string {
  return [...wishes, file.size, file.lastModified, encodeURIComponent(file.name)].join("-").slice(0, 200);
}

/** Sends what is missing; tells after each part how far the import has come. */
export async function send(begun: Import, file: Blob, onProgress: (imported: Import) => void): Promise<Import> {
  let imported = begun;
  while (imported.state === "receiving") {
    const first = imported.received_octets;
    const { end, header } = rangeOf(first, file.size);
    // As it is: a part may end within a letter.
    const part = file.slice(first, end);
    imported = await answer(
      api.PUT("/api/v1/members/{member_id}/imports/{import_id}/content", {
        params: { path: { member_id: begun.member_id, import_id: begun.import_id }, header: { "content-range": header } },
        headers: { "content-type": "text/csv" },
        body: "",
        bodySerializer: () => part,
      }),
    );
    onProgress(imported);
    if (imported.state === "receiving" && imported.received_octets === first) throw new Error("A line of the file is too long.");
  }
  return imported;
}
