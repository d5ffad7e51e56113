//! Malformed and hostile requests: each gets the right code and a message without secrets, and changes nothing.

mod fields;
mod ground;
mod paths;
mod spoil;
mod values;
mod wire;
