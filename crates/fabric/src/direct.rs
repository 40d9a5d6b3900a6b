//! Redirects a call: a member that calls others directly is told where to (RFC 3261 §21.3.3), and the hub does not
//! carry the call.
//!
//! Both sides want it: the policy of the endpoint that calls says that it calls directly, and that of each
//! candidate in the answer that it may be called so. Where no candidate may, the hub carries the call as ever.

use tandem_model::{Endpoint, Outcome};
use tandem_routing::{Candidate, Dip};

use crate::call::CallKey;
use crate::invite::{MAX_ATTEMPTS, policy_of, write_called};
use crate::routing_number;
use crate::worker::{Now, Worker};

impl Worker {
    /// Ends the call with 302 and the candidates as Contact, the best first; false where it is to be carried.
    pub(crate) fn direct_caller(&mut self, now: Now, key: CallKey) -> bool {
        let table = self.table.clone();
        let call = &self.calls[key];
        if !policy_of(&table, call.ingress.endpoint).direct.calls {
            return false;
        }
        let candidates: Vec<Candidate> =
            call.cdr.selection.iter().flat_map(|selection| &selection.candidates).copied().collect();
        let mut contacts = Vec::new();
        for candidate in candidates.iter().take(MAX_ATTEMPTS.into()) {
            let endpoint = table.endpoint(candidate.endpoint);
            let Some(endpoint) = endpoint.filter(|endpoint| may_be_called_directly(endpoint)) else {
                continue;
            };
            // One that is down would cost the caller a time-out.
            if self.admit_to(now, key, candidate.endpoint).is_ok() {
                let call = &self.calls[key];
                contacts.push(contact(&call.cdr.called, call.target_dip(), endpoint, contacts.len()));
            }
        }
        if contacts.is_empty() {
            return false;
        }
        self.respond_finally(now, key, 302, Outcome::Redirected, |writer| {
            for contact in &contacts {
                writer.header("Contact", contact);
            }
        });
        true
    }
}

/// One that registers can be reached by the hub alone.
fn may_be_called_directly(endpoint: &Endpoint) -> bool {
    endpoint.policy.direct.called && !endpoint.target.is_registration()
}

/// The number at an endpoint's target, in the form that the endpoint takes; the later, the less it is preferred
/// (RFC 3261 §20.10).
fn contact(digits: &str, dip: Option<Dip>, endpoint: &Endpoint, position: usize) -> String {
    let numbers = &endpoint.policy.numbers;
    let number = write_called(digits, numbers) + &routing_number::write(dip, numbers);
    let target = endpoint.target.to_string();
    let place = target.strip_prefix("sip:").unwrap_or(&target);
    let phone = if numbers.user_phone { ";user=phone" } else { "" };
    match position {
        0 => format!("<sip:{number}@{place}{phone}>;q=1.0"),
        _ => format!("<sip:{number}@{place}{phone}>;q=0.{}", 10_usize.saturating_sub(position)),
    }
}
