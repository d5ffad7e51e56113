//! The storage system behind the EBS backend's tests: moto's server with authentication on ([`Moto`]), and in front of it a
//! proxy ([`Proxy`]) that adds the rules of EC2 that moto lacks, and faults. `README.md` says what each is.

pub mod admin;
pub mod body;
pub mod boto;
pub mod checker;
pub mod direct;
pub mod disks;
pub mod faults;
pub mod form;
pub mod moto;
pub mod proxy;
pub mod record;
pub mod reply;
pub mod rules;
pub mod settings;
pub mod sigv4;
pub mod stats;
pub mod throttle;
pub mod upstream;
pub mod world;
pub mod xml;

pub use boto::Boto;
pub use direct::Direct;
pub use disks::Change;
pub use faults::{Fault, Rates};
pub use form::Form;
pub use moto::Moto;
pub use proxy::Proxy;
pub use reply::Reply;
pub use settings::{Bucket, Rules, Settings};
pub use xml::Element;

/// An access key.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Credentials {
    /// Its id, which isn't secret.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// Session token, of temporary ones.
    #[serde(default)]
    pub token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("id", &self.id).finish_non_exhaustive()
    }
}
