//! Listing volumes and snapshots of this driver and cluster, a page at a time.
//!
//! EC2's pages have 500 entries, CSI's as many as the client wants. So a token says which page of EC2's it is in, and after which id
//! on it. Within a page entries go by id: one that is deleted meanwhile moves no other.

use crate::Ebs;
use crate::cloud::Cloud;
use crate::ec2::Query;
use crate::model::{Snapshots as SnapshotAnswer, Volumes as VolumeAnswer};
use crate::snapshots::{by_id, csi, is_ours, own};
use bulkhead_sdk::http::{Page, Pages};
use bulkhead_sdk::prelude::*;
use sha2::{Digest, Sha256};

/// Entries of a page of EC2's.
const PAGE: u32 = 500;
/// Longest token that the host takes.
const MAX_TOKEN: usize = 256;
const CHECK: usize = 16;

/// Where a walk goes on.
#[derive(Clone, Debug, Default, PartialEq)]
struct Place {
    /// EC2's token of the page; empty: the first one.
    page: String,
    /// The last id that was given out of it; empty: none.
    after: String,
    /// EC2's tokens don't fit into ours: all pages are read each time, and are as one.
    whole: bool,
}

impl Place {
    /// Checked, so that no token is taken that was made for something else: `scope` says what is walked.
    fn token(&self, scope: &str) -> String {
        let text = format!("{}.{}.{}", u8::from(self.whole), self.after, self.page);
        format!("{}{text}", check(scope, &text))
    }

    fn parse(token: Option<&str>, scope: &str) -> Result<Self> {
        let Some(token) = token else { return Ok(Self::default()) };
        let refuse = || Error::invalid("this page token isn't one of this listing; start from the beginning");
        let (sum, text) = token.split_at_checked(CHECK).ok_or_else(refuse)?;
        let mut parts = text.splitn(3, '.');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(whole @ ("0" | "1")), Some(after), Some(page)) if sum == check(scope, text) => {
                Ok(Self { page: page.to_owned(), after: after.to_owned(), whole: whole == "1" })
            }
            _ => Err(refuse()),
        }
    }
}

fn check(scope: &str, text: &str) -> String {
    let digest = Sha256::digest(format!("{scope}\0{text}").as_bytes());
    digest.iter().take(CHECK / 2).map(|byte| format!("{byte:02x}")).collect()
}

/// At most `request.max_entries` entries from where the token says, and the token for what comes next. `fetch` asks EC2 for a page,
/// `id` names an entry.
fn walk<T>(
    request: &PageRequest,
    scope: &str,
    fetch: impl Fn(Option<&str>) -> Result<Page<T>>,
    id: impl Fn(&T) -> &str,
) -> Result<(Vec<T>, Option<String>)> {
    let mut place = Place::parse(request.token.as_deref(), scope)?;
    let most = if request.max_entries == 0 { PAGE } else { request.max_entries.min(1000) } as usize;
    let mut page = match place.whole {
        true => everything(&fetch)?,
        false => fetch(Some(place.page.as_str()).filter(|token| !token.is_empty()))?,
    };
    page.next = page.next.filter(|next| !next.is_empty());
    let long = page.next.as_ref().is_some_and(|next| CHECK + 4 + 32 + next.len() > MAX_TOKEN);
    if long && place == Place::default() {
        (page, place.whole) = (everything(&fetch)?, true);
    } else if long {
        return Err(Error::unavailable(
            "EC2's page token is longer than any before; start the listing from the beginning",
        ));
    }
    page.items.retain(|item| id(item) > place.after.as_str());
    page.items.sort_by(|a, b| id(a).cmp(id(b)));
    let next = if page.items.len() > most {
        page.items.truncate(most);
        let after = page.items.last().map(|item| id(item).to_owned()).unwrap_or_default();
        Some(Place { after, ..place })
    } else {
        page.next.map(|next| Place { page: next, ..Place::default() })
    };
    Ok((page.items, next.map(|next| next.token(scope))))
}

fn everything<T>(fetch: &impl Fn(Option<&str>) -> Result<Page<T>>) -> Result<Page<T>> {
    Ok(Page { items: Pages::new(fetch).collect::<Result<_>>()?, next: None })
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
        let scope = format!("volumes {} {}", cloud.settings.endpoint, cloud.settings.cluster);
        let (volumes, next_token) = walk(&page, &scope, fetch, |volume| &volume.volume_id)?;
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
        let scope = format!("snapshots {} {} {filter:?}", cloud.settings.endpoint, cloud.settings.cluster);
        let (snapshots, next_token) = walk(&page, &scope, fetch, |snapshot| &snapshot.snapshot_id)?;
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
    fn tokens_are_for_one_listing_and_come_back_whole() {
        let place = Place { page: "eyJ2Ijoi.x==".to_owned(), after: "vol-1".to_owned(), whole: false };
        let token = place.token("volumes a");
        assert_eq!(Place::parse(Some(&token), "volumes a"), Ok(place));
        for (bad, scope) in [
            (token.as_str(), "volumes b"),
            (&token[1..], "volumes a"),
            ("", "volumes a"),
            ("00000000000000000.vol-1.", "volumes a"),
            (&token.replace("vol-1", "vol-2"), "volumes a"),
            ("üüüüüüüüü", "volumes a"),
        ] {
            assert!(matches!(Place::parse(Some(bad), scope), Err(Error::InvalidArgument(_))), "{bad}");
        }
    }

    /// All ids, and pages fetched from EC2, by walking `most` at a time over pages of three.
    fn walked(ids: &[&str], most: u32, long_tokens: bool) -> Vec<String> {
        let padding = if long_tokens { "x".repeat(300) } else { String::new() };
        let fetch = |token: Option<&str>| {
            let start = token.map_or(0, |token| token.trim_end_matches('x').parse().unwrap());
            let items: Vec<String> = ids.iter().skip(start).take(3).map(|id| (*id).to_owned()).collect();
            let next = (start + 3 < ids.len()).then(|| format!("{}{padding}", start + 3));
            Ok(Page { items, next })
        };
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            let request = PageRequest { max_entries: most, token: token.take() };
            let (items, next) = walk(&request, "s", fetch, |id| id).unwrap();
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
            for long in [false, true] {
                let mut all = walked(&ids, most, long);
                all.sort();
                assert_eq!(all, ["a", "b", "c", "d", "e", "f", "g", "h"], "{most} {long}");
            }
        }
    }
}
