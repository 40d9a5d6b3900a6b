import { Text } from "@mantine/core";

import type { Numbering } from "../api/types";
import { describeNumbering } from "../format/numbering";
import { E164 } from "./E164";

/** A prefix, and below it in which country its numbers lie and what they are. */
export function Numbers({ prefix, numbering }: { prefix: string; numbering: Numbering | null }) {
  return (
    <div>
      <E164>{prefix}</E164>
      <Text size="xs" className="quiet">
        {numbering ? describeNumbering(numbering) : "no number is known to begin so"}
      </Text>
    </div>
  );
}
