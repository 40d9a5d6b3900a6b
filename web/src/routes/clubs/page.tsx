import { useSession } from "../../app/session";
import { Page } from "../../parts/Page";
import { ExchangeClubs, MakeClub, MemberClubs } from "./Clubs";

export default function ClubsPage() {
  const { member } = useSession();
  return (
    <Page
      title="Clubs"
      lead="A club is an agreement of many: a member joins once, and each that has joined may call each other one, by the terms of the club."
      actions={member ? undefined : <MakeClub />}
    >
      {member ? <MemberClubs memberId={member.member_id} /> : <ExchangeClubs />}
    </Page>
  );
}
