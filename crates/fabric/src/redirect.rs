//! What becomes of a redirection of an endpoint, a 3xx to the INVITE (RFC 3261 §8.1.3.4), where its policy has it followed.
//!
//! Where a Contact leads is never where a message goes: only the number in it counts. That is routed anew, as a call of
//! the same originating member under its own agreements, and takes the place of the candidates that are left. Where
//! it is not followed a redirection is one more way in which an endpoint cannot take a call.

use smallvec::SmallVec;
use tandem_model::{E164, NumberPolicy, Outcome, Reason, Redirect};
use tandem_routing::{CallRequest, Dip, LeftOut, select};
use tandem_sip::{Message, Name, NameAddr, Scheme};

use rand::Rng;

use crate::call::CallKey;
use crate::cause::cause_of;
use crate::invite::policy_of;
use crate::worker::{Now, Worker};

/// Most redirections of one call.
const MAX_REDIRECTIONS: usize = 5;

/// Where a call goes now, and who sent it there.
#[derive(Debug)]
pub(crate) struct Redirected {
    /// The number that it goes to, as digits.
    pub(crate) called: Box<str>,
    /// What the look-up of that number has found.
    pub(crate) dip: Option<Dip>,
    /// The numbers that it went to before, in that order; at least one.
    pub(crate) diversions: SmallVec<[Redirection; 1]>,
}

/// A number that redirected a call.
#[derive(Clone, Debug)]
pub(crate) struct Redirection {
    /// As digits.
    pub(crate) number: Box<str>,
    /// Its address as a header value; the hub's host takes the place of the one in it.
    pub(crate) address: Box<str>,
}

impl Worker {
    /// Follows the redirection of the attempt under way, where the policy of its endpoint says so; false where that does
    /// not.
    pub(crate) fn follow_redirection(
        &mut self,
        now: Now,
        key: CallKey,
        response: &Message<'_>,
        status: u16,
    ) -> bool {
        let Some(leg) = self.calls[key].egress.as_ref().filter(|_| (300..400).contains(&status)) else {
            return false;
        };
        let policy = policy_of(&self.table, leg.endpoint);
        if policy.session.redirect != Redirect::Follow {
            return false;
        }
        let target = contact_number(response, &policy.numbers);
        let call = &mut self.calls[key];
        call.note_egress_cause(cause_of(response));
        if let Some(invite) = call.invite.as_mut() {
            (invite.client, invite.failure) = (None, None);
        }
        self.end_attempt(now, key, Some(status), Some(Reason::Redirected));
        match target.ok_or(Reason::RedirectionUnusable).and_then(|target| self.redirect(now, key, target)) {
            Ok(()) => self.try_next(now, key, None, Reason::EndpointUnreachable),
            Err(reason) => {
                self.wire.metrics.count_refusal(reason);
                self.refuse_with(now, key, reason.status(), Some(reason), Outcome::Failed);
            }
        }
        true
    }

    /// Routes the call to another number: its candidates take the place of those that are left.
    fn redirect(&mut self, now: Now, key: CallKey, called: E164) -> Result<(), Reason> {
        let table = self.table.clone();
        let draw = self.rng.next_u64();
        let dip = self.recall_dip(now, called);
        let call = &mut self.calls[key];
        let digits = called.digits();
        let from: Box<str> = call.target().into();
        let invite = call.invite.as_mut().expect("a call that is being set up has its INVITE");
        let before = invite.redirected.take();
        let mut diversions = before.map_or_else(SmallVec::new, |before| before.diversions);
        let address = format!("<sip:+{from}@hub.invalid>").into();
        diversions.push(Redirection { number: from, address });
        if diversions.iter().any(|diversion| *diversion.number == *digits) {
            return Err(Reason::LoopDetected);
        }
        if diversions.len() > MAX_REDIRECTIONS {
            return Err(Reason::TooManyRedirections);
        }
        let question = CallRequest {
            originating_member: call.ingress.member,
            called,
            dip,
            site: Some(&self.locals[usize::from(call.ingress.flow.listener)].site),
            draw,
        };
        let mut next = select(&table, &question, now.utc);
        next.note(&question, &table, now.utc);
        invite.redirected = Some(Box::new(Redirected { called: digits.into(), dip: next.dip, diversions }));
        let refusal = next.refusal();
        let done = usize::from(call.candidates_done);
        let selection = call.cdr.selection.as_mut().expect("a candidate of it was tried");
        let left = selection.candidates.drain(done.min(selection.candidates.len())..);
        let left = left.map(|candidate| LeftOut {
            member: candidate.member,
            endpoint: Some(candidate.endpoint),
            announcement: candidate.announcement,
            prefix: candidate.prefix,
            reason: Reason::Redirected,
        });
        selection.left_out.extend(left);
        selection.go_on(next);
        match refusal {
            Some(reason) => Err(reason),
            None if !self.count_pass(now, key) => Err(Reason::LoopDetected),
            None => Ok(()),
        }
    }
}

