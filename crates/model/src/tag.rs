//! Tags: what a member promises of a route, and what an agreement demands of routes.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest tag, in characters.
const MAX_TAG: usize = 32;

/// Longest demand, in characters; it bounds how deep one is nested, too.
pub const MAX_DEMAND: usize = 200;

/// Most tags of one announcement.
pub const MAX_TAGS: usize = 16;

/// A word that a route bears, such as `cli-guaranteed` or `no-transit`: lower-case letters, digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Box<str>);

impl Tag {
    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if !begins || text.len() > MAX_TAG || !text.bytes().all(is_inner) || text == "and" || text == "or" {
            return Err(format!(
                "{text:?} is no tag; write at most {MAX_TAG} lower-case letters, digits and hyphens, a letter first"
            ));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What tags a route must bear: tags with `and`, `or` and brackets, such as `cli-guaranteed and (no-transit or premium)`.
/// `and` binds closer than `or`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TagDemand {
    /// The route bears the tag.
    Bears(Tag),
    /// It meets all of these; at least two.
    All(Vec<Self>),
    /// It meets one of these; at least two.
    Any(Vec<Self>),
}

impl TagDemand {
    /// Whether a route that bears these tags is wanted.
    pub fn is_met_by(&self, tags: &[Tag]) -> bool {
        match self {
            Self::Bears(tag) => tags.contains(tag),
            Self::All(parts) => parts.iter().all(|part| part.is_met_by(tags)),
            Self::Any(parts) => parts.iter().any(|part| part.is_met_by(tags)),
        }
    }
}

impl FromStr for TagDemand {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > MAX_DEMAND {
            return Err(format!("write at most {MAX_DEMAND} characters"));
        }
        let spaced = text.replace('(', " ( ").replace(')', " ) ");
        let mut words = spaced.split_whitespace().peekable();
        let demand = any(&mut words)?;
        match words.next() {
            None => Ok(demand),
            Some(word) => Err(format!("write and, or, or nothing before {word:?}")),
        }
    }
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>) -> Result<TagDemand, String> {
    joined(words, "or", all, TagDemand::Any)
}

fn all(words: &mut Words<'_>) -> Result<TagDemand, String> {
    joined(words, "and", one, TagDemand::All)
}

fn joined(
    words: &mut Words<'_>,
    word: &str,
    part: fn(&mut Words<'_>) -> Result<TagDemand, String>,
    join: fn(Vec<TagDemand>) -> TagDemand,
) -> Result<TagDemand, String> {
    let first = part(words)?;
    let mut parts = vec![first];
    while words.next_if_eq(&word).is_some() {
        parts.push(part(words)?);
    }
    if parts.len() > 1 { Ok(join(parts)) } else { Ok(parts.remove(0)) }
}

fn one(words: &mut Words<'_>) -> Result<TagDemand, String> {
    match words.next() {
        None => Err("a tag is missing at the end".into()),
        Some("(") => {
            let inner = any(words)?;
            match words.next() {
                Some(")") => Ok(inner),
                _ => Err("a bracket is not closed".into()),
            }
        }
        Some(word) => word.parse().map(TagDemand::Bears),
    }
}

impl fmt::Display for TagDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, word) = match self {
            Self::Bears(tag) => return tag.fmt(f),
            Self::All(parts) => (parts, " and "),
            Self::Any(parts) => (parts, " or "),
        };
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                f.write_str(word)?;
            }
            match part {
                Self::Bears(tag) => tag.fmt(f)?,
                Self::All(_) | Self::Any(_) => write!(f, "({part})")?,
            }
        }
        Ok(())
    }
}

macro_rules! as_text {
    ($($name:ident)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

as_text! { Tag TagDemand }

#[cfg(test)]
mod tests {
    use super::*;

    fn is_met(demand: &str, tags: &str) -> bool {
        let tags: Vec<Tag> = tags.split_whitespace().map(|tag| tag.parse().unwrap()).collect();
        demand.parse::<TagDemand>().unwrap().is_met_by(&tags)
    }

    #[test]
    fn and_binds_closer_than_or_and_brackets_closer_than_both() {
        for (demand, tags, met) in [
            ("a", "a", true),
            ("a", "b", false),
            ("a and b", "a", false),
            ("a and b", "b a", true),
            ("a or b and c", "a", true),
            ("a or b and c", "b", false),
            ("(a or b) and c", "a", false),
            ("(a or b) and c", "b c", true),
            ("cli-guaranteed and (no-transit or premium)", "cli-guaranteed premium", true),
        ] {
            assert_eq!(is_met(demand, tags), met, "{demand} by {tags}");
        }
    }

    #[test]
    fn a_demand_is_read_as_it_is_written() {
        for (text, written) in [
            ("a", "a"),
            (" ( a)", "a"),
            ("a and(b or c)or d", "(a and (b or c)) or d"),
            ("a or b or c", "a or b or c"),
        ] {
            let demand: TagDemand = text.parse().unwrap();
            assert_eq!(demand.to_string(), written);
            assert_eq!(written.parse::<TagDemand>().unwrap(), demand);
            let json = serde_json::to_string(&demand).unwrap();
            assert_eq!(serde_json::from_str::<TagDemand>(&json).unwrap(), demand);
        }
    }

    #[test]
    fn what_is_no_demand_is_refused_with_what_is_wrong() {
        for (text, says) in [
            ("", "a tag is missing"),
            ("a and", "a tag is missing"),
            ("a b", "write and, or, or nothing before \"b\""),
            ("(a", "a bracket is not closed"),
            ("a)", "write and, or, or nothing before \")\""),
            ("and", "\"and\" is no tag"),
            ("CLI", "\"CLI\" is no tag"),
            ("-a", "\"-a\" is no tag"),
        ] {
            let error = text.parse::<TagDemand>().unwrap_err();
            assert!(error.starts_with(says), "{text}: {error}");
        }
        // As deep as a demand can be.
        let brackets = format!("{}a{}", "(".repeat(99), ")".repeat(99));
        assert_eq!(brackets.parse::<TagDemand>().unwrap().to_string(), "a");
        assert!(format!("({brackets})").parse::<TagDemand>().is_err());
        assert!("a".repeat(33).parse::<Tag>().is_err());
    }
}
