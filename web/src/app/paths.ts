// From the place of a page in `routes` to its URL, and who may see it.

/** Whom a page is for; `doorstep` is before the session and fills the window, `anyone` needs none. */
export type Audience = "doorstep" | "anyone" | "signed_in" | "member" | "operator";

/** URL pattern of a page file: folders are segments, `[name]` is a parameter. */
export function pathOf(file: string): string {
  const folder = file.replace(/^.*?routes\//, "").replace(/\/?page\.tsx$/, "");
  return "/" + folder.replace(/\[(\w+)\]/g, ":$1");
}

/** Where to go after signing in: only a path of this portal, never another site. */
export function safeNext(next: string | null): string {
  return next && /^\/(?![/\\])/.test(next) ? next : "/overview";
}
