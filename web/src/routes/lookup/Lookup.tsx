import { Button, Group, Select, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { useSearchParams } from "react-router";

import { answer, api } from "../../api/client";
import { fieldErrors, problemOf } from "../../api/problem";
import type { Glass as GlassAnswer } from "../../api/types";
import { plainNumber } from "../../format/number";
import { Explanation } from "../../parts/Explanation";
import { Icon } from "../../parts/Icon";
import { useMembers } from "../../parts/members";
import { ProblemNote } from "../../parts/ProblemNote";
import { Glass } from "./Glass";

/** From the session's own member, or from one that the operator looks at. */
export function MemberLookup({ memberId }: { memberId: string }) {
  const [search] = useSearchParams();
  const called = search.get("called") ?? "";
  const at = moment(search);
  const found = useQuery({
    queryKey: ["looking-glass", memberId, called, at],
    enabled: called !== "",
    queryFn: () =>
      answer(
        api.GET("/api/v1/members/{member_id}/looking-glass", { params: { path: { member_id: memberId }, query: { of: called, at } } }),
      ),
  });
  return <Lookup found={found} isOperator={false} />;
}

/** All of it, and the route from any member. */
export function ExchangeLookup() {
  const [search, setSearch] = useSearchParams();
  const called = search.get("called") ?? "";
  const from = search.get("from") ?? "";
  const at = moment(search);
  const members = useMembers();
  const found = useQuery({
    queryKey: ["looking-glass", from, called, at],
    enabled: called !== "",
    queryFn: () =>
      answer(api.GET("/api/v1/looking-glass", { params: { query: from === "" ? { of: called, at } : { of: called, from, at } } })),
  });
  return (
    <Lookup found={found} isOperator>
      <Select
        label="From member"
        placeholder="Choose a member"
        searchable
        clearable
        w={280}
        value={from || null}
        onChange={(value) =>
          setSearch((now) => {
            const next = new URLSearchParams(now);
            if (value) next.set("from", value);
            else next.delete("from");
            return next;
          })
        }
        data={members.data?.map(({ name, display_name }) => ({ value: name, label: `${display_name} (${name})` })) ?? []}
      />
    </Lookup>
  );
}

/** The moment that is asked about, where it is not now. */
function moment(search: URLSearchParams): string | undefined {
  const at = new Date(`${search.get("at") ?? ""}Z`);
  return Number.isNaN(at.getTime()) ? undefined : at.toISOString();
}

type Found = { data: GlassAnswer | undefined; error: unknown; isFetching: boolean; refetch: () => unknown };

function Lookup({ found, isOperator, children }: { found: Found; isOperator: boolean; children?: ReactNode }) {
  const [search, setSearch] = useSearchParams();
  const called = search.get("called") ?? "";
  const then = search.get("at") ?? "";
  const [typed, setTyped] = useState(called);
  const [at, setAt] = useState(then);
  const problem = found.error ? problemOf(found.error) : null;

  function ask() {
    const number = plainNumber(typed);
    if (number === called && at === then) void found.refetch();
    else
      setSearch((now) => {
        const next = new URLSearchParams(now);
        next.set("called", number);
        if (at) next.set("at", at);
        else next.delete("at");
        return next;
      });
  }
  return (
    <>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          ask();
        }}
      >
        <Group align="flex-start" gap="sm">
          {children}
          <TextInput
            label="Number or prefix"
            placeholder="+44 20 7946 0000"
            inputMode="tel"
            required
            w={280}
            value={typed}
            onChange={(event) => setTyped(event.currentTarget.value)}
            error={problem && fieldErrors(problem).of}
          />
          <TextInput
            type="datetime-local"
            label="As of (UTC)"
            w={220}
            value={at}
            onChange={(event) => setAt(event.currentTarget.value)}
            error={problem && fieldErrors(problem).at}
          />
          <Button type="submit" mt={24} loading={found.isFetching} leftSection={<Icon name="lookup" size={15} />}>
            Look up
          </Button>
        </Group>
      </form>
      {problem && <ProblemNote problem={problem} shownFields={["of", "at"]} />}
      {!problem && found.data?.selection && <Explanation selection={found.data.selection} tense={then ? "then" : "now"} />}
      {!problem && found.data && <Glass glass={found.data} isOperator={isOperator} />}
    </>
  );
}
