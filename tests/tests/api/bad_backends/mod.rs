//! Backends that trap, loop, eat memory, lie and attack: the call fails with the right code, and nobody else notices.

mod errors;
mod ground;
mod harm;
mod lies;
mod neighbours;
mod pending;
mod plans;
