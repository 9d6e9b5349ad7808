//! Simulated loss: a wrapper around any receiver.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::DatagramReceiver;
use crate::rng::Rng;

/// What a receiver loses on purpose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Losing {
    /// The probability, in [0, 1).
    pub ratio: f64,
    /// The seed of the choice.
    pub seed: u64,
}

/// Drops each datagram that arrives with a given probability.
pub struct Lossy<R> {
    inner: R,
    /// The probability, in [0, 1).
    loss: f64,
    rng: Rng,
    lost: Arc<AtomicU64>,
}

impl<R: DatagramReceiver> Lossy<R> {
    /// Wraps `inner`. Lost datagrams are counted in `lost`.
    pub fn new(inner: R, losing: Losing, lost: Arc<AtomicU64>) -> Self {
        Lossy { inner, loss: losing.ratio, rng: Rng::new(losing.seed), lost }
    }

    /// Whether the datagram at hand is lost.
    fn loses(&mut self) -> bool {
        let is_lost = self.rng.chance(self.loss);
        if is_lost {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        is_lost
    }
}

impl<R: DatagramReceiver> DatagramReceiver for Lossy<R> {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            let received = self.inner.receive(buffer)?;
            if received.is_none() || !self.loses() {
                return Ok(received);
            }
        }
    }

    fn try_receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            let received = self.inner.try_receive(buffer)?;
            if received.is_none() || !self.loses() {
                return Ok(received);
            }
        }
    }

    fn source(&self) -> Option<SocketAddr> {
        self.inner.source()
    }

    fn dropped(&self) -> u64 {
        self.inner.dropped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has datagrams of the lengths 1 to 10,000.
    struct Counting(usize);

    impl DatagramReceiver for Counting {
        fn receive(&mut self, _buffer: &mut [u8]) -> io::Result<Option<usize>> {
            self.0 += 1;
            Ok((self.0 <= 10_000).then_some(self.0))
        }
        fn try_receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
            self.receive(buffer)
        }
        fn dropped(&self) -> u64 {
            0
        }
    }

    #[test]
    fn it_drops_as_much_as_it_was_told_and_the_same_each_time() {
        let run = |seed| {
            let lost = Arc::new(AtomicU64::new(0));
            let mut lossy = Lossy::new(Counting(0), Losing { ratio: 0.2, seed }, lost.clone());
            let received: Vec<usize> =
                std::iter::from_fn(|| lossy.try_receive(&mut []).unwrap()).collect();
            (received, lost.load(Ordering::Relaxed))
        };
        let (received, lost) = run(1);
        assert!((1_800..2_200).contains(&lost), "{lost}");
        assert_eq!(received.len() as u64 + lost, 10_000);
        assert_eq!(run(1).0, received);
        assert_ne!(run(2).0, received);
    }
}
