// The one way to the API: typed paths, the CSRF header on changes, and every failure thrown as a `Problem`.
import createClient from "openapi-fetch";

import { problemOfResponse } from "./problem";
import type { paths } from "./schema";

export const api = createClient<paths>({
  // A Request needs an absolute URL; the API is always where the page came from.
  baseUrl: globalThis.location.origin,
  headers: { "x-tandem-csrf": "1" },
  // Looked up at each call, so that a test can stand in for the network.
  fetch: (request) => globalThis.fetch(request),
});

type Answered<Data> = { data?: Data; error?: unknown; response: Response };

/** The data of an answered request; throws the `Problem` of a refused one. */
export async function answer<Data>(request: Promise<Answered<Data>>): Promise<Data> {
  const { data, error, response } = await request;
  if (!response.ok) throw problemOfResponse(response, error);
  return data as Data;
}
