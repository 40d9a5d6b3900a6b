import { Button, Group, Modal, Stack, Table, Text, Textarea } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { notifications } from "@mantine/notifications";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { Certificate } from "../../api/types";
import { count } from "../../format/time";
import { Confirm } from "../../parts/Confirm";
import { Copyable } from "../../parts/Copyable";
import { E164 } from "../../parts/E164";
import { Empty } from "../../parts/DataTable";
import { Section } from "../../parts/Page";
import { ProblemNote } from "../../parts/ProblemNote";
import { Time } from "../../parts/Time";

const MEMBER_CERTIFICATES = "/api/v1/members/{member_id}/certificates";

/** The STI certificates of a member, where the exchange takes them as evidence or the member has some. */
export function Certificates({ memberId }: { memberId: string }) {
  const [proved, setProved] = useState<Certificate | null>(null);
  const [removed, setRemoved] = useState<Certificate | null>(null);
  const queries = useQueryClient();
  const { data, error } = useQuery({
    queryKey: ["certificates", memberId],
    queryFn: () => answer(api.GET(MEMBER_CERTIFICATES, { params: { path: { member_id: memberId } } })),
  });
  const remove = useMutation({
    mutationFn: ({ certificate_id }: Certificate) =>
      answer(api.DELETE("/api/v1/members/{member_id}/certificates/{certificate_id}", { params: { path: { member_id: memberId, certificate_id } } })),
    onSuccess: async () => {
      setRemoved(null);
      await queries.invalidateQueries();
    },
  });
  if (error) return <ProblemNote problem={problemOf(error)} />;
  if (!data || (!data.taken && data.certificates.length === 0)) return null;
  return (
    <Section
      title="Certificates"
      lead="STI certificates that say which numbers are yours (RFC 8226). Once you have shown that you have the key of one, claims to its numbers are verified at once."
      actions={<BringCertificate memberId={memberId} onBrought={setProved} />}
    >
      {data.certificates.length === 0 ? (
        <div className="table-frame">
          <Empty title="No certificate yet">Bring one from an authority that the exchange trusts, such as your SHAKEN certificate with a TNAuthorizationList.</Empty>
        </div>
      ) : (
        <div className="table-frame">
          <Table aria-label="Certificates">
            <Table.Thead>
              <Table.Tr>
                <Table.Th scope="col">Given to</Table.Th>
                <Table.Th scope="col">Numbers and codes</Table.Th>
                <Table.Th scope="col">Until</Table.Th>
                <Table.Th scope="col">Key</Table.Th>
                <Table.Th scope="col" ta="end">
                  Change
                </Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {data.certificates.map((one) => (
                <Table.Tr key={one.certificate_id}>
                  <Table.Td>{one.subject}</Table.Td>
                  <Table.Td>
                    {one.entries.slice(0, 3).map((entry) => (
                      <Text size="sm" key={entry.code ?? entry.start}>
                        <Entry entry={entry} />
                      </Text>
                    ))}
                    {one.entry_count > 3 && (
                      <Text size="xs" className="quiet">
                        and {count(one.entry_count - 3)} more
                      </Text>
                    )}
                  </Table.Td>
                  <Table.Td>
                    <Time>{one.valid_until}</Time>
                  </Table.Td>
                  <Table.Td>{one.proven_at ? "shown" : <span className="quiet">not shown yet: it verifies nothing</span>}</Table.Td>
                  <Table.Td ta="end">
                    <Group gap={6} justify="flex-end" wrap="nowrap">
                      {one.challenge && (
                        <Button variant="default" size="compact-xs" onClick={() => setProved(one)} aria-label={`Show the key of ${one.subject}`}>
                          Show the key
                        </Button>
                      )}
                      <Button variant="default" size="compact-xs" onClick={() => setRemoved(one)} aria-label={`Remove ${one.subject}`}>
                        Remove
                      </Button>
                    </Group>
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </div>
      )}
      <Modal opened={proved !== null} onClose={() => setProved(null)} title="Show that you have the key">
        {proved && <ProveKey memberId={memberId} certificate={proved} onDone={() => setProved(null)} />}
      </Modal>
      <Confirm
        opened={removed !== null}
        onClose={() => {
          setRemoved(null);
          remove.reset();
        }}
        title={`Remove the certificate of ${removed?.subject ?? ""}?`}
        action="Remove"
        pending={remove.isPending}
        error={remove.error}
        onConfirm={() => removed && remove.mutate(removed)}
      >
        Ranges that were verified by it stand, and wait for the operator's decision.
      </Confirm>
    </Section>
  );
}

function Entry({ entry: { code, start, count: numbers } }: { entry: Certificate["entries"][number] }) {
  if (start === null) return <>code {code}</>;
  const more = (numbers ?? 1) - 1;
  return (
    <>
      <E164>{start}</E164>
      {more > 0 && ` and the ${count(more)} after it`}
    </>
  );
}

function BringCertificate({ memberId, onBrought }: { memberId: string; onBrought: (certificate: Certificate) => void }) {
  const [opened, { open, close }] = useDisclosure(false);
  const [chain, setChain] = useState("");
  const queries = useQueryClient();
  const bring = useMutation({
    mutationFn: () => answer(api.POST(MEMBER_CERTIFICATES, { params: { path: { member_id: memberId } }, body: { chain } })),
    onSuccess: async (certificate) => {
      close();
      setChain("");
      await queries.invalidateQueries({ queryKey: ["certificates"] });
      onBrought(certificate);
    },
  });
  return (
    <>
      <Button variant="default" onClick={open}>
        Bring a certificate
      </Button>
      <Modal opened={opened} onClose={close} title="Bring a certificate">
        <form
          onSubmit={(event) => {
            event.preventDefault();
            bring.mutate();
          }}
        >
          <Stack>
            <Textarea
              label="Certificate and its chain"
              description="In PEM form: your own first, then each with the one that signed it. No private key."
              placeholder="-----BEGIN CERTIFICATE-----"
              minRows={8}
              autosize
              maxRows={16}
              required
              data-autofocus
              value={chain}
              onChange={(event) => setChain(event.currentTarget.value)}
            />
            {bring.error && <ProblemNote problem={problemOf(bring.error)} />}
            <Group justify="flex-end">
              <Button variant="default" onClick={close}>
                Cancel
              </Button>
              <Button type="submit" loading={bring.isPending}>
                Bring it
              </Button>
            </Group>
          </Stack>
        </form>
      </Modal>
    </>
  );
}

function ProveKey({ memberId, certificate, onDone }: { memberId: string; certificate: Certificate; onDone: () => void }) {
  const [jws, setJws] = useState("");
  const queries = useQueryClient();
  const prove = useMutation({
    mutationFn: () =>
      answer(
        api.POST("/api/v1/members/{member_id}/certificates/{certificate_id}/prove", {
          params: { path: { member_id: memberId, certificate_id: certificate.certificate_id } },
          body: { jws },
        }),
      ),
    onSuccess: async () => {
      notifications.show({ message: "The key is shown; claims to the certificate's numbers are verified." });
      await queries.invalidateQueries();
      onDone();
    },
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        prove.mutate();
      }}
    >
      <Stack>
        <Text size="sm">
          Sign this text with the private key of the certificate, as a compact JWS by ES256 (RFC 7515), within ten minutes. The key stays with you.
        </Text>
        {certificate.challenge && <Copyable text={certificate.challenge.text} label="the text to sign" />}
        <Textarea
          label="Signed text"
          placeholder="eyJhbGciOiJFUzI1NiJ9…"
          minRows={4}
          required
          data-autofocus
          value={jws}
          onChange={(event) => setJws(event.currentTarget.value)}
        />
        {prove.error && <ProblemNote problem={problemOf(prove.error)} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            Later
          </Button>
          <Button type="submit" loading={prove.isPending}>
            Show the key
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