/// The number that a redirection leads to: that of the first Contact that has one, those with the highest `q` first.
fn contact_number(response: &Message<'_>, numbers: &NumberPolicy) -> Option<E164> {
    let contacts = response.values(Name::Contact).filter_map(|value| {
        let address = NameAddr::parse(value).ok()?;
        let uri = address.parse_uri().ok()?;
        let is_local = uri.number_param("phone-context").is_some();
        if is_local || !matches!(uri.scheme, Scheme::Sip | Scheme::Sips | Scheme::Tel) {
            return None;
        }
        let number = numbers.read(uri.user_number()?).ok()?;
        Some((thousandths(address.param("q").flatten()), number))
    });
    let mut contacts: SmallVec<[(u16, E164); 2]> = contacts.collect();
    contacts.sort_by_key(|(q, _)| std::cmp::Reverse(*q));
    contacts.first().map(|(_, number)| *number)
}

/// A `q` such as `0.7`, in thousandths (RFC 3261 §25.1); one that is missing or cannot be read is 1.
fn thousandths(q: Option<&[u8]>) -> u16 {
    let read = |q: &[u8]| {
        let (whole, part) =
            std::str::from_utf8(q).ok()?.split_once('.').unwrap_or((std::str::from_utf8(q).ok()?, ""));
        let part = format!("{part:0<3}");
        let part: u16 = if part.len() == 3 { part.parse().ok()? } else { return None };
        whole.parse::<u16>().ok()?.checked_mul(1_000)?.checked_add(part).filter(|q| *q <= 1_000)
    };
    q.and_then(read).unwrap_or(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_of_the_highest_q_counts_and_what_is_no_number_does_not() {
        let number = |contacts: &str| {
            let response = format!(
                "SIP/2.0 302 Moved\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\n\
                 Call-ID: 1\r\nCSeq: 1 INVITE\r\n{contacts}Content-Length: 0\r\n\r\n"
            );
            let response = Message::parse(response.as_bytes()).unwrap();
            contact_number(&response, &NumberPolicy::default()).map(|number| number.to_string())
        };
        for (contacts, expected) in [
            ("Contact: <sip:+442079460001@10.0.0.1>\r\n", Some("+442079460001")),
            ("Contact: <tel:+44-20-7946-0001>\r\n", Some("+442079460001")),
            ("Contact: <sip:+442079460001@h>;q=0.2, <sip:+442079460002@h>;q=0.25\r\n", Some("+442079460002")),
            ("Contact: <sip:bob@h>\r\nContact: <sip:+442079460002@h>;q=0.1\r\n", Some("+442079460002")),
            ("Contact: <sip:+442079460001@h>\r\nContact: <sip:+442079460002@h>\r\n", Some("+442079460001")),
            ("Contact: <sip:bob@192.0.2.66>\r\n", None),
            ("Contact: <sip:192.0.2.66>\r\n", None),
            ("Contact: <tel:201;phone-context=+4420>\r\n", None),
            ("Contact: <urn:service:sos>\r\n", None),
            ("", None),
        ] {
            assert_eq!(number(contacts).as_deref(), expected, "{contacts}");
        }
    }
}
