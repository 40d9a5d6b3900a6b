import { Alert, Anchor, Text } from "@mantine/core";
import { Link } from "react-router";

import type { Audience } from "../../app/paths";
import { useOwnMember } from "../../app/session";
import { Copyable } from "../../parts/Copyable";
import { Page } from "../../parts/Page";
import { socketOf } from "../connect/listener";
import { useListeners } from "../connect/page";
import { Endpoints, NewEndpoint } from "./Endpoints";

export const audience: Audience = "member";

export default function EndpointsPage() {
  const { member_id } = useOwnMember();
  return (
    <Page
      title="Endpoints"
      lead="Your switches: where each sends calls from, and where it takes them."
      actions={<NewEndpoint memberId={member_id} />}
    >
      <Firewall />
      <Endpoints memberId={member_id} />
    </Page>
  );
}

/** Where to point the switch, on the page on which it is entered. */
function Firewall() {
  const { data } = useListeners();
  if (!data || data.listeners.length === 0) return null;
  return (
    <Alert color="petrol" variant="light" title="Point your switch at">
      {data.listeners.map((listener) => (
        <div key={`${listener.site} ${socketOf(listener)} ${listener.transport}`}>
          <Text size="sm" span className="quiet">
            {listener.site}, {listener.transport.toUpperCase()}{" "}
          </Text>
          <Copyable text={socketOf(listener)} label="address and port" />
        </div>
      ))}
      <Text size="sm" mt={4}>
        Open these in your firewall in both directions.{" "}
        <Anchor component={Link} to="/connect" size="sm">
          How to connect
        </Anchor>
      </Text>
    </Alert>
  );
}
