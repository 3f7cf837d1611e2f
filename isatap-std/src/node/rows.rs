//! Tables of the core in memory that is taken when it is needed.

use isatap_core::capacity::{Array, Count, Row};

/// `COUNT` rows that are nowhere until one is written: for large tables that most interfaces
/// never use.
#[derive(Clone, Copy, Debug)]
pub enum OnHeap<const COUNT: usize> {}

impl<const COUNT: usize> Count for OnHeap<COUNT> {
    type Of<T: Row> = HeapRows<T, COUNT>;
}

/// The rows of [`OnHeap`]: none, or all.
#[derive(Clone, Debug)]
pub struct HeapRows<T, const COUNT: usize>(Vec<T>);

impl<T: Row, const COUNT: usize> Array<T> for HeapRows<T, COUNT> {
    const EMPTY: Self = HeapRows(Vec::new());
}

impl<T, const COUNT: usize> AsRef<[T]> for HeapRows<T, COUNT> {
    fn as_ref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Row, const COUNT: usize> AsMut<[T]> for HeapRows<T, COUNT> {
    fn as_mut(&mut self) -> &mut [T] {
        if self.0.is_empty() {
            self.0 = vec![T::EMPTY; COUNT];
        }
        &mut self.0
    }
}
