//! Quantities as people read them: 12,345/s, 0.93 ×, 4.2 ms, 31 µs, 9.8 KB.

use crate::outcome::{Figure, Target, Unit};

// Memory is counted in powers of two.
const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * KIB;
const GIB: f64 = 1024.0 * MIB;

/// What a unit's numbers are divided by, and what stands behind them. Numbers that are compared share one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    divisor: f64,
    suffix: &'static str,
}

impl Scale {
    /// The one in which a number of about this size reads best.
    pub fn of(unit: Unit, value: f64) -> Self {
        let size = value.abs();
        let (divisor, suffix) = match unit {
            Unit::PerSecond if size >= 1e6 => (1e6, " M/s"),
            Unit::PerSecond => (1.0, "/s"),
            Unit::Ratio => (1.0, " ×"),
            Unit::Milliseconds if size >= 1e3 => (1e3, " s"),
            Unit::Milliseconds if size < 0.1 && size > 0.0 => (1e-3, " µs"),
            Unit::Milliseconds => (1.0, " ms"),
            Unit::Microseconds if size >= 1e6 => (1e6, " s"),
            Unit::Microseconds if size >= 1e3 => (1e3, " ms"),
            Unit::Microseconds if size < 0.1 && size > 0.0 => (1e-3, " ns"),
            Unit::Microseconds => (1.0, " µs"),
            Unit::Bytes if size >= GIB => (GIB, " GB"),
            Unit::Bytes if size >= MIB => (MIB, " MB"),
            Unit::Bytes if size >= KIB => (KIB, " KB"),
            Unit::Bytes => (1.0, " bytes"),
            Unit::Count => (1.0, ""),
        };
        Self { divisor, suffix }
    }

    pub fn number(self, value: f64) -> String {
        number(value / self.divisor)
    }

    pub fn quantity(self, value: f64) -> String {
        format!("{}{}", self.number(value), self.suffix)
    }
}

/// The middle of a figure's runs.
pub fn median(figure: &Figure) -> String {
    let median = figure.median();
    Scale::of(figure.unit, median).quantity(median)
}

/// The smallest and the largest of its runs, in the median's unit; empty where there was one run.
pub fn spread(figure: &Figure) -> String {
    if figure.runs.len() < 2 {
        return String::new();
    }
    let scale = Scale::of(figure.unit, figure.median());
    let (low, high) = figure.spread();
    format!("{} – {}", scale.number(low), scale.number(high))
}

/// What the median is held against; empty without a target.
pub fn target(figure: &Figure) -> String {
    let (sign, bound) = match figure.target {
        None => return String::new(),
        Some(Target::AtLeast(bound)) => ("≥", bound),
        Some(Target::AtMost(bound)) => ("≤", bound),
    };
    let Scale { divisor, suffix } = Scale::of(figure.unit, bound);
    let number = number(bound / divisor);
    let number =
        if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { &number };
    format!("{sign} {number}{suffix}")
}

/// Three digits that count, and no more than the unit of large numbers.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() { "–" } else { "∞" }.to_owned();
    }
    match value.abs() {
        size if size >= 99.95 => with_commas(value),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.0995 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn with_commas(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = if value < 0.0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_as_people_write_them() {
        let read = |unit, value| Scale::of(unit, value).quantity(value);
        assert_eq!(read(Unit::PerSecond, 12_345.4), "12,345/s");
        assert_eq!(read(Unit::PerSecond, 2_345_678.0), "2.35 M/s");
        assert_eq!(read(Unit::Ratio, 0.93), "0.93 ×");
        assert_eq!(read(Unit::Ratio, 10.0), "10.0 ×");
        assert_eq!(read(Unit::Milliseconds, 4.2), "4.20 ms");
        assert_eq!(read(Unit::Milliseconds, 0.085), "85.0 µs");
        assert_eq!(read(Unit::Microseconds, 31.24), "31.2 µs");
        assert_eq!(read(Unit::Bytes, 9.8 * 1024.0), "9.80 KB");
        assert_eq!(read(Unit::Count, 1_234_567.0), "1,234,567");
        assert_eq!(read(Unit::Count, f64::NAN), "–");
    }

    #[test]
    fn a_target_says_its_bound_without_needless_digits() {
        let figure = |unit, bound| Figure::new("x", unit, vec![1.0]).at_least(bound);
        assert_eq!(target(&figure(Unit::Ratio, 0.9)), "≥ 0.9 ×");
        assert_eq!(target(&figure(Unit::Ratio, 5.0)), "≥ 5 ×");
        assert_eq!(target(&figure(Unit::PerSecond, 2e6)), "≥ 2 M/s");
        assert_eq!(target(&figure(Unit::PerSecond, 8_000.0)), "≥ 8,000/s");
        assert_eq!(target(&Figure::new("x", Unit::Bytes, vec![1.0]).at_most(10_240.0)), "≤ 10 KB");
    }

    #[test]
    fn a_spread_is_told_in_the_unit_of_its_median() {
        let figure = Figure::new("x", Unit::PerSecond, vec![900_000.0, 1_100_000.0, 1_000_000.0]);
        assert_eq!((median(&figure).as_str(), spread(&figure).as_str()), ("1.00 M/s", "0.90 – 1.10"));
        assert_eq!(spread(&Figure::new("x", Unit::Ratio, vec![1.0])), "");
    }
}
