// A problem as people need it: what happened, what to do, and where to read on.
import { Alert, Anchor, List, Text } from "@mantine/core";
import { Link } from "react-router";

import { sentence, type Problem } from "../api/problem";

/** Codes that the portal itself gives have no page in the registry. */
const WITHOUT_PAGE = new Set(["unreachable", "page_failed", "unexplained"]);

/** `shownFields` are those of a form that show their errors themselves. */
export function ProblemNote({ problem, shownFields = [] }: { problem: Problem; shownFields?: string[] }) {
  const rest = problem.errors.filter(({ field }) => !shownFields.includes(field));
  if (problem.errors.length > 0 && rest.length === 0) {
    return (
      <Text role="alert" size="sm" c="red">
        Not saved: mend the marked {problem.errors.length === 1 ? "field" : "fields"}.
      </Text>
    );
  }
  return (
    <Alert role="alert" color="red" variant="light" title={problem.message} maw={680}>
      {problem.detail && problem.detail !== problem.message && <Text size="sm">{problem.detail}</Text>}
      {rest.length > 0 && (
        <List size="sm" my={4}>
          {rest.map(({ field, message, row }, index) => (
            <List.Item key={index}>
              {row == null ? "" : `Row ${row}, `}
              <span className="mono">{field}</span>: {sentence(message)}
            </List.Item>
          ))}
        </List>
      )}
      {problem.retryAfterS !== null && <Text size="sm">Try again in {problem.retryAfterS} s.</Text>}
      {problem.remedy && <Text size="sm">{problem.remedy}</Text>}
      {!WITHOUT_PAGE.has(problem.code) && (
        <Anchor component={Link} to={`/reasons/${problem.code}`} size="sm">
          About {problem.code}
        </Anchor>
      )}
    </Alert>
  );
}
