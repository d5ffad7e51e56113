//! The only room that knows wasmtime: compiling, linking, calling and limiting backends.
//!
//! **Invariant:** no type of wasmtime and none made from the WIT leaves this room. What comes out has been checked.
//!
//! | file | subject |
//! |---|---|
//! | `engine` | one engine for all backends: settings, the epoch ticker, the runtime of the guests |
//! | `cache` | compiled code on disk, mapped into memory |
//! | `manifest` | what a component exports and imports, compared with what is granted |
//! | `load` | `Verified -> Compiled -> Ready`, a type for each stage |
//! | `call` | one call of a guest: fresh store, deadline, limits, faults |
//! | `backend` | implements [`crate::ops::ports::Backend`]: convert, call, check |
//! | `allowed` | a plan compared with what the operator allows |
//! | `store` | what a call has besides its memory |
//! | `host`, `http`, `state` | the imports, as the guest sees them |
//! | `secrets` | secrets as handles, signing with them, their values |
//! | `convert` | WIT to domain and back; everything from a guest is checked here |
//! | `fault` | what a trap, a timeout or a broken limit means for the client |

mod allowed;
mod backend;
mod bindings;
mod cache;
mod call;
mod convert;
mod engine;
mod fault;
mod host;
mod http;
mod load;
mod manifest;
mod secrets;
mod state;
mod store;

pub use cache::CompileCache;
pub use engine::{Budget, Engine, EngineSettings};
pub use load::{Compiled, LoadError, Permissions, Ready};
pub use manifest::{Import, Manifest};
