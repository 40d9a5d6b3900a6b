import { useSession } from "../../app/session";
import { Page } from "../../parts/Page";
import { Calls } from "./Calls";

export default function CallsPage() {
  const { member } = useSession();
  return (
    <Page
      title="Calls"
      lead={`${member ? "Calls that you sent or took" : "Every call of the exchange"}, newest first. The first page renews itself. Times are UTC.`}
    >
      <Calls memberId={member?.member_id ?? null} />
    </Page>
  );
}
