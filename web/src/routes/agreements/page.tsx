import type { Audience } from "../../app/paths";
import { useOwnMember } from "../../app/session";
import { Page } from "../../parts/Page";
import { Agreements } from "./Agreements";
import { Propose } from "./TermsForm";

export const audience: Audience = "member";

export default function AgreementsPage() {
  const { member_id } = useOwnMember();
  return (
    <Page
      title="Agreements"
      lead="Calls cross between two members only while an agreement between them is in force. One proposes, the other answers."
      actions={<Propose memberId={member_id} />}
    >
      <Agreements memberId={member_id} />
    </Page>
  );
}
