//! What the DNS has answered about one name of an endpoint, for how long it holds, and when to ask again.
//!
//! Sans-I/O: time and random numbers come in. An answer is asked for again before its time to live ends, so that
//! no call meets an old one while the DNS works. While it does not, the last good answer goes on being used, as
//! RFC 8767 has it, for as long as the operator allows.

use std::time::{Duration, Instant};

use ahash::{AHashMap, AHashSet};

use crate::resolution::{Answer, Question, Record};

/// Shortest time for which an answer is used, whatever it says of itself: a time to live of 0 would have the DNS
/// asked without end.
pub(crate) const MIN_TTL: Duration = Duration::from_secs(5);

/// Longest time for which an answer is used without asking again.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(3_600);

/// Longest time for which it is believed that there are no records (RFC 2308 §5), and the time where the DNS does
/// not say.
pub(crate) const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(300);
const DEFAULT_NEGATIVE_TTL: Duration = Duration::from_secs(30);

/// Time until a question is asked again that nobody answered; it doubles up to [`MAX_RETRY`].
const MIN_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(60);

/// Part of a time to live after which is asked again, at least and at most.
const ASK_AGAIN_AFTER: std::ops::Range<f64> = 0.7..0.9;

/// What the DNS said to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It has these records, for so long.
    Records(Vec<Record>, Duration),
    /// It has none, for so long where it says.
    Nothing(Option<Duration>),
    /// It said nothing, or that it cannot.
    Failed,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct NameCache {
    kept: AHashMap<Question, Kept>,
}

#[derive(Clone, Debug)]
struct Kept {
    /// `None` where the question has not been answered, or too long ago.
    records: Option<Vec<Record>>,
    /// When the DNS said so.
    answered_at: Instant,
    ask_at: Instant,
    /// Failures since then.
    failures: u32,
}

