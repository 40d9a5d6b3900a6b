//! What members are answered by ENUM, as octets.

use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use proptest::prelude::*;

use super::*;
use crate::enum_answer::{Carrier, Outcome as Answer, Zone};

const LONDON: &str = "0.0.0.0.6.4.9.7.0.2.4.4.e164.arpa.";
const BERLIN: &str = "8.7.6.5.4.3.2.1.0.3.9.4.e164.arpa.";

fn zone() -> Zone {
    let listeners = [
        (Transport::Udp, "192.0.2.100:5060".parse().unwrap()),
        (Transport::Tcp, "[2001:db8::100]:5080".parse().unwrap()),
    ];
    Zone::new("e164.arpa", Duration::from_secs(5), listeners.into_iter()).unwrap()
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    question
}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000)
}

fn ask_by(facts: Facts, member: u128, question: &Message, carrier: Carrier) -> (Message, Answer) {
    let table = RouteTable::from_facts(facts);
    let octets = question.to_vec().unwrap();
    let (octets, outcome) = zone().answer(&table, id(member), &octets, carrier, now()).unwrap();
    let answer = Message::from_vec(&octets).unwrap();
    assert_eq!(answer.metadata.id, question.metadata.id);
    (answer, outcome)
}

fn ask(member: u128, name: &str, kind: RecordType) -> (Message, Answer) {
    ask_by(facts(), member, &question(name, kind), Carrier::Udp)
}

#[test]
fn a_number_with_a_route_for_the_member_leads_to_the_hub_and_not_to_the_other_member() {
    for kind in [RecordType::NAPTR, RecordType::ANY] {
        let (answer, outcome) = ask(1, LONDON, kind);
        assert_eq!((answer.metadata.response_code, outcome), (ResponseCode::NoError, Answer::Answered));
        assert!(answer.metadata.authoritative);
        let records: Vec<_> = answer
            .answers
            .iter()
            .map(|record| match &record.data {
                RData::NAPTR(naptr) => {
                    assert_eq!(
                        (&*naptr.flags, &*naptr.services, record.ttl),
                        (&b"u"[..], &b"E2U+sip"[..], 5)
                    );
                    (naptr.preference, String::from_utf8(naptr.regexp.to_vec()).unwrap())
                }
                other => panic!("{other}"),
            })
            .collect();
        let expected = [
            (10, "!^.*$!sip:+442079460000@192.0.2.100;user=phone!".to_owned()),
            (20, "!^.*$!sip:+442079460000@[2001:db8::100]:5080;transport=tcp;user=phone!".to_owned()),
        ];
        assert_eq!(records, expected);
    }
}

#[test]
fn where_the_member_has_no_route_the_name_does_not_exist_and_the_zone_says_for_how_long() {
    // Nobody announces Berlin; globex does not call itself.
    for (member, name) in [(1, BERLIN), (2, LONDON), (1, "x.4.4.e164.arpa."), (1, "1.1.1.1.1.0.e164.arpa.")] {
        let (answer, outcome) = ask(member, name, RecordType::NAPTR);
        assert_eq!(
            (answer.metadata.response_code, outcome),
            (ResponseCode::NXDomain, Answer::NoRoute),
            "{name}"
        );
        assert!(answer.answers.is_empty());
        let RData::SOA(soa) = &answer.authorities[0].data else { panic!("{answer}") };
        assert_eq!((soa.minimum, answer.authorities[0].ttl), (5, 5));
    }
}

#[test]
fn what_is_there_has_nothing_of_other_types_and_neither_have_the_names_above_numbers() {
    for (name, kind) in [
        (LONDON, RecordType::A),
        (LONDON, RecordType::TXT),
        ("7.0.2.e164.arpa.", RecordType::NAPTR),
        ("e164.arpa.", RecordType::NS),
    ] {
        let (answer, outcome) = ask(1, name, kind);
        assert_eq!(
            (answer.metadata.response_code, outcome),
            (ResponseCode::NoError, Answer::NoData),
            "{name}"
        );
        assert_eq!((answer.answers.len(), answer.authorities.len()), (0, 1));
    }
    let mut facts = facts();
    facts.announcements[0].prefix = "+44207946".parse().unwrap();
    for (name, outcome) in
        [("7.0.2.4.4.e164.arpa.", Answer::NoData), ("8.0.2.4.4.e164.arpa.", Answer::NoRoute)]
    {
        let question = question(name, RecordType::NAPTR);
        assert_eq!(ask_by(facts.clone(), 1, &question, Carrier::Udp).1, outcome, "{name}");
    }
    let (answer, _) = ask(1, "E164.ARPA.", RecordType::SOA);
    assert_eq!(answer.answers.len(), 1);
}

