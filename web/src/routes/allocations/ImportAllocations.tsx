import { Button, Code, FileButton, Group, Modal, Stack, Text, TextInput } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { notifications } from "@mantine/notifications";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import { count } from "../../format/time";
import { Icon } from "../../parts/Icon";
import { ProblemNote } from "../../parts/ProblemNote";

export function ImportAllocations({ variant = "filled" }: { variant?: string }) {
  const [opened, { open, close }] = useDisclosure(false);
  return (
    <>
      <Button variant={variant} onClick={open} leftSection={<Icon name="upload" size={15} />}>
        Import a file
      </Button>
      <Modal opened={opened} onClose={close} title="Import a file of allocations" size="lg">
        <Import onDone={close} />
      </Modal>
    </>
  );
}

function Import({ onDone }: { onDone: () => void }) {
  const [name, setName] = useState("");
  const [file, setFile] = useState<File | null>(null);
  const queries = useQueryClient();
  const send = useMutation({
    mutationFn: (chosen: File) =>
      answer(
        api.PUT("/api/v1/allocations/{name}", {
          params: { path: { name: name.trim() } },
          headers: { "content-type": "text/csv" },
          // The file itself, which the browser sends without reading it into a text.
          body: chosen as unknown as string,
          bodySerializer: (body) => body,
        }),
      ),
    onSuccess: async ({ list, verified }) => {
      notifications.show({ message: `${list.name} has ${count(list.rows)} allocations; ${count(verified)} claims were verified by it.` });
      await queries.invalidateQueries();
      onDone();
    },
  });
  return (
    <Stack>
      <Text size="sm">
        The first line is <Code>prefix,holder</Code> or <Code>prefix,holder,from,until</Code>; each further line is an allocation, such as{" "}
        <Code>44207946,Acme Telecom Ltd,2020-03-12,</Code>. All lines are taken, or none.
      </Text>
      <TextInput
        label="Name of the file"
        description="An earlier file of the same name is replaced as a whole."
        placeholder="Ofcom S1"
        required
        maxLength={80}
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
      />
      <Group>
        <FileButton onChange={setFile} accept=".csv,text/csv,text/plain">
          {(props) => (
            <Button {...props} variant="default">
              {file ? "Choose another file" : "Choose a file"}
            </Button>
          )}
        </FileButton>
        {file && <Text size="sm">{file.name}</Text>}
      </Group>
      {send.error && <ProblemNote problem={problemOf(send.error)} />}
      <Group justify="flex-end">
        <Button variant="default" onClick={onDone}>
          Cancel
        </Button>
        <Button disabled={!file || name.trim() === ""} loading={send.isPending} onClick={() => file && send.mutate(file)}>
          Import
        </Button>
      </Group>
    </Stack>
  );
}
