//! The body of an answer: capped, with a deadline, and back into the pool with its connection when it is whole.

use super::{error::HttpError, net::Net, pool::Conn};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{sync::OwnedSemaphorePermit, time::Sleep};

/// The body of a request or an answer.
pub type Body = UnsyncBoxBody<Bytes, HttpError>;

/// A body with another kind of error.
pub fn convert<A: 'static, B: 'static>(
    body: UnsyncBoxBody<Bytes, A>,
    error: impl FnMut(A) -> B + Send + 'static,
) -> UnsyncBoxBody<Bytes, B> {
    body.map_err(error).boxed_unsync()
}

/// What an answer's body holds until it is whole or dropped.
pub(super) struct Held {
    pub net: Net,
    pub conn: Conn,
    pub slot: OwnedSemaphorePermit,
}

/// How long an answer may take and how large it may be.
pub(super) struct Bounds {
    pub deadline: Instant,
    /// Longest between two pieces.
    pub pause: Option<Duration>,
    /// Bytes.
    pub most: u64,
}

struct ReplyBody {
    open: Option<(Incoming, Held)>,
    host: String,
    seen: u64,
    most: u64,
    deadline: Pin<Box<Sleep>>,
    pause: Option<(Duration, Pin<Box<Sleep>>)>,
}

/// Puts the bounds around an answer's body.
///
/// # Errors
/// It says by itself that it is too large.
pub(super) fn bounded(incoming: Incoming, held: Held, bounds: &Bounds) -> Result<Body, HttpError> {
    let most = bounds.most;
    if incoming.size_hint().lower() > most {
        return Err(HttpError::ResponseBody(most));
    }
    let mut body = ReplyBody {
        host: held.conn.key.target.to_string(),
        open: Some((incoming, held)),
        seen: 0,
        most,
        deadline: Box::pin(tokio::time::sleep_until(bounds.deadline.into())),
        pause: bounds.pause.map(|pause| (pause, Box::pin(tokio::time::sleep(pause)))),
    };
    body.give_back_if_whole();
    Ok(body.boxed_unsync())
}

impl ReplyBody {
    fn give_back_if_whole(&mut self) {
        if self.open.as_ref().is_some_and(|(incoming, _)| incoming.is_end_stream()) {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        if let Some((_, Held { net, conn, slot })) = self.open.take() {
            net.give_back(conn, slot);
        }
    }

    /// Closes the connection.
    fn fail(&mut self, error: HttpError) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        self.open = None;
        Poll::Ready(Some(Err(error)))
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let paused = self.pause.as_mut().is_some_and(|(_, sleep)| sleep.as_mut().poll(cx).is_ready());
        paused || self.deadline.as_mut().poll(cx).is_ready()
    }
}

impl HttpBody for ReplyBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        let Some((incoming, _)) = &mut this.open else { return Poll::Ready(None) };
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Pending if this.is_late(cx) => {
                let host = this.host.clone();
                this.fail(HttpError::ResponseTimeout(host))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                this.give_back();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(e))) => {
                let error = HttpError::of_exchange(&this.host, &e);
                this.fail(error)
            }
            Poll::Ready(Some(Ok(frame))) => {
                this.seen = this.seen.saturating_add(frame.data_ref().map_or(0, |data| data.len() as u64));
                if this.seen > this.most {
                    let most = this.most;
                    return this.fail(HttpError::ResponseBody(most));
                }
                // A stream without an end, in pieces that never let it wait, ends at the deadline too.
                if this.deadline.is_elapsed() || this.deadline.deadline().into_std() < Instant::now() {
                    let host = this.host.clone();
                    return this.fail(HttpError::ResponseTimeout(host));
                }
                if let Some((pause, sleep)) = &mut this.pause {
                    let next = tokio::time::Instant::now() + *pause;
                    sleep.as_mut().reset(next);
                }
                this.give_back_if_whole();
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.open.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.open.as_ref().map_or_else(|| SizeHint::with_exact(0), |(incoming, _)| incoming.size_hint())
    }
}
