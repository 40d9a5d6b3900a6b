// Asks before something that cannot simply be undone, and shows why it failed where it does.
import { Button, Group, Modal, Stack, Text } from "@mantine/core";
import type { ReactNode } from "react";

import { problemOf } from "../api/problem";
import { ProblemNote } from "./ProblemNote";

type Props = {
  opened: boolean;
  onClose: () => void;
  title: string;
  children: ReactNode;
  action: string;
  onConfirm: () => void;
  pending: boolean;
  error: unknown;
};

export function Confirm({ opened, onClose, title, children, action, onConfirm, pending, error }: Props) {
  return (
    <Modal opened={opened} onClose={onClose} title={title}>
      <Stack>
        <Text size="sm" component="div">
          {children}
        </Text>
        {error ? <ProblemNote problem={problemOf(error)} /> : null}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button color="red" onClick={onConfirm} loading={pending}>
            {action}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
