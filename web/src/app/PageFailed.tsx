// What is shown in place of a page that failed or does not exist.
import { Anchor, Stack, Text, Title } from "@mantine/core";
import { Link, useRouteError } from "react-router";

import { problemOf } from "../api/problem";
import { ProblemNote } from "../parts/ProblemNote";

/** `alone` where no frame with its own main is around it. */
export function PageFailed({ missing = false, alone = false }: { missing?: boolean; alone?: boolean }) {
  const thrown = useRouteError();
  return (
    <Stack component={alone ? "main" : "div"} maw={640} mx="auto" px="md" pt={96}>
      <Title order={1} size="h2">
        {missing ? "There is no such page" : "This page failed"}
      </Title>
      {missing ? (
        <Text>The address may be mistyped, or the page is for another kind of session than yours.</Text>
      ) : (
        <ProblemNote problem={problemOf(thrown)} />
      )}
      <Anchor component={Link} to="/overview">
        Go to the overview
      </Anchor>
    </Stack>
  );
}
