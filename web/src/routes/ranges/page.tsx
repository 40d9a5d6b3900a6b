import type { Audience } from "../../app/paths";
import { useOwnMember } from "../../app/session";
import { Page } from "../../parts/Page";
import { Certificates } from "./Certificates";
import { ClaimRange, Ranges } from "./Ranges";

export const audience: Audience = "member";

export default function RangesPage() {
  const { member_id } = useOwnMember();
  return (
    <Page
      title="Ranges"
      lead="Blocks of numbers that you hold. The operator checks your evidence, unless a regulator's file, a certificate or calls show that they are yours; only numbers of a valid range are routed to you. A number has one holder: where another member holds or has claimed it before, your claim is disputed and the operator decides."
      actions={<ClaimRange memberId={member_id} />}
    >
      <Ranges memberId={member_id} />
      <Certificates memberId={member_id} />
    </Page>
  );
}
