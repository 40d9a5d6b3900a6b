// Short names for the shapes of the generated schema. Nothing is typed here by hand.
import type { components } from "./schema";

type Schemas = components["schemas"];

export type Session = Schemas["SessionView"];
export type Member = Schemas["MemberView"];
export type MemberItem = Schemas["MemberItemView"];
export type MemberState = Schemas["MemberState"];
export type MemberRef = Schemas["MemberRef"];
export type User = Schemas["UserView"];
export type Token = Schemas["TokenView"];
export type NewToken = Schemas["NewTokenView"];
export type Endpoint = Schemas["EndpointView"];
export type EndpointInput = Schemas["EndpointInput"];
export type Policy = Schemas["PolicyView"];
export type Profile = Schemas["ProfileView"];
export type Switch = Schemas["Switch"];
export type Range = Schemas["RangeView"];
export type Authority = Schemas["Authority"];
export type Announcement = Schemas["AnnouncementView"];
export type BulkMode = Schemas["BulkMode"];
export type BulkOutcome = Schemas["BulkView"];
export type Agreement = Schemas["AgreementView"];
export type ProposedDirection = Schemas["ProposedDirection"];
export type Call = Schemas["CallView"];
export type CallDetail = Schemas["CallDetailView"];
export type Attempt = Schemas["AttemptView"];
export type LadderMessage = Schemas["MessageView"];
export type TraceSelection = Schemas["TraceSelectionView"];
export type Outcome = Schemas["Outcome"];
export type Selection = Schemas["SelectionView"];
export type Overview = Schemas["OverviewView"];
export type Node = Schemas["NodeView"];
export type Listener = Schemas["ListenerView"];
export type Reason = Schemas["ReasonView"];
export type AuditEntry = Schemas["AuditView"];
export type ProblemView = Schemas["Problem"];
export type FieldError = Schemas["FieldError"];
