//! How a volume reaches a node: from its id, its context and the config alone, no pool is asked.

use crate::Share;
use crate::access::refused;
use crate::attachment::READ_ONLY;
use crate::names::{Place, static_parts};
use crate::settings::{Export, Settings, is_path};
use bulkhead_sdk::plan::Nfs;
use bulkhead_sdk::prelude::*;

/// Key of the context of a volume that was there before: its directory, relative to the share's export.
const DIRECTORY: &str = "directory";
/// Longest path that a plan can have.
const MAX_PATH: usize = 1024;
/// What a pool keeps for itself at its top.
const OF_THE_POOL: [&str; 6] = ["objects", "tmp", "trash", "placing", "freezing", "names.lock"];

impl Node for Share {
    fn get_node_info(_: NodeFacts) -> Result<NodeInfo> {
        Settings::configured()?;
        Ok(NodeInfo { max_volumes: None, topology: None })
    }

    fn plan_volume(request: PlanRequest) -> Result<Plan> {
        let settings = Settings::configured()?;
        let (export, path) = directory(&settings, &request.volume_id, &request.context)?;
        refused(std::slice::from_ref(&request.capability)).map_or(Ok(()), |reason| Err(Error::precondition(reason)))?;
        Ok(plan(export, path, &request.capability, read_only(&request)?))
    }
}

/// A plan to mount one directory of a server.
fn plan(export: &Export, export_path: String, capability: &VolumeCapability, read_only: bool) -> Plan {
    let access = Access::Nfs(Nfs { servers: export.servers.clone(), export_path, version: export.version.clone() });
    let read_only = read_only || capability.access_mode.is_reader_only();
    Plan::new(access, Usage::Directory(Directory { mount_options: export.options.clone(), read_only }))
}

/// The share that a volume is on, and the path of its files on the server.
///
/// # Errors
/// `not-found`: no id of this backend. `failed-precondition`: its share isn't in the config. `invalid-argument`: the directory of a
/// volume that was there before isn't one.
pub fn directory<'a>(settings: &'a Settings, volume_id: &str, context: &StringMap) -> Result<(&'a Export, String)> {
    let (share, path) = match (Place::parse_volume(volume_id), static_parts(volume_id)) {
        // Where the host keeps the files of a directory object of a pool, see docs/backends/nfs.md.
        (Some(place), _) => (place.share, format!("objects/{}/data", place.object)),
        (None, Some((share, path))) => {
            let path = lookup(context, DIRECTORY).unwrap_or(path);
            let top = path.split('/').next().unwrap_or_default();
            if !is_path(path) || OF_THE_POOL.contains(&top) {
                return Err(Error::invalid(format!(
                    "volume {volume_id}: its directory must be a path below the share's export, without `..`, and none of what \
                     the pool keeps there ({})",
                    OF_THE_POOL.join(", ")
                )));
            }
            (share.to_owned(), path.to_owned())
        }
        (None, None) => {
            return Err(Error::not_found(format!(
                "volume {volume_id}; one that was on a share before is called SHARE/dir:PATH"
            )));
        }
    };
    let unknown = || Error::precondition(format!("volume {volume_id}: the backend's config has no `shares.{share}`"));
    let export = settings.export(&share).ok_or_else(unknown)?;
    let path = format!("{}/{path}", export.export);
    if path.len() > MAX_PATH {
        return Err(Error::invalid(format!(
            "volume {volume_id}: its path on the server is longer than {MAX_PATH} bytes"
        )));
    }
    Ok((export, path))
}

/// Attached for reading only. Without a publish context nothing was attached.
fn read_only(request: &PlanRequest) -> Result<bool> {
    match lookup(&request.publish_context, READ_ONLY) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Error::invalid(format!("the publish context's `{READ_ONLY}` is neither true nor false"))),
    }
}
