//! Weekly windows of time, on the clocks of one time zone.

use chrono::{DateTime, Datelike, Timelike, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// Names of the days of a week, from Monday.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Most windows of [`Hours`].
pub const MAX_WINDOWS: usize = 28;

const MINUTES_A_DAY: u16 = 24 * 60;

/// When something holds in the course of a week: in any of the windows, by the clocks of the zone, which may be put
/// forward and back.
///
/// It is written as `{ "zone": "Europe/London", "windows": [{ "days": ["mon"], "from": "08:00", "until": "18:00" }] }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "HoursText", into = "HoursText")]
pub struct Hours {
    zone: Tz,
    windows: Vec<Window>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    /// Bit 0 is Monday.
    days: u8,
    /// Minutes since midnight; the first that belongs to it.
    from: u16,
    /// The first after it; on the next day where it is not after `from`.
    until: u16,
}

/// [`Hours`] as they are written, before they are judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoursText {
    /// Name of a zone in the IANA database, such as `Europe/London`.
    pub zone: String,
    /// 1 to 28 windows.
    pub windows: Vec<WindowText>,
}

/// A window as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowText {
    /// On which days it begins: `mon` to `sun`.
    pub days: Vec<String>,
    /// The minute with which it begins: `00:00` to `23:59`.
    pub from: String,
    /// The minute before which it ends: `00:01` to `24:00`; of the next day where it is not after `from`.
    pub until: String,
}

impl Hours {
    /// Whether the time lies in a window.
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        let local = at.with_timezone(&self.zone);
        let today = local.weekday().num_days_from_monday();
        let minute = (local.hour() * 60 + local.minute()) as u16;
        self.windows.iter().any(|window| window.contains(today, minute))
    }
}

impl Window {
    fn contains(self, today: u32, minute: u16) -> bool {
        let is_on = |day: u32| self.days & (1 << day) != 0;
        if self.from < self.until {
            is_on(today) && (self.from..self.until).contains(&minute)
        } else {
            (is_on(today) && minute >= self.from) || (is_on((today + 6) % 7) && minute < self.until)
        }
    }
}

impl TryFrom<HoursText> for Hours {
    type Error = String;

    fn try_from(HoursText { zone, windows }: HoursText) -> Result<Self, String> {
        let unknown = |_| {
            format!("zone: {zone:?} is no time zone of the IANA database; write one such as Europe/London")
        };
        let zone = zone.parse().map_err(unknown)?;
        if !(1..=MAX_WINDOWS).contains(&windows.len()) {
            return Err(format!("windows: write from 1 to {MAX_WINDOWS} windows"));
        }
        let windows = windows.iter().map(Window::try_from).collect::<Result<_, _>>()?;
        Ok(Self { zone, windows })
    }
}

impl TryFrom<&WindowText> for Window {
    type Error = String;

    fn try_from(text: &WindowText) -> Result<Self, String> {
        let mut days = 0;
        for day in &text.days {
            let nth = DAYS.iter().position(|name| name == day);
            days |= 1
                << nth.ok_or_else(|| {
                    format!("days: {day:?} is none; write mon, tue, wed, thu, fri, sat or sun")
                })?;
        }
        if days == 0 {
            return Err("days: write at least one day".into());
        }
        let (from, until) = (minute("from", &text.from)?, minute("until", &text.until)?);
        if from == MINUTES_A_DAY || until == 0 {
            return Err("from is 00:00 to 23:59, and until is 00:01 to 24:00".into());
        }
        if from == until {
            return Err("from and until are the same; write 00:00 and 24:00 for the whole day".into());
        }
        Ok(Self { days, from, until })
    }
}

fn minute(field: &str, text: &str) -> Result<u16, String> {
    let two = |digits: &str| {
        let is_two = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_two { digits.parse::<u16>().ok() } else { None }
    };
    let read = text.split_once(':').and_then(|(hour, minute)| Some((two(hour)?, two(minute)?)));
    let minute = read.filter(|(_, minute)| *minute < 60).map(|(hour, minute)| hour * 60 + minute);
    minute
        .filter(|minute| *minute <= MINUTES_A_DAY)
        .ok_or_else(|| format!("{field}: {text:?} is no time of day; write one such as 08:00"))
}

