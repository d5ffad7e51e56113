//! The contract with backends: the WIT package is documented, says what real storage systems need (`tests/fixtures`), and
//! components of it are what they claim to be, and what is frozen stays as it is.
#![allow(missing_docs, clippy::unwrap_used)]

mod wit {
    mod components;
    mod csi_docs;
    mod documentation;
    mod fixtures;
    mod frozen;
    mod sdk;
}
