// Decides whether a page may be shown to this session, and puts the rail beside it.
import { Center, Loader } from "@mantine/core";
import type { ReactNode } from "react";
import { Navigate, useLocation } from "react-router";

import { problemOf } from "../api/problem";
import { ProblemNote } from "../parts/ProblemNote";
import { PageFailed } from "./PageFailed";
import type { Audience } from "./paths";
import { useSessionQuery } from "./session";
import { Porch, Shell } from "./Shell";

export function Frame({ audience, children }: { audience: Audience; children: ReactNode }) {
  const { data: session, error } = useSessionQuery();
  const here = useLocation();

  if (session === undefined) {
    return (
      <Center mih="100dvh" p="md">
        {error ? <ProblemNote problem={problemOf(error)} /> : <Loader role="status" aria-label="Loading" />}
      </Center>
    );
  }
  if (session === null) {
    if (audience === "doorstep") return children;
    if (audience === "anyone") return <Porch>{children}</Porch>;
    const next = here.pathname + here.search;
    return <Navigate to={next === "/overview" ? "/sign-in" : `/sign-in?next=${encodeURIComponent(next)}`} replace />;
  }
  const allowed = audience === "doorstep" || audience === "anyone" || audience === "signed_in" || audience === session.role;
  return <Shell session={session}>{allowed ? children : <PageFailed missing />}</Shell>;
}
