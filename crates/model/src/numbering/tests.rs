use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use phonenumber::metadata::loader::{self, Descriptor, Metadata};

use super::*;

fn prefix(text: &str) -> Prefix {
    text.parse().expect("the test writes a prefix")
}

/// `GB fixed_line`, or the code of the reason why there is none.
fn shown(numbering: Result<Numbering, Misfit>) -> String {
    match numbering {
        Ok(it) => {
            let types: Vec<&str> = it.types.iter().map(|each| each.as_str()).collect();
            format!("{} {}", it.countries.join(","), types.join(","))
        }
        Err(misfit) => misfit.reason().code().to_owned(),
    }
}

#[test]
fn country_and_type_follow_from_the_leading_digits() {
    let table = [
        ("+44207946", "GB fixed_line"),
        ("+447400123", "GB mobile"),
        ("+44808", "GB,GG,IM,JE toll_free"),
        ("+4490", "GB,GG,IM,JE premium_rate"),
        ("+33199", "FR fixed_line"),
        ("+4930", "DE fixed_line"),
        ("+1212555", "US fixed_line,mobile"),
        ("+1876", "JM fixed_line,mobile"),
        ("+7701", "KZ mobile"),
        ("+447624", "IM mobile"),
        ("+390612", "IT fixed_line"),
        ("+800", "001 toll_free"),
        ("+88213", "001 voip"),
    ];
    for (text, expected) in table {
        assert_eq!(shown(prefix(text).numbering()), expected, "{text}");
    }
    let whole = prefix("+44").numbering().expect("there are numbers");
    assert_eq!((whole.country_code, whole.countries), (44, vec!["GB", "GG", "IM", "JE"]));
    assert!(whole.types.contains(&NumberType::PremiumRate) && whole.types.contains(&NumberType::Mobile));
    // Numbers that any of the countries of North America may have.
    assert!(prefix("+1800").numbering().expect("there are numbers").countries.len() > 20);
}

#[test]
fn digits_that_begin_no_number_are_refused_with_the_reason() {
    let table = [
        ("+999", "prefix_impossible"),
        ("+210", "prefix_impossible"),
        ("+4", "prefix_impossible"),
        ("+88", "prefix_impossible"),
        ("+44207946000012", "prefix_impossible"),
        ("+121255501000", "prefix_impossible"),
        ("+44999", "prefix_emergency"),
        ("+1911", "prefix_emergency"),
        ("+49110", "prefix_emergency"),
        ("+44100", "prefix_unallocated"),
        ("+447700900", "prefix_unallocated"), // Reserved for films.
        ("+1000", "prefix_unallocated"),
        ("+33000", "prefix_unallocated"),
    ];
    for (text, code) in table {
        assert_eq!(shown(prefix(text).numbering()), code, "{text}");
    }
    // French numbers begin with the digits of 17, which is the police.
    assert_eq!(shown(prefix("+3317").numbering()), "FR fixed_line");
}

#[test]
fn a_whole_number_is_known_only_at_its_length() {
    let number = |text: &str| text.parse::<E164>().expect("the test writes a number");
    assert_eq!(shown(number("+442079460000").numbering()), "GB fixed_line");
    assert_eq!(shown(number("+44207946000").numbering()), "prefix_unallocated");
    assert_eq!(shown(number("+12125550100").numbering()), "US fixed_line,mobile");
    let table = [
        ("+442079460000", true),
        ("+44207946000", true), // Some British numbers have nine digits.
        ("+44207946", false),
        ("+4420794600001", false),
        ("+12125550100", true),
        ("+1212555010", false),
        ("+99912345678", false),
        ("+4930123", true),
        ("+88213001234567", true),
        ("+80012345678", true),
    ];
    for (text, possible) in table {
        assert_eq!(number(text).has_possible_length(), possible, "{text}");
    }
}

#[test]
fn whatever_is_a_number_has_a_possible_length_and_a_prefix_that_is_known() {
    for (code, plan) in PLANS_BY_CODE.iter() {
        for pattern in plan.patterns.keys() {
            assert!(!pattern.is_empty(), "{code}");
        }
        assert!(plan.lengths != 0 && !plan.countries.is_empty() && plan.countries.len() <= 64, "{code}");
        let whole = prefix(&code.to_string()).numbering().expect("a country code has numbers");
        assert_eq!(whole.countries, plan.countries, "{code}");
    }
}

