//! Faults of the streams of block metadata.

use super::{Fault, Hooks, Stream, fault, unless};
use bulkhead_proto::v1::{BlockMetadata, GetMetadataAllocatedResponse, GetMetadataDeltaResponse};
use tokio_stream::StreamExt;
use tonic::{Code, Status};

/// A message of either stream.
#[derive(Debug, Clone)]
struct Part {
    kind: i32,
    capacity: i64,
    ranges: Vec<BlockMetadata>,
}

macro_rules! parts {
    ($($response:ident)*) => {
        $(
            impl From<$response> for Part {
                fn from(message: $response) -> Self {
                    let capacity = message.volume_capacity_bytes;
                    Self { kind: message.block_metadata_type, capacity, ranges: message.block_metadata }
                }
            }

            impl From<Part> for $response {
                fn from(part: Part) -> Self {
                    let (block_metadata_type, volume_capacity_bytes) = (part.kind, part.capacity);
                    Self { block_metadata_type, volume_capacity_bytes, block_metadata: part.ranges }
                }
            }
        )*
    };
}

parts! { GetMetadataAllocatedResponse GetMetadataDeltaResponse }

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "metadata-ends-early",
        "the stream ends well before all ranges were told",
        &["metadata/resume", "blocks/allocated", "blocks/rebuilt"],
        |hooks| {
            each_whole(hooks, |mut parts| {
                let half = parts.iter().map(|part| part.ranges.len()).sum::<usize>() / 2;
                let mut told = 0;
                parts.retain_mut(|part| {
                    part.ranges.truncate(half.saturating_sub(told));
                    told += part.ranges.len();
                    !part.ranges.is_empty()
                });
                parts
            });
        },
    ),
    fault(
        "metadata-hole",
        "a range of the middle is not told",
        &["metadata/resume", "blocks/allocated", "blocks/delta", "blocks/rebuilt"],
        |hooks| {
            each_whole(hooks, |mut parts| {
                let middle = parts.len() / 2;
                if let Some(part) = parts.get_mut(middle)
                    && !part.ranges.is_empty()
                {
                    part.ranges.remove(part.ranges.len() / 2);
                }
                parts
            });
        },
    ),
    fault(
        "metadata-overlaps",
        "each message begins with the last range of the one before",
        &["metadata/shape", "blocks/allocated"],
        |hooks| {
            each_whole(hooks, |parts| {
                let mut parts = split(parts);
                for at in (1..parts.len()).rev() {
                    let last = parts[at - 1].ranges.last().copied();
                    parts[at].ranges.splice(..0, last);
                }
                parts
            });
        },
    ),
    fault(
        "metadata-capacity-drifts",
        "later messages tell another capacity",
        &["metadata/shape", "blocks/allocated"],
        |hooks| {
            each_whole(hooks, |parts| {
                let mut parts = split(parts);
                parts.iter_mut().skip(1).for_each(|part| part.capacity += 4096);
                parts
            });
        },
    ),
    fault(
        "metadata-ignores-offset",
        "starting_offset is not looked at",
        &["metadata/resume", "metadata/bad-numbers", "blocks/resume"],
        |hooks| {
            hooks.get_metadata_allocated(|call, mut request| async move {
                request.starting_offset = 0;
                call.get_metadata_allocated(request).await
            });
            hooks.get_metadata_delta(|call, mut request| async move {
                request.starting_offset = 0;
                call.get_metadata_delta(request).await
            });
        },
    ),
    fault(
        "metadata-ignores-max-results",
        "messages have as many ranges as they like",
        &["metadata/max-results", "metadata/bad-numbers"],
        |hooks| {
            hooks.get_metadata_allocated(|call, mut request| async move {
                request.max_results = 0;
                call.get_metadata_allocated(request).await
            });
            hooks.get_metadata_delta(|call, mut request| async move {
                request.max_results = 0;
                call.get_metadata_delta(request).await
            });
        },
    ),
    fault("metadata-unknown-is-empty", "a snapshot that isn't there has no data", &["metadata/unknown"], |hooks| {
        hooks.get_metadata_allocated(|call, request| async move {
            empty_if_unknown(call.get_metadata_allocated(request).await).await
        });
        hooks.get_metadata_delta(|call, request| async move {
            empty_if_unknown(call.get_metadata_delta(request).await).await
        });
    }),
    fault(
        "delta-is-empty",
        "nothing ever changed between two snapshots",
        &["blocks/delta", "blocks/rebuilt"],
        |hooks| {
            hooks.get_metadata_delta(|call, request| async move {
                let whole = whole(call.get_metadata_delta(request).await?).await?;
                Ok(stream(whole.into_iter().map(|part: Part| Part { ranges: vec![], ..part }).collect()))
            });
        },
    ),
];

/// A message for each range.
fn split(parts: Vec<Part>) -> Vec<Part> {
    let one = |part: Part| {
        let ranges = part.ranges.clone();
        ranges.into_iter().map(move |range| Part { ranges: vec![range], ..part.clone() })
    };
    parts.into_iter().flat_map(one).collect()
}

async fn whole<M: Into<Part>>(mut stream: Stream<M>) -> Result<Vec<Part>, Status> {
    let mut parts = vec![];
    while let Some(message) = stream.next().await {
        parts.push(message?.into());
    }
    Ok(parts)
}

fn stream<M: From<Part> + Send + 'static>(parts: Vec<Part>) -> Stream<M> {
    Box::pin(tokio_stream::iter(parts).map(|part| Ok(part.into())))
}

/// Changes streams as a whole.
fn each_whole(hooks: &mut Hooks, change: fn(Vec<Part>) -> Vec<Part>) {
    hooks.get_metadata_allocated(move |call, request| async move {
        Ok(stream(change(whole(call.get_metadata_allocated(request).await?).await?)))
    });
    hooks.get_metadata_delta(move |call, request| async move {
        Ok(stream(change(whole(call.get_metadata_delta(request).await?).await?)))
    });
}

/// NOT_FOUND, in place of the stream or as its first message, is an empty stream.
async fn empty_if_unknown<M: Send + 'static>(answer: Result<Stream<M>, Status>) -> Result<Stream<M>, Status> {
    let mut all = unless(answer, Code::NotFound, || Box::pin(tokio_stream::empty()) as Stream<M>)?;
    Ok(match all.next().await {
        Some(Err(status)) if status.code() == Code::NotFound => Box::pin(tokio_stream::empty()),
        Some(first) => Box::pin(tokio_stream::once(first).chain(all)),
        None => Box::pin(tokio_stream::empty()),
    })
}
