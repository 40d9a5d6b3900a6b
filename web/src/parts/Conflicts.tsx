import { Text } from "@mantine/core";

import type { Range } from "../api/types";
import { E164 } from "./E164";

/** Who else has, or is said to have, some of the numbers of a range, as both members and the operator see it. */
export function Conflicts({ range: { conflicts, allocated_to_others } }: { range: Range }) {
  return (
    <>
      {conflicts.map(({ member_id, member_name, prefix, precedes }) => (
        <Text size="xs" fw={precedes ? 600 : undefined} className={precedes ? undefined : "quiet"} key={`${member_id} ${prefix}`}>
          {precedes ? "In its way: " : "Claimed as well: "}
          {member_name}, <E164>{prefix}</E164>
        </Text>
      ))}
      {allocated_to_others.map(({ list, prefix, holder }) => (
        <Text size="xs" fw={600} key={`${list} ${prefix} ${holder}`}>
          {list}: <E164>{prefix}</E164> is given to {holder}
        </Text>
      ))}
    </>
  );
}
