import { useSession } from "../../app/session";
import { Page, Section } from "../../parts/Page";
import { Decks, MakeDeck } from "./Decks";
import { ExchangeOffers, MakeOffer, MemberOffers } from "./Offers";

export default function TransitPage() {
  const { member } = useSession();
  const owner = member?.member_id ?? null;
  return (
    <Page
      title="Transit"
      lead={
        owner
          ? "Carry calls of other members onward, to numbers that you do not hold. A number that has a rate in the deck of an offer is offered; the cheapest offer is tried first, after who holds the number."
          : "Offers of members to carry calls onward. An offer takes calls once you permit it; the cheapest is tried first, after who holds the number."
      }
      actions={
        <>
          <MakeDeck owner={owner} />
          {owner && <MakeOffer memberId={owner} />}
        </>
      }
    >
      {owner ? <MemberOffers memberId={owner} /> : <ExchangeOffers />}
      <Section title={owner ? "Your rate decks" : "Rate decks of the exchange"}>
        <Decks owner={owner} />
      </Section>
    </Page>
  );
}
