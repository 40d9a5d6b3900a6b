import { Badge, Button, Group, Modal, PasswordInput, Stack, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDisclosure } from "@mantine/hooks";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { User } from "../../api/types";
import { useSession } from "../../app/session";
import { Confirm } from "../../parts/Confirm";
import { DataTable, Empty, type Column } from "../../parts/DataTable";
import { showFieldErrors } from "../../parts/form";
import { Icon } from "../../parts/Icon";
import { usePaged } from "../../parts/paged";
import { ProblemNote } from "../../parts/ProblemNote";
import { Time } from "../../parts/Time";

export function Users({ memberId }: { memberId: string }) {
  const { user: self } = useSession();
  const [disabled, setDisabled] = useState<User | null>(null);
  const queries = useQueryClient();
  const list = usePaged({
    key: ["users", memberId],
    fetch: (cursor) =>
      answer(
        api.GET("/api/v1/members/{member_id}/users", {
          params: { path: { member_id: memberId }, query: { ...(cursor && { cursor }) } },
        }),
      ),
  });
  const disable = useMutation({
    mutationFn: ({ user_id }: User) =>
      answer(api.DELETE("/api/v1/members/{member_id}/users/{user_id}", { params: { path: { member_id: memberId, user_id } } })),
    onSuccess: async () => {
      setDisabled(null);
      await queries.invalidateQueries({ queryKey: ["users", memberId] });
    },
  });
  const columns: Column<User>[] = [
    { header: "E-mail", cell: ({ email }) => <strong>{email}</strong> },
    { header: "Added", cell: ({ created_at }) => <Time>{created_at}</Time> },
    {
      header: "State",
      cell: ({ disabled_at }) => (disabled_at ? <Badge color="gray">disabled</Badge> : <Badge color="petrol">may sign in</Badge>),
    },
    {
      header: "Change",
      align: "end",
      cell: (user) =>
        user.disabled_at || user.user_id === self?.user_id ? null : (
          <Button variant="default" size="compact-xs" onClick={() => setDisabled(user)} aria-label={`Disable ${user.email}`}>
            Disable
          </Button>
        ),
    },
  ];
  return (
    <>
      <DataTable
        label="Users"
        columns={columns}
        list={list}
        rowKey={({ user_id }) => user_id}
        empty={<Empty title="No user yet">Nobody can sign in for this member. Add the first user.</Empty>}
      />
      <Confirm
        opened={disabled !== null}
        onClose={() => {
          setDisabled(null);
          disable.reset();
        }}
        title={`Disable ${disabled?.email ?? ""}?`}
        action="Disable"
        pending={disable.isPending}
        error={disable.error}
        onConfirm={() => disabled && disable.mutate(disabled)}
      >
        They are signed out everywhere and can no longer sign in.
      </Confirm>
    </>
  );
}

export function NewUser({ memberId }: { memberId: string }) {
  const [opened, { open, close }] = useDisclosure(false);
  return (
    <>
      <Button onClick={open} leftSection={<Icon name="plus" size={15} />}>
        Add a user
      </Button>
      <Modal opened={opened} onClose={close} title="Add a user">
        <UserForm memberId={memberId} onDone={close} />
      </Modal>
    </>
  );
}

function UserForm({ memberId, onDone }: { memberId: string; onDone: () => void }) {
  const queries = useQueryClient();
  const form = useForm({ mode: "uncontrolled", initialValues: { email: "", password: "" } });
  const add = useMutation({
    mutationFn: (body: typeof form.values) =>
      answer(api.POST("/api/v1/members/{member_id}/users", { params: { path: { member_id: memberId } }, body })),
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ["users", memberId] });
      onDone();
    },
    onError: (thrown) => showFieldErrors(form, thrown),
  });
  return (
    <form onSubmit={form.onSubmit((fields) => add.mutate(fields))}>
      <Stack>
        <TextInput
          label="E-mail"
          type="email"
          required
          autoComplete="off"
          data-autofocus
          key={form.key("email")}
          {...form.getInputProps("email")}
        />
        <PasswordInput
          label="First password"
          description="At least 12 characters. Hand it over by another way than e-mail."
          required
          autoComplete="new-password"
          key={form.key("password")}
          {...form.getInputProps("password")}
        />
        {add.error && <ProblemNote problem={problemOf(add.error)} shownFields={["email", "password"]} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={add.isPending}>
            Add
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
