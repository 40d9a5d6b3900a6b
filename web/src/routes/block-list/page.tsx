import { Button, Group, Stack, Text, Textarea } from "@mantine/core";
import { useForm } from "@mantine/form";
import { notifications } from "@mantine/notifications";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import { useSession } from "../../app/session";
import { count } from "../../format/time";
import { showFieldErrors } from "../../parts/form";
import { Page } from "../../parts/Page";
import { ProblemNote } from "../../parts/ProblemNote";

export default function BlockListPage() {
  const { member } = useSession();
  const owner = member?.member_id ?? null;
  const list = useQuery({
    queryKey: ["block-list", owner],
    queryFn: () =>
      owner
        ? answer(api.GET("/api/v1/members/{member_id}/block-list", { params: { path: { member_id: owner } } }))
        : answer(api.GET("/api/v1/block-list")),
  });
  return (
    <Page
      title="Block list"
      lead={
        owner
          ? "Numbers that you never call, such as premium ones: calls of yours to them are refused, whoever would take them."
          : "Numbers that nobody calls: calls of every member to them are refused, whoever would take them."
      }
    >
      {list.error && <ProblemNote problem={problemOf(list.error)} />}
      {list.data && <Prefixes owner={owner} prefixes={list.data.prefixes} />}
    </Page>
  );
}

function Prefixes({ owner, prefixes }: { owner: string | null; prefixes: string[] }) {
  const queries = useQueryClient();
  const form = useForm({ initialValues: { prefixes: prefixes.join("\n") } });
  const save = useMutation({
    mutationFn: (fields: { prefixes: string }) => {
      const body = { prefixes: fields.prefixes.split(/[\s,;]+/).filter(Boolean) };
      return owner
        ? answer(api.PUT("/api/v1/members/{member_id}/block-list", { params: { path: { member_id: owner } }, body }))
        : answer(api.PUT("/api/v1/block-list", { body }));
    },
    onSuccess: async (saved) => {
      await queries.invalidateQueries({ queryKey: ["block-list", owner] });
      form.setValues({ prefixes: saved.prefixes.join("\n") });
      notifications.show({ title: "The block list is saved", message: `${count(saved.prefixes.length)} prefixes are blocked.` });
    },
    onError: (thrown) => showFieldErrors(form, thrown),
  });
  return (
    <form onSubmit={form.onSubmit((fields) => save.mutate(fields))}>
      <Stack maw="28rem">
        <Textarea
          label="Prefixes"
          description="One on each line; numbers that begin so are blocked."
          placeholder={"+44909\n+882"}
          autosize
          minRows={6}
          maxRows={24}
          classNames={{ input: "mono" }}
          {...form.getInputProps("prefixes")}
        />
        {save.error && <ProblemNote problem={problemOf(save.error)} shownFields={["prefixes"]} />}
        <Group>
          <Button type="submit" loading={save.isPending}>
            Save
          </Button>
          <Text size="sm" className="quiet">
            It takes effect within a second.
          </Text>
        </Group>
      </Stack>
    </form>
  );
}
