//! Why a thread that was ready to run had no CPU.

use pollscope_base::duration::to_ns;
use pollscope_base::{Cause, Quota};

use super::time_split::Between;

/// The cause of waiting for a CPU for so long: a quota, if that explains at least half of it. `counted`: for how long any quota
/// throttled meanwhile, also one that nobody knew of; what that leaves open is no cause.
pub(super) fn delay_cause(run_delay_ns: u64, quota: Option<&Quota>, counted: Option<Between>) -> Option<Cause> {
    let half_ns = run_delay_ns.div_ceil(2);
    let is_explained = |quota: &Quota| quota.throttled_periods > 0 && to_ns(quota.throttled) >= half_ns;
    if quota.is_some_and(is_explained) {
        return Some(Cause::Throttled);
    }
    match counted {
        Some(counted) if counted.least_ns >= half_ns.max(1) => Some(Cause::Throttled),
        Some(counted) if counted.most_ns >= half_ns.max(1) => None,
        _ => Some(Cause::Preempted),
    }
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
        let cause = |run_delay_ns, quota: Option<Quota>| delay_cause(run_delay_ns, quota.as_ref(), None).unwrap();
        assert_eq!(cause(100, Some(quota(1, 50))), Cause::Throttled);
        assert_eq!(cause(101, Some(quota(1, 50))), Cause::Preempted);
        assert_eq!(cause(100, Some(quota(0, 0))), Cause::Preempted);
        assert_eq!(cause(0, Some(quota(0, 0))), Cause::Preempted);
        assert_eq!(cause(100, None), Cause::Preempted);
    }

    #[test]
    fn a_quota_that_nobody_knew_of_is_the_cause_if_it_is_sure_to_explain_half() {
        let cause = |least_ns, most_ns| delay_cause(100, None, Some(Between { least_ns, most_ns }));
        assert_eq!(cause(50, 90), Some(Cause::Throttled));
        assert_eq!(cause(49, 90), None);
        assert_eq!(cause(0, 50), None);
        assert_eq!(cause(0, 49), Some(Cause::Preempted));
        assert_eq!(delay_cause(0, None, Some(Between::default())), Some(Cause::Preempted));
    }
}
