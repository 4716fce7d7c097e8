//! Values that are made once and then shared, also where several threads ask at the same time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// What was made so far, by key.
#[derive(Debug)]
pub(crate) struct Memo<K, V>(Mutex<HashMap<K, Slot<V>>>);

type Slot<V> = Arc<Mutex<Option<V>>>;

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Memo<K, V> {
    /// Returns the value of `key` if it was made.
    pub(crate) fn made(&self, key: &K) -> Option<V> {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = Arc::clone(slots.get(key)?);
        drop(slots);
        slot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns everything that was made, in no order.
    pub(crate) fn all(&self) -> Vec<(K, V)>
    where
        K: Clone,
    {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slots: Vec<_> = slots
            .iter()
            .map(|(key, slot)| (key.clone(), Arc::clone(slot)))
            .collect();
        let made = slots.into_iter().map(|(key, slot)| {
            let value = slot.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Some((key, value?))
        });
        made.flatten().collect()
    }

    /// Returns the value of `key`; the first to ask makes it, and others who ask for the same
    /// meanwhile wait. A failure is not kept.
    pub(crate) fn get<E>(&self, key: K, make: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(key).or_default())
        };
        let mut value = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = &*value {
            return Ok(value.clone());
        }
        let made = make()?;
        *value = Some(made.clone());
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn values_are_made_once() {
        let memo = Memo::default();
        let n_made = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let value =
                        memo.get("a", || Ok::<_, ()>(n_made.fetch_add(1, Ordering::SeqCst)));
                    assert_eq!(value.unwrap(), 0);
                });
            }
        });
        assert_eq!(memo.get("b", || Ok::<_, ()>(7)).unwrap(), 7);
    }

    #[test]
    fn failures_are_not_kept() {
        let memo = Memo::default();
        let failed = memo.get("a", || Err("gone"));
        assert_eq!(failed, Err("gone"));
        assert_eq!(memo.get("a", || Ok::<_, ()>(1)).unwrap(), 1);
    }
}
