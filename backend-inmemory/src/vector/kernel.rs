//! Similarity at the speed of memory.

use memory_core::{cosine_similarity, normalize};

/// How far an approximate similarity may be from the exact one: far above what 32-bit sums over
/// 16,000 dimensions lose, and still small enough that few rows are looked at twice.
pub(super) const MARGIN: f32 = 1e-4;

/// Lengths between which 32-bit arithmetic neither overflows nor loses small numbers.
const SAFE_LENGTHS: std::ops::RangeInclusive<f64> = 1e-15..=1e15;

/// Numbers that are summed side by side: enough to keep the processor's vector units busy.
const LANES: usize = 16;

/// A query, prepared.
#[derive(Debug)]
pub(super) struct Query<'a> {
    raw: &'a [f32],
    unit: Vec<f32>,
}

impl<'a> Query<'a> {
    pub(super) fn new(embedding: &'a [f32]) -> Self {
        Self { raw: embedding, unit: normalize(embedding.to_vec()) }
    }

    /// The cosine similarity, exactly as core computes it. Never -0, so that it can be ordered.
    pub(super) fn exact(&self, row: &[f32]) -> f64 {
        cosine_similarity(self.raw, row) + 0.0
    }

    /// The cosine similarity within [`MARGIN`], or not a number for a row without a scale.
    pub(super) fn approximate(&self, row: &[f32], scale: f32) -> f32 {
        dot(&self.unit, row) * scale
    }
}

/// One over the length of a row; not a number where 32-bit arithmetic is unsafe.
pub(super) fn scale(row: &[f32]) -> f32 {
    let length = row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    #[expect(clippy::cast_possible_truncation, reason = "in range, and precise enough")]
    let scale = (1.0 / length) as f32;
    if SAFE_LENGTHS.contains(&length) { scale } else { f32::NAN }
}

/// The dot product of two vectors of one length.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
        (1..600_usize, -30..30_i32).prop_flat_map(|(dimensions, exponent)| {
            let scale = 10_f32.powi(exponent);
            let number = (-1.0..1.0_f32).prop_map(move |x| x * scale);
            let vector = || proptest::collection::vec(number.clone(), dimensions);
            (vector(), vector())
        })
    }

    proptest! {
        #[test]
        fn v4_the_kernel_is_within_its_margin_of_the_exact_similarity((a, b) in pair()) {
            prop_assume!(a.iter().any(|x| *x != 0.0) && b.iter().any(|x| *x != 0.0));
            let query = Query::new(&a);
            let (exact, fast) = (query.exact(&b), query.approximate(&b, scale(&b)));
            prop_assert!(
                fast.is_nan() || (f64::from(fast) - exact).abs() < f64::from(MARGIN) / 10.0,
                "{fast} is not {exact}"
            );
        }
    }

    #[test]
    fn v4_lengths_beyond_32_bits_are_left_to_the_exact_computation() {
        assert!(scale(&[3e38, 3e38]).is_nan());
        assert!(scale(&[1e-40]).is_nan());
        assert!((scale(&[3.0, 4.0]) - 0.2).abs() < 1e-6);
    }
}
