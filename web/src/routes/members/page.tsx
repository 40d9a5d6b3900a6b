import { Anchor, Button, Group, Modal, SegmentedControl, Stack, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDisclosure } from "@mantine/hooks";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useSearchParams } from "react-router";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { MemberItem, MemberState } from "../../api/types";
import type { Audience } from "../../app/paths";
import { DataTable, Empty, type Column } from "../../parts/DataTable";
import { showFieldErrors } from "../../parts/form";
import { Icon } from "../../parts/Icon";
import { Page } from "../../parts/Page";
import { usePaged } from "../../parts/paged";
import { ProblemNote } from "../../parts/ProblemNote";
import { MemberBadge } from "../../parts/State";
import { Time } from "../../parts/Time";
import { ChangeState } from "./ChangeState";

export const audience: Audience = "operator";

const STATES: MemberState[] = ["applied", "approved", "suspended"];

export default function Members() {
  const [search, setSearch] = useSearchParams();
  const [opened, { open, close }] = useDisclosure(false);
  const state = STATES.find((known) => known === search.get("state"));
  const list = usePaged({
    key: ["members", "list", state ?? "all"],
    liveMs: 10_000,
    fetch: (cursor) => answer(api.GET("/api/v1/members", { params: { query: { ...(state && { state }), ...(cursor && { cursor }) } } })),
  });
  const columns: Column<MemberItem>[] = [
    {
      header: "Member",
      cell: ({ member_id, display_name, name }) => (
        <>
          <Anchor component={Link} to={`/members/${member_id}`} size="sm" fw={600} c="inherit" underline="hover">
            {display_name}
          </Anchor>{" "}
          <span className="quiet">{name}</span>
        </>
      ),
    },
    { header: "State", cell: (member) => <MemberBadge state={member.state} /> },
    { header: "Contact", cell: ({ contact_email }) => contact_email },
    { header: "Since", cell: ({ created_at }) => created_at && <Time>{created_at}</Time> },
    { header: "Change", align: "end", cell: (member) => <ChangeState member={member} /> },
  ];
  return (
    <Page
      title="Members"
      lead="The providers of the exchange. One that has applied can prepare everything; calls cross when you approve it."
      actions={
        <Button onClick={open} leftSection={<Icon name="plus" size={15} />}>
          Create a member
        </Button>
      }
    >
      <div>
        <SegmentedControl
          mb="md"
          aria-label="State"
          value={state ?? ""}
          onChange={(value) => setSearch(value ? { state: value } : {}, { replace: true })}
          data={[{ value: "", label: "All" }, ...STATES.map((value) => ({ value, label: value }))]}
        />
        <DataTable
          label="Members"
          columns={columns}
          list={list}
          rowKey={({ member_id }) => member_id}
          href={({ member_id }) => `/members/${member_id}`}
          empty={
            <Empty title={state ? `No member is ${state}` : "No member yet"}>
              Providers apply at <span className="mono">/join</span>, or you create them here.
            </Empty>
          }
        />
      </div>
      <Modal opened={opened} onClose={close} title="Create a member">
        <MemberForm onDone={close} />
      </Modal>
    </Page>
  );
}

function MemberForm({ onDone }: { onDone: () => void }) {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const form = useForm({ mode: "uncontrolled", initialValues: { name: "", display_name: "", contact_email: "" } });
  const create = useMutation({
    mutationFn: (body: typeof form.values) => answer(api.POST("/api/v1/members", { body })),
    onSuccess: async ({ member_id }) => {
      await queries.invalidateQueries({ queryKey: ["members"] });
      onDone();
      void navigate(`/members/${member_id}?show=users`);
    },
    onError: (thrown) => showFieldErrors(form, thrown),
  });
  return (
    <form onSubmit={form.onSubmit((fields) => create.mutate(fields))}>
      <Stack>
        <TextInput
          label="Name of the company"
          placeholder="Acme Telecom"
          required
          data-autofocus
          key={form.key("display_name")}
          {...form.getInputProps("display_name")}
        />
        <TextInput
          label="Short name"
          description="Lower-case letters, digits and hyphens. It cannot change later."
          placeholder="acme"
          required
          key={form.key("name")}
          {...form.getInputProps("name")}
        />
        <TextInput
          label="E-mail of the contact"
          type="email"
          required
          key={form.key("contact_email")}
          {...form.getInputProps("contact_email")}
        />
        {create.error && (
          <ProblemNote problem={problemOf(create.error)} shownFields={["name", "display_name", "contact_email"]} />
        )}
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={create.isPending}>
            Create, approved
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