impl NameCache {
    /// What is known at `now`; `None` where it is time to ask.
    pub(crate) fn answer(&self, question: &Question, now: Instant) -> Option<Answer<'_>> {
        let kept = self.kept.get(question).filter(|kept| now < kept.ask_at)?;
        Some(kept.records.as_deref().map_or(Answer::Failed, Answer::Records))
    }

    /// Notes what came of a question. `draw`, from 0 to 1, spreads out when things are asked again; the answer
    /// before a failure is used for up to `max_stale`.
    pub(crate) fn note(
        &mut self,
        question: Question,
        reply: Reply,
        now: Instant,
        draw: f64,
        max_stale: Duration,
    ) {
        let (records, ttl) = match reply {
            Reply::Records(records, ttl) => (records, ttl.clamp(MIN_TTL, MAX_TTL)),
            Reply::Nothing(ttl) => {
                (Vec::new(), ttl.unwrap_or(DEFAULT_NEGATIVE_TTL).clamp(MIN_TTL, MAX_NEGATIVE_TTL))
            }
            Reply::Failed => {
                let kept = self.kept.entry(question).or_insert(Kept {
                    records: None,
                    answered_at: now,
                    ask_at: now,
                    failures: 0,
                });
                if now.saturating_duration_since(kept.answered_at) >= max_stale {
                    kept.records = None;
                }
                let wait = (MIN_RETRY * 2_u32.saturating_pow(kept.failures.min(16))).min(MAX_RETRY);
                kept.ask_at = now + wait.mul_f64(1.0 - draw / 2.0);
                kept.failures += 1;
                return;
            }
        };
        let wait = ttl.mul_f64(ASK_AGAIN_AFTER.start + draw * (ASK_AGAIN_AFTER.end - ASK_AGAIN_AFTER.start));
        let kept = Kept { records: Some(records), answered_at: now, ask_at: now + wait, failures: 0 };
        self.kept.insert(question, kept);
    }

    /// What is known of a question though it be time to ask again, unless that was longer than `max_stale` ago.
    pub(crate) fn last_answer(
        &self,
        question: &Question,
        now: Instant,
        max_stale: Duration,
    ) -> Option<Answer<'_>> {
        let is_fresh = |kept: &&Kept| now.saturating_duration_since(kept.answered_at) < max_stale;
        let kept = self.kept.get(question).filter(is_fresh)?;
        kept.records.as_deref().map(Answer::Records)
    }

    /// The answers that are known, and when the DNS gave them.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (&Question, &[Record], Instant)> {
        self.kept.iter().filter_map(|(question, kept)| {
            kept.records.as_deref().map(|records| (question, records, kept.answered_at))
        })
    }

    /// Takes up an answer of an earlier run. It is due to be asked at `now`.
    pub(crate) fn restore(
        &mut self,
        question: Question,
        records: Vec<Record>,
        answered_at: Instant,
        now: Instant,
    ) {
        let kept = Kept { records: Some(records), answered_at, ask_at: now, failures: 0 };
        self.kept.insert(question, kept);
    }

    /// Has asked again what was answered before `now`, and says whether that is anything: where answers of different
    /// ages lead nowhere together, the older of them may be of another time than the newer.
    pub(crate) fn ask_again(&mut self, now: Instant) -> bool {
        let older = self
            .kept
            .values_mut()
            .filter(|kept| kept.answered_at < now && kept.failures == 0 && now < kept.ask_at);
        older.map(|kept| kept.ask_at = now).count() > 0
    }

    /// Forgets the answers to all other questions.
    pub(crate) fn keep_only(&mut self, used: &AHashSet<Question>) {
        self.kept.retain(|question, _| used.contains(question));
    }

    /// When the next question is to be asked again.
    pub(crate) fn ask_at(&self) -> Option<Instant> {
        self.kept.values().map(|kept| kept.ask_at).min()
    }

    /// Since when answers that the DNS does not confirm any more are in use; `None` where there are none.
    pub(crate) fn stale_since(&self) -> Option<Instant> {
        let stale = self.kept.values().filter(|kept| kept.records.is_some() && kept.failures > 0);
        stale.map(|kept| kept.answered_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolution::RecordKind;

    const DAY: Duration = Duration::from_secs(86_400);

    #[allow(clippy::disallowed_methods)] // Any instant will do as the origin of simulated time.
    fn origin() -> Instant {
        Instant::now()
    }

    fn question() -> Question {
        Question::new("Acme.Example.", RecordKind::A)
    }

    fn records(last: u8) -> Vec<Record> {
        vec![Record::Address([192, 0, 2, last].into())]
    }

    fn after_s(start: Instant, s: f64) -> Instant {
        start + Duration::from_secs_f64(s)
    }

    #[test]
    fn an_answer_is_asked_for_again_before_its_time_ends_and_within_bounds() {
        // Time to live, and when it is asked again at the earliest and at the latest.
        for (ttl_s, earliest, latest) in
            [(0, 3.5, 4.5), (1, 3.5, 4.5), (60, 42.0, 54.0), (600_000, 2_520.0, 3_240.0)]
        {
            for (draw, after) in [(0.0, earliest), (1.0, latest)] {
                let (start, mut cache) = (origin(), NameCache::default());
                assert_eq!(cache.answer(&question(), start), None);
                let reply = Reply::Records(records(1), Duration::from_secs(ttl_s));
                cache.note(question(), reply, start, draw, DAY);
                let expected = records(1);
                let before = after_s(start, after - 0.01);
                assert_eq!(cache.answer(&question(), before), Some(Answer::Records(&expected)), "{ttl_s}");
                assert_eq!(cache.answer(&question(), after_s(start, after + 0.01)), None, "{ttl_s}");
            }
        }
    }

    #[test]
    fn that_there_is_nothing_is_believed_for_a_while() {
        for (ttl_s, seconds) in [(None, 30.0), (Some(0), 5.0), (Some(60), 60.0), (Some(86_400), 300.0)] {
            let (start, mut cache) = (origin(), NameCache::default());
            cache.note(question(), Reply::Nothing(ttl_s.map(Duration::from_secs)), start, 1.0, DAY);
            let at = after_s(start, seconds * 0.9 - 0.01);
            assert_eq!(cache.answer(&question(), at), Some(Answer::Records(&[])), "{ttl_s:?}");
            assert_eq!(cache.answer(&question(), after_s(start, seconds * 0.9 + 0.01)), None, "{ttl_s:?}");
        }
    }

    #[test]
    fn older_answers_are_asked_again_once_and_newer_ones_not_at_all() {
        let (start, mut cache) = (origin(), NameCache::default());
        let newer = Question::new("pbx.acme.example", RecordKind::A);
        cache.note(question(), Reply::Records(records(1), MAX_TTL), start, 0.0, DAY);
        let now = after_s(start, 1.0);
        cache.note(newer.clone(), Reply::Nothing(None), now, 0.0, DAY);
        assert!(cache.ask_again(now));
        assert_eq!(cache.answer(&question(), now), None, "it is due");
        assert_eq!(cache.answer(&newer, now), Some(Answer::Records(&[])));
        cache.note(question(), Reply::Failed, now, 0.0, DAY);
        assert!(!cache.ask_again(now), "who does not answer is asked after its wait");
        assert_eq!(cache.answer(&question(), now), Some(Answer::Records(&records(1))));
    }

    #[test]
    fn the_last_good_answer_is_used_while_the_dns_is_away_up_to_the_bound() {
        let (start, mut cache) = (origin(), NameCache::default());
        cache.note(question(), Reply::Records(records(1), MIN_TTL), start, 0.0, DAY);
        assert_eq!(cache.stale_since(), None);
        let (mut now, mut waits) = (cache.ask_at().unwrap(), Vec::new());
        let expected = records(1);
        while now < start + DAY {
            assert_eq!(cache.answer(&question(), now), None, "it is due");
            cache.note(question(), Reply::Failed, now, 0.0, DAY);
            assert_eq!(cache.answer(&question(), now), Some(Answer::Records(&expected)));
            assert_eq!(cache.stale_since(), Some(start));
            let next = cache.ask_at().unwrap();
            waits.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(waits[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(waits.len() < 1_500, "{}", waits.len());
        cache.note(question(), Reply::Failed, now, 0.0, DAY);
        assert_eq!(cache.answer(&question(), now), Some(Answer::Failed));
        assert_eq!(cache.stale_since(), None);
        // And when it is back, all is as before.
        cache.note(question(), Reply::Records(records(2), MIN_TTL), now, 0.0, DAY);
        assert_eq!(cache.answer(&question(), now), Some(Answer::Records(&records(2))));
        assert_eq!(cache.stale_since(), None);
    }

    #[test]
    fn an_answer_that_was_never_given_is_asked_for_again_soon() {
        let (start, mut cache) = (origin(), NameCache::default());
        cache.note(question(), Reply::Failed, start, 1.0, DAY);
        assert_eq!(cache.answer(&question(), start), Some(Answer::Failed));
        assert_eq!(cache.ask_at(), Some(start + MIN_RETRY / 2));
        assert_eq!(cache.stale_since(), None, "nothing old is in use");
    }

    #[test]
    fn what_is_not_asked_any_more_is_forgotten() {
        let (start, mut cache) = (origin(), NameCache::default());
        let other = Question::new("b.example", RecordKind::A);
        for question in [question(), other.clone()] {
            cache.note(question, Reply::Records(records(1), MAX_TTL), start, 0.0, DAY);
        }
        cache.keep_only(&AHashSet::from_iter([other.clone()]));
        assert_eq!(cache.answer(&question(), start), None);
        assert!(cache.answer(&other, start).is_some());
    }
}
