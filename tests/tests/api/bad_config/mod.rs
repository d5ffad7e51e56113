//! What `check` and `serve` say of a config that is wrong, or names what is wrong: status 2, one line for each error with
//! file and line, what it is and what to do; and nothing begun.

mod accepted;
mod components;
mod file;
mod ground;
mod info;
mod places;

use ground::Ground;
