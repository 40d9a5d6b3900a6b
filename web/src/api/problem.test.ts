import { expect, test } from "vitest";

import { fieldErrors, Problem, problemOf, problemOfResponse, sentence } from "./problem";

const INVALID = {
  title: "the request breaks a rule",
  status: 422,
  code: "invalid",
  detail: "",
  remedy: "Mend the fields.",
  errors: [
    { field: "sources[0].net", message: "not an address" },
    { field: "/target", message: "the host is an IP address" },
  ],
};

test("a problem of the API keeps its sentence, remedy and code", () => {
  const problem = problemOfResponse(new Response(null, { status: 422 }), INVALID);
  expect(problem).toMatchObject({ message: "The request breaks a rule.", remedy: "Mend the fields.", code: "invalid", status: 422 });
});

test("a slowed sign-in says when to try again", () => {
  const response = new Response(null, { status: 429, headers: { "retry-after": "30" } });
  expect(problemOfResponse(response, { ...INVALID, code: "too_many_requests", status: 429 }).retryAfterS).toBe(30);
});

test("an answer that is no problem still becomes one", () => {
  expect(problemOfResponse(new Response(null, { status: 502 }), "<html>")).toMatchObject({ code: "unexplained", status: 502 });
});

test("no answer at all is told apart from a failure of the page", () => {
  expect(problemOf(new TypeError("Failed to fetch")).code).toBe("unreachable");
  expect(problemOf(new Error("x is undefined")).code).toBe("page_failed");
});

test("field errors are found by the path of the form", () => {
  expect(fieldErrors(new Problem(INVALID))).toEqual({
    "sources.0.net": "Not an address.",
    target: "The host is an IP address.",
  });
});

test("texts of the registry become sentences", () => {
  expect(sentence("no member announces the called number")).toBe("No member announces the called number.");
  expect(sentence("Check the id.")).toBe("Check the id.");
  expect(sentence("")).toBe("");
});
