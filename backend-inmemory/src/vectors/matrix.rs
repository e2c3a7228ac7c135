//! The embeddings of a namespace, row by row.

use super::kernel::{Query, scale};

/// The numbers in a block of rows, about 8 MiB, so that growing copies little and leaves
/// little room unused.
const BLOCK: usize = 2 << 20;

/// Vectors of one length, in dense rows, bit for bit as they were given.
#[derive(Debug)]
pub(super) struct Matrix {
    dimensions: usize,
    rows_per_block: usize,
    blocks: Vec<Vec<f32>>,
    /// Beside each row what its dot products are multiplied by; see [`scale`].
    scales: Vec<f32>,
}

impl Matrix {
    pub(super) fn new(dimensions: usize) -> Self {
        Self {
            dimensions,
            rows_per_block: (BLOCK / dimensions).max(1),
            blocks: Vec::new(),
            scales: Vec::new(),
        }
    }

    pub(super) fn row(&self, row: usize) -> &[f32] {
        let start = row % self.rows_per_block * self.dimensions;
        &self.blocks[row / self.rows_per_block][start..start + self.dimensions]
    }

    pub(super) fn push(&mut self, vector: &[f32]) {
        if self.scales.len() == self.blocks.len() * self.rows_per_block {
            self.blocks.push(Vec::new());
        }
        if let Some(block) = self.blocks.last_mut() {
            let room = self.rows_per_block * self.dimensions - block.len();
            if block.len() == block.capacity() {
                block.reserve_exact(block.len().max(self.dimensions).min(room));
            }
            block.extend_from_slice(vector);
        }
        self.scales.push(scale(vector));
    }

    pub(super) fn set(&mut self, row: usize, vector: &[f32]) {
        let start = row % self.rows_per_block * self.dimensions;
        self.blocks[row / self.rows_per_block][start..start + self.dimensions]
            .copy_from_slice(vector);
        self.scales[row] = scale(vector);
    }

    /// Removes a row; the last one takes its place.
    pub(super) fn swap_remove(&mut self, row: usize) {
        let last = self.scales.len() - 1;
        if row != last {
            let vector = self.row(last).to_vec();
            self.set(row, &vector);
        }
        self.scales.pop();
        if let Some(block) = self.blocks.last_mut() {
            block.truncate(block.len() - self.dimensions);
            if block.is_empty() {
                self.blocks.pop();
            }
        }
    }

    /// Shows every row in order, with its similarity to the query within the kernel's margin.
    pub(super) fn compare<'a>(
        &'a self,
        query: &Query<'_>,
        mut visit: impl FnMut(usize, &'a [f32], f32),
    ) {
        let mut dots = Vec::new();
        let mut row = 0;
        for block in &self.blocks {
            dots.resize(block.len() / self.dimensions, 0.0);
            query.dots(block, &mut dots);
            for (vector, dot) in block.chunks_exact(self.dimensions).zip(&dots) {
                visit(row, vector, dot * self.scales[row]);
                row += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Push(u8),
        Set(usize, u8),
        Remove(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => any::<u8>().prop_map(Step::Push),
            1 => (any::<usize>(), any::<u8>()).prop_map(|(row, x)| Step::Set(row, x)),
            2 => any::<usize>().prop_map(Step::Remove),
        ]
    }

    proptest! {
        #[test]
        fn rows_are_dense_whatever_is_removed(steps in proptest::collection::vec(step(), 0..80)) {
            let vector = |x: u8| vec![f32::from(x) + 1.0, 1.0, 0.5];
            let mut matrix = Matrix { rows_per_block: 7, ..Matrix::new(3) };
            let mut expected: Vec<Vec<f32>> = Vec::new();
            for step in steps {
                match step {
                    Step::Push(x) => {
                        matrix.push(&vector(x));
                        expected.push(vector(x));
                    }
                    Step::Set(row, x) if !expected.is_empty() => {
                        let row = row % expected.len();
                        matrix.set(row, &vector(x));
                        expected[row] = vector(x);
                    }
                    Step::Remove(row) if !expected.is_empty() => {
                        let row = row % expected.len();
                        matrix.swap_remove(row);
                        expected.swap_remove(row);
                    }
                    _ => {}
                }
                let query = Query::new(&[1.0, 2.0, 3.0]);
                let mut rows = Vec::new();
                matrix.compare(&query, |row, vector, similarity| {
                    rows.push((row, vector, similarity));
                });
                prop_assert_eq!(rows.len(), expected.len());
                for (at, (found, wanted)) in rows.iter().zip(&expected).enumerate() {
                    prop_assert_eq!((found.0, found.1), (at, wanted.as_slice()));
                    prop_assert_eq!(matrix.row(at), wanted.as_slice());
                    prop_assert!((f64::from(found.2) - query.exact(wanted)).abs() < 1e-6);
                }
                prop_assert_eq!(matrix.blocks.len(), expected.len().div_ceil(7));
            }
        }
    }
}
