//! Listing volumes and snapshots of this driver and cluster, a page at a time.
//!
//! EC2's pages have 500 entries, CSI's as many as the client wants. So a token says which page of EC2's it is in, and after which id
//! on it. Within a page entries go by id: one that is deleted meanwhile moves no other.

use crate::Ebs;
use crate::cloud::Cloud;
use crate::ec2::Query;
use crate::model::{Snapshots as SnapshotAnswer, Volumes as VolumeAnswer};
use crate::snapshots::{by_id, csi, is_ours, own};
use bulkhead_sdk::http::Page;
use bulkhead_sdk::prelude::*;

/// Entries of a page of EC2's.
const PAGE: u32 = 500;
/// Longest token that the host takes.
const MAX_TOKEN: usize = 1024;

/// Where a walk goes on. The host sees to it that a token comes back to the listing that it was given out for.
#[derive(Clone, Debug, Default, PartialEq)]
struct Place {
    /// The last id that was given out of the page; empty: none.
    after: String,
    /// EC2's token of the page; empty: the first one.
    page: String,
}

impl Place {
    fn token(&self) -> Result<String> {
        let token = format!("{}.{}", self.after, self.page);
        if token.len() > MAX_TOKEN {
            return Err(Error::unavailable(
                "EC2's page token is longer than any before, and has no room in the host's",
            ));
        }
        Ok(token)
    }

    fn parse(token: Option<&str>) -> Result<Self> {
        let Some(token) = token else { return Ok(Self::default()) };
        let parts = token.split_once('.').map(|(after, page)| (after.to_owned(), page.to_owned()));
        let (after, page) =
            parts.or_error(Error::invalid, "no page token of this backend: start the listing from the beginning")?;
        Ok(Self { after, page })
    }
}

/// At most `request.max_entries` entries from where the token says, and the token for what comes next. `fetch` asks EC2 for a page,
/// `id` names an entry.
fn walk<T>(
    request: &PageRequest,
    fetch: impl Fn(Option<&str>) -> Result<Page<T>>,
    id: impl Fn(&T) -> &str,
) -> Result<(Vec<T>, Option<String>)> {
    let place = Place::parse(request.token.as_deref())?;
    let most = if request.max_entries == 0 { PAGE } else { request.max_entries.min(1000) } as usize;
    let mut page = fetch(Some(place.page.as_str()).filter(|token| !token.is_empty()))?;
    page.items.retain(|item| id(item) > place.after.as_str());
    page.items.sort_by(|a, b| id(a).cmp(id(b)));
    let next = if page.items.len() > most {
        page.items.truncate(most);
        let after = page.items.last().map(|item| id(item).to_owned()).unwrap_or_default();
        Some(Place { after, ..place })
    } else {
        let page = page.next.filter(|next| !next.is_empty());
        page.map(|page| Place { page, after: String::new() })
    };
    Ok((page.items, next.map(|next| next.token()).transpose()?))
}

fn paged(query: &Query, token: Option<&str>) -> Query {
    query.clone().with("MaxResults", PAGE.to_string()).with_some("NextToken", token)
}

impl Listing for Ebs {
    fn list_volumes(page: PageRequest) -> Result<VolumePage> {
        let cloud = Cloud::open()?;
        let query = cloud.only_ours(Query::read("DescribeVolumes"));
        let fetch = |token: Option<&str>| {
            let answer: VolumeAnswer = cloud.ec2.ask(paged(&query, token))?;
            let ours = answer.volume_set.items.into_iter().filter(|volume| !volume.is_going());
            Ok(Page { items: ours.collect(), next: Some(answer.next_token) })
        };
        let (volumes, next_token) = walk(&page, fetch, |volume| &volume.volume_id)?;
        Ok(VolumePage { entries: volumes.iter().map(|volume| cloud.listed(volume)).collect(), next_token })
    }
}

impl SnapshotListing for Ebs {
    fn list_snapshots(filter: SnapshotFilter, page: PageRequest) -> Result<SnapshotPage> {
        let cloud = Cloud::open()?;
        let wanted = [("snapshot-id", &filter.snapshot_id), ("volume-id", &filter.source_volume_id)];
        let filters = wanted.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        let query = filters.fold(own(&cloud), |query, (name, value)| query.filter(name, value));
        let fetch = |token: Option<&str>| {
            let answer: SnapshotAnswer = cloud.ec2.ask(paged(&query, token))?;
            let fits = |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|wanted| wanted == has);
            let ours = answer.snapshot_set.items.into_iter().filter(|snapshot| {
                let good = is_ours(&cloud, snapshot) && snapshot.status != "error";
                good && fits(&filter.snapshot_id, &snapshot.snapshot_id)
                    && fits(&filter.source_volume_id, &snapshot.volume_id)
            });
            Ok(Page { items: ours.collect(), next: Some(answer.next_token) })
        };
        let (snapshots, next_token) = walk(&page, fetch, |snapshot| &snapshot.snapshot_id)?;
        Ok(SnapshotPage { entries: snapshots.iter().map(csi).collect(), next_token })
    }

    fn get_snapshot(snapshot_id: String) -> Result<Snapshot> {
        let cloud = Cloud::open()?;
        let found = by_id(&cloud, &snapshot_id)?.filter(|snapshot| is_ours(&cloud, snapshot));
        found.as_ref().map(csi).ok_or_else(|| Error::not_found(format!("snapshot {snapshot_id}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_whole() {
        for (after, page) in [("vol-1", "eyJ2Ijoi.x=="), ("", "x"), ("snap-1", "")] {
            let place = Place { after: after.to_owned(), page: page.to_owned() };
            assert_eq!(Place::parse(Some(&place.token().unwrap())), Ok(place));
        }
        assert!(matches!(Place::parse(Some("x")), Err(Error::InvalidArgument(_))));
        let long = Place { after: "vol-1".to_owned(), page: "x".repeat(MAX_TOKEN) };
        assert!(matches!(long.token(), Err(Error::Unavailable(_))));
    }

    /// All ids, and pages fetched from EC2, by walking `most` at a time over pages of three whose tokens have 900 bytes.
    fn walked(ids: &[&str], most: u32) -> Vec<String> {
        let padding = "x".repeat(900);
        let fetch = |token: Option<&str>| {
            let start = token.map_or(0, |token| token.trim_end_matches('x').parse().unwrap());
            let items: Vec<String> = ids.iter().skip(start).take(3).map(|id| (*id).to_owned()).collect();
            let next = (start + 3 < ids.len()).then(|| format!("{}{padding}", start + 3));
            Ok(Page { items, next })
        };
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            let request = PageRequest { max_entries: most, token: token.take() };
            let (items, next) = walk(&request, fetch, |id| id).unwrap();
            assert!(items.len() <= most as usize || most == 0);
            all.extend(items);
            token = next;
            match &token {
                None => return all,
                Some(token) => assert!(token.len() <= MAX_TOKEN),
            }
        }
    }

    #[test]
    fn every_entry_comes_once_however_large_the_pages_are() {
        let ids = ["d", "a", "c", "h", "b", "g", "e", "f"];
        for most in 0..10 {
            let mut all = walked(&ids, most);
            all.sort();
            assert_eq!(all, ["a", "b", "c", "d", "e", "f", "g", "h"], "{most}");
        }
    }
}
