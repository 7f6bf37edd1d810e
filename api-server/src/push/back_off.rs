//! How long a push waits for its next attempt.

use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);
/// A push without budget comes back no sooner, so that jobs of one busy device are not taken and given back in a
/// circle.
const SHORTEST_HOLD: Duration = Duration::from_secs(1);

/// Doubles with each attempt, of which there has been at least one; spread over its second half, so that what failed
/// together does not come back together.
pub(super) fn back_off(attempts: i32) -> Duration {
    let doublings = u32::try_from(attempts - 1).unwrap_or(0).min(12);
    let longest = (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE);
    longest.mul_f64(0.5 + random_share() / 2.0)
}

/// What the push service asked for, and up to a tenth more: everyone was told the same.
pub(super) fn not_together(after: Duration) -> Duration {
    after.mul_f64(1.0 + random_share() / 10.0)
}

/// Until there is budget, and up to a second more: whatever waits for the same budget takes turns.
pub(super) fn held_back(until_budget: Duration) -> Duration {
    until_budget.max(SHORTEST_HOLD) + Duration::from_secs(1).mul_f64(random_share())
}

/// From 0 to 1. Without randomness it is 1: the longest pause.
fn random_share() -> f64 {
    let mut random = [0_u8; 2];
    getrandom::fill(&mut random).map_or(1.0, |()| f64::from(u16::from_le_bytes(random)) / 65_535.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour_and_are_spread_over_their_second_half() {
        for (attempts, longest) in [(1, 2), (2, 4), (5, 32), (11, 2_048), (12, 3_600), (30, 3_600), (0, 2)] {
            let longest = Duration::from_secs(longest);
            let pauses: Vec<_> = (0..100).map(|_| back_off(attempts)).collect();
            assert!(pauses.iter().all(|pause| (longest / 2..=longest).contains(pause)), "{attempts}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{attempts}");
        }
    }

    #[test]
    fn what_the_push_service_asks_for_is_kept_to() {
        let asked = Duration::from_secs(100);
        assert!((0..100).all(|_| (asked..=asked + asked / 10).contains(&not_together(asked))));
    }
}
