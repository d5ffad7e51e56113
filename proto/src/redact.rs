//! How the generated Debug shows what must not be shown.

use std::collections::BTreeMap;
use std::fmt::{Debug, Formatter, Result};

/// The map key under which Kubernetes passes service account tokens in `volume_context`.
///
/// Its value is a credential, though the map isn't marked secret (Kubernetes CSIDriver field
/// `tokenRequests`).
pub const SERVICE_ACCOUNT_TOKENS_KEY: &str = "csi.storage.k8s.io/serviceAccount.tokens";

/// Stands for a list or map of secrets; holds only its length.
pub(crate) struct Counted(pub(crate) usize);

impl Debug for Counted {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "<redacted: {} entries>", self.0)
    }
}

/// Shows a map without the values that are secret by their key.
pub(crate) struct Filtered<'a>(pub(crate) &'a BTreeMap<String, String>);

impl Debug for Filtered<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let mut map = f.debug_map();
        for (key, value) in self.0 {
            if key == SERVICE_ACCOUNT_TOKENS_KEY {
                map.entry(key, &format_args!("<redacted>"));
            } else {
                map.entry(key, value);
            }
        }
        map.finish()
    }
}
