//! Where a value lies on an axis, and which values are written beside it.

use super::quantity::number;

/// How values are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    Linear,
    /// Each power of ten has the same length; values are above 0.
    Logarithmic,
    /// Of percentiles: each further nine has the same length.
    Nines,
}

/// From a lowest to a highest value, drawn between two positions in pixels.
#[derive(Debug, Clone)]
pub struct Axis {
    spacing: Spacing,
    low: f64,
    high: f64,
    pixels: (f64, f64),
}

/// About so many ticks of a linear axis.
const TICKS: f64 = 5.0;
/// Of a percentile: `100` itself lies nowhere.
const HIGHEST_PERCENTILE: f64 = 99.9999;

impl Axis {
    /// One on which all these values lie. A linear one begins at 0, or below, so that lengths compare.
    pub fn of(spacing: Spacing, values: impl Iterator<Item = f64>, pixels: (f64, f64)) -> Self {
        let is_drawable =
            |value: &f64| value.is_finite() && (spacing != Spacing::Logarithmic || *value > 0.0);
        let (low, high) = values
            .filter(is_drawable)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = match spacing {
            _ if low > high => (spacing.empty().0, spacing.empty().1),
            Spacing::Linear => linear_ends(low.min(0.0), high),
            Spacing::Logarithmic => (step_down(low), step_up(high).max(10.0 * step_down(low))),
            Spacing::Nines => (low.clamp(0.0, 50.0), high.clamp(90.0, HIGHEST_PERCENTILE)),
        };
        Self { spacing, low, high, pixels }
    }

    /// Of a value within; others come to lie on the nearest end.
    pub fn position(&self, value: f64) -> f64 {
        let (low, high) = (self.spacing.length(self.low), self.spacing.length(self.high));
        let share = (self.spacing.length(value.clamp(self.low, self.high)) - low) / (high - low);
        self.pixels.0 + share * (self.pixels.1 - self.pixels.0)
    }

    /// Values with what is written beside them.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let labelled = |values: Vec<f64>| values.into_iter().map(|value| (value, short(value))).collect();
        match self.spacing {
            Spacing::Linear => {
                let step = step(self.high - self.low);
                let count = ((self.high - self.low) / step).round();
                let first = (self.low / step).round();
                let ticks = std::iter::successors(Some(0.0), |tick| Some(tick + 1.0));
                labelled(ticks.take_while(|tick| *tick <= count).map(|tick| (first + tick) * step).collect())
            }
            Spacing::Logarithmic => {
                // 1, 2 and 5 of each power of ten; over three powers they would touch.
                let mut values = Vec::new();
                let mut value = self.low;
                while value <= self.high * 1.001 {
                    values.push(value);
                    value = step_up(value * 1.001);
                }
                let powers = (self.high / self.low).log10();
                values.retain(|value| powers <= 3.0 || is_power(*value));
                labelled(values)
            }
            Spacing::Nines => [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999]
                .into_iter()
                .filter(|tick| (self.low..=self.high).contains(tick))
                .map(|tick| (tick, format!("{tick}")))
                .collect(),
        }
    }
}

impl Spacing {
    fn length(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Logarithmic => value.log10(),
            Self::Nines => -(1.0 - value.min(HIGHEST_PERCENTILE) / 100.0).log10(),
        }
    }

    /// Of an axis on which nothing lies.
    fn empty(self) -> (f64, f64) {
        match self {
            Self::Linear => (0.0, 1.0),
            Self::Logarithmic => (1.0, 10.0),
            Self::Nines => (0.0, 99.0),
        }
    }
}

fn linear_ends(low: f64, high: f64) -> (f64, f64) {
    let high = if high > low { high } else { low + 1.0 };
    let step = step(high - low);
    ((low / step).floor() * step, (high / step - 1e-9).ceil() * step)
}

/// The round number that parts a length into about [`TICKS`].
fn step(length: f64) -> f64 {
    let raw = length / TICKS;
    let power = 10f64.powf(raw.log10().floor());
    let round = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|round| round * power >= raw * 0.999);
    round.unwrap_or(10.0) * power
}

/// The next of 1, 2, 5, 10, … that is not above.
fn step_down(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [5.0, 2.0].into_iter().map(|round| round * power).find(|step| *step <= value).unwrap_or(power)
}

/// The next of 1, 2, 5, 10, … that is not below.
fn step_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0].into_iter().map(|round| round * power);
    steps.into_iter().find(|step| *step >= value * 0.9999).unwrap_or(10.0 * power)
}

fn is_power(value: f64) -> bool {
    (value.log10() - value.log10().round()).abs() < 1e-6
}

/// As on an axis: no digit more than it takes.
fn short(value: f64) -> String {
    if value.abs() >= 1e6 {
        return format!("{} M", trimmed(&format!("{:.2}", value / 1e6)));
    }
    trimmed(&number(value)).to_owned()
}

fn trimmed(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(spacing: Spacing, values: &[f64]) -> Vec<String> {
        let axis = Axis::of(spacing, values.iter().copied(), (0.0, 100.0));
        axis.ticks().into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_numbers_around_the_values() {
        assert_eq!(
            labels(Spacing::Linear, &[3.0, 9_700.0]),
            ["0", "2,000", "4,000", "6,000", "8,000", "10,000"]
        );
        assert_eq!(labels(Spacing::Linear, &[0.0, 1.0]), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(labels(Spacing::Linear, &[2_300_000.0]).last().unwrap(), "2.5 M");
        assert_eq!(labels(Spacing::Logarithmic, &[0.3, 4.0]), ["0.2", "0.5", "1", "2", "5"]);
        assert_eq!(labels(Spacing::Logarithmic, &[0.3, 4_000.0]), ["1", "10", "100", "1,000"]);
        assert_eq!(labels(Spacing::Nines, &[0.0, 99.9]), ["0", "50", "90", "99", "99.9"]);
    }

    #[test]
    fn each_further_nine_has_the_same_length() {
        let axis = Axis::of(Spacing::Nines, [0.0, 99.9].into_iter(), (0.0, 300.0));
        let positions = [0.0, 90.0, 99.0, 99.9].map(|value| axis.position(value).round());
        assert_eq!(positions, [0.0, 100.0, 200.0, 300.0]);
    }

    #[test]
    fn every_value_lies_on_its_axis() {
        for values in [&[][..], &[0.0], &[-3.0, 5.0], &[f64::NAN], &[1e-9, 1e12]] {
            for spacing in [Spacing::Linear, Spacing::Logarithmic, Spacing::Nines] {
                let axis = Axis::of(spacing, values.iter().copied(), (0.0, 100.0));
                let (ticks, finite) = (axis.ticks(), values.iter().filter(|value| value.is_finite()));
                assert!((1..40).contains(&ticks.len()), "{spacing:?} {values:?} {ticks:?}");
                for value in finite.copied().chain(ticks.iter().map(|(value, _)| *value)) {
                    assert!((-0.01..=100.01).contains(&axis.position(value)), "{spacing:?} {value} {axis:?}");
                }
            }
        }
    }
}
