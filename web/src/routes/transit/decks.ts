// Rate decks of a member, or of the operator where there is no owner.
import { answer, api } from "../../api/client";

export type Owner = string | null;

export const decksKey = (owner: Owner) => ["rate-decks", owner ?? "exchange"];

export function listDecks(owner: Owner, cursor?: string) {
  const query = cursor ? { cursor } : {};
  return owner
    ? answer(api.GET("/api/v1/members/{member_id}/rate-decks", { params: { path: { member_id: owner }, query } }))
    : answer(api.GET("/api/v1/rate-decks", { params: { query } }));
}

export function makeDeck(owner: Owner, name: string) {
  return owner
    ? answer(api.POST("/api/v1/members/{member_id}/rate-decks", { params: { path: { member_id: owner } }, body: { name } }))
    : answer(api.POST("/api/v1/rate-decks", { body: { name } }));
}

/** Loads the rates of a CSV file; the deck has just those from now on. */
export function loadDeck(owner: Owner, rate_deck_id: string, csv: string) {
  const how = { headers: { "content-type": "text/csv" }, body: csv, bodySerializer: (body: unknown) => body as string };
  return owner
    ? answer(api.PUT("/api/v1/members/{member_id}/rate-decks/{rate_deck_id}/rates", { params: { path: { member_id: owner, rate_deck_id } }, ...how }))
    : answer(api.PUT("/api/v1/rate-decks/{rate_deck_id}/rates", { params: { path: { rate_deck_id } }, ...how }));
}

export function listRates(owner: Owner, rate_deck_id: string, prefix: string, cursor?: string) {
  const query = { ...(cursor && { cursor }), ...(prefix && { prefix }) };
  return owner
    ? answer(api.GET("/api/v1/members/{member_id}/rate-decks/{rate_deck_id}/rates", { params: { path: { member_id: owner, rate_deck_id }, query } }))
    : answer(api.GET("/api/v1/rate-decks/{rate_deck_id}/rates", { params: { path: { rate_deck_id }, query } }));
}
