//! SnapshotMetadata service: streams, made of a walk over pages.

use super::{
    parse, render,
    server::Service,
    status::{answer, status, subject},
};
use crate::ops::blocks::BlockWalk;
use bulkhead_domain::blocks::BlockPage;
use bulkhead_proto::v1::{self, snapshot_metadata_server::SnapshotMetadata};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

type Reply<T> = Result<Response<T>, Status>;
type Messages<T> = ReceiverStream<Result<T, Status>>;

/// The messages of a walk whose first page is there, one for each page. The next page is made while the client reads this
/// one; a client that hangs up ends the walk.
fn messages<T: Send + 'static>(
    first: Option<BlockPage>,
    mut walk: BlockWalk,
    render: fn(BlockPage) -> T,
) -> Messages<T> {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let mut next = Ok(first);
        while let Some(page) = next.transpose() {
            let failed = page.is_err();
            let message = page.map(render).map_err(|e| status(&e));
            if sender.send(message).await.is_err() || failed {
                break;
            }
            next = walk.next().await;
        }
    });
    ReceiverStream::new(receiver)
}

#[tonic::async_trait]
impl SnapshotMetadata for Service {
    type GetMetadataAllocatedStream = Messages<v1::GetMetadataAllocatedResponse>;

    async fn get_metadata_allocated(
        &self,
        request: Request<v1::GetMetadataAllocatedRequest>,
    ) -> Reply<Self::GetMetadataAllocatedStream> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.snapshot_id);
        answer(driver, "GetMetadataAllocated", subject, async {
            let mut walk = driver.walk_blocks(parse::allocated(request)?, timeout);
            // The first page is asked for before the stream begins, so that what is wrong is the call's own status.
            Ok(messages(walk.next().await?, walk, render::block_page_allocated))
        })
        .await
    }

    type GetMetadataDeltaStream = Messages<v1::GetMetadataDeltaResponse>;

    async fn get_metadata_delta(
        &self,
        request: Request<v1::GetMetadataDeltaRequest>,
    ) -> Reply<Self::GetMetadataDeltaStream> {
        let (driver, timeout, request) = self.open(request)?;
        let subject = subject(&request.target_snapshot_id);
        answer(driver, "GetMetadataDelta", subject, async {
            let mut walk = driver.walk_blocks(parse::delta(request)?, timeout);
            Ok(messages(walk.next().await?, walk, render::block_page_delta))
        })
        .await
    }
}
