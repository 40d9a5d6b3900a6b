import { Anchor, Button, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link, Navigate } from "react-router";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { Audience } from "../../app/paths";
import { SESSION } from "../../app/queries";
import { useSessionQuery } from "../../app/session";
import { Doorstep } from "../../parts/Doorstep";
import { showFieldErrors } from "../../parts/form";
import { ProblemNote } from "../../parts/ProblemNote";

export const audience: Audience = "doorstep";

const FIELDS = { name: "", display_name: "", contact_email: "", password: "" };

export default function Join() {
  const queries = useQueryClient();
  const { data: session } = useSessionQuery();
  const form = useForm({ mode: "uncontrolled", initialValues: FIELDS });
  const join = useMutation({
    mutationFn: async (body: typeof FIELDS) => {
      await answer(api.POST("/api/v1/join", { body }));
      return await answer(api.POST("/api/v1/session", { body: { email: body.contact_email, password: body.password } }));
    },
    onSuccess: (made) => {
      queries.clear();
      queries.setQueryData(SESSION, made);
    },
    onError: (thrown) => showFieldErrors(form, thrown),
  });
  if (session) return <Navigate to="/overview" replace />;

  return (
    <Doorstep
      title="Join the exchange"
      lead="Apply as a voice provider. You can prepare everything at once; calls cross when the operator has approved you."
    >
      <form onSubmit={form.onSubmit((values) => join.mutate(values))}>
        <Stack>
          <TextInput
            label="Name of your company"
            placeholder="Acme Telecom"
            autoComplete="organization"
            required
            key={form.key("display_name")}
            {...form.getInputProps("display_name")}
          />
          <TextInput
            label="Short name"
            description="Lower-case letters, digits and hyphens. Other members see it; it cannot change later."
            placeholder="acme"
            required
            key={form.key("name")}
            {...form.getInputProps("name")}
          />
          <TextInput
            label="E-mail of the contact"
            description="You sign in with it."
            type="email"
            autoComplete="email"
            required
            key={form.key("contact_email")}
            {...form.getInputProps("contact_email")}
          />
          <PasswordInput
            label="Password"
            description="At least 12 characters."
            autoComplete="new-password"
            required
            key={form.key("password")}
            {...form.getInputProps("password")}
          />
          {join.error && <ProblemNote problem={problemOf(join.error)} shownFields={Object.keys(FIELDS)} />}
          <Button type="submit" loading={join.isPending}>
            Apply
          </Button>
        </Stack>
      </form>
      <Text size="sm">
        Already a member?{" "}
        <Anchor component={Link} to="/sign-in">
          Sign in
        </Anchor>
      </Text>
    </Doorstep>
  );
}
