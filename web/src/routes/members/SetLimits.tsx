import { Button, Group, Modal, Stack } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDisclosure } from "@mantine/hooks";
import { useMutation, useQueryClient } from "@tanstack/react-query";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { Member } from "../../api/types";
import { showFieldErrors } from "../../parts/form";
import { LimitInputs } from "../../parts/LimitInputs";
import { LIMIT_FIELDS, limitFields, limitsOf } from "../../parts/limits";
import { ProblemNote } from "../../parts/ProblemNote";

/** The operator sets how much a member may carry. */
export function SetLimits({ member }: { member: Member }) {
  const [opened, { open, close }] = useDisclosure(false);
  return (
    <>
      <Button variant="default" size="compact-sm" onClick={open}>
        Limits
      </Button>
      <Modal opened={opened} onClose={close} title={`Limits of ${member.display_name}`}>
        <LimitsForm member={member} onDone={close} />
      </Modal>
    </>
  );
}

function LimitsForm({ member, onDone }: { member: Member; onDone: () => void }) {
  const queries = useQueryClient();
  const form = useForm({ initialValues: limitFields(member) });
  const save = useMutation({
    mutationFn: (fields: typeof form.values) =>
      answer(
        api.PATCH("/api/v1/members/{member_id}", {
          params: { path: { member_id: member.member_id } },
          body: limitsOf(fields),
        }),
      ),
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ["members"] });
      onDone();
    },
    onError: (thrown) => showFieldErrors(form, thrown),
  });
  return (
    <form onSubmit={form.onSubmit((fields) => save.mutate(fields))}>
      <Stack>
        <LimitInputs form={form} />
        {save.error && <ProblemNote problem={problemOf(save.error)} shownFields={LIMIT_FIELDS} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={save.isPending}>
            Save
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
