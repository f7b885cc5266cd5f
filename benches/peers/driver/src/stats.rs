//! The middle of few values, and how sure it is.

/// The value that the fraction `q` of all does not exceed, between the two nearest of them; `None` of none.
pub(crate) fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = sorted.len().checked_sub(1)? as f64 * q;
    let [low, high] = [place.floor(), place.ceil()].map(|index| sorted[index as usize]);
    Some(low + (high - low) * place.fract())
}

pub(crate) fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// An interval that holds the true median in at least 95 of 100 cases, whatever the values' distribution: from the `k`-th
/// smallest to the `k`-th largest, for the greatest `k` such that fewer than `k` of `n` fair coins show heads in at most
/// 2.5 of 100 cases. `None` for fewer than six values: not even all of them are enough.
pub(crate) fn median_interval(values: &[f64]) -> Option<(f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let mut ways = 0.5_f64.powi(i32::try_from(n).ok()?);
    let (mut fewer, mut k) = (0.0, 0);
    while k < n && fewer + ways <= 0.025 {
        fewer += ways;
        ways *= (n - k) as f64 / (k + 1) as f64;
        k += 1;
    }
    (k > 0).then(|| (sorted[k - 1], sorted[n - k]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From tables of the sign test: of 6 values the 1st, of 10 the 2nd, of 30 the 10th, of 40 the 14th.
    #[test]
    fn intervals_are_those_of_the_sign_test() {
        let of = |n: u32| median_interval(&(1..=n).map(f64::from).collect::<Vec<_>>());
        assert_eq!([of(0), of(5)], [None, None]);
        assert_eq!(of(6), Some((1.0, 6.0)));
        assert_eq!(of(10), Some((2.0, 9.0)));
        assert_eq!(of(30), Some((10.0, 21.0)));
        assert_eq!(of(40), Some((14.0, 27.0)));
    }

    #[test]
    fn quantiles_are_between_values() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!([0.0, 0.25, 0.5, 0.875, 1.0].map(|q| quantile(&values, q).unwrap()), [1.0, 2.0, 3.0, 4.5, 5.0]);
        assert_eq!(median(&[]), None);
    }
}
