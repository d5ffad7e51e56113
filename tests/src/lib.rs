//! What the tests of several tiers share.

pub mod components;