impl From<Hours> for HoursText {
    fn from(Hours { zone, windows }: Hours) -> Self {
        let text = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let window = |Window { days, from, until }: Window| WindowText {
            days: (0..7).filter(|day| days & (1 << day) != 0).map(|day| DAYS[day].to_owned()).collect(),
            from: text(from),
            until: text(until),
        };
        Self { zone: zone.name().to_owned(), windows: windows.into_iter().map(window).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(zone: &str, days: &[&str], from: &str, until: &str) -> Result<Hours, String> {
        let days = days.iter().map(|day| (*day).to_owned()).collect();
        let window = WindowText { days, from: from.into(), until: until.into() };
        HoursText { zone: zone.into(), windows: vec![window] }.try_into()
    }

    fn within(hours: &Hours, at: &str) -> bool {
        hours.contains(at.parse().unwrap())
    }

    #[test]
    fn a_window_holds_from_its_first_minute_until_its_last_by_the_clocks_of_its_zone() {
        // 2026-11-27 is a Friday; London is on UTC in winter and an hour ahead in summer.
        let winter = hours("Europe/London", &["fri"], "08:00", "18:00").unwrap();
        for (at, is_in) in [
            ("2026-11-27T07:59:59Z", false),
            ("2026-11-27T08:00:00Z", true),
            ("2026-11-27T17:59:59Z", true),
            ("2026-11-27T18:00:00Z", false),
            ("2026-11-28T12:00:00Z", false),
            ("2026-07-03T07:00:00Z", true),
            ("2026-07-03T17:00:00Z", false),
        ] {
            assert_eq!(within(&winter, at), is_in, "{at}");
        }
        let tokyo = hours("Asia/Tokyo", &["sat"], "00:00", "24:00").unwrap();
        assert!(within(&tokyo, "2026-11-27T15:00:00Z") && !within(&tokyo, "2026-11-28T15:00:00Z"));
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let night = hours("UTC", &["sun"], "22:00", "06:00").unwrap();
        for (at, is_in) in [
            ("2026-11-29T21:59:00Z", false),
            ("2026-11-29T22:00:00Z", true),
            ("2026-11-30T05:59:00Z", true),
            ("2026-11-30T06:00:00Z", false),
            ("2026-11-29T03:00:00Z", false),
        ] {
            assert_eq!(within(&night, at), is_in, "{at}");
        }
    }

    #[test]
    fn it_is_read_as_it_is_written_and_refused_with_what_to_write() {
        let written =
            r#"{"zone":"Europe/London","windows":[{"days":["mon","sun"],"from":"08:30","until":"24:00"}]}"#;
        let read: Hours = serde_json::from_str(written).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), written);
        for (zone, days, from, until, says) in [
            ("Atlantis", &["mon"][..], "08:00", "18:00", "zone: \"Atlantis\""),
            ("UTC", &["monday"], "08:00", "18:00", "days: \"monday\""),
            ("UTC", &[], "08:00", "18:00", "days: write at least one"),
            ("UTC", &["mon"], "8:00", "18:00", "from: \"8:00\""),
            ("UTC", &["mon"], "08:00", "18:60", "until: \"18:60\""),
            ("UTC", &["mon"], "08:00", "24:01", "until: \"24:01\""),
            ("UTC", &["mon"], "24:00", "18:00", "from is 00:00"),
            ("UTC", &["mon"], "09:00", "09:00", "from and until are the same"),
        ] {
            let error = hours(zone, days, from, until).unwrap_err();
            assert!(error.starts_with(says), "{error}");
        }
        assert!(Hours::try_from(HoursText { zone: "UTC".into(), windows: Vec::new() }).is_err());
    }
}
