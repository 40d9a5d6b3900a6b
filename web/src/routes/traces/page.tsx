import type { Audience } from "../../app/paths";
import { useOwnMember } from "../../app/session";
import { Page } from "../../parts/Page";
import { TraceCalls, Traces } from "./Traces";

export const audience: Audience = "member";

export default function TracesPage() {
  const { member_id } = useOwnMember();
  return (
    <Page
      title="Traces"
      lead="Which of your calls are kept message by message. Each such call shows them on its page, your leg whole and the other one in outline."
      actions={<TraceCalls memberId={member_id} />}
    >
      <Traces memberId={member_id} />
    </Page>
  );
}
