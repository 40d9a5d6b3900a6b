import { Alert, Badge, Button, Checkbox, Fieldset, Group, Loader, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { Access as AccessShape, Endpoint } from "../../api/types";
import { Copyable } from "../../parts/Copyable";
import { showFieldErrors } from "../../parts/form";
import { ProblemNote } from "../../parts/ProblemNote";
import { Time } from "../../parts/Time";

type Props = { memberId: string; endpoint: Endpoint };

/** How an endpoint is known beside its addresses, and where it has registered. */
export function Access({ memberId, endpoint }: Props) {
  const path = { member_id: memberId, endpoint_id: endpoint.endpoint_id };
  const access = useQuery({
    queryKey: ["access", memberId, endpoint.endpoint_id],
    queryFn: () => answer(api.GET("/api/v1/members/{member_id}/endpoints/{endpoint_id}/access", { params: { path } })),
  });
  if (access.error) return <ProblemNote problem={problemOf(access.error)} shownFields={[]} />;
  if (!access.data) return <Loader size="sm" role="status" aria-label="Loading" />;
  return (
    <Stack>
      <Registration registration={access.data.registration} />
      <Inbound path={path} credential={access.data.inbound} />
      <Outbound path={path} credential={access.data.outbound} />
    </Stack>
  );
}

type Path = { member_id: string; endpoint_id: string };

function useRefresh({ member_id, endpoint_id }: Path) {
  const queries = useQueryClient();
  return () => queries.invalidateQueries({ queryKey: ["access", member_id, endpoint_id] });
}

function Registration({ registration }: { registration: AccessShape["registration"] }) {
  const [now] = useState(Date.now);
  if (!registration) return <Text className="quiet">Your switch has never registered here.</Text>;
  const holds = Date.parse(registration.expires_at) > now;
  return (
    <Group gap="sm">
      <Badge color={holds ? "petrol" : "gray"}>{holds ? "registered" : "not registered"}</Badge>
      <Text size="sm">
        from <span className="mono">{registration.source}</span> by {registration.transport}, {holds ? "until" : "ended"}{" "}
        <Time>{registration.expires_at}</Time>
      </Text>
    </Group>
  );
}

function Inbound({ path, credential }: { path: Path; credential: AccessShape["inbound"] }) {
  const refresh = useRefresh(path);
  const form = useForm({
    initialValues: { username: credential?.username ?? "", md5_only: credential?.realm.startsWith("md5.") ?? false },
  });
  const url = "/api/v1/members/{member_id}/endpoints/{endpoint_id}/inbound-credential" as const;
  const put = useMutation({
    mutationFn: ({ username, md5_only }: typeof form.values) =>
      answer(api.PUT(url, { params: { path }, body: { username: username.trim(), md5_only } })),
    onSuccess: refresh,
    onError: (thrown) => showFieldErrors(form, thrown),
  });
  const remove = useMutation({ mutationFn: () => answer(api.DELETE(url, { params: { path } })), onSuccess: refresh });
  return (
    <Fieldset legend="Your switch proves who it is" variant="filled">
      <form onSubmit={form.onSubmit((fields) => put.mutate(fields))}>
        <Stack gap="sm">
          <Text size="sm" className="quiet">
            {credential
              ? `It is ${credential.username} in the realm ${credential.realm}. A new password ends the old one and the registration.`
              : "For a switch without an address of its own: it registers, or calls, with a user name and a password."}
          </Text>
          <TextInput label="User name" placeholder="acme-ams-1" required {...form.getInputProps("username")} />
          <Checkbox label="It knows only MD5" {...form.getInputProps("md5_only", { type: "checkbox" })} />
          {put.data && (
            <Alert color="petrol" title="This is the only time that the password is shown">
              <Copyable text={put.data.password} label="the password" />
              <Text size="sm">
                Register as <span className="mono">{`sip:${put.data.username}@${put.data.realm}`}</span>.
              </Text>
            </Alert>
          )}
          {put.error && <ProblemNote problem={problemOf(put.error)} shownFields={["username"]} />}
          {remove.error && <ProblemNote problem={problemOf(remove.error)} shownFields={[]} />}
          <Group justify="flex-end">
            {credential && (
              <Button variant="default" loading={remove.isPending} onClick={() => remove.mutate()}>
                Take it away
              </Button>
            )}
            <Button type="submit" loading={put.isPending}>
              Make a password
            </Button>
          </Group>
        </Stack>
      </form>
    </Fieldset>
  );
}

function Outbound({ path, credential }: { path: Path; credential: AccessShape["outbound"] }) {
  const refresh = useRefresh(path);
  const form = useForm({
    initialValues: {
      username: credential?.username ?? "",
      realm: credential?.realm ?? "",
      password: "",
      registers: credential?.registers ?? false,
    },
  });
  const url = "/api/v1/members/{member_id}/endpoints/{endpoint_id}/outbound-credential" as const;
  const put = useMutation({
    mutationFn: (body: typeof form.values) => answer(api.PUT(url, { params: { path }, body })),
    onSuccess: async () => {
      form.setFieldValue("password", "");
      await refresh();
    },
    onError: (thrown) => showFieldErrors(form, thrown),
  });
  const remove = useMutation({ mutationFn: () => answer(api.DELETE(url, { params: { path } })), onSuccess: refresh });
  return (
    <Fieldset legend="The exchange proves who it is to your switch" variant="filled">
      <form onSubmit={form.onSubmit((fields) => put.mutate(fields))}>
        <Stack gap="sm">
          <Text size="sm" className="quiet">
            For a switch that asks for a password. The exchange answers in this realm and in no other.
          </Text>
          <Group grow align="flex-start" gap="sm">
            <TextInput label="User name" placeholder="tandem" required {...form.getInputProps("username")} />
            <TextInput label="Realm" placeholder="sip.acme.example" required {...form.getInputProps("realm")} />
          </Group>
          <PasswordInput label="Password" autoComplete="off" required {...form.getInputProps("password")} />
          <Checkbox label="The exchange registers there" {...form.getInputProps("registers", { type: "checkbox" })} />
          {put.error && <ProblemNote problem={problemOf(put.error)} shownFields={["username", "realm", "password"]} />}
          {remove.error && <ProblemNote problem={problemOf(remove.error)} shownFields={[]} />}
          <Group justify="flex-end">
            {credential && (
              <Button variant="default" loading={remove.isPending} onClick={() => remove.mutate()}>
                Take it away
              </Button>
            )}
            <Button type="submit" loading={put.isPending}>
              Save
            </Button>
          </Group>
        </Stack>
      </form>
    </Fieldset>
  );
}
