import { useSession } from "../../app/session";
import { Page } from "../../parts/Page";
import { ExchangeLookup, MemberLookup } from "./Lookup";

export default function LookupPage() {
  const { member } = useSession();
  return (
    <Page title="Lookup" lead="Who would get this call, and why; and what is announced around the number or prefix, accepted or not. No call is placed: it is what the nodes do at this moment, or did at the one that you name.">
      {member ? <MemberLookup memberId={member.member_id} /> : <ExchangeLookup />}
    </Page>
  );
}
