//! Bodies that go wrong.

use hyper::body::{Body, Bytes, Frame, SizeHint};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

/// A body, and how it is sent.
pub enum Sent {
    /// At once.
    Whole(Option<Bytes>),
    /// In pieces, with a pause before each.
    Slow {
        /// What is left.
        left: Bytes,
        /// The length of a piece.
        piece: usize,
        /// The length of a pause.
        pause: Duration,
        /// The pause that is being made.
        timer: Pin<Box<Sleep>>,
    },
    /// The first half; then the connection breaks.
    Truncated {
        /// The length that the header promises.
        promised: u64,
        /// What is sent.
        half: Option<Bytes>,
        /// A moment for what was sent to leave, or the client would not see it.
        timer: Pin<Box<Sleep>>,
    },
    /// The same piece again and again.
    Flood {
        /// The piece.
        piece: Bytes,
        /// Bytes that are left.
        left: u64,
    },
}

impl Sent {
    /// In about twenty pieces over this time.
    pub fn slowly(body: Bytes, time: Duration) -> Self {
        let pause = time / 20;
        Self::Slow { piece: body.len().div_ceil(20).max(1), left: body, pause, timer: Box::pin(sleep(pause)) }
    }

    /// Half of it.
    pub fn truncated(body: &Bytes) -> Self {
        Self::Truncated {
            promised: body.len() as u64,
            half: Some(body.slice(..body.len() / 2)),
            timer: Box::pin(sleep(Duration::from_millis(100))),
        }
    }

    /// Reads like a reply and doesn't end for so many bytes.
    pub fn flood(bytes: u64) -> Self {
        Self::Flood { piece: "<item><volumeId>vol-0</volumeId></item>".repeat(400).into(), left: bytes }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let data = |bytes: Bytes| Poll::Ready(Some(Ok(Frame::data(bytes))));
        match &mut *self {
            Self::Whole(body) => body.take().map_or(Poll::Ready(None), data),
            Self::Slow { left, .. } if left.is_empty() => Poll::Ready(None),
            Self::Slow { left, piece, pause, timer } => {
                std::task::ready!(timer.as_mut().poll(cx));
                *timer = Box::pin(sleep(*pause));
                data(left.split_to((*piece).min(left.len())))
            }
            Self::Truncated { half, timer, .. } => match half.take() {
                Some(half) if !half.is_empty() => data(half),
                _ => {
                    std::task::ready!(timer.as_mut().poll(cx));
                    Poll::Ready(Some(Err(io::Error::other("cut off on purpose"))))
                }
            },
            Self::Flood { left: 0, .. } => Poll::Ready(None),
            Self::Flood { piece, left } => {
                *left = left.saturating_sub(piece.len() as u64);
                data(piece.clone())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64)),
            Self::Slow { left, .. } => SizeHint::with_exact(left.len() as u64),
            Self::Truncated { promised, .. } => SizeHint::with_exact(*promised),
            Self::Flood { .. } => SizeHint::default(),
        }
    }
}
