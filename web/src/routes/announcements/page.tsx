import type { Audience } from "../../app/paths";
import { useOwnMember } from "../../app/session";
import { Page } from "../../parts/Page";
import { Announce } from "./AnnounceForm";
import { Announcements } from "./Announcements";
import { UploadCsv } from "./UploadCsv";

export const audience: Audience = "member";

export default function AnnouncementsPage() {
  const { member_id } = useOwnMember();
  return (
    <Page
      title="Announcements"
      lead="Prefixes that you want routed to your endpoints. Calls follow the longest prefix; one in a valid range goes live at once."
      actions={
        <>
          <UploadCsv memberId={member_id} />
          <Announce memberId={member_id} />
        </>
      }
    >
      <Announcements memberId={member_id} />
    </Page>
  );
}