#[test]
fn a_member_is_refused_what_lies_elsewhere_and_everything_while_it_is_suspended() {
    let (answer, outcome) = ask(1, "globex.example.", RecordType::A);
    assert_eq!((answer.metadata.response_code, outcome), (ResponseCode::Refused, Answer::Refused));
    let mut facts = facts();
    facts.members[0].state = MemberState::Suspended;
    let (answer, _) = ask_by(facts.clone(), 1, &question(LONDON, RecordType::NAPTR), Carrier::Udp);
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    let mut chaos = question(LONDON, RecordType::NAPTR);
    chaos.queries[0].set_query_class(DNSClass::CH);
    let (answer, _) = ask_by(self::facts(), 1, &chaos, Carrier::Udp);
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    let mut update = question(LONDON, RecordType::NAPTR);
    update.metadata.op_code = OpCode::Notify;
    let (answer, _) = ask_by(self::facts(), 1, &update, Carrier::Udp);
    assert_eq!(answer.metadata.response_code, ResponseCode::NotImp);
    let (answer, _) = ask_by(Facts::default(), 1, &question(LONDON, RecordType::NAPTR), Carrier::Udp);
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn an_answer_by_udp_is_as_long_as_the_question_allows_and_says_when_it_was_cut() {
    let listener =
        |n: u8| (Transport::Tls, format!("[2001:db8:1111:2222:3333:4444:5555:{n}]:5071").parse().unwrap());
    let zone = Zone::new("e164.arpa", Duration::from_secs(5), (1..5).map(listener)).unwrap();
    let table = RouteTable::from_facts(facts());
    let answer = |carrier, edns: Option<(u16, u8)>| {
        let mut question = question(LONDON, RecordType::NAPTR);
        if let Some((payload, version)) = edns {
            let mut own = Edns::new();
            own.set_max_payload(payload).set_version(version);
            question.set_edns(own);
        }
        let octets = zone.answer(&table, id(1), &question.to_vec().unwrap(), carrier, now()).unwrap().0;
        (octets.len(), Message::from_vec(&octets).unwrap())
    };
    let (length, cut) = answer(Carrier::Udp, None);
    assert!(length <= 512 && cut.metadata.truncation && cut.answers.is_empty());
    for whole in [answer(Carrier::Tcp, None), answer(Carrier::Udp, Some((65_535, 0)))] {
        assert!(whole.0 <= 1232 && !whole.1.metadata.truncation);
        assert_eq!(whole.1.answers.len(), 4);
    }
    let (_, later) = answer(Carrier::Udp, Some((1232, 1)));
    assert_eq!((u16::from(later.metadata.response_code), later.answers.len()), (16, 0), "BADVERS");
}

#[test]
fn an_answer_is_never_answered_and_a_broken_question_is_told_so_in_twelve_octets() {
    let table = RouteTable::from_facts(facts());
    let answer = |octets: &[u8]| zone().answer(&table, id(1), octets, Carrier::Udp, now());
    let mut octets = question(LONDON, RecordType::NAPTR).to_vec().unwrap();
    let broken = answer(&octets[..20]).unwrap();
    assert_eq!((broken.0.len(), broken.1), (12, Answer::Malformed));
    assert_eq!(answer(&octets[..11]), None);
    octets[2] |= 0x80;
    assert_eq!(answer(&octets), None);
}

proptest! {
    #[test]
    fn whatever_octets_come_nothing_panics_and_no_answer_by_udp_is_too_long(
        start in prop::collection::vec(any::<u8>(), 0..64),
        flips in prop::collection::vec((0_usize..60, any::<u8>()), 0..6),
    ) {
        let table = RouteTable::from_facts(facts());
        let mut octets = question(LONDON, RecordType::NAPTR).to_vec().unwrap();
        for (at, octet) in flips {
            let length = octets.len();
            octets[at % length] = octet;
        }
        for octets in [octets, start] {
            if let Some((answer, _)) = zone().answer(&table, id(1), &octets, Carrier::Udp, now()) {
                prop_assert!(answer.len() <= 1232);
            }
        }
    }
}
