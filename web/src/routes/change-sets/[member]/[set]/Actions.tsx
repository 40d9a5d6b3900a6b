// What can be done with a change set in its state.
import { Button, Group, Modal, Stack, Text, TextInput } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { answer, api } from "../../../../api/client";
import { problemOf } from "../../../../api/problem";
import type { ChangeSet } from "../../../../api/types";
import { Confirm } from "../../../../parts/Confirm";
import { ProblemNote } from "../../../../parts/ProblemNote";

export function Actions({ set }: { set: ChangeSet }) {
  const queries = useQueryClient();
  const [asked, setAsked] = useState<"cancel" | "roll-back" | null>(null);
  const params = { path: { member_id: set.member_id, change_set_id: set.change_set_id } };
  const requests = {
    plan: () => api.POST("/api/v1/members/{member_id}/change-sets/{change_set_id}/plan", { params }),
    approve: () => api.POST("/api/v1/members/{member_id}/change-sets/{change_set_id}/approve", { params }),
    cancel: () => api.POST("/api/v1/members/{member_id}/change-sets/{change_set_id}/cancel", { params }),
    "roll-back": () => api.POST("/api/v1/members/{member_id}/change-sets/{change_set_id}/roll-back", { params }),
  };
  const act = useMutation({
    mutationFn: (action: keyof typeof requests) => answer(requests[action]()),
    onSuccess: async () => {
      setAsked(null);
      await queries.invalidateQueries({ queryKey: ["change-sets"] });
    },
  });
  const isOpen = set.state === "draft" || set.state === "scheduled";
  const needsApproval = (set.plan?.needs_approval ?? false) && !set.approved;
  return (
    <Stack gap="xs" align="flex-end">
      <Group gap="xs">
        {isOpen && (
          <Button variant="default" loading={act.isPending && act.variables === "plan"} onClick={() => act.mutate("plan")}>
            {set.plan ? "Plan again" : "Plan"}
          </Button>
        )}
        {isOpen && needsApproval && (
          <Button variant="light" loading={act.isPending && act.variables === "approve"} onClick={() => act.mutate("approve")}>
            Approve
          </Button>
        )}
        {set.state === "draft" && set.plan && <Apply set={set} />}
        {isOpen && (
          <Button variant="default" onClick={() => setAsked("cancel")}>
            Cancel it
          </Button>
        )}
        {set.state === "applied" && (
          <Button color="red" variant="light" onClick={() => setAsked("roll-back")}>
            Roll back
          </Button>
        )}
      </Group>
      {act.error && !asked && <ProblemNote problem={problemOf(act.error)} />}
      <Confirm
        opened={asked !== null}
        onClose={() => {
          setAsked(null);
          act.reset();
        }}
        title={asked === "cancel" ? "Cancel the change set?" : "Roll the change set back?"}
        action={asked === "cancel" ? "Cancel it" : "Roll back"}
        pending={act.isPending}
        error={act.error}
        onConfirm={() => asked && act.mutate(asked)}
      >
        {asked === "cancel" ? "It will not take effect." : "What stood for its prefixes before stands again, on every node, at once."}
      </Confirm>
    </Stack>
  );
}

function Apply({ set }: { set: ChangeSet }) {
  const [opened, { open, close }] = useDisclosure(false);
  const [at, setAt] = useState("");
  const queries = useQueryClient();
  const params = { path: { member_id: set.member_id, change_set_id: set.change_set_id } };
  const apply = useMutation({
    mutationFn: () =>
      answer(
        api.POST("/api/v1/members/{member_id}/change-sets/{change_set_id}/apply", {
          params,
          body: { at: at ? new Date(at).toISOString() : null },
        }),
      ),
    onSuccess: async () => {
      close();
      await queries.invalidateQueries({ queryKey: ["change-sets"] });
    },
  });
  return (
    <>
      <Button onClick={open}>Apply</Button>
      <Modal opened={opened} onClose={close} title="Apply the change set?">
        <Stack>
          <Text size="sm">All of it takes effect together, on every node. It is planned anew at that moment.</Text>
          <TextInput
            type="datetime-local"
            label="At"
            description="In your own time. Empty: at once."
            value={at}
            onChange={(event) => setAt(event.currentTarget.value)}
          />
          {apply.error && <ProblemNote problem={problemOf(apply.error)} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={close}>
              Cancel
            </Button>
            <Button loading={apply.isPending} onClick={() => apply.mutate()}>
              {at ? "Apply then" : "Apply now"}
            </Button>
          </Group>
        </Stack>
      </Modal>
    </>
  );
}
