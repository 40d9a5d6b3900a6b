import { Button, Code, FileButton, Group, Modal, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDisclosure } from "@mantine/hooks";
import { notifications } from "@mantine/notifications";
import { useMutation, useQueryClient } from "@tanstack/react-query";

import { problemOf } from "../../api/problem";
import type { RateDeck } from "../../api/types";
import { count } from "../../format/time";
import { type Column, DataTable, Empty } from "../../parts/DataTable";
import { showFieldErrors } from "../../parts/form";
import { Icon } from "../../parts/Icon";
import { usePaged } from "../../parts/paged";
import { ProblemNote } from "../../parts/ProblemNote";
import { decksKey, listDecks, loadDeck, makeDeck, type Owner } from "./decks";
import { ShowRates } from "./Rates";

export function Decks({ owner }: { owner: Owner }) {
  const list = usePaged({ key: decksKey(owner), liveMs: 10_000, fetch: (cursor) => listDecks(owner, cursor) });
  const columns: Column<RateDeck>[] = [
    { header: "Deck", cell: ({ name }) => <strong>{name}</strong> },
    { header: "Rates in force", align: "end", cell: ({ rates }) => count(rates) },
    { header: "Currency", cell: ({ currency }) => currency },
    { header: "Loads", align: "end", cell: ({ version }) => count(version) },
    {
      header: "Change",
      align: "end",
      cell: (deck) => (
        <Group gap={6} justify="flex-end" wrap="nowrap">
          <ShowRates
            reader={owner}
            deckId={deck.rate_deck_id}
            title={`Rates of ${deck.name}, in ${deck.currency} a minute`}
            label={`Rates of ${deck.name}`}
          />
          <LoadRates owner={owner} deck={deck} />
        </Group>
      ),
    },
  ];
  return (
    <DataTable
      label="Rate decks"
      columns={columns}
      list={list}
      rowKey={({ rate_deck_id }) => rate_deck_id}
      empty={<Empty title="No rate deck yet">Make one, then load its rates from a CSV file.</Empty>}
    />
  );
}

export function MakeDeck({ owner }: { owner: Owner }) {
  const [opened, { open, close }] = useDisclosure(false);
  const queries = useQueryClient();
  const form = useForm({ initialValues: { name: "" } });
  const make = useMutation({
    mutationFn: ({ name }: { name: string }) => makeDeck(owner, name),
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: decksKey(owner) });
      form.reset();
      close();
    },
    onError: (thrown) => showFieldErrors(form, thrown),
  });
  return (
    <>
      <Button variant="default" onClick={open} leftSection={<Icon name="plus" size={15} />}>
        Make a rate deck
      </Button>
      <Modal opened={opened} onClose={close} title="Make a rate deck">
        <form onSubmit={form.onSubmit((fields) => make.mutate(fields))}>
          <Stack>
            <TextInput
              label="Name"
              description="Lower-case letters, digits and hyphens."
              placeholder="pstn-a-z"
              required
              data-autofocus
              {...form.getInputProps("name")}
            />
            {make.error && <ProblemNote problem={problemOf(make.error)} shownFields={["name"]} />}
            <Group justify="flex-end">
              <Button variant="default" onClick={close}>
                Cancel
              </Button>
              <Button type="submit" loading={make.isPending}>
                Make
              </Button>
            </Group>
          </Stack>
        </form>
      </Modal>
    </>
  );
}

function LoadRates({ owner, deck }: { owner: Owner; deck: RateDeck }) {
  const [opened, { open, close }] = useDisclosure(false);
  const queries = useQueryClient();
  const load = useMutation({
    mutationFn: async (file: File) => loadDeck(owner, deck.rate_deck_id, await file.text()),
    onSuccess: async ({ rates }) => {
      await queries.invalidateQueries({ queryKey: decksKey(owner) });
      notifications.show({ title: `${deck.name} is loaded`, message: `${count(rates)} rates are in force.` });
      close();
    },
  });
  return (
    <>
      <Button size="compact-xs" variant="default" onClick={open} aria-label={`Load ${deck.name}`}>
        Load
      </Button>
      <Modal opened={opened} onClose={close} title={`Load ${deck.name}`}>
        <Stack>
          <Text size="sm">
            The first line of the file is <Code>prefix,per_minute</Code>, or <Code>prefix,per_minute,valid_from,valid_until</Code>; each
            further line has a rate, such as <Code>+4420,0.0045</Code>. From now on the deck has just the rates of the file.
          </Text>
          {load.error && <ProblemNote problem={problemOf(load.error)} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={close}>
              Cancel
            </Button>
            <FileButton onChange={(file) => file && load.mutate(file)} accept=".csv,text/csv,text/plain">
              {(props) => (
                <Button {...props} loading={load.isPending} leftSection={<Icon name="upload" size={15} />}>
                  Choose a file and load it
                </Button>
              )}
            </FileButton>
          </Group>
        </Stack>
      </Modal>
    </>
  );
}
