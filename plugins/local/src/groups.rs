//! Groups of snapshots: sets of objects that were copied at one moment. There is no object for the group itself: each member
//! says of what group it is and how many there are, so nothing can disagree.
//!
//! Members are made all at once and removed one by one. Fewer than there should be are a removal that isn't over.

use crate::Local;
use crate::copies::copy;
use crate::host::pools;
use crate::names::{Group, Place};
use crate::parameters::none_of_group;
use crate::placement::Pools;
use crate::records::{find, key, out_of_sight, snapshot};
use crate::settings::Settings;
use crate::snapshots::{metadata, order};
use crate::volumes::long_pool;
use crate::walk::{Kind, Walk};
use bulkhead_sdk::pools::Object;
use bulkhead_sdk::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

impl GroupSnapshots for Local {
    fn create_volume_group_snapshot(request: GroupRequest) -> Result<GroupSnapshot> {
        none_of_group(&request.parameters)?;
        let pools = Pools::configured()?;
        // Sorted, so that the same volumes in another order are the same request.
        let sources: BTreeSet<&str> = request.source_volume_ids.iter().map(String::as_str).collect();
        if sources.len() != request.source_volume_ids.len() || sources.is_empty() {
            return Err(Error::invalid("a group is of one volume or more, each named once"));
        }
        for pool in pools.all() {
            let group = Group::of(pool, &request.name).ok_or_else(|| long_pool(pool))?;
            if let Some(existing) = existing(&pools.settings, &group, &request, &sources)? {
                return Ok(existing);
            }
        }
        let found: Vec<(Place, Object)> = sources.iter().map(|id| find(id)).collect::<Result<_>>()?;
        let pool = &found[0].0.pool;
        if let Some((other, _)) = found.iter().find(|(place, _)| place.pool != *pool) {
            let message = format!("volumes of pool `{pool}` and of pool `{}` can't be cut at one moment", other.pool);
            return Err(Error::precondition(message));
        }
        let group = Group::of(pool, &request.name).ok_or_else(|| long_pool(pool))?;
        let objects = found.iter().map(|(_, object)| object.clone()).collect();
        let cut = copy(pool, objects, |number, object| {
            let mut metadata = metadata(&found[number].0.id(), object, &request.request_digest);
            metadata.push((key::GROUP.to_owned(), request.name.clone()));
            metadata.push((key::MEMBERS.to_owned(), found.len().to_string()));
            Ok(order(object, &group.member(number), metadata))
        });
        match cut {
            Err(Error::AlreadyExists(_)) => existing(&pools.settings, &group, &request, &sources)?
                .ok_or_else(|| Error::pending(format!("group {} is being removed", group.id()))),
            cut => {
                info!("cut group {} of {} volumes", group.id(), sources.len());
                Ok(describe(&pools.settings, &group, &cut?))
            }
        }
    }

    fn delete_volume_group_snapshot(group_snapshot_id: String, snapshot_ids: Vec<String>) -> Result<()> {
        let Some(group) = Group::parse(&group_snapshot_id)? else {
            return Ok(());
        };
        let members = match members(&group) {
            Err(Error::NotFound(_)) => return Err(out_of_sight(&group_snapshot_id)),
            members => members?,
        };
        if members.is_empty() {
            return Ok(());
        }
        belong(&group, &members, &snapshot_ids)?;
        remove(&group, &members)
    }

    fn get_volume_group_snapshot(group_snapshot_id: String, snapshot_ids: Vec<String>) -> Result<GroupSnapshot> {
        let settings = Settings::configured()?;
        let unknown = || Error::not_found(format!("group {group_snapshot_id}"));
        let group = Group::parse(&group_snapshot_id)?.ok_or_else(unknown)?;
        let members = members(&group)?;
        if members.is_empty() {
            return Err(unknown());
        }
        belong(&group, &members, &snapshot_ids)?;
        if members.len() < count(&members) {
            return Err(half_gone(&group));
        }
        Ok(describe(&settings, &group, &members))
    }
}

fn members(group: &Group) -> Result<Vec<Object>> {
    let walk = Walk::with_prefix(&group.pool, group.prefix(), Kind::Snapshots, None);
    walk.map(|found| found.map(|(_, object)| object)).collect()
}

