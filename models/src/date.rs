//! Today's date, without a calendar library for one line of a card.

use std::time::{SystemTime, UNIX_EPOCH};

/// The date of a build, `YYYY-MM-DD` in UTC: `SOURCE_DATE_EPOCH` where it is set
/// (reproducible-builds.org), else today.
pub fn of_build(source_date_epoch: Option<&str>) -> Result<String, String> {
    let seconds = match source_date_epoch {
        Some(text) => text
            .parse()
            .map_err(|_| format!("SOURCE_DATE_EPOCH is `{text}`; expected seconds since 1970"))?,
        None => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs()),
    };
    Ok(civil(seconds / 86_400))
}

/// Whether a text has the form of a date.
pub fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// Days since 1970-01-01 as a date: Howard Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`, for days after the epoch.
fn civil(days: u64) -> String {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let check = |seconds: &str, date: &str| {
            assert_eq!(of_build(Some(seconds)).as_deref(), Ok(date));
            assert!(is_date(date));
        };
        check("0", "1970-01-01");
        check("951782400", "2000-02-29");
        check("951868800", "2000-03-01");
        check("1735689599", "2024-12-31");
        check("1735689600", "2025-01-01");
        assert!(of_build(Some("soon")).is_err());
        assert!(of_build(None).is_ok_and(|today| is_date(&today)));
        assert!(!is_date("2025-1-01") && !is_date("20250101xx"));
    }
}
