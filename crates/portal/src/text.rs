//! Texts that members write: where they may go, and how long they may be.

use tandem_model::{Misfit, Prefix};

use crate::problem::Faults;

/// Characters that end a line or hide what stands beside them: controls, separators of lines and
/// paragraphs, and marks that turn the direction of writing.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A text that may have somebody's words in it, with a question mark for each such character.
pub(crate) fn quoted(text: &str) -> String {
    text.chars().map(|c| if is_control(c) { '?' } else { c }).collect()
}

/// Text of one line, `min` to `max` characters, without blanks around it.
pub(crate) fn line(faults: &mut Faults, field: &str, text: &str, min: usize, max: usize) -> Option<String> {
    let text = text.trim_matches(' ');
    let chars = text.chars().count();
    if text.chars().any(is_control) {
        faults.note(field, "it has a control character; write one line of plain text");
    } else if !(min..=max).contains(&chars) {
        faults.note(field, format!("it has {chars} characters; write {min} to {max}"));
    } else {
        return Some(text.to_owned());
    }
    None
}

/// Text of several lines, up to `max` characters.
pub(crate) fn lines(faults: &mut Faults, field: &str, text: &str, max: usize) -> Option<String> {
    let text = text.replace("\r\n", "\n");
    let chars = text.chars().count();
    if text.chars().any(|c| is_control(c) && !matches!(c, '\n' | '\t')) {
        faults.note(field, "it has a control character; write plain text");
    } else if chars > max {
        faults.note(field, format!("it has {chars} characters; write at most {max}"));
    } else {
        return Some(text);
    }
    None
}

/// A short name of lower-case letters, digits and `others` between them, up to `max` characters.
pub(crate) fn name(faults: &mut Faults, field: &str, text: &str, others: &str, max: usize) -> Option<String> {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = (1..=max).contains(&text.len())
        && text.chars().all(|c| alphanumeric(c) || others.contains(c))
        && text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric);
    if fits {
        return Some(text.to_owned());
    }
    let others: Vec<String> = others.chars().map(|c| format!("\"{c}\"")).collect();
    let others = others.join(", ");
    faults.note(
        field,
        format!("write 1 to {max} lower-case letters and digits, with {others} only between them"),
    );
    None
}

/// An e-mail address, in lower case.
pub(crate) fn email(faults: &mut Faults, field: &str, text: &str) -> Option<String> {
    let text = text.trim_matches(' ').to_lowercase();
    let fits = text.len() <= 254
        && !text.chars().any(|c| is_control(c) || c.is_whitespace() || "<>()[],;:\"\\".contains(c))
        && text
            .split_once('@')
            .is_some_and(|(local, host)| !local.is_empty() && !host.is_empty() && !host.contains('@'));
    if fits {
        return Some(text);
    }
    faults.note(field, "it is no e-mail address; write one such as noc@acme.example");
    None
}

/// A prefix of E.164 numbers.
pub(crate) fn prefix(faults: &mut Faults, field: &str, text: &str) -> Option<Prefix> {
    faults.take(field, text.parse::<Prefix>())
}

/// A prefix with which telephone numbers begin that a country has given out: what is claimed.
pub(crate) fn claimed(faults: &mut Faults, field: &str, text: &str) -> Option<Prefix> {
    let prefix = prefix(faults, field, text)?;
    fits(faults, field, prefix, prefix.numbering().map(|_| ()))
}

/// A prefix with which telephone numbers may begin: what is announced. Whether a country has given them out yet is
/// decided where the range is verified.
pub(crate) fn announced(faults: &mut Faults, field: &str, text: &str) -> Option<Prefix> {
    let prefix = prefix(faults, field, text)?;
    let outcome = match prefix.numbering() {
        Ok(_) | Err(Misfit::Unallocated { .. }) => Ok(()),
        Err(misfit) => Err(misfit),
    };
    fits(faults, field, prefix, outcome)
}

fn fits(faults: &mut Faults, field: &str, prefix: Prefix, outcome: Result<(), Misfit>) -> Option<Prefix> {
    match outcome {
        Ok(()) => Some(prefix),
        Err(misfit) => {
            faults.note_as(misfit.reason(), field, format!("{prefix}: {misfit}"));
            None
        }
    }
}

/// Digits to search by, without their `+`; `None` where there are none.
pub(crate) fn digits(faults: &mut Faults, field: &str, text: Option<&str>) -> Option<String> {
    // A blank is what becomes of a `+` that was not escaped in a URL.
    let text = text?.trim_start_matches(['+', ' ']);
    if text.is_empty() {
        return None;
    }
    if text.len() > 15 || !text.bytes().all(|octet| octet.is_ascii_digit()) {
        faults.note(field, "write up to 15 digits, with an optional + before them");
        return None;
    }
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_brings_a_new_line_into_a_line() {
        for hostile in ["a\rb", "a\nb", "a\0b", "a\u{2028}b", "a\u{85}b", "\u{202e}evil"] {
            let mut faults = Faults::default();
            assert_eq!(line(&mut faults, "name", hostile, 1, 80), None, "{hostile:?}");
            assert!(!faults.is_empty());
        }
        assert_eq!(
            line(&mut Faults::default(), "name", " Zürich – Nord ", 1, 80).as_deref(),
            Some("Zürich – Nord")
        );
    }

    #[test]
    fn names_begin_and_end_with_a_letter_or_digit() {
        for (text, fits) in [
            ("acme", true),
            ("a-1", true),
            ("-a", false),
            ("a-", false),
            ("A", false),
            ("", false),
            ("a.b", false),
            ("é", false),
        ] {
            assert_eq!(name(&mut Faults::default(), "name", text, "-", 40).is_some(), fits, "{text:?}");
        }
    }

    #[test]
    fn an_address_has_one_at_sign_and_no_blanks_or_brackets() {
        for (text, fits) in [
            ("NOC@Acme.example", true),
            ("a@b@c", false),
            ("a b@c", false),
            ("<a@b>", false),
            ("@b", false),
            ("a@", false),
        ] {
            assert_eq!(email(&mut Faults::default(), "email", text).is_some(), fits, "{text:?}");
        }
    }
}
