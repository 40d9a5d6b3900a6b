import { Anchor, Button, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link, Navigate, useSearchParams } from "react-router";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { Audience } from "../../app/paths";
import { safeNext } from "../../app/paths";
import { SESSION } from "../../app/queries";
import { useSessionQuery } from "../../app/session";
import { Doorstep } from "../../parts/Doorstep";
import { ProblemNote } from "../../parts/ProblemNote";

export const audience: Audience = "doorstep";

export default function SignIn() {
  const [search] = useSearchParams();
  const queries = useQueryClient();
  const { data: session } = useSessionQuery();
  const form = useForm({ mode: "uncontrolled", initialValues: { email: "", password: "" } });
  const signIn = useMutation({
    mutationFn: (body: typeof form.values) => answer(api.POST("/api/v1/session", { body })),
    onSuccess: (made) => {
      queries.clear();
      queries.setQueryData(SESSION, made);
    },
  });
  if (session) return <Navigate to={safeNext(search.get("next"))} replace />;

  return (
    <Doorstep title="Sign in" lead="For members of the exchange and its operator.">
      <form onSubmit={form.onSubmit((values) => signIn.mutate(values))}>
        <Stack>
          <TextInput
            label="E-mail"
            type="email"
            autoComplete="username"
            required
            autoFocus
            key={form.key("email")}
            {...form.getInputProps("email")}
          />
          <PasswordInput
            label="Password"
            autoComplete="current-password"
            required
            key={form.key("password")}
            {...form.getInputProps("password")}
          />
          {signIn.error && <ProblemNote problem={problemOf(signIn.error)} />}
          <Button type="submit" loading={signIn.isPending}>
            Sign in
          </Button>
        </Stack>
      </form>
      <Text size="sm">
        Not a member yet?{" "}
        <Anchor component={Link} to="/join">
          Apply to join
        </Anchor>
      </Text>
    </Doorstep>
  );
}