/// The national numbers that a text of the metadata means, if they are few and written out.
fn emergency_numbers(short: &str, country: &str) -> BTreeSet<String> {
    let between = |text: &str, from: &str, to: &str| -> Option<String> {
        let start = text.find(from)? + from.len();
        Some(text[start..start + text[start..].find(to)?].to_owned())
    };
    let pattern = between(short, &format!("<territory id=\"{country}\""), "</territory>")
        .and_then(|territory| between(&territory, "<emergency>", "</emergency>"))
        .and_then(|emergency| between(&emergency, "<nationalNumberPattern>", "</nationalNumberPattern>"));
    let Some(pattern) = pattern else { return BTreeSet::new() };
    let pattern: String = pattern.split_whitespace().collect();
    let automaton = Automaton::of(&BTreeMap::from([(pattern.as_str(), Kinds { countries: 1, types: 1 })]));
    let candidates = (2..=4_u32)
        .flat_map(|len| (0..10_u32.pow(len)).map(move |n| format!("{n:0len$}", len = len as usize)));
    candidates.filter(|digits| automaton.whole(digits) != Kinds::default()).collect()
}

/// The lines of one country.
fn lines(plan: &Metadata, short: &str) -> String {
    let code = plan.country_code.expect("a plan has a country code");
    let country = plan.id.as_deref().expect("a plan has a country");
    let types: [(&str, &Option<Descriptor>); 10] = [
        ("fixed_line", &plan.fixed_line),
        ("mobile", &plan.mobile),
        ("toll_free", &plan.toll_free),
        ("premium_rate", &plan.premium_rate),
        ("shared_cost", &plan.shared_cost),
        ("voip", &plan.voip),
        ("personal_number", &plan.personal_number),
        ("pager", &plan.pager),
        ("uan", &plan.uan),
        ("voicemail", &plan.voicemail),
    ];
    let (mut text, mut lengths) = (String::new(), BTreeSet::<u16>::new());
    for (name, descriptor) in types {
        let Some(descriptor) = descriptor else { continue };
        let Some(pattern) = &descriptor.national_number else { continue };
        let pattern: String = pattern.split_whitespace().collect();
        if pattern == "NA" {
            continue;
        }
        lengths.extend(&descriptor.possible_length);
        writeln!(text, "{code}\t{country}\t{name}\t{pattern}").expect("a String takes all");
    }
    let lengths: Vec<String> = lengths.iter().map(ToString::to_string).collect();
    writeln!(text, "{code}\t{country}\tlengths\t{}", lengths.join(",")).expect("a String takes all");
    let emergency: Vec<String> = emergency_numbers(short, country).into_iter().collect();
    if !emergency.is_empty() {
        writeln!(text, "{code}\t{country}\temergency\t{}", emergency.join(",")).expect("a String takes all");
    }
    text
}

/// With `UPDATE_NUMBERING_PLANS=1` the file is written anew: after `cargo update phonenumber`.
#[test]
fn the_plans_are_those_of_the_metadata() {
    // Packages of other platforms are not on the disk.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let options = ["--offline".to_owned(), "--filter-platform".to_owned(), platform];
    let metadata = cargo_metadata::MetadataCommand::new().other_options(options).exec();
    let packages = metadata.expect("cargo describes the workspace").packages;
    let package =
        packages.iter().find(|package| package.name.as_str() == "phonenumber").expect("it is used here");
    let assets = package.manifest_path.parent().expect("a manifest lies in a folder").join("assets");
    let read = |name: &str| std::fs::read_to_string(assets.join(name)).expect("the metadata is there");
    let short = read("ShortNumberMetadata.xml");
    let mut plans = loader::load(read("PhoneNumberMetadata.xml").as_bytes()).expect("the metadata is read");
    plans.sort_by_key(|plan| (plan.country_code, !plan.main_country_for_code, plan.id.clone()));
    let text: String = plans.iter().map(|plan| lines(plan, &short)).collect();
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/numbering/plans.tsv");
    if std::env::var_os("UPDATE_NUMBERING_PLANS").is_some() {
        std::fs::write(&file, &text).expect("the file can be written");
    }
    let kept = std::fs::read_to_string(&file).expect("the file is there");
    assert!(kept == text, "renew it: UPDATE_NUMBERING_PLANS=1 cargo test --package tandem-model numbering");
}
