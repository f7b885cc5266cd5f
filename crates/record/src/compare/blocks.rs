//! Drawing a service's time again: seconds that follow each other are alike, so blocks of them are drawn, not single ones.
//!
//! The circular block bootstrap (Politis and Romano 1992): every slice is as often the start of a block as any other, and after the
//! last comes the first.

/// With fewer blocks of a side, nothing is known of the noise between them.
pub(super) const LEAST: usize = 5;

/// So many lags in a row that show nothing end what is correlated.
const QUIET_LAGS: f64 = 5.0;
/// A correlation within so many of its standard errors, but for a factor of √log₁₀ n, shows nothing.
const SHOWS: f64 = 2.0;

/// How many slices a block has: what their correlation asks for (Politis and White 2004, as corrected by Patton, Politis and White
/// 2009, for the circular bootstrap), and at least the cube root of their number. The estimate is itself a guess where they are few,
/// and the cube root is how the best length grows (Hall, Horowitz and Jing 1995). At most so many that [`LEAST`] blocks are left, unless
/// the cube root is more, and at most 3 √n.
pub(super) fn length(series: &[f64]) -> usize {
    let n = series.len() as f64;
    let least = n.cbrt().ceil();
    let most = (3.0 * n.sqrt()).min(n / LEAST as f64).floor().max(least);
    asked_for(series).ceil().max(least).clamp(1.0, most.max(1.0)) as usize
}

/// By the correlation of the series with itself.
fn asked_for(series: &[f64]) -> f64 {
    let n = series.len();
    let mean = series.iter().sum::<f64>() / n as f64;
    let covariance = |lag: usize| {
        let products = series.iter().zip(&series[lag.min(n)..]).map(|(a, b)| (a - mean) * (b - mean));
        products.sum::<f64>() / n as f64
    };
    let variance = covariance(0);
    if n < 4 || variance <= 0.0 {
        return 1.0;
    }
    let log = (n as f64).log10();
    let quiet_lags = QUIET_LAGS.max(log.sqrt().ceil()) as usize;
    let most = (n as f64).sqrt().ceil() as usize + quiet_lags;
    let bound = SHOWS * (log / n as f64).sqrt();
    let shows = |lag: usize| (covariance(lag) / variance).abs() >= bound;
    let last = (0..most).find(|&lag| (1..=quiet_lags).all(|more| !shows(lag + more))).unwrap_or(most);
    let window = (2 * last.max(1)).min(most);
    let (mut slope, mut spectrum) = (0.0, variance);
    for lag in 1..=window {
        // A flat top: the first half of the lags counts in full, the rest less and less.
        let weight = (2.0 * (1.0 - lag as f64 / window as f64)).min(1.0);
        slope += 2.0 * weight * lag as f64 * covariance(lag);
        spectrum += 2.0 * weight * covariance(lag);
    }
    let spread = 4.0 / 3.0 * spectrum * spectrum;
    if spread <= 0.0 { n as f64 } else { (2.0 * slope * slope / spread * n as f64).cbrt() }
}

/// How many times each slice is drawn, in one draw of as many as there are.
pub(super) fn draw(times: &mut [u64], length: usize, random: &mut fastrand::Rng) {
    times.fill(0);
    let n = times.len();
    let mut left = n;
    while left > 0 {
        let start = random.usize(..n);
        let block = length.min(left);
        (start..start + block).for_each(|at| times[at % n] += 1);
        left -= block;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn correlated(n: usize, inherited: f64, seed: u64) -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut value = 0.0;
        let mut next = || {
            value = inherited * value + random.f64() - 0.5;
            value
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn blocks_are_as_long_as_what_is_correlated() {
        let middle = |inherited: f64| {
            let mut lengths: Vec<usize> = (0..51).map(|seed| length(&correlated(1_000, inherited, seed))).collect();
            lengths.sort_unstable();
            lengths[25]
        };
        // Of an autoregression, b³ = 3/2 (2 ρ / (1 − ρ²))² n: 14 slices for ρ = 0.5 and n = 1,000, and 51 for 0.9.
        let (none, half, most) = (middle(0.0), middle(0.5), middle(0.9));
        assert_eq!(none, 10, "the cube root");
        assert!((12..=18).contains(&half), "{half}");
        assert!((30..=60).contains(&most), "{most}");
    }

    #[test]
    fn a_series_that_does_not_change_or_is_short_has_the_cube_root() {
        assert_eq!(length(&[5.0; 27]), 3);
        assert_eq!(length(&[5.0; 3]), 2);
        assert_eq!(length(&[]), 1);
        assert!((4..=5).contains(&length(&correlated(27, 0.99, 1))), "a fifth at most");
    }

    #[test]
    fn a_draw_has_as_many_slices_as_there_are_in_blocks() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut all = vec![0; 10];
        for _ in 0..1_000 {
            let mut times = vec![0; 10];
            draw(&mut times, 5, &mut random);
            assert_eq!(times.iter().sum::<u64>(), 10);
            // Two blocks of five: every slice that is drawn has a neighbour that is.
            assert!((0..10).all(|at| times[at] == 0 || times[(at + 1) % 10] + times[(at + 9) % 10] > 0), "{times:?}");
            all.iter_mut().zip(&times).for_each(|(sum, times)| *sum += times);
        }
        assert!(all.iter().all(|&times| (800..1_200).contains(&times)), "{all:?}");
    }
}
