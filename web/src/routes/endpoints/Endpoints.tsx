import { Badge, Button, Menu, Modal, Text, UnstyledButton } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { notifications } from "@mantine/notifications";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { Endpoint, EndpointInput } from "../../api/types";
import { Confirm } from "../../parts/Confirm";
import { DataTable, Empty, type Column } from "../../parts/DataTable";
import { Icon } from "../../parts/Icon";
import { usePaged } from "../../parts/paged";
import { Access } from "./Access";
import { Configuration } from "./Configuration";
import { LIVE_MS } from "../../app/queries";
import { EndpointForm } from "./EndpointForm";
import { Health } from "./Health";
import { healthLook } from "./health";
import { REGISTRATION } from "./target";

const KEY = "endpoints";

export function Endpoints({ memberId }: { memberId: string }) {
  const [edited, setEdited] = useState<Endpoint | null>(null);
  const [configured, setConfigured] = useState<Endpoint | null>(null);
  const [shown, setShown] = useState<Endpoint | null>(null);
  const [known, setKnown] = useState<Endpoint | null>(null);
  const [removed, setRemoved] = useState<Endpoint | null>(null);
  const queries = useQueryClient();
  const refresh = () => queries.invalidateQueries({ queryKey: [KEY, memberId] });
  const list = usePaged({
    key: [KEY, memberId],
    liveMs: LIVE_MS,
    fetch: (cursor) =>
      answer(
        api.GET("/api/v1/members/{member_id}/endpoints", {
          params: { path: { member_id: memberId }, query: { ...(cursor && { cursor }) } },
        }),
      ),
  });
  const update = useMutation({
    mutationFn: ({ endpoint_id, body }: { endpoint_id: string; body: EndpointInput }) =>
      answer(
        api.PUT("/api/v1/members/{member_id}/endpoints/{endpoint_id}", {
          params: { path: { member_id: memberId, endpoint_id } },
          body,
        }),
      ),
    onSuccess: refresh,
    onError: (thrown) => {
      const { message, remedy } = problemOf(thrown);
      notifications.show({ color: "red", title: message, message: remedy });
    },
  });
  const remove = useMutation({
    mutationFn: ({ endpoint_id }: Endpoint) =>
      answer(
        api.DELETE("/api/v1/members/{member_id}/endpoints/{endpoint_id}", {
          params: { path: { member_id: memberId, endpoint_id } },
        }),
      ),
    onSuccess: async () => {
      setRemoved(null);
      await refresh();
    },
  });

  const columns: Column<Endpoint>[] = [
    { header: "Name", cell: ({ name }) => <strong>{name}</strong> },
    {
      header: "Sends from",
      cell: ({ sources, tech_prefix, request_domain, certificate_names }) => (
        <>
          {sources.length + certificate_names.length === 0 && <span className="quiet">does not send</span>}
          {sources.map(({ net, port }) => (
            <div key={`${net} ${port ?? ""}`} className="mono">
              {net}
              {port === null ? "" : ` port ${port}`}
            </div>
          ))}
          {tech_prefix && (
            <div>
              <span className="quiet">with</span> <span className="mono">{tech_prefix}</span>
              <span className="quiet"> before the number</span>
            </div>
          )}
          {request_domain && (
            <div>
              <span className="quiet">to</span>{" "}
              <span className="mono" style={{ overflowWrap: "anywhere" }}>
                {request_domain}
              </span>
            </div>
          )}
          {certificate_names.map((name) => (
            <div key={name}>
              <span className="quiet">certificate of</span> <span className="mono">{name}</span>
            </div>
          ))}
        </>
      ),
    },
    {
      header: "Takes calls at",
      cell: ({ target, sites }) => (
        <>
          {target === REGISTRATION ? <div>wherever it registers</div> : <div className="mono">{target}</div>}
          {sites.length > 0 && <div className="quiet">meets the exchange at {sites.join(", ")}</div>}
        </>
      ),
    },
    {
      header: "Priority, weight",
      align: "end",
      cell: ({ priority, weight }) => (
        <span className="figures">
          {priority}, {weight}
        </span>
      ),
    },
    {
      header: "At most",
      cell: ({ max_calls, max_calls_per_second }) => (
        <span className="figures">
          {max_calls === null ? "any number of calls" : `${max_calls} calls`}
          {max_calls_per_second === null ? "" : `, ${max_calls_per_second}/s`}
        </span>
      ),
    },
    {
      header: "State",
      cell: (endpoint) => {
        const { color, text } = healthLook(endpoint);
        return (
          <UnstyledButton onClick={() => setShown(endpoint)} aria-label={`Health of ${endpoint.name}: ${text}`}>
            <Badge color={color} style={{ cursor: "pointer" }}>
              {text}
            </Badge>
          </UnstyledButton>
        );
      },
    },
    {
      header: "Change",
      align: "end",
      cell: (endpoint) => (
        <Menu position="bottom-end">
          <Menu.Target>
            <Button variant="default" size="compact-xs" aria-label={`Change ${endpoint.name}`}>
              Change
            </Button>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Item onClick={() => setEdited(endpoint)}>Edit</Menu.Item>
            <Menu.Item onClick={() => setConfigured(endpoint)}>Configure your switch</Menu.Item>
            <Menu.Item onClick={() => setShown(endpoint)}>Health</Menu.Item>
            <Menu.Item onClick={() => setKnown(endpoint)}>Passwords and registration</Menu.Item>
            <Menu.Item
              onClick={() =>
                update.mutate({ endpoint_id: endpoint.endpoint_id, body: { ...inputOf(endpoint), enabled: !endpoint.enabled } })
              }
            >
              {endpoint.enabled ? "Disable" : "Enable"}
            </Menu.Item>
            <Menu.Item color="red" onClick={() => setRemoved(endpoint)}>
              Delete
            </Menu.Item>
          </Menu.Dropdown>
        </Menu>
      ),
    },
  ];

  return (
    <>
      <DataTable
        label="Endpoints"
        columns={columns}
        list={list}
        rowKey={({ endpoint_id }) => endpoint_id}
        empty={
          <Empty title="No endpoint yet" action={<NewEndpoint memberId={memberId} variant="light" />}>
            An endpoint is one of your switches: the address it sends from, so that the exchange knows you, and the address at which
            it takes calls.
          </Empty>
        }
      />
      <Modal opened={edited !== null} onClose={() => setEdited(null)} title={`Edit ${edited?.name ?? ""}`} size="lg">
        {edited && <EndpointForm memberId={memberId} endpoint={edited} onDone={() => setEdited(null)} />}
      </Modal>
      <Modal opened={configured !== null} onClose={() => setConfigured(null)} title={`Your switch as ${configured?.name ?? ""}`} size="xl">
        {configured && <Configuration memberId={memberId} endpoint={configured} />}
      </Modal>
      <Modal opened={shown !== null} onClose={() => setShown(null)} title={`Health of ${shown?.name ?? ""}`} size="xl">
        {shown && <Health endpoint={shown} />}
      </Modal>
      <Modal opened={known !== null} onClose={() => setKnown(null)} title={`Passwords and registration of ${known?.name ?? ""}`} size="lg">
        {known && <Access memberId={memberId} endpoint={known} />}
      </Modal>
      <Confirm
        opened={removed !== null}
        onClose={() => {
          setRemoved(null);
          remove.reset();
        }}
        title={`Delete ${removed?.name ?? ""}?`}
        action="Delete"
        pending={remove.isPending}
        error={remove.error}
        onConfirm={() => removed && remove.mutate(removed)}
      >
        No further call reaches it. Calls that are up go on. An endpoint that an announcement names cannot be deleted: withdraw or
        change the announcement first, or disable the endpoint.
      </Confirm>
    </>
  );
}

/** The endpoint as it would be sent back unchanged. */
export function inputOf({ name, sources, tech_prefix, request_domain, certificate_names, target, sites, priority, weight, max_calls, max_calls_per_second, enabled, policy }: Endpoint): EndpointInput {
  return { name, sources, tech_prefix, request_domain, certificate_names, target, sites, priority, weight, max_calls, max_calls_per_second, enabled, policy };
}

export function NewEndpoint({ memberId, variant = "filled" }: { memberId: string; variant?: string }) {
  const [opened, { open, close }] = useDisclosure(false);
  return (
    <>
      <Button variant={variant} onClick={open} leftSection={<Icon name="plus" size={15} />}>
        Add an endpoint
      </Button>
      <Modal opened={opened} onClose={close} title="Add an endpoint" size="lg">
        <Text size="sm" className="quiet" mb="md">
          One of your switches, as the exchange sees it.
        </Text>
        <EndpointForm memberId={memberId} onDone={close} />
      </Modal>
    </>
  );
}