/// How many members there should be.
fn count(members: &[Object]) -> usize {
    let count = |object: &Object| lookup(&object.spec.metadata, key::MEMBERS)?.parse().ok();
    members.iter().find_map(count).unwrap_or(members.len())
}

fn half_gone(group: &Group) -> Error {
    let message = format!("group {} is being removed, and not all of it is gone yet", group.id());
    Error::pending(message).retry_after(Duration::from_secs(2))
}

/// The group of that name, if it is the same. One whose removal was begun is removed first, and the caller asks again: not in
/// the same breath, since whoever began it may still be at work.
fn existing(
    settings: &Settings,
    group: &Group,
    request: &GroupRequest,
    sources: &BTreeSet<&str>,
) -> Result<Option<GroupSnapshot>> {
    let members = members(group)?;
    if members.is_empty() {
        return Ok(None);
    }
    if members.len() < count(&members) {
        remove(group, &members)?;
        return Err(half_gone(group));
    }
    let of = |key: &str| members.iter().map(|object| lookup(&object.spec.metadata, key)).collect::<BTreeSet<_>>();
    let wanted: BTreeSet<_> = sources.iter().map(|source| Some(*source)).collect();
    let same = of(key::CUT_FROM) == wanted
        && of(key::GROUP) == BTreeSet::from([Some(request.name.as_str())])
        && of(key::DIGEST) == BTreeSet::from([Some(request.request_digest.as_str())]);
    if !same {
        return Err(Error::already_exists(format!("group {} is of other volumes or parameters", group.id())));
    }
    Ok(Some(describe(settings, group, &members)))
}

/// Removes what was listed, and nothing that was made under the same names since.
fn remove(group: &Group, members: &[Object]) -> Result<()> {
    for member in members {
        let now = pools::stat_object(&group.pool, &member.spec.name)?;
        if now.is_some_and(|now| now.created_at_ms == member.created_at_ms && now.version == member.version) {
            pools::delete_object(&group.pool, &member.spec.name)?;
        }
    }
    Ok(())
}

/// The snapshots that a client names are the members, all of them; naming none asks nothing. By their ids, not by what is
/// there: a removal that is repeated names members that are gone.
fn belong(group: &Group, members: &[Object], snapshot_ids: &[String]) -> Result<()> {
    if snapshot_ids.is_empty() {
        return Ok(());
    }
    let count = count(members);
    let number = |id: &String| match Place::parse_snapshot(id)?.and_then(|place| place.group()) {
        Some((of, number)) if of == *group && number < count => Ok(number),
        _ => Err(Error::invalid(format!("snapshot {id} is no member of group {}", group.id()))),
    };
    let named = snapshot_ids.iter().map(number).collect::<Result<BTreeSet<_>>>()?;
    if named.len() < count {
        let missing = count - named.len();
        return Err(Error::invalid(format!("{missing} of the {count} members of group {} are not named", group.id())));
    }
    Ok(())
}

fn describe(settings: &Settings, group: &Group, members: &[Object]) -> GroupSnapshot {
    let snapshots =
        members.iter().map(|object| snapshot(settings, &group.place(object.spec.name.clone()), object)).collect();
    let created_at_ms = members.iter().map(|object| object.created_at_ms).max().unwrap_or_default();
    GroupSnapshot { group_snapshot_id: group.id(), snapshots, created_at_ms, ready_to_use: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{names, start};
    use crate::tests::{DIGEST, made, request};

    #[test]
    fn a_slow_removal_spares_what_was_made_since() {
        start(&["a"], &[]);
        let sources = ["1", "2"].map(|name| made(request(name)));
        let create = || {
            Local::create_volume_group_snapshot(GroupRequest {
                name: "g".to_owned(),
                source_volume_ids: sources.to_vec(),
                parameters: Vec::new(),
                request_digest: DIGEST.to_owned(),
            })
        };
        let group = Group::parse(&create().expect("cut").group_snapshot_id).expect("here").expect("a group");
        let stale = members(&group).expect("members");
        remove(&group, &stale).expect("removed");
        assert_eq!(names("a"), ["1", "2"]);
        create().expect("cut again");
        remove(&group, &stale).expect("nothing to do");
        assert_eq!(members(&group).expect("members").len(), 2);
    }
}
