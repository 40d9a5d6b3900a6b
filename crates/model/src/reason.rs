//! The registry of reasons: every refusal of the hub has a stable code, a sentence and a remedy here.
//!
//! The same code stands in a SIP Reason header's text, an API problem, a CDR, the portal and a metric label.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! reasons {
    ($($name:ident $code:literal $status:literal $sentence:literal $remedy:literal)*) => {
        /// Why the hub refuses or leaves out something. It is written as its code in every format, so that what was
        /// written before a reason joined the registry is read as it was meant.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $sentence] $name,)*
        }

        impl Reason {
            /// Every reason, in the order of the registry.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The stable code, snake case.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// Status of the SIP response that carries it (RFC 3261 §21), or of the HTTP problem for those
            /// that only the API gives.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// What happened, as a sentence without its full stop.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }

            /// What to do about it, as a sentence.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }

            /// The reason with this code, if there is one.
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = Cow::<'_, str>::deserialize(deserializer)?;
        let unknown = || serde::de::Error::custom(format!("there is no reason {code:?}"));
        Self::from_code(&code).ok_or_else(unknown)
    }
}

reasons! {
    // Where a call may go.
    NoRoute "no_route" 404 "no member announces the called number"
        "Check the number; if it is right, no member of the exchange takes calls for it."
    NoAgreement "no_agreement" 403 "no agreement in force lets the originating member call the member that holds the number"
        "Propose an agreement to that member, or wait until it has accepted yours."
    AgreementSuspended "agreement_suspended" 403 "the agreement with the member that holds the number is suspended"
        "Who suspended it resumes it; the history of the agreement says who and when."
    AgreementPrefix "agreement_prefix" 403 "the agreement with the member that holds the number covers other numbers of it"
        "Offer the member terms that have a prefix of the called number."
    AgreementTags "agreement_tags" 403 "the announcement does not bear the tags that the agreement demands"
        "The announcing member adds the tags, or the two agree on another demand."
    AgreementHours "agreement_hours" 403 "the agreement with the member that holds the number lets no call cross at this time"
        "Call within the hours of the agreement, or offer the member other hours."
    BlockedByMember "blocked_by_member" 403 "the originating member blocks calls to the number"
        "Take the prefix off the block list, if the number is to be called after all."
    BlockedByOperator "blocked_by_operator" 403 "the operator blocks calls to the number"
        "Ask the operator of the exchange why calls to the number are blocked."
    WouldReturn "would_return" 482 "the transit route leads back to the member that the call came from"
        "Route the call inside your own network; the exchange does not send a call back to where it came from."
    RateTooHigh "rate_too_high" 403 "the transit costs more a minute than the agreement allows"
        "Offer the other member terms with a higher max_rate, or call where transit is cheaper."
    AtALoss "at_a_loss" 403 "the originating member pays less for the call than the transit costs and the margin floor asks"
        "Agree on higher rates or on a lower margin_floor."
    QualityTooLow "quality_too_low" 503 "calls by the transit route lately went worse than the agreement asks"
        "Try again later; the route is measured anew, and the agreement says how good it must be."
    RateMissing "rate_missing" 404 "no rate for the number is in force in the deck of the transit offer"
        "The offering member loads a deck with a rate for the number that is in force."
    TransitNotPermitted "transit_not_permitted" 403 "the operator has not permitted the offer of transit"
        "The offering member asks the operator of the exchange to permit it."
    RangeUnverified "range_unverified" 404 "the announcement lies in a range that is not verified"
        "The announcing member asks the operator to verify its range."
    RangeExpired "range_expired" 404 "the range that covers the announcement has expired"
        "The announcing member renews the evidence for its range."
    RangeMissing "range_missing" 404 "the announcement lies in no range of the member that announces it"
        "The announcing member claims the range that holds the prefix."
    RangeOfOther "range_of_other" 404 "another member holds the announced numbers"
        "The announcing member announces numbers of its own ranges only; where it holds them after all, it claims them and the operator decides."
    AnnouncementTooBroad "announcement_too_broad" 404 "the announcement is broader than the verified ranges of the member that announces it"
        "The announcing member announces each of its ranges by itself, or claims the numbers that are missing."
    NotYetInForce "not_yet_in_force" 404 "the announcement is not in force at this time"
        "Wait until the announcement begins, or announce it from now."
    LongerPrefix "longer_prefix" 404 "a longer announced prefix matches the number"
        "Nothing to do: the longest prefix decides."
    OwnNumber "own_number" 482 "the number is held by the originating member itself"
        "Route the call inside your own network; the exchange does not send a call back to where it came from."
    MemberNotApproved "member_not_approved" 403 "the member is not approved to exchange calls"
        "Ask the operator of the exchange about the member's state."
    EndpointDisabled "endpoint_disabled" 503 "the endpoint is disabled"
        "Enable the endpoint in the portal."
    EndpointFull "endpoint_full" 503 "the endpoint already carries as many calls as it may"
        "Try again shortly, or raise the endpoint's max_calls."
    MemberFull "member_full" 503 "the terminating member already carries as many calls as it may"
        "Try again shortly; the operator raises the member's max_calls."
    AgreementFull "agreement_full" 503 "the agreement between the two members already carries as many calls as it may"
        "Try again when a call has ended, or agree on a higher max_calls."
    AgreementRateExceeded "agreement_rate_exceeded" 503 "more calls a second cross under the agreement than the two members agreed on"
        "Send calls more slowly, or agree on a higher max_calls_per_second."
    PrefixFull "prefix_full" 503 "as many calls are up for the prefix as its announcement takes"
        "Try again when a call has ended; the announcing member raises the announcement's max_calls."
    PrefixRateExceeded "prefix_rate_exceeded" 503 "more calls a second are sent for the prefix than its announcement takes"
        "Send calls more slowly; the announcing member raises the announcement's max_calls_per_second."
    EndpointUnreachable "endpoint_unreachable" 503 "the endpoint did not answer in time or its connection failed"
        "Check that the member's switch is up and reachable from the exchange."
    TargetUnresolved "target_unresolved" 503 "the DNS name of the endpoint leads to no address"
        "Check the NAPTR, SRV, A and AAAA records of the name, or use an address as the target."
    TargetForbidden "target_forbidden" 503 "the DNS name of the endpoint leads only to addresses that the hub does not send to"
        "Have the name lead to public addresses; on a private exchange the operator sets dns.private_addresses."
    EndpointDown "endpoint_down" 503 "the endpoint has stopped answering, and another one was to be tried first"
        "Check that the member's switch is up, reachable from the exchange and answers OPTIONS; it is probed, and takes calls again soon after it answers."
    EndpointRecovering "endpoint_recovering" 503 "the endpoint has just come back and takes only a part of its calls yet"
        "Nothing to do: its share grows within seconds."
    EndpointHeld "endpoint_held" 503 "the endpoint answered 503 with Retry-After and gets no new calls until that time is over"
        "Give the member's switch more room, or lower its max_calls; a Retry-After is believed up to the endpoint's limit."
    NotRegistered "not_registered" 480 "the endpoint takes calls where it registers, and is not registered now"
        "Check that the member's switch registers: user name, password, realm and address of the exchange."
    NoListener "no_listener" 503 "this node has no listener for the endpoint's transport and address family"
        "The operator adds a listener of that transport and address family."

    // Calls that the hub refuses.
    CallsExceeded "calls_exceeded" 503 "the originating endpoint already carries as many calls as it may"
        "Try again when a call has ended, or ask for a higher max_calls."
    CallRateExceeded "call_rate_exceeded" 503 "the originating endpoint sends more calls a second than it may"
        "Send calls more slowly, or ask for a higher max_calls_per_second."
    MemberCallsExceeded "member_calls_exceeded" 503 "the originating member already carries as many calls as it may"
        "Try again when a call has ended, or ask the operator for a higher max_calls."
    MemberCallRateExceeded "member_call_rate_exceeded" 503 "the originating member sends more calls a second than it may"
        "Send calls more slowly, or ask the operator for a higher max_calls_per_second."
    SourceRateExceeded "source_rate_exceeded" 503 "the address sends more messages a second than the node takes from one address"
        "Send more slowly, or from several addresses; the operator raises fabric.source_messages_per_second."
    HubOverloaded "hub_overloaded" 503 "the node has more to do than it can and takes a part of the new calls only"
        "Send the call to another node, or try again after the time in Retry-After."
    NumberInvalid "number_invalid" 484 "the called number is not a full E.164 number"
        "Send the number internationally, such as sip:+442079460000@…;user=phone."
    NumberImpossible "number_impossible" 484 "no number of its country has as many digits as the called number, or no country has its code"
        "Check the country code, and that the number is complete and has no digits after its end."
    TooManyHops "too_many_hops" 483 "Max-Forwards has reached 0"
        "Look for a routing loop between the members."
    MergedRequest "merged_request" 482 "the same INVITE has come another way and is being served"
        "Send an INVITE by one way at a time; the response to the first one counts."
    LoopDetected "loop_detected" 482 "the call has come back to the hub for the same number"
        "The terminating member routes the number on its own network instead of returning it."
    NotReady "not_ready" 503 "the node has no route table yet"
        "Try again in a few seconds."
    Draining "draining" 503 "the node is being stopped and takes no new calls"
        "Send the call to another node, or try again shortly."
    JournalUnwritable "journal_unwritable" 503 "the node cannot write its journal, so it cannot account for a new call"
        "The operator frees disk space in the data directory."
    NodeFull "node_full" 503 "the node carries as many calls as it may"
        "Send the call to another node, or try again shortly."
    RingTimeout "ring_timeout" 408 "the called side did not answer in time"
        "Nothing to do: nobody took the call."
    NoAck "no_ack" 408 "the originating member never acknowledged the answer"
        "Check that ACK reaches the hub: the Contact of the 200 is the hub's address."
    NoPrack "no_prack" 504 "the originating member never acknowledged a reliable provisional response"
        "Check that PRACK reaches the hub, or do not offer 100rel."
    CallerGone "caller_gone" 487 "the originating member cancelled the call"
        "Nothing to do: the caller gave up."
    HubFault "hub_fault" 500 "the hub failed while it handled the call"
        "Try again; the operator finds the cause in the node's log."
    SessionExpired "session_expired" 408 "the far end of an answered call was not heard from for the session interval"
        "Look for the end that vanished: the CDR says when each side was last heard from."
    NodeStopped "node_stopped" 503 "the node was stopped while the call was up"
        "Nothing to do: place the call again."

    // SIP that the hub refuses.
    Malformed "malformed" 400 "the message breaks the grammar of SIP"
        "The text after the code names the header field; mend the sender."
    MethodUnknown "method_unknown" 501 "the hub does not implement the method"
        "Use one of the methods in the Allow header field."
    MethodNotAllowed "method_not_allowed" 405 "the method is not taken outside a call"
        "Use one of the methods in the Allow header field."
    SchemeUnsupported "scheme_unsupported" 416 "the Request-URI is neither sip: nor tel:"
        "Send the called number in a sip: URI."
    ExtensionUnsupported "extension_unsupported" 420 "the request requires an extension that the hub does not have"
        "Leave out the option tags that the Unsupported header field lists."
    SessionTooBrief "session_too_brief" 422 "the session interval that is asked for is shorter than the hub takes"
        "Ask for a Session-Expires of at least the Min-SE in the response (RFC 4028)."
    NoDialog "no_dialog" 481 "the request belongs to no call that the hub knows"
        "Nothing to do: the call is over on the hub."
    RequestPending "request_pending" 491 "another request of the same kind is still pending in this call"
        "Try again after a short random while (RFC 3261 section 14.1)."
    RequestOverlaps "request_overlaps" 500 "an earlier request of the same kind in this call is not answered yet"
        "Wait for the answer to the earlier request, then try again after Retry-After."
    CseqTooLow "cseq_too_low" 500 "the CSeq number is lower than one already seen in the dialog"
        "Raise the CSeq number with each request in a dialog."
    DomainUnknown "domain_unknown" 404 "the Request-URI of the REGISTER names no realm of the exchange"
        "Register at the realm that the portal shows with the user name."
    AddressOfOther "address_of_other" 403 "the address in To is not that of the user name"
        "Register the address sip:USERNAME@REALM with the user name and realm that the portal shows."
    ContactUnusable "contact_unusable" 400 "the Contact is no sip: URI, or too long"
        "Give a sip: URI of at most 255 octets as Contact."
    IntervalTooBrief "interval_too_brief" 423 "the registration would end too soon"
        "Register for at least as many seconds as Min-Expires says."
    CallMarkMissing "call_mark_missing" 403 "endpoints share the address that sends, and the Request-URI says of none that it calls"
        "Put the tech-prefix of the endpoint before the called number, or its request domain as host."
    MessageTooLarge "message_too_large" 513 "the message is larger than the hub takes"
        "Send fewer or shorter header fields."
    InternalError "internal_error" 500 "the hub failed to handle the request"
        "Tell the operator, with the time and the Call-ID."

    // Messages that are dropped in silence: only metrics know these.
    UnknownSource "unknown_source" 403 "no endpoint sends from this address"
        "Register the address as a source of one of your endpoints."
    SourceBanned "source_banned" 403 "the address sends from no endpoint and is banned for a while, for a flood or as a scanner"
        "Register the address as a source of one of your endpoints; the ban does not outlast that."
    UnknownTransaction "unknown_transaction" 481 "the response or ACK belongs to no transaction"
        "Nothing to do: it came late, or was never ours."
    Unreadable "unreadable" 400 "the octets are not a SIP message"
        "Nothing to do unless a switch of yours sends it."

    // The API.
    BadRequest "bad_request" 400 "the request cannot be read"
        "The detail names the field; mend it and send the request again."
    Invalid "invalid" 422 "the request breaks a rule"
        "The errors name the fields; mend them and send the request again."
    Unauthenticated "unauthenticated" 401 "there is no valid session or token"
        "Sign in, or send Authorization: Bearer with a token that has not expired."
    Forbidden "forbidden" 403 "the session or token may not do this"
        "Ask someone with the right to do it."
    OperatorSetting "operator_setting" 403 "the setting is for the operator of the exchange to change"
        "Leave the setting as it is, and ask the operator to change it."
    NotFound "not_found" 404 "there is no such thing, or it is not yours to see"
        "Check the id."
    PastForgotten "past_forgotten" 404 "the exchange does not know its past so far back"
        "Ask about a later moment; history.keep_days in the settings says for how long the past is kept."
    Conflict "conflict" 409 "it conflicts with what is already there"
        "The detail names what it conflicts with."
    PrefixImpossible "prefix_impossible" 422 "no number begins with the prefix"
        "Write the country code and the leading digits of the national number, without the 0 that is dialled before it at home."
    PrefixEmergency "prefix_emergency" 422 "the prefix is an emergency number"
        "Emergency numbers are called inside their country; claim and announce other numbers."
    PrefixUnallocated "prefix_unallocated" 422 "the country has given out no numbers that begin with the prefix"
        "Check the digits; where the country has given them out lately, the operator declares the range."
    RangeOverlaps "range_overlaps" 409 "the range overlaps a verified range"
        "Claim only numbers that no other verified range holds."
    RangeDisputed "range_disputed" 409 "the range overlaps a verified range or an earlier claim of another member"
        "Whoever is wrong withdraws; else the operator decides. Until then a verified range stands, and of claims the earlier one comes first."
    RangeAllocatedToOther "range_allocated_to_other" 409 "a regulator's file gives some of the numbers to another holder"
        "Claim only what the regulator gave you; if the other name is yours, or the numbers were handed on to you, tell the operator, who knows under which names the files know you."
    EvidenceNotTaken "evidence_not_taken" 409 "the exchange does not take such evidence, or not from you"
        "The detail says what is missing; give other evidence with the claim, and the operator decides."
    CertificateRefused "certificate_refused" 422 "the certificate is no evidence of whose numbers are whose"
        "The errors say what is wrong with it; bring one with a TNAuthorizationList, from an authority that the operator trusts."
    ProofRefused "proof_refused" 422 "the proof does not hold"
        "The detail says why, and how to try again."
    RangeRefused "range_refused" 409 "the operator has refused the claim"
        "Claim the range again with better evidence."
    SourceOverlaps "source_overlaps" 409 "the source overlaps a source of another endpoint"
        "Use an address block and port that no other endpoint sends from, or share it: each with a tech-prefix that no other's begins with, or each with a request domain."
    AnnouncementExists "announcement_exists" 409 "the prefix is already announced"
        "Change or withdraw the announcement that is there."
    AgreementExists "agreement_exists" 409 "the two members already have an agreement or a proposal"
        "Answer or end that one first."
    AgreementAwaitsOther "agreement_awaits_other" 409 "the terms are your own offer, which the other member has not answered"
        "Wait for the answer, or take the offer back and propose other terms."
    AgreementAwaitsYou "agreement_awaits_you" 409 "the terms are an offer of the other member, which only it can take back"
        "Accept or refuse the offer, or answer it with other terms."
    AgreementVersionsExceeded "agreement_versions_exceeded" 409 "the terms were offered a hundred times"
        "Accept or refuse the last offer, and propose an agreement anew."
    AgreementNotAccepted "agreement_not_accepted" 409 "the two have not accepted the agreement yet"
        "Accept, refuse or take back the offer; only what is accepted can be suspended."
    AgreementAccepted "agreement_accepted" 409 "both have accepted the agreement already"
        "Suspend or end it if you want it no more; for other terms, end it and propose another one."
    AgreementNotSuspended "agreement_not_suspended" 409 "you have not suspended the agreement"
        "If it is suspended, the other member resumes it."
    AgreementEnding "agreement_ending" 409 "notice was given already and the agreement is about to end"
        "Wait for its end, or suspend it if no more calls shall cross until then."
    ClubJoined "club_joined" 409 "the member has joined the club already"
        "Nothing to do: calls cross between it and all that have joined."
    ClubNotJoined "club_not_joined" 409 "the member has not joined the club, or was not expelled from it"
        "Look at the members of the club."
    ClubExpelled "club_expelled" 403 "the operator has expelled the member from the club"
        "Ask the operator to readmit the member."
    AgreementOver "agreement_over" 409 "the agreement or proposal is over"
        "Propose another one."
    ChangeSetState "change_set_state" 409 "the change set has come too far for that, or not far enough"
        "Look at its state: a draft is planned, approved, applied or cancelled, one that waits for its time is cancelled, and one that was applied is rolled back."
    PlanMissing "plan_missing" 409 "nobody has planned the change set yet"
        "Plan it first, and read what it changes."
    PlanOutdated "plan_outdated" 409 "the routes of the exchange kept changing while the change set was to be applied"
        "Apply it again."
    ApprovalMissing "approval_missing" 409 "the change set moves so many calls or prefixes that a second person must approve it"
        "Ask another person of the member, or the operator, to approve it; an approval holds as long as the plan does not grow by more than a tenth."
    ApprovalByAuthor "approval_by_author" 403 "whoever wrote a change set does not approve it"
        "Ask another person of the member, or the operator."
    RollBackOvertaken "roll_back_overtaken" 409 "announcements of the change set were changed after it was applied"
        "Change those announcements by themselves, or by another change set."
    ImportOffset "import_offset" 409 "the part does not begin where the import has come to"
        "Ask for the import and send the part that begins at its received_octets."
    ImportState "import_state" 409 "the import has come too far for that"
        "Look at its state: only a file that is still being received takes more of it or is given up."
    ImportRowsRefused "import_rows_refused" 422 "the file has rows that cannot be taken"
        "Read the errors of the import, mend those rows and import the file anew, or say that bad rows are skipped."
    ImportUnreadable "import_unreadable" 422 "the file is no file of announcements"
        "Begin a CSV file with the line prefix,endpoints, or write one JSON object on each line; save it as UTF-8."
    ImportAbandoned "import_abandoned" 408 "the upload did not go on for a day"
        "Import the file anew."
    ImportsTooMany "imports_too_many" 409 "the member has as many unfinished imports as it may"
        "Wait until one is applied, or give up one that is still being received."
    IdempotencyMismatch "idempotency_mismatch" 422 "the idempotency key was used with another body"
        "Use a new key for a new request."
    TooLarge "too_large" 413 "the body is larger than the API takes"
        "Split it into several requests."
    TooManyRequests "too_many_requests" 429 "too many attempts"
        "Wait as long as Retry-After says."
    Unavailable "unavailable" 503 "the database does not answer"
        "Try again shortly; calls go on meanwhile."
    Overloaded "overloaded" 503 "the portal handles as many requests as it can, or this one took too long"
        "Try again shortly; calls go on meanwhile."
    OperationUnknown "operation_unknown" 405 "the path does not take this method"
        "Use one of the methods that the OpenAPI document lists for the path."

    // Calls that an endpoint sends elsewhere.
    Redirected "redirected" 502 "the endpoint redirected the call to another number"
        "Nothing to do: the call went on to that number, or the next attempt says why not."
    RedirectionUnusable "redirection_unusable" 502 "the endpoint redirected the call, and not to a telephone number"
        "The terminating member gives a full E.164 number in the Contact of its 3xx, or does without redirections."
    ReferToUnusable "refer_to_unusable" 403 "the REFER leads to no telephone number, or into a call that only one side knows"
        "Refer to a sip: URI with a full number, without Replaces; a call is handed over by its number alone."
    TooManyRedirections "too_many_redirections" 482 "the call was redirected too often"
        "The terminating members look for numbers that redirect to each other."

    // Files of ported numbers: a node says which it does not use.
    PortedFileUnreadable "ported_file_unreadable" 503 "the file of ported numbers, or the folder of its deltas, cannot be read"
        "The operator checks portability.file and portability.deltas, and who may read them."
    PortedFileMalformed "ported_file_malformed" 422 "a file of ported numbers is not as it was written"
        "The log names the line; the file is made again, and moved into its place when it is whole."
    PortedDeltaOutOfOrder "ported_delta_out_of_order" 409 "a delta of ported numbers does not follow the state that the node holds"
        "The operator brings the delta that is missing, or a base of later numbers."
    PortedNumberRepeated "ported_number_repeated" 409 "a number is there more than once in a file of ported numbers"
        "Whoever makes the file leaves one of the two out; the log names the number."
    PortedNumberExists "ported_number_exists" 409 "a delta adds a number that is ported already"
        "The delta changes the number instead, or the operator brings a new base; the log names the number."
    PortedNumberUnknown "ported_number_unknown" 409 "a delta changes or removes a number that is not ported"
        "The delta adds the number instead, or the operator brings a new base; the log names the number."
    PortedNetworksTooMany "ported_networks_too_many" 422 "a file of ported numbers has more routing numbers than a node tells apart"
        "Check that each line has the number first and its routing number second."
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_code_of_its_own_and_texts_that_are_sentences() {
        let mut codes = std::collections::HashSet::new();
        for &reason in Reason::ALL {
            assert!(codes.insert(reason.code()), "{reason} is there twice");
            assert!(reason.code().chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{reason}");
            assert!(!reason.sentence().ends_with('.') && reason.remedy().ends_with('.'), "{reason}");
            assert!((400..700).contains(&reason.status()), "{reason}");
            assert_eq!(Reason::from_code(reason.code()), Some(reason));
            // Texts go into quoted SIP parameters and JSON as they are.
            assert!(!reason.sentence().contains(['"', '\\', '\r', '\n']), "{reason}");
        }
    }
}
