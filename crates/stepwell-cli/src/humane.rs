//! Times and durations as people read and write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A duration with the two units that matter: `340ms`, `4.2s`, `3m 12s`, `2d 3h`.
pub(crate) fn duration(duration: Duration) -> String {
    let (millis, seconds) = (duration.as_millis(), duration.as_secs());
    let pair = |large: u64, unit: &str, small: u64, subunit: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit} {small}{subunit}"),
    };
    match seconds {
        0 if millis == 0 => "<1ms".to_owned(),
        0 => format!("{millis}ms"),
        1..10 => format!("{}.{}s", seconds, millis % 1000 / 100),
        10..60 => format!("{seconds}s"),
        60..3_600 => pair(seconds / 60, "m", seconds % 60, "s"),
        3_600..86_400 => pair(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => pair(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// How long ago a moment in microseconds since 1970 was, or how soon it will be.
pub(crate) fn ago(time: i64) -> String {
    let difference = time - now();
    let far = Duration::from_micros(difference.unsigned_abs());
    let whole = match far.as_secs() {
        0 => return "now".to_owned(),
        seconds @ 1..60 => format!("{seconds}s"),
        seconds => duration(Duration::from_secs(seconds)),
    };
    match difference > 0 {
        true => format!("in {whole}"),
        false => format!("{whole} ago"),
    }
}

/// Between two moments, in microseconds since 1970.
pub(crate) fn between(from: i64, to: i64) -> Duration {
    Duration::from_micros(u64::try_from(to - from).unwrap_or(0))
}

/// A moment in microseconds since 1970 for people: to the second, UTC.
pub(crate) fn moment(time: i64) -> String {
    humantime::format_rfc3339_seconds(system_time(time)).to_string().replace('T', " ").replace('Z', " UTC")
}

/// A moment for programs: RFC 3339 with microseconds, UTC.
pub(crate) fn timestamp(time: i64) -> String {
    humantime::format_rfc3339_micros(system_time(time)).to_string()
}

/// Now, in microseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn system_time(time: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(time).unwrap_or(0))
}

/// One thing or several: `1 step`, `2 steps`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}

/// Reads `30s`, `5m`, `2h 30m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    if text.parse::<f64>().is_ok() {
        return Err(format!("it needs a unit, such as {text}s or {text}m"));
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}; such as 30s, 5m or 2h"))
}

/// Reads an age, `2h`, or a time, `2026-01-31T08:00:00Z`.
pub(crate) fn parse_time(text: &str) -> Result<SystemTime, String> {
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        return Ok(time);
    }
    let age = parse_duration(text).map_err(|error| format!("{error}, or a time such as 2026-01-31T08:00:00Z"))?;
    SystemTime::now().checked_sub(age).ok_or_else(|| "that is before time began".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_two_units_that_matter() {
        for (millis, text) in [
            (0, "<1ms"),
            (340, "340ms"),
            (4_260, "4.2s"),
            (42_900, "42s"),
            (60_000, "1m"),
            (192_000, "3m 12s"),
            (3_600_000 + 61_000, "1h 1m"),
            (2 * 86_400_000 + 3 * 3_600_000, "2d 3h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn moments_are_told_from_now() {
        assert_eq!(ago(now()), "now");
        assert_eq!(ago(now() - 3_500_000), "3s ago");
        assert_eq!(ago(now() - 90_500_000), "1m 30s ago");
        assert_eq!(ago(now() + 120_900_000), "in 2m");
        assert_eq!(timestamp(1_500_000), "1970-01-01T00:00:01.500000Z");
        assert_eq!(moment(1_500_000), "1970-01-01 00:00:01 UTC");
    }

    #[test]
    fn ages_and_times_are_read_and_bare_numbers_refused() {
        assert_eq!(parse_duration("2h 30m"), Ok(Duration::from_secs(9_000)));
        assert!(parse_duration("30").unwrap_err().contains("30s"));
        assert_eq!(parse_time("1970-01-01T00:00:02Z"), Ok(UNIX_EPOCH + Duration::from_secs(2)));
        assert_eq!(parse_time("1970-01-01 00:00:02"), Ok(UNIX_EPOCH + Duration::from_secs(2)));
        assert!(parse_time("1h").unwrap().elapsed().unwrap() >= Duration::from_secs(3_600));
        assert!(parse_time("yesterday").unwrap_err().contains("2026-01-31"));
    }
}
