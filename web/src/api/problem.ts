// What went wrong with a request, as the API says it (RFC 9457): a sentence, a remedy, a stable code, fields.
import type { FieldError, ProblemView } from "./types";

/** As the API writes it; the portal's own failures have codes that the registry does not know. */
type Body = Omit<ProblemView, "type" | "code" | "remedy"> & { code: string; remedy: string | null };

export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly detail: string | null;
  readonly remedy: string | null;
  readonly errors: FieldError[];
  readonly retryAfterS: number | null;

  constructor(body: Body, retryAfterS: number | null = null) {
    super(sentence(body.title));
    this.name = "Problem";
    this.status = body.status;
    this.code = body.code;
    this.detail = body.detail ? sentence(body.detail) : null;
    this.remedy = body.remedy ? sentence(body.remedy) : null;
    this.errors = body.errors;
    this.retryAfterS = retryAfterS;
  }
}

/** The problem in any thrown value, so that every failure is shown in the same way. */
export function problemOf(thrown: unknown): Problem {
  if (thrown instanceof Problem) return thrown;
  if (thrown instanceof TypeError) {
    return new Problem({
      title: "the exchange does not answer",
      status: 0,
      code: "unreachable",
      detail: "",
      errors: [],
      remedy: "Check your connection; the page tries again by itself.",
    });
  }
  return new Problem({
    title: "the page failed",
    status: 0,
    code: "page_failed",
    detail: thrown instanceof Error ? thrown.message : String(thrown),
    errors: [],
    remedy: "Reload the page; if it happens again, tell the operator.",
  });
}

/** The problem in a response that is not a success. A proxy in between may have written anything. */
export function problemOfResponse(response: Response, body: unknown): Problem {
  const seconds = Number(response.headers.get("retry-after"));
  const retryAfterS = Number.isFinite(seconds) && seconds > 0 ? seconds : null;
  if (isProblem(body)) return new Problem(body, retryAfterS);
  return new Problem(
    {
      title: `the exchange answered ${response.status} without a reason`,
      status: response.status,
      code: "unexplained",
      detail: "",
      errors: [],
      remedy: "Try again shortly; if it happens again, tell the operator.",
    },
    retryAfterS,
  );
}

/** Field errors by the form's own path (`sources.0.net`), whichever way the API writes it. */
export function fieldErrors(problem: Problem): Record<string, string> {
  const byField: Record<string, string> = {};
  for (const { field, message } of problem.errors) {
    const path = field
      .replace(/^[/.#]+/, "")
      .replace(/\[(\d+)\]/g, ".$1")
      .replaceAll("/", ".");
    byField[path] ??= sentence(message);
  }
  return byField;
}

/** First letter up, full stop at the end: sentences of the registry come without. */
export function sentence(text: string): string {
  const trimmed = text.trim();
  if (trimmed === "") return "";
  const first = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?…:]$/.test(first) ? first : `${first}.`;
}

function isProblem(body: unknown): body is ProblemView {
  return typeof body === "object" && body !== null && "code" in body && "title" in body;
}
