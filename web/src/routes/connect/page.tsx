import { Alert, List, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { Listener } from "../../api/types";
import { Copyable } from "../../parts/Copyable";
import { DataTable, Empty, type Column } from "../../parts/DataTable";
import { Page, Section } from "../../parts/Page";
import { ProblemNote } from "../../parts/ProblemNote";
import { socketOf, uriOf } from "./listener";

export function useListeners() {
  return useQuery({
    queryKey: ["connect"],
    queryFn: () => answer(api.GET("/api/v1/connect")),
    staleTime: 60_000,
  });
}

const COLUMNS: Column<Listener>[] = [
  { header: "Site", cell: ({ site }) => site },
  { header: "Send calls to", cell: (listener) => <Copyable text={uriOf(listener)} label="the SIP address" /> },
  { header: "Address and port", cell: (listener) => <Copyable text={socketOf(listener)} label="address and port" /> },
  { header: "Transport", cell: ({ transport }) => transport.toUpperCase() },
];

export default function Connect() {
  const { data, error } = useListeners();
  return (
    <Page title="Where to connect" lead="The addresses at which the exchange takes calls from members, and from which it sends calls to them.">
      {error && !data && <ProblemNote problem={problemOf(error)} />}
      <DataTable
        label="Listeners"
        columns={COLUMNS}
        list={{ items: data?.listeners, error, page: 1, forward: null, back: null }}
        rowKey={(listener) => `${listener.site} ${uriOf(listener)}`}
        empty={
          <Empty title="No listener is known yet">
            They appear when the operator has started a node. Until then you can prepare everything else.
          </Empty>
        }
      />
      <Section title="In your firewall">
        <List size="sm" spacing={6} maw="46rem">
          <List.Item>Let SIP out to, and in from, each address and port above, in the transport that you use.</List.Item>
          <List.Item>
            Calls come from the same addresses. Answers and requests within a call go to the address they came from, so keep both directions open.
          </List.Item>
          <List.Item>
            Voice (RTP) flows between the members themselves, not through the exchange: let in the ports that your own switch offers in SDP.
          </List.Item>
        </List>
      </Section>
      <Section title="In your switch">
        <List size="sm" spacing={6} maw="46rem">
          <List.Item>
            Send the called number internationally, as in <span className="mono">sip:+442079460000@…;user=phone</span>.
          </List.Item>
          <List.Item>
            Send from an address that is a source of one of your endpoints. The exchange knows you by it; no registration and no password is needed.
          </List.Item>
          <List.Item>
            Over TLS, show a certificate instead, of an authority that the exchange trusts and with a name that one of your endpoints lists: then your
            address may change. The exchange shows its own to your switch.
          </List.Item>
          <List.Item>
            Answer <span className="mono">OPTIONS</span>, keep <span className="mono">Max-Forwards</span>, and do not send a call back to the exchange for the same number.
          </List.Item>
        </List>
      </Section>
      <Alert color="gray" variant="light" maw={680}>
        <Text size="sm">A message from an address that no endpoint has as its source is dropped without an answer.</Text>
      </Alert>
    </Page>
  );
}
