import { Text } from "@mantine/core";

import type { Range } from "../api/types";
import { E164 } from "./E164";

/** Ranges of other members with some of the same numbers, as both members and the operator see them. */
export function Conflicts({ range: { conflicts } }: { range: Range }) {
  return conflicts.map(({ member_id, member_name, prefix, precedes }) => (
    <Text size="xs" c={precedes ? "red" : undefined} className={precedes ? undefined : "quiet"} key={`${member_id} ${prefix}`}>
      {precedes ? "In its way: " : "Claimed as well: "}
      {member_name}, <E164>{prefix}</E164>
    </Text>
  ));
}
