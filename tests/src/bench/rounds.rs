//! Statistics over interleaved rounds.

/// The middle value; of an even number of values the mean of the two in the middle.
///
/// No values give NaN, which no comparison of the table accepts.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The median, and the values between which it lies with a probability of 95 %, by order statistics.
///
/// NaN without values.
#[must_use]
pub fn estimate(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
    let off = (0.98 * (sorted.len() as f64).sqrt()).ceil() as usize;
    let at = |index: usize| sorted.get(index).or(sorted.last()).copied().unwrap_or(f64::NAN);
    (median(values), at(middle.saturating_sub(off)), at(middle + off))
}

/// The smallest and the largest value.
#[must_use]
pub fn range(values: &[f64]) -> (f64, f64) {
    values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)))
}

#[cfg(test)]
mod tests {
    use super::{estimate, median, range};

    #[test]
    fn the_median_ignores_order_and_outliers() {
        assert!((median(&[9.0, 1.0, 100.0]) - 9.0).abs() < 1e-12);
        assert!((median(&[4.0, 1.0, 2.0, 100.0]) - 3.0).abs() < 1e-12);
        assert!(median(&[]).is_nan());
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(estimate(&values), (50.0, 40.0, 60.0));
        assert_eq!(estimate(&[3.0]), (3.0, 3.0, 3.0));
        assert_eq!(range(&[3.0, 1.0, 2.0]), (1.0, 3.0));
    }
}
