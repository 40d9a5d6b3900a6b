import type { Audience } from "../../app/paths";
import { useOwnMember } from "../../app/session";
import { Page } from "../../parts/Page";
import { NewUser, Users } from "./Users";

export const audience: Audience = "member";

export default function UsersPage() {
  const { member_id } = useOwnMember();
  return (
    <Page title="Users" lead="The people who sign in for you. Each sees and changes all of it." actions={<NewUser memberId={member_id} />}>
      <Users memberId={member_id} />
    </Page>
  );
}
