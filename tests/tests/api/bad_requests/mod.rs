//! Malformed and hostile requests: each gets the right code and a message without secrets, and changes nothing.

mod fields;
pub mod ground;
mod paths;
mod spoil;
mod values;
mod wire;
