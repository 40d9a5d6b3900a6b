//! What announcements and ranges are made of in the table: an id and a time of their own, and terms that many share.

use std::sync::{Arc, Weak};

use chrono::{DateTime, Utc};
use tandem_model::{
    Announcement, Authority, CallLimits, EndpointId, MemberId, Prefix, Range, RangeId, Tag, Validity,
};

use crate::catalog::Change;
use crate::cow_map::CowMap;
use crate::hash::{Digest, kind};
use crate::leaf::{Entry, Found};

/// An end of validity that is not there, as nanoseconds.
pub(crate) const ENDLESS: i64 = i64::MAX;

/// A time as nanoseconds since 1970; times before 1677 and after 2262 are those years' bounds.
pub(crate) fn nanos(at: DateTime<Utc>) -> i64 {
    at.timestamp_nanos_opt().unwrap_or(if at.timestamp() < 0 { i64::MIN } else { ENDLESS })
}

/// What many announcements of one member have in common.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AnnouncedTerms {
    pub(crate) member: MemberId,
    /// Sorted, each once.
    pub(crate) endpoints: Box<[EndpointId]>,
    until_ns: i64,
    pub(crate) limits: CallLimits,
    pub(crate) tags: Box<[Tag]>,
}

/// What many ranges of one member have in common.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct HeldTerms {
    pub(crate) member: MemberId,
    pub(crate) authority: Authority,
    until_ns: i64,
}

/// What many objects have in common and is kept once.
pub(crate) trait Terms: PartialEq {
    /// Equal where they are equal; by accident, where they are not.
    fn digest(&self) -> u128;
}

impl Terms for AnnouncedTerms {
    fn digest(&self) -> u128 {
        let digest = Digest::of(kind::ANNOUNCED_TERMS).id(self.member.0).word(self.until_ns as u64);
        let digest = self.endpoints.iter().fold(digest, |digest, endpoint| digest.id(endpoint.0));
        // Nothing where there are none, as with limits.
        let digest =
            self.tags.iter().fold(digest.limits(self.limits), |digest, tag| digest.text(tag.as_str()));
        digest.finish()
    }
}

impl Terms for HeldTerms {
    fn digest(&self) -> u128 {
        let authority = match self.authority {
            Authority::Pending => 0,
            Authority::Valid => 1,
            Authority::Refused => 2,
        };
        Digest::of(kind::HELD_TERMS).id(self.member.0).word(authority).word(self.until_ns as u64).finish()
    }
}

/// An announcement in the table.
pub(crate) type Announced<'a> = Found<'a, Shared<AnnouncedTerms>>;

/// A range in the table.
pub(crate) type Held<'a> = Found<'a, Shared<HeldTerms>>;

impl Announced<'_> {
    pub(crate) fn change(
        announcement: Announcement,
        common: &mut CommonTerms<AnnouncedTerms>,
    ) -> Change<Shared<AnnouncedTerms>> {
        let Announcement { announcement_id, member_id, prefix, mut endpoints, validity, limits, tags } =
            announcement;
        endpoints.sort_unstable();
        endpoints.dedup();
        let until_ns = validity.until.map_or(ENDLESS, nanos);
        let (endpoints, tags) = (endpoints.into(), tags.into());
        let terms = AnnouncedTerms { member: member_id, endpoints, until_ns, limits, tags };
        let entry = Entry { from_ns: nanos(validity.from), terms: common.share(terms) };
        Change { id: announcement_id.0, now: Some((prefix, entry)) }
    }

    pub(crate) fn is_in_force(&self, now_ns: i64) -> bool {
        self.from_ns <= now_ns && (self.terms.until_ns == ENDLESS || now_ns < self.terms.until_ns)
    }

    pub(crate) fn digest(&self, prefix: u64) -> u128 {
        self.digest_as(kind::ANNOUNCEMENT, prefix)
    }

    pub(crate) fn as_announcement(&self, prefix: u64) -> Announcement {
        Announcement {
            announcement_id: self.id.into(),
            member_id: self.terms.member,
            prefix: as_prefix(prefix),
            endpoints: self.terms.endpoints.to_vec(),
            validity: as_validity(self.from_ns, self.terms.until_ns),
            limits: self.terms.limits,
            tags: self.terms.tags.to_vec(),
        }
    }
}

