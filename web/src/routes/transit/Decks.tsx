import { Button, Code, FileButton, Group, Modal, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDebouncedValue, useDisclosure } from "@mantine/hooks";
import { notifications } from "@mantine/notifications";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { problemOf } from "../../api/problem";
import type { Rate, RateDeck } from "../../api/types";
import { count } from "../../format/time";
import { type Column, DataTable, Empty } from "../../parts/DataTable";
import { E164 } from "../../parts/E164";
import { showFieldErrors } from "../../parts/form";
import { Icon } from "../../parts/Icon";
import { usePaged } from "../../parts/paged";
import { ProblemNote } from "../../parts/ProblemNote";
import { Time } from "../../parts/Time";
import { decksKey, listDecks, listRates, loadDeck, makeDeck, type Owner } from "./decks";

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
          <ShowRates owner={owner} deck={deck} />
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

function ShowRates({ owner, deck }: { owner: Owner; deck: RateDeck }) {
  const [opened, { open, close }] = useDisclosure(false);
  return (
    <>
      <Button size="compact-xs" variant="default" onClick={open} aria-label={`Rates of ${deck.name}`}>
        Rates
      </Button>
      <Modal opened={opened} onClose={close} title={`Rates of ${deck.name}, in ${deck.currency} a minute`} size="lg">
        <Rates owner={owner} deck={deck} />
      </Modal>
    </>
  );
}

const RATE: Column<Rate>[] = [
  { header: "Prefix", cell: ({ prefix }) => <E164>{prefix}</E164> },
  { header: "A minute", align: "end", cell: ({ per_minute }) => <span className="figures">{per_minute}</span> },
  { header: "From", cell: ({ valid_from }) => <Time>{valid_from}</Time> },
  { header: "Until", cell: ({ valid_until }) => (valid_until ? <Time>{valid_until}</Time> : "further notice") },
  { header: "Load", align: "end", cell: ({ version }) => count(version) },
];

function Rates({ owner, deck }: { owner: Owner; deck: RateDeck }) {
  const [typed, setTyped] = useState("");
  const [prefix] = useDebouncedValue(typed.replace(/[^0-9]/g, ""), 300);
  const list = usePaged({
    key: [...decksKey(owner), deck.rate_deck_id, prefix],
    fetch: (cursor) => listRates(owner, deck.rate_deck_id, prefix, cursor),
  });
  return (
    <Stack>
      <TextInput label="Prefixes that begin with" placeholder="+44" value={typed} onChange={(event) => setTyped(event.currentTarget.value)} />
      <DataTable
        label="Rates"
        columns={RATE}
        list={list}
        rowKey={({ prefix: of, valid_from }) => `${of} ${valid_from}`}
        empty={<Empty title="No rate">Load the deck from a CSV file, or look for another prefix.</Empty>}
      />
    </Stack>
  );
}
