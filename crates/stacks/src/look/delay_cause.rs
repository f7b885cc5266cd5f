//! Why a thread that was ready to run had no CPU.

use pollscope_base::duration::to_ns;
use pollscope_base::{Cause, Quota};

/// The cause of waiting for a CPU for so long: the group's quota, if that explains at least half of it.
pub(super) fn delay_cause(run_delay_ns: u64, quota: Option<&Quota>) -> Cause {
    let is_explained =
        |quota: &Quota| quota.throttled_periods > 0 && to_ns(quota.throttled) >= run_delay_ns.div_ceil(2);
    if quota.is_some_and(is_explained) { Cause::Throttled } else { Cause::Preempted }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_quota_is_the_cause_if_it_explains_half() {
        let ms = Duration::from_millis;
        let quota = |periods, throttled| Quota {
            allowed: ms(20),
            period: ms(100),
            periods: 5,
            throttled_periods: periods,
            throttled: Duration::from_nanos(throttled),
        };
        assert_eq!(delay_cause(100, Some(&quota(1, 50))), Cause::Throttled);
        assert_eq!(delay_cause(101, Some(&quota(1, 50))), Cause::Preempted);
        assert_eq!(delay_cause(100, Some(&quota(0, 0))), Cause::Preempted);
        assert_eq!(delay_cause(0, Some(&quota(0, 0))), Cause::Preempted);
        assert_eq!(delay_cause(100, None), Cause::Preempted);
    }
}