impl Held<'_> {
    pub(crate) fn change(range: Range, common: &mut CommonTerms<HeldTerms>) -> Change<Shared<HeldTerms>> {
        let Range { range_id, member_id, prefix, authority, validity } = range;
        let terms =
            HeldTerms { member: member_id, authority, until_ns: validity.until.map_or(ENDLESS, nanos) };
        let entry = Entry { from_ns: nanos(validity.from), terms: common.share(terms) };
        Change { id: range_id.0, now: Some((prefix, entry)) }
    }

    pub(crate) fn is_in_force(&self, now_ns: i64) -> bool {
        self.from_ns <= now_ns && !self.is_over(now_ns)
    }

    pub(crate) fn is_over(&self, now_ns: i64) -> bool {
        self.terms.until_ns != ENDLESS && self.terms.until_ns <= now_ns
    }

    pub(crate) fn digest(&self, prefix: u64) -> u128 {
        self.digest_as(kind::RANGE, prefix)
    }

    pub(crate) fn as_range(&self, prefix: u64) -> Range {
        Range {
            range_id: RangeId(self.id),
            member_id: self.terms.member,
            prefix: as_prefix(prefix),
            authority: self.terms.authority,
            validity: as_validity(self.from_ns, self.terms.until_ns),
        }
    }
}

impl<T> Found<'_, Shared<T>> {
    fn digest_as(&self, kind: u64, prefix: u64) -> u128 {
        let digest = Digest::of(kind).id(self.id).word(prefix).word(self.from_ns as u64);
        digest.wide(self.terms.digest).finish()
    }
}

pub(crate) fn as_validity(from_ns: i64, until_ns: i64) -> Validity {
    let until = (until_ns != ENDLESS).then(|| DateTime::from_timestamp_nanos(until_ns));
    Validity { from: DateTime::from_timestamp_nanos(from_ns), until }
}

pub(crate) fn as_prefix(value: u64) -> Prefix {
    Prefix::from_value(value).expect("the value was a prefix's")
}

/// Terms with their digest, which each object's own takes in.
pub(crate) struct Shared<T> {
    digest: u128,
    terms: T,
}

impl<T> Shared<T> {
    /// Equal where the terms are.
    pub(crate) fn digest(&self) -> u128 {
        self.digest
    }
}

impl<T> std::ops::Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.terms
    }
}

/// Keeps terms that are the same once, so long as an object has them.
#[derive(Clone)]
pub(crate) struct CommonTerms<T> {
    by_digest: CowMap<u128, Weak<Shared<T>>>,
    /// At how many entries those that no object has are swept out.
    sweep_at: usize,
}

/// Terms below which sweeping is not worth it.
const SWEEP_MIN: usize = 4096;

impl<T: Terms> CommonTerms<T> {
    pub(crate) fn new() -> Self {
        Self { by_digest: CowMap::new(), sweep_at: SWEEP_MIN }
    }

    fn share(&mut self, terms: T) -> Arc<Shared<T>> {
        let digest = terms.digest();
        if let Some(same) = self.by_digest.get(&digest).and_then(Weak::upgrade)
            && same.terms == terms
        {
            return same;
        }
        if self.by_digest.len() >= self.sweep_at {
            self.sweep();
        }
        let terms = Arc::new(Shared { digest, terms });
        self.by_digest.insert(digest, Arc::downgrade(&terms));
        terms
    }

    fn sweep(&mut self) {
        let mut live = CowMap::new();
        for terms in self.by_digest.values().filter_map(Weak::upgrade) {
            live.insert(terms.digest, Arc::downgrade(&terms));
        }
        self.sweep_at = SWEEP_MIN.max(2 * live.len());
        self.by_digest = live;
    }

    /// Heap bytes, an estimate.
    pub(crate) fn bytes(&self) -> usize {
        let each = 16 + size_of::<Shared<T>>() + 2 * size_of::<EndpointId>();
        self.by_digest.bytes() + self.by_digest.len() * each
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::id;

    #[test]
    fn terms_that_nothing_has_any_more_are_swept_out_and_others_stay_the_same() {
        let mut common = CommonTerms::new();
        let terms = |n: usize| HeldTerms {
            member: id(&n.to_string()),
            authority: Authority::Valid,
            until_ns: ENDLESS,
        };
        let kept = common.share(terms(0));
        for n in 1..2 * SWEEP_MIN {
            common.share(terms(n));
        }
        assert!(common.by_digest.len() <= SWEEP_MIN, "{}", common.by_digest.len());
        assert!(Arc::ptr_eq(&kept, &common.share(terms(0))));
    }
}
