import type { Audience } from "../../app/paths";
import { useOwnMember } from "../../app/session";
import { Page, Section } from "../../parts/Page";
import { Announce } from "./AnnounceForm";
import { Announcements } from "./Announcements";
import { ImportFile } from "./ImportFile";
import { Imports } from "./Imports";
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
          <ImportFile memberId={member_id} />
          <UploadCsv memberId={member_id} />
          <Announce memberId={member_id} />
        </>
      }
    >
      <Announcements memberId={member_id} />
      <Section title="Imports" lead="Files with more rows than one request takes: uploaded in parts, and in effect as a whole.">
        <Imports memberId={member_id} />
      </Section>
    </Page>
  );
}
