//! Answers to CreateVolume.

use crate::behaviour;
use crate::harm::misbehave;
use bulkhead_sdk::call;
use bulkhead_sdk::prelude::*;
use bulkhead_sdk::size::GIB;

/// Volumes that the host must not take as they are.
#[cfg(test)]
pub const LIES: [&str; 18] = [
    "id-traversal",
    "id-absolute",
    "id-long",
    "id-nul",
    "id-control",
    "id-empty",
    "size-max",
    "size-below",
    "size-above",
    "context-large",
    "context-control",
    "context-twice",
    "topology-many",
    "topology-key",
    "topology-value",
    "digest-short",
    "digest-other",
    "source",
];

pub fn volume(request: &CreateVolumeRequest) -> Result<Volume> {
    let range = request.capacity.as_ref();
    let sound = Volume {
        request_digest: Some(request.request_digest.clone()),
        context: vec![("made-by".to_owned(), "bad".to_owned())],
        ..Volume::new(request.name.clone(), choose_size(range, &SizeRules::ANY)?)
    };
    match lookup(&request.parameters, "behave").or_else(|| behaviour("create", &request.name)) {
        None => Ok(sound),
        Some("pending-once") => match call::resume().as_deref() {
            Some("step 2") => Ok(sound),
            _ => {
                Err(Error::pending("one more time").retry_after(std::time::Duration::from_millis(20)).resume("step 2"))
            }
        },
        Some("pending-steps") => {
            let done = call::resume().map_or(0, |text| text.len());
            let step = Error::pending("step by step").retry_after(std::time::Duration::from_millis(20));
            if done == 5 { Ok(sound) } else { Err(step.resume("x".repeat(done + 1))) }
        }
        Some(what) => match lie(what, sound.clone(), range) {
            Some(volume) => Ok(volume),
            None => misbehave(what).map(|()| sound),
        },
    }
}

fn lie(what: &str, mut volume: Volume, range: Option<&CapacityRange>) -> Option<Volume> {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let place = |key: &str, value: &str| Topology { segments: vec![pair(key, value)] };
    let (required, limit) = range.map_or((None, None), |range| (range.required, range.limit));
    match what {
        "id-traversal" => volume.volume_id = "../../etc".to_owned(),
        "id-absolute" => volume.volume_id = "/etc/passwd".to_owned(),
        "id-long" => volume.volume_id = "v".repeat(129),
        "id-nul" => volume.volume_id = "v\0".to_owned(),
        "id-control" => volume.volume_id = "v\n\u{1b}[31m".to_owned(),
        "id-empty" => volume.volume_id.clear(),
        "size-max" => volume.capacity_bytes = u64::MAX,
        "size-below" => volume.capacity_bytes = required.unwrap_or(GIB).saturating_sub(1).max(1),
        "size-above" => volume.capacity_bytes = limit.unwrap_or(GIB).saturating_add(1),
        "context-large" => volume.context.push(pair("large", &"x".repeat(5 << 10))),
        "context-control" => volume.context.push(pair("a\0b", "c\nd")),
        "context-twice" => volume.context.push(pair("made-by", "somebody else")),
        "topology-many" => volume.accessible_topology = vec![place("bad/zone", "a"); 2000],
        "topology-key" => volume.accessible_topology = vec![place("no slash, but a space", "a")],
        "topology-value" => volume.accessible_topology = vec![place("bad/zone", &"a".repeat(64))],
        "digest-short" => volume.request_digest = Some("abc".to_owned()),
        "digest-other" => volume.request_digest = Some("0".repeat(64)),
        "source" => volume.source = Some(ContentSource::Volume("somebody-elses".to_owned())),
        _ => return None,
    }
    Some(volume)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_lie_differs_from_the_truth() {
        let sound = Volume::new("v", GIB);
        for what in LIES {
            let lie = lie(what, sound.clone(), None);
            assert!(lie.is_some_and(|lie| lie != sound), "{what}");
        }
        assert_eq!(lie("nonsense", sound, None), None);
    }
}
