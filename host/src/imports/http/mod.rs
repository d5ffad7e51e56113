//! Requests of backends, over HTTP: where they may go, and how they travel.
//!
//! **Invariants:** a request leaves only if a grant names its scheme, host, port and method; the connection goes to an address that
//! was looked up once and checked, never to a name; no redirect is followed; every wait ends by the call's deadline; nothing that
//! a guest puts into a path, a header or a body is ever logged.
//!
//! | file | subject |
//! |---|---|
//! | `target` | where a request wants to go, read strictly |
//! | `policy` | may it? and if not, the line of config that would grant it |
//! | `address` | what kind of address is this? |
//! | `resolve` | names to checked addresses |
//! | `tls` | whom to trust, and what to show |
//! | `trust` | the same when files have changed |
//! | `connect` | one connection: directly or through the proxy |
//! | `pool` | connections that outlive a call |
//! | `net` | one request and its answer over a connection, with timeouts and caps |
//! | `reply` | the body of an answer, capped |
//! | `headers` | what of a guest's headers is sent |
//! | `egress` | all of it for one backend: policy, pace, auth profile, replay |
//! | `authorize` | what signs requests, as this room sees it |

mod address;
mod authorize;
mod connect;
mod denied;
mod egress;
mod error;
mod headers;
mod net;
mod policy;
mod pool;
mod reply;
mod resolve;
mod target;
#[cfg(test)]
mod tests;
mod tls;
mod trust;

pub use authorize::{Authorizer, Signed, Unauthorized};
pub use denied::{Denial, Denials, Reason};
pub use egress::{Call, Egress, Options};
pub use error::HttpError;
pub use headers::is_forbidden;
pub use net::{Net, NetError};
pub use reply::{Body, convert};
pub use resolve::{Resolve, SystemResolver};
pub use trust::{Pem, PemFiles};
