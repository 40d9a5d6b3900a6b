import { Alert, Anchor, Badge, Button, Code, Group, Modal, Select, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDisclosure } from "@mantine/hooks";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { NewToken, Token } from "../../api/types";
import { useSession } from "../../app/session";
import { Confirm } from "../../parts/Confirm";
import { Copyable } from "../../parts/Copyable";
import { DataTable, Empty, type Column } from "../../parts/DataTable";
import { showFieldErrors } from "../../parts/form";
import { Icon } from "../../parts/Icon";
import { useMembers } from "../../parts/members";
import { Page } from "../../parts/Page";
import { usePaged } from "../../parts/paged";
import { ProblemNote } from "../../parts/ProblemNote";
import { Time } from "../../parts/Time";

const DAY_MS = 86_400_000;

/** The API gives tokens for at most one year; a day less leaves room for clocks. */
const LIFETIMES = [
  { value: "30", label: "30 days" },
  { value: "90", label: "90 days" },
  { value: "364", label: "almost a year" },
];

export default function Tokens() {
  const { role } = useSession();
  const [opened, { open, close }] = useDisclosure(false);
  const [revoked, setRevoked] = useState<Token | null>(null);
  const queries = useQueryClient();
  const members = useMembers();
  const list = usePaged({
    key: ["tokens"],
    fetch: (cursor) => answer(api.GET("/api/v1/tokens", { params: { query: { ...(cursor && { cursor }) } } })),
  });
  const revoke = useMutation({
    mutationFn: ({ api_token_id }: Token) => answer(api.DELETE("/api/v1/tokens/{api_token_id}", { params: { path: { api_token_id } } })),
    onSuccess: async () => {
      setRevoked(null);
      await queries.invalidateQueries({ queryKey: ["tokens"] });
    },
  });
  const nameOf = (id: string | null) => members.data?.find(({ member_id }) => member_id === id)?.name ?? "exchange";

  const columns: Column<Token>[] = [
    { header: "Name", cell: ({ name }) => <strong>{name}</strong> },
    ...(role === "operator" ? [{ header: "Acts for", cell: (token: Token) => nameOf(token.member_id) }] : []),
    { header: "Made", cell: ({ created_at }) => <Time>{created_at}</Time> },
    { header: "Last used", cell: ({ last_used_at }) => (last_used_at ? <Time>{last_used_at}</Time> : <span className="quiet">never</span>) },
    { header: "Expires", cell: ({ expires_at }) => <Time>{expires_at}</Time> },
    { header: "State", cell: (token) => <TokenState token={token} /> },
    {
      header: "Change",
      align: "end",
      cell: (token) =>
        token.revoked_at ? null : (
          <Button variant="default" size="compact-xs" onClick={() => setRevoked(token)} aria-label={`Revoke ${token.name}`}>
            Revoke
          </Button>
        ),
    },
  ];
  const make = (
    <Button onClick={open} leftSection={<Icon name="plus" size={15} />}>
      Make a token
    </Button>
  );
  return (
    <Page
      title="Tokens"
      lead={
        <>
          For your own software: it does with the REST API what you do here. The API is described at{" "}
          <Anchor href="/api/openapi.json" size="sm">
            /api/openapi.json
          </Anchor>.
        </>
      }
      actions={make}
    >
      <DataTable
        label="Tokens"
        columns={columns}
        list={list}
        rowKey={({ api_token_id }) => api_token_id}
        empty={
          <Empty title="No token yet" action={make}>
            Make one for each program that calls the API, so that you can revoke it alone.
          </Empty>
        }
      />
      <Modal opened={opened} onClose={close} title="Make a token" closeOnClickOutside={false}>
        <MakeToken onDone={close} />
      </Modal>
      <Confirm
        opened={revoked !== null}
        onClose={() => {
          setRevoked(null);
          revoke.reset();
        }}
        title={`Revoke ${revoked?.name ?? ""}?`}
        action="Revoke"
        pending={revoke.isPending}
        error={revoke.error}
        onConfirm={() => revoked && revoke.mutate(revoked)}
      >
        Programs that use it are refused from now on. It cannot be brought back.
      </Confirm>
    </Page>
  );
}

function TokenState({ token }: { token: Token }) {
  // A page that is open for days shows a token as it was when the page was opened.
  const [now] = useState(Date.now);
  if (token.revoked_at) return <Badge color="red">revoked</Badge>;
  if (Date.parse(token.expires_at) < now) return <Badge color="gray">expired</Badge>;
  return <Badge color="petrol">valid</Badge>;
}

function MakeToken({ onDone }: { onDone: () => void }) {
  const { role } = useSession();
  const members = useMembers();
  const queries = useQueryClient();
  const form = useForm({ initialValues: { name: "", days: "90", member: "" } });
  const make = useMutation({
    mutationFn: ({ name, days, member }: typeof form.values) => {
      const expires_at = new Date(Date.now() + Number(days) * DAY_MS).toISOString();
      return answer(api.POST("/api/v1/tokens", { body: { name: name.trim(), expires_at, ...(member && { member_id: member }) } }));
    },
    onSuccess: () => queries.invalidateQueries({ queryKey: ["tokens"] }),
    onError: (thrown) => showFieldErrors(form, thrown),
  });
  if (make.data) return <Made token={make.data} onDone={onDone} />;
  return (
    <form onSubmit={form.onSubmit((fields) => make.mutate(fields))}>
      <Stack>
        <TextInput
          label="Name"
          description="The program that will use it."
          placeholder="route-sync"
          required
          data-autofocus
          {...form.getInputProps("name")}
        />
        {role === "operator" && (
          <Select
            label="Acts for"
            searchable
            data={[
              { value: "", label: "The exchange (operator)" },
              ...(members.data?.map(({ member_id, display_name }) => ({ value: member_id, label: display_name })) ?? []),
            ]}
            {...form.getInputProps("member")}
          />
        )}
        <Select label="Valid for" data={LIFETIMES} {...form.getInputProps("days")} error={form.errors.expires_at} />
        {make.error && <ProblemNote problem={problemOf(make.error)} shownFields={["name", "expires_at"]} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={make.isPending}>
            Make
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function Made({ token, onDone }: { token: NewToken; onDone: () => void }) {
  return (
    <Stack>
      <Alert color="copper" variant="light" title="Copy it now">
        <Text size="sm">This is the only time that the token is shown. The exchange keeps only its hash.</Text>
      </Alert>
      <Copyable text={token.token} label="the token" />
      <Text size="sm">
        Send it as <Code>Authorization: Bearer {token.token.slice(0, 8)}…</Code> It expires on <Time full>{token.expires_at}</Time>.
      </Text>
      <Group justify="flex-end">
        <Button onClick={onDone}>I have copied it</Button>
      </Group>
    </Stack>
  );
}
