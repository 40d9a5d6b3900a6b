// What to paste into a switch so that it meets the exchange as an endpoint.
import { Button, CopyButton, Group, Loader, Select, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { Endpoint, Switch } from "../../api/types";
import { Icon } from "../../parts/Icon";
import { ProblemNote } from "../../parts/ProblemNote";

const SWITCHES: { value: Switch; label: string }[] = [
  { value: "asterisk", label: "Asterisk (PJSIP)" },
  { value: "freeswitch", label: "FreeSWITCH" },
  { value: "kamailio", label: "Kamailio" },
  { value: "opensips", label: "OpenSIPS" },
  { value: "baresip", label: "baresip, to try it out" },
];

export function Configuration({ memberId, endpoint }: { memberId: string; endpoint: Endpoint }) {
  const usual = SWITCHES.find(({ value }) => value === endpoint.policy.profile)?.value ?? "asterisk";
  const [chosen, setChosen] = useState<Switch>(usual);
  const { data, error, isPending } = useQuery({
    queryKey: ["configuration", endpoint.endpoint_id, chosen],
    queryFn: () =>
      answer(
        api.GET("/api/v1/members/{member_id}/endpoints/{endpoint_id}/configuration", {
          params: { path: { member_id: memberId, endpoint_id: endpoint.endpoint_id }, query: { switch: chosen } },
        }),
      ),
    gcTime: 0,
  });
  return (
    <Stack>
      <Select
        label="Switch"
        data={SWITCHES}
        allowDeselect={false}
        value={chosen}
        onChange={(value) => value && setChosen(value)}
        maw={320}
      />
      <Text size="sm" className="quiet">
        Made of the endpoint as it is stored and of the exchange's addresses. Read it before you use it; what your switch already has is
        yours to keep.
      </Text>
      {endpoint.tech_prefix && (
        <Text size="sm">
          Calls of this endpoint bear its tech-prefix: <strong className="mono">{endpoint.tech_prefix}</strong> before the called
          number, as in <span className="mono">{endpoint.tech_prefix}442079460000</span>. Without it a call is refused, since others send from
          the same address. Calls to your switch come without it.
        </Text>
      )}
      {endpoint.request_domain && (
        <Text size="sm">
          Calls of this endpoint bear its request domain: <strong className="mono">{endpoint.request_domain}</strong> as the host of the
          Request-URI. Kamailio and OpenSIPS are told so below; to others say it where they dial.
        </Text>
      )}
      {error && <ProblemNote problem={problemOf(error)} />}
      {isPending && <Loader size="sm" role="status" aria-label="Loading" />}
      {data?.files.map(({ name, text }) => (
        <section key={name} aria-label={name}>
          <Group justify="space-between" mb={4}>
            <strong className="mono">{name}</strong>
            <CopyButton value={text}>
              {({ copied, copy }) => (
                <Button
                  variant="default"
                  size="compact-sm"
                  onClick={copy}
                  leftSection={<Icon name={copied ? "check" : "copy"} size={14} />}
                  aria-label={`Copy ${name}`}
                >
                  {copied ? "Copied" : "Copy"}
                </Button>
              )}
            </CopyButton>
          </Group>
          <pre className="file" tabIndex={0}>
            {text}
          </pre>
        </section>
      ))}
    </Stack>
  );
}
