import { useSession } from "../../app/session";
import { Page } from "../../parts/Page";
import { ChangeSets } from "./ChangeSets";
import { NewChangeSet } from "./NewChangeSet";

export default function ChangeSetsPage() {
  const { member } = useSession();
  return (
    <Page
      title="Change sets"
      lead={
        member
          ? "Several changes of announcements that take effect together. See beforehand whose calls would move, apply them at once or at a time, and roll them back."
          : "Changes of announcements that members have planned. What moves much waits here for a second person."
      }
      actions={member && <NewChangeSet memberId={member.member_id} />}
    >
      <ChangeSets memberId={member?.member_id ?? null} />
    </Page>
  );
}
