import { useSession } from "../../app/session";
import { ExchangeOverview } from "./ExchangeOverview";
import { MemberOverview } from "./MemberOverview";

export default function Overview() {
  const { role, member } = useSession();
  if (role === "operator" || !member) return <ExchangeOverview />;
  return <MemberOverview member={member} />;
}
