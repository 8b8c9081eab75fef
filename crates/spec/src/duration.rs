//! Durations in configuration: a number of seconds, Go's format (`1h30m`, `500ms`) extended by days, and a range of two
//! with `..` between.

use std::time::Duration;

use engine::DurationRange;
use thiserror::Error;

/// 100 years; anything longer is taken for a typing error.
const MAX_DURATION: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DurationError {
    #[error("expected seconds or a duration such as 90s, 1h30m or 500ms")]
    Form,
    #[error("a duration cannot be negative")]
    Negative,
    #[error("at most 100 years (36500d)")]
    TooLong,
    #[error("a range goes from the shorter to the longer, as in 10s..40s")]
    Backwards,
}

/// Parses a duration.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    if text.starts_with('-') {
        return Err(DurationError::Negative);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(DurationError::Form);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let unit_length = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_length);
        // Only a number alone may have no unit: seconds.
        let unit = if unit.is_empty() && number.len() == text.len() { "s" } else { unit };
        total = total
            .checked_add(part(number, unit)?)
            .filter(|sum| *sum <= MAX_DURATION)
            .ok_or(DurationError::TooLong)?;
        rest = after;
    }
    Ok(total)
}

/// Parses a duration, or a range of two.
pub fn parse_span(text: &str) -> Result<DurationRange, DurationError> {
    let Some((from, to)) = text.split_once("..") else { return parse(text).map(DurationRange::exactly) };
    let span = DurationRange { from: parse(from)?, to: parse(to)? };
    if span.from > span.to { Err(DurationError::Backwards) } else { Ok(span) }
}

/// `number` times the unit, computed in whole nanoseconds so that `0.1s` is exactly that.
fn part(number: &str, unit: &str) -> Result<Duration, DurationError> {
    let nanos_per_unit: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3600 * 1_000_000_000,
        "d" => 24 * 3600 * 1_000_000_000,
        _ => return Err(DurationError::Form),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(DurationError::Form);
    }
    if whole.len() > 20 {
        return Err(DurationError::TooLong);
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| DurationError::Form)? };
    // Digits below a nanosecond of a day are ignored.
    let fraction = &fraction[..fraction.len().min(15)];
    let scale = 10u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let fraction: u128 =
        if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| DurationError::Form)? };
    let nanos = whole * nanos_per_unit + fraction * nanos_per_unit / scale;
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| DurationError::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_that_people_write() {
        for (word, millis) in [
            ("0", 0),
            ("30", 30_000),
            ("1.5", 1_500),
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1m0.5s", 60_500),
            (".5s", 500),
            ("2d", 172_800_000),
            (" 5s ", 5_000),
            ("1500us", 1),
        ] {
            assert_eq!(parse(word).map(|duration| duration.as_millis()), Ok(millis), "{word}");
        }
        assert_eq!(parse("0.1s"), Ok(Duration::from_millis(100)));
        assert_eq!(parse("36500d"), Ok(MAX_DURATION));
    }

    #[test]
    fn what_is_no_duration() {
        for word in ["", " ", "s", "5x", "1h30", "1 h", "5s5", "..", "1..2s", "1.2.3s", "1e3", "+5s", "五s"]
        {
            assert_eq!(parse(word), Err(DurationError::Form), "{word:?}");
        }
        assert_eq!(parse("-5s"), Err(DurationError::Negative));
        for word in ["36501d", "99999999999999999999999s", "18446744073709551616"] {
            assert_eq!(parse(word), Err(DurationError::TooLong), "{word}");
        }
    }

    #[test]
    fn ranges() {
        let seconds =
            |from, to| DurationRange { from: Duration::from_secs(from), to: Duration::from_secs(to) };
        assert_eq!(parse_span("10s..40s"), Ok(seconds(10, 40)));
        assert_eq!(parse_span("10..1m"), Ok(seconds(10, 60)));
        assert_eq!(parse_span("7"), Ok(seconds(7, 7)));
        assert_eq!(parse_span("40s..10s"), Err(DurationError::Backwards));
        assert_eq!(parse_span("10s..20s..30s"), Err(DurationError::Form));
        assert_eq!(parse_span("..5s"), Err(DurationError::Form));
    }
}
