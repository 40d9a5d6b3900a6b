// What is announced around a number or prefix: whether each announcement counts, and whose calls it gets.
import { Anchor, Table, Text } from "@mantine/core";
import { Link } from "react-router";

import { sentence } from "../../api/problem";
import type { Glass as GlassAnswer, Seen } from "../../api/types";
import { count } from "../../format/time";
import { E164 } from "../../parts/E164";
import { Section } from "../../parts/Page";
import { SeenBadge } from "../../parts/State";

export function Glass({ glass, isOperator }: { glass: GlassAnswer; isOperator: boolean }) {
  const lead = isOperator
    ? "Every announcement above, at and beneath it, and the members whose calls each one gets."
    : "The member's own announcements above, at and beneath it, and those of others that get its calls.";
  return (
    <Section title="Announced around it" lead={lead}>
      <div className="table-frame">
        {glass.announcements.length === 0 ? (
          <Text size="sm" className="quiet" p="md">
            Nothing {isOperator ? "is announced" : "that concerns the member is announced"} above, at or beneath <E164>{glass.of}</E164>.
          </Text>
        ) : (
          <Table aria-label="Announcements">
            <Table.Thead>
              <Table.Tr>
                {["Prefix", "Member", "State", "Gets calls from"].map((header) => (
                  <Table.Th key={header} scope="col">
                    {header}
                  </Table.Th>
                ))}
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {glass.announcements.map((seen) => (
                <Row key={seen.announcement_id} seen={seen} />
              ))}
            </Table.Tbody>
          </Table>
        )}
      </div>
      <Text size="xs" className="quiet figures" mt={4}>
        Route table {count(glass.table_version)}
        {glass.has_more && ". There is more beneath it; look at a longer prefix."}
      </Text>
    </Section>
  );
}

function Row({ seen }: { seen: Seen }) {
  const { kind, prefix, member_name, reason, reaches, reaches_count } = seen;
  const more = (reaches_count ?? reaches.length) - reaches.length;
  return (
    <Table.Tr>
      <Table.Td>
        <E164>{prefix}</E164>
        {kind === "transit" && (
          <Text size="xs" className="quiet">
            transit
          </Text>
        )}
      </Table.Td>
      <Table.Td>{member_name}</Table.Td>
      <Table.Td>
        <SeenBadge accepted={seen.accepted} isIdle={reason !== null} />
        {reason && (
          <Text size="sm" mt={4} maw="34rem">
            {sentence(reason.sentence)}{" "}
            <span className="quiet">
              {reason.remedy}{" "}
              <Anchor component={Link} to={`/reasons/${reason.code}`} size="sm">
                {reason.code}
              </Anchor>
            </span>
          </Text>
        )}
      </Table.Td>
      <Table.Td>
        {reaches.map(({ member_name }) => member_name).join(", ") || "nobody"}
        {more > 0 && ` and ${count(more)} more`}
      </Table.Td>
    </Table.Tr>
  );
}
