//! Connections to a unix socket that is kept where it belongs: when its file goes, it is bound again.
//!
//! Kubelet's directories are wiped and made anew by kubelets that are reset, by people and by cleaners. A server whose file
//! is gone serves on, and nobody can reach it. Connections that are open live on when a socket is bound again.

use super::socket::{BindError, Socket};
use std::{
    future::Future,
    io,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    net::UnixStream,
    time::{Interval, MissedTickBehavior, interval},
};
use tokio_stream::Stream;

/// How often a socket's file is looked at: two system calls each time.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Who is told what becomes of a socket.
pub(super) trait Keeper: Send + Sync {
    /// The socket shall be made anew, though it is where it belongs.
    fn wants_new(&self) -> bool {
        false
    }
    /// It is there: bound now.
    fn bound(&self);
    /// It is not there and can't be made; it is tried again. Told each time.
    fn lost(&self, why: &BindError);
}

/// A stream of connections. Dropping it closes the socket and removes its file.
pub(super) struct Incoming {
    path: PathBuf,
    socket: Option<Socket>,
    binding: Option<Binding>,
    look: Interval,
    keeper: Arc<dyn Keeper>,
}

/// A socket that is being bound.
type Binding = Pin<Box<dyn Future<Output = Result<Socket, BindError>> + Send>>;

impl Incoming {
    /// Of a socket that is bound already.
    pub(super) fn of(socket: Socket, keeper: Arc<dyn Keeper>) -> Self {
        Self { path: socket.path().to_owned(), socket: Some(socket), binding: None, look: ticks(), keeper }
    }

    /// Of a socket that is bound by the first poll, or as soon as it can be.
    pub(super) fn at(path: PathBuf, keeper: Arc<dyn Keeper>) -> Self {
        Self { path, socket: None, binding: None, look: ticks(), keeper }
    }

    fn look_after(&mut self) {
        if let Some(socket) = &self.socket {
            let there = socket.is_there();
            if there && !self.keeper.wants_new() {
                return;
            }
            if !there {
                tracing::warn!(path = %self.path.display(), "the socket is gone or was replaced: binding it again");
            }
            // Before the new one: what answers on the old one would be in its way.
            self.socket = None;
        }
        // The last attempt may still be on its way.
        self.binding.get_or_insert_with(|| Box::pin(Socket::bind_again(self.path.clone())));
    }

    fn bound(&mut self, socket: Result<Socket, BindError>) {
        self.binding = None;
        match socket {
            Ok(socket) => {
                self.socket = Some(socket);
                self.keeper.bound();
            }
            Err(why) => self.keeper.lost(&why),
        }
    }
}

fn ticks() -> Interval {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

impl Stream for Incoming {
    type Item = io::Result<UnixStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while this.look.poll_tick(cx).is_ready() {
            this.look_after();
        }
        if let Some(Poll::Ready(socket)) = this.binding.as_mut().map(|binding| binding.as_mut().poll(cx)) {
            this.bound(socket);
        }
        match &this.socket {
            Some(socket) => socket.poll_accept(cx).map(Some),
            None => Poll::Pending,
        }
    }
}
