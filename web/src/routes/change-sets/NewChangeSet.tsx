// The form that writes a change set down. It then opens, to be planned.
import { Button, Group, Modal, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDisclosure } from "@mantine/hooks";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "react-router";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import { Icon } from "../../parts/Icon";
import { ProblemNote } from "../../parts/ProblemNote";
import { announcedLines, withdrawnLines } from "./lines";

export function NewChangeSet({ memberId }: { memberId: string }) {
  const [opened, { open, close }] = useDisclosure(false);
  return (
    <>
      <Button onClick={open} leftSection={<Icon name="plus" size={15} />}>
        Draft changes
      </Button>
      <Modal opened={opened} onClose={close} title="Draft changes" size="lg" closeOnClickOutside={false}>
        <Draft memberId={memberId} onDone={close} />
      </Modal>
    </>
  );
}

function Draft({ memberId, onDone }: { memberId: string; onDone: () => void }) {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const form = useForm({ initialValues: { note: "", announce: "", withdraw: "" } });
  const make = useMutation({
    mutationFn: async (fields: typeof form.values) => {
      const path = { member_id: memberId };
      const { change_set_id } = await answer(
        api.POST("/api/v1/members/{member_id}/change-sets", {
          params: { path },
          body: { note: fields.note, announcements: announcedLines(fields.announce), withdraw: withdrawnLines(fields.withdraw) },
        }),
      );
      // Whoever drafts wants to see the plan; that there is none yet is shown where this fails.
      const params = { path: { ...path, change_set_id } };
      await api.POST("/api/v1/members/{member_id}/change-sets/{change_set_id}/plan", { params });
      return change_set_id;
    },
    onSuccess: async (id) => {
      await queries.invalidateQueries({ queryKey: ["change-sets"] });
      onDone();
      await navigate(`/change-sets/${memberId}/${id}`);
    },
  });
  return (
    <form onSubmit={form.onSubmit((fields) => make.mutate(fields))}>
      <Stack>
        <Text size="sm">Nothing changes until you apply it.</Text>
        <TextInput label="For" placeholder="London moves to the new switch" {...form.getInputProps("note")} />
        <Textarea
          label="Announce"
          description="A prefix and its endpoints on each line: new ones, and those that change their endpoints."
          placeholder={"+44 20 7946 ams-1; ams-2"}
          autosize
          minRows={3}
          maxRows={12}
          classNames={{ input: "mono" }}
          {...form.getInputProps("announce")}
        />
        <Textarea
          label="Withdraw"
          description="A prefix on each line."
          placeholder="+44 20 7947"
          autosize
          minRows={2}
          maxRows={8}
          classNames={{ input: "mono" }}
          {...form.getInputProps("withdraw")}
        />
        {make.error && <ProblemNote problem={problemOf(make.error)} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={make.isPending}>
            Draft and plan
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
