// Shows a selection: the answer first, then the order of the candidates, then what was left out.
import { Anchor, Stack, Text, Title } from "@mantine/core";
import { Link } from "react-router";

import type { Selection } from "../api/types";
import { describeNumbering } from "../format/numbering";
import { count } from "../format/time";
import { E164 } from "./E164";
import { explain } from "./explain";

export function Explanation({ selection, tense }: { selection: Selection; tense: "now" | "then" }) {
  const { summary, order, leftOut } = explain(selection, tense);
  return (
    <Stack gap="lg">
      <div>
        <Text fw={550} maw="46rem" data-testid="summary">
          {summary}
        </Text>
        {selection.refusal && (
          <Text size="sm" mt={4} maw="46rem">
            {selection.refusal.remedy}{" "}
            <Anchor component={Link} to={`/reasons/${selection.refusal.code}`} size="sm">
              About {selection.refusal.code}
            </Anchor>
          </Text>
        )}
        <Text size="xs" className="quiet figures" mt={4}>
          {selection.numbering ? describeNumbering(selection.numbering) : "No country is known to have given this number out"}. Route table {count(selection.table_version)}
        </Text>
      </div>
      {order.length > 0 && (
        <div>
          <Title order={3} size="0.95rem" mb="xs">
            {tense === "now" ? "Tried in this order" : "Candidates in their order"}
          </Title>
          <ol className="order">
            {order.map(({ member, endpoint, prefix, transit, endpoints, place }, index) => (
              <li key={index}>
                <span className="quiet figures">{index + 1}</span>
                <Text size="sm">
                  <strong>{member}</strong>
                  {endpoint ? ` at ${endpoint}` : endpoints > 1 ? ` at ${endpoints} endpoints, one after the other` : ""}{transit ? `, ${transit}, by the rate of ` : ", announced as "}
                  <E164>{prefix}</E164>
                  {place && <span className="quiet">; {place}</span>}
                </Text>
              </li>
            ))}
          </ol>
        </div>
      )}
      {leftOut.length > 0 && (
        <div>
          <Title order={3} size="0.95rem" mb="xs">
            Left out
          </Title>
          <ul className="order">
            {leftOut.map(({ what, why, remedy, code }, index) => (
              <li key={index} style={{ gridTemplateColumns: "minmax(0, 1fr)" }}>
                <Text size="sm">
                  <strong>{what}</strong>
                </Text>
                <Text size="sm">
                  {why}{" "}
                  <span className="quiet">
                    {remedy}{" "}
                    <Anchor component={Link} to={`/reasons/${code}`} size="sm">
                      {code}
                    </Anchor>
                  </span>
                </Text>
              </li>
            ))}
          </ul>
        </div>
      )}
    </Stack>
  );
}
