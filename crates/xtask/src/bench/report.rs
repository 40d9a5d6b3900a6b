//! The table: for each figure what every system took, how the hub compares, and what it should reach.

use std::fmt::Write;

/// A figure of several repeats.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values(pub(crate) Vec<f64>);

impl Values {
    pub(crate) fn median(&self) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let upper = *sorted.get(sorted.len() / 2)?;
        Some(if sorted.len() % 2 == 1 { upper } else { (upper + sorted[sorted.len() / 2 - 1]) / 2.0 })
    }

    /// `357 [312-371]`, or `-` where nothing was measured.
    pub(crate) fn text(&self) -> String {
        let Some(median) = self.median() else { return "-".to_owned() };
        if self.0.len() == 1 {
            return number(median);
        }
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        format!("{} [{}-{}]", number(median), number(least), number(most))
    }
}

/// Three digits that matter, and thousands apart.
fn number(value: f64) -> String {
    let text = match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    let Some(digits) =
        text.find(|symbol: char| !symbol.is_ascii_digit() && symbol != '-').or(Some(text.len()))
    else {
        return text;
    };
    let mut spaced = String::new();
    for (index, symbol) in text.char_indices() {
        if index > 0 && index < digits && (digits - index).is_multiple_of(3) && !spaced.ends_with('-') {
            spaced.push(',');
        }
        spaced.push(symbol);
    }
    spaced
}

/// What the hub should reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// Its ratio to the other's figure.
    RatioAtMost(f64),
    RatioAtLeast(f64),
    /// Its own figure.
    AtMost(f64),
}

/// A line of the table.
pub(crate) struct Line {
    pub(crate) figure: String,
    /// By system, in the order of the columns.
    pub(crate) values: Vec<Values>,
    /// The hub's figure, what it is compared with, and what it should reach.
    pub(crate) verdict: Option<(f64, f64, Option<Goal>)>,
}

impl Line {
    fn ratio_and_goal(&self) -> [String; 2] {
        let Some((own, other, goal)) = self.verdict else { return [const { String::new() }; 2] };
        let ratio = own / other;
        let (text, is_reached) = match goal {
            None => (String::new(), None),
            Some(Goal::RatioAtMost(most)) => (format!("<= {most}x"), Some(ratio <= most)),
            Some(Goal::RatioAtLeast(least)) => (format!(">= {least}x"), Some(ratio >= least)),
            Some(Goal::AtMost(most)) => (format!("<= {}", number(most)), Some(own <= most)),
        };
        let word = is_reached.map_or("", |is_reached| if is_reached { ", reached" } else { ", NOT reached" });
        let ratio = if ratio.is_finite() { format!("{ratio:.2}x") } else { String::new() };
        [ratio, format!("{text}{word}")]
    }
}

/// The lines below the names of the systems; the hub is compared with `other`.
pub(crate) fn table(systems: &[&str], other: &str, lines: &[Line]) -> String {
    let mut rows = vec![];
    let mut head = vec!["figure".to_owned()];
    head.extend(systems.iter().map(|&name| name.to_owned()));
    head.extend([format!("hub / {other}"), "goal".to_owned()]);
    rows.push(head);
    for line in lines {
        let mut row = vec![line.figure.clone()];
        row.extend(line.values.iter().map(Values::text));
        row.extend(line.ratio_and_goal());
        rows.push(row);
    }
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (cell, &width) in row.iter().zip(&widths) {
            _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if index == 0 {
            widths.iter().for_each(|width| _ = write!(text, "|{}", "-".repeat(width + 2)));
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_their_thousands_apart() {
        let written = [0.5, 12.34, 100.4, 1_234.0, 1_234_567.0, -1_234.0].map(number);
        assert_eq!(written, ["0.50", "12.3", "100", "1,234", "1,234,567", "-1,234"]);
    }

    #[test]
    fn a_goal_that_is_missed_is_said_to_be() {
        let line = |own, goal| Line {
            figure: String::new(),
            values: vec![],
            verdict: Some((own, 100.0, Some(goal))),
        };
        let goal = |own, goal| line(own, goal).ratio_and_goal()[1].clone();
        assert_eq!(goal(33.0, Goal::RatioAtMost(0.33)), "<= 0.33x, reached");
        assert_eq!(goal(34.0, Goal::RatioAtMost(0.33)), "<= 0.33x, NOT reached");
        assert_eq!(goal(299.0, Goal::RatioAtLeast(3.0)), ">= 3x, NOT reached");
        assert_eq!(goal(2_800.0, Goal::AtMost(2_800.0)), "<= 2,800, reached");
    }
}
