//! Every RPC as a method of [`Cx`]. Each call has a deadline and is written down; each answer is held against the rules that
//! all answers share; what it made is noted for the clean-up.

use crate::{Cx, Side, cx::Made, fields, undo::Undo};
use bulkhead_proto::v1::{
    self, controller_client::ControllerClient, group_controller_client::GroupControllerClient,
    identity_client::IdentityClient, node_client::NodeClient, snapshot_metadata_client::SnapshotMetadataClient,
};
use prost_reflect::prost::Message;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tonic::{Request, Response, Status, Streaming};

/// How long after the deadline the suite still waits for the answer that says so.
const GRACE: Duration = Duration::from_secs(10);

macro_rules! rpcs {
    ($($client:ident at $side:ident: $method:ident($request:ident) -> $response:ident
        $(, secrets $secret:literal)? $(, then $then:ident)?;)*) => {
        impl Cx {
            $(
                #[doc = concat!("`", stringify!($request), "`. Secrets are added if the request has none.")]
                ///
                /// # Errors
                /// The driver's.
                pub async fn $method(&self, request: v1::$request) -> Result<v1::$response, Status> {
                    #[allow(unused_mut, reason = "only requests with secrets are changed")]
                    let mut request = request;
                    $(self.add_secrets($secret, &mut request.secrets);)?
                    let rpc = stringify!($request).trim_end_matches("Request");
                    self.within_reach(rpc)?;
                    let mut client = $client::new(self.driver.channel(self.$side()));
                    let answer = self.ask(rpc, client.$method(self.request(request.clone()))).await?;
                    self.look_over(rpc, stringify!($response), &answer);
                    $($then(self, &request, &answer);)?
                    Ok(answer)
                }
            )*

            /// Calls the RPC of a request message, like `CreateVolumeRequest`, with an encoded request.
            ///
            /// # Errors
            /// The driver's; INTERNAL if there is no such request or the encoding is not one.
            pub async fn call_encoded(&self, request: &str, message: &[u8]) -> Result<(), Status> {
                let wrong = |e: prost_reflect::prost::DecodeError| Status::internal(format!("the suite: {e}"));
                $(
                    if request == stringify!($request) {
                        let request = v1::$request::decode(message).map_err(wrong)?;
                        return self.$method(request).await.map(drop);
                    }
                )*
                self.stream_encoded(request, message).await
            }
        }
    };
}

rpcs! {
    IdentityClient at identity: get_plugin_info(GetPluginInfoRequest) -> GetPluginInfoResponse;
    IdentityClient at identity: get_plugin_capabilities(GetPluginCapabilitiesRequest) -> GetPluginCapabilitiesResponse;
    IdentityClient at identity: probe(ProbeRequest) -> ProbeResponse;
    ControllerClient at controller: create_volume(CreateVolumeRequest) -> CreateVolumeResponse,
        secrets "CreateVolumeSecret", then volume_made;
    ControllerClient at controller: delete_volume(DeleteVolumeRequest) -> DeleteVolumeResponse,
        secrets "DeleteVolumeSecret", then volume_gone;
    ControllerClient at controller: controller_publish_volume(ControllerPublishVolumeRequest)
        -> ControllerPublishVolumeResponse, secrets "ControllerPublishVolumeSecret", then attached;
    ControllerClient at controller: controller_unpublish_volume(ControllerUnpublishVolumeRequest)
        -> ControllerUnpublishVolumeResponse, secrets "ControllerUnpublishVolumeSecret", then detached;
    ControllerClient at controller: validate_volume_capabilities(ValidateVolumeCapabilitiesRequest)
        -> ValidateVolumeCapabilitiesResponse, secrets "ControllerValidateVolumeCapabilitiesSecret";
    ControllerClient at controller: list_volumes(ListVolumesRequest) -> ListVolumesResponse;
    ControllerClient at controller: get_capacity(GetCapacityRequest) -> GetCapacityResponse;
    ControllerClient at controller: controller_get_capabilities(ControllerGetCapabilitiesRequest)
        -> ControllerGetCapabilitiesResponse;
    ControllerClient at controller: create_snapshot(CreateSnapshotRequest) -> CreateSnapshotResponse,
        secrets "CreateSnapshotSecret", then snapshot_made;
    ControllerClient at controller: delete_snapshot(DeleteSnapshotRequest) -> DeleteSnapshotResponse,
        secrets "DeleteSnapshotSecret", then snapshot_gone;
    ControllerClient at controller: list_snapshots(ListSnapshotsRequest) -> ListSnapshotsResponse,
        secrets "ListSnapshotsSecret";
    ControllerClient at controller: get_snapshot(GetSnapshotRequest) -> GetSnapshotResponse, secrets "GetSnapshotSecret";
    ControllerClient at controller: controller_expand_volume(ControllerExpandVolumeRequest)
        -> ControllerExpandVolumeResponse, secrets "ControllerExpandVolumeSecret";
    ControllerClient at controller: controller_get_volume(ControllerGetVolumeRequest) -> ControllerGetVolumeResponse;
    ControllerClient at controller: controller_modify_volume(ControllerModifyVolumeRequest)
        -> ControllerModifyVolumeResponse, secrets "ControllerModifyVolumeSecret";
    ControllerClient at controller: controller_get_volume_health(ControllerGetVolumeHealthRequest)
        -> ControllerGetVolumeHealthResponse, secrets "ControllerGetVolumeHealthSecret";
    ControllerClient at controller: controller_list_volume_health(ControllerListVolumeHealthRequest)
        -> ControllerListVolumeHealthResponse, secrets "ControllerListVolumeHealthSecret";
    GroupControllerClient at controller: group_controller_get_capabilities(GroupControllerGetCapabilitiesRequest)
        -> GroupControllerGetCapabilitiesResponse;
    GroupControllerClient at controller: create_volume_group_snapshot(CreateVolumeGroupSnapshotRequest)
        -> CreateVolumeGroupSnapshotResponse, secrets "CreateVolumeGroupSnapshotSecret", then group_made;
    GroupControllerClient at controller: delete_volume_group_snapshot(DeleteVolumeGroupSnapshotRequest)
        -> DeleteVolumeGroupSnapshotResponse, secrets "DeleteVolumeGroupSnapshotSecret", then group_gone;
    GroupControllerClient at controller: get_volume_group_snapshot(GetVolumeGroupSnapshotRequest)
        -> GetVolumeGroupSnapshotResponse, secrets "GetVolumeGroupSnapshotSecret";
    NodeClient at node: node_stage_volume(NodeStageVolumeRequest) -> NodeStageVolumeResponse,
        secrets "NodeStageVolumeSecret", then staged;
    NodeClient at node: node_unstage_volume(NodeUnstageVolumeRequest) -> NodeUnstageVolumeResponse, then unstaged;
    NodeClient at node: node_publish_volume(NodePublishVolumeRequest) -> NodePublishVolumeResponse,
        secrets "NodePublishVolumeSecret", then published;
    NodeClient at node: node_unpublish_volume(NodeUnpublishVolumeRequest) -> NodeUnpublishVolumeResponse,
        then unpublished;
    NodeClient at node: node_get_volume_stats(NodeGetVolumeStatsRequest) -> NodeGetVolumeStatsResponse;
    NodeClient at node: node_get_volume_health(NodeGetVolumeHealthRequest) -> NodeGetVolumeHealthResponse;
    NodeClient at node: node_get_storage_health(NodeGetStorageHealthRequest) -> NodeGetStorageHealthResponse,
        secrets "NodeGetStorageHealthSecret";
    NodeClient at node: node_expand_volume(NodeExpandVolumeRequest) -> NodeExpandVolumeResponse,
        secrets "NodeExpandVolumeSecret";
    NodeClient at node: node_get_capabilities(NodeGetCapabilitiesRequest) -> NodeGetCapabilitiesResponse;
    NodeClient at node: node_get_info(NodeGetInfoRequest) -> NodeGetInfoResponse;
}

impl Cx {
    fn controller(&self) -> Side {
        Side::Controller
    }

    fn node(&self) -> Side {
        self.side
    }

    fn identity(&self) -> Side {
        self.side
    }

    /// With `--controller-only` nothing is asked of a node but who it is; who asks is written down, and the case is skipped.
    fn within_reach(&self, rpc: &'static str) -> Result<(), Status> {
        let known = ["NodeGetInfo", "NodeGetCapabilities"].contains(&rpc);
        if !self.driver.options.controller_only || !rpc.starts_with("Node") || known {
            return Ok(());
        }
        self.lock().beyond.get_or_insert(rpc);
        Err(Status::unimplemented(format!("the suite: {rpc} is not asked with --controller-only")))
    }

    fn add_secrets(&self, kind: &str, secrets: &mut std::collections::BTreeMap<String, String>) {
        if secrets.is_empty()
            && let Some(given) = self.driver.options.secrets.as_ref().and_then(|all| all.get(kind))
        {
            secrets.clone_from(given);
        }
    }

    pub(crate) fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.set_timeout(self.deadline);
        request
    }

    /// Waits for the answer and writes it down.
    pub(crate) async fn ask<T>(
        &self,
        rpc: &'static str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        let start = Instant::now();
        let answer = timeout(self.deadline + GRACE, call).await;
        let answer =
            answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer, not even after the deadline")));
        let code = answer.as_ref().map_or_else(Status::code, |_| tonic::Code::Ok);
        self.lock().calls.push(Made { rpc, code, took: start.elapsed() });
        if let Err(status) = &answer {
            crate::check::of_error(rpc, status).into_iter().for_each(|why| self.violation(why));
        }
        answer.map(Response::into_inner)
    }

    fn look_over<M: Message>(&self, rpc: &str, message: &str, answer: &M) {
        match fields::reflect(message, answer) {
            Some(answer) => {
                fields::over_limits(&answer).into_iter().for_each(|why| self.violation(format!("{rpc}: {why}")))
            }
            None => self.violation(format!("{rpc}: {message} is not in the descriptor")),
        }
    }

    /// As `call_encoded`, for the RPCs that answer with a stream, to the stream's end.
    async fn stream_encoded(&self, request: &str, message: &[u8]) -> Result<(), Status> {
        let wrong = |e: prost_reflect::prost::DecodeError| Status::internal(format!("the suite: {e}"));
        match request {
            "GetMetadataAllocatedRequest" => {
                let request = v1::GetMetadataAllocatedRequest::decode(message).map_err(wrong)?;
                let stream = self.get_metadata_allocated(request).await?;
                self.drain("GetMetadataAllocated", stream).await.map(drop)
            }
            "GetMetadataDeltaRequest" => {
                let request = v1::GetMetadataDeltaRequest::decode(message).map_err(wrong)?;
                let stream = self.get_metadata_delta(request).await?;
                self.drain("GetMetadataDelta", stream).await.map(drop)
            }
            _ => Err(Status::internal(format!("the suite: no RPC takes {request}"))),
        }
    }

    /// All messages of a stream, up to its end.
    ///
    /// # Errors
    /// The driver's, which may come after any message; DEADLINE_EXCEEDED if there is no end within the deadline.
    pub async fn drain<M>(&self, rpc: &'static str, mut stream: Streaming<M>) -> Result<Vec<M>, Status> {
        let read = async {
            let mut messages = vec![];
            while let Some(message) = stream.message().await? {
                messages.push(message);
            }
            Ok(messages)
        };
        let answer = timeout(self.deadline, read).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("the stream does not end")));
        if let Err(status) = &answer {
            self.lock().calls.push(Made { rpc, code: status.code(), took: Duration::ZERO });
            crate::check::of_error(rpc, status).into_iter().for_each(|why| self.violation(why));
        }
        answer
    }

    /// GetMetadataAllocated: the stream.
    ///
    /// # Errors
    /// The driver's, before the first message.
    pub async fn get_metadata_allocated(
        &self,
        mut request: v1::GetMetadataAllocatedRequest,
    ) -> Result<Streaming<v1::GetMetadataAllocatedResponse>, Status> {
        self.add_secrets("GetMetadataAllocatedSecret", &mut request.secrets);
        let mut client = SnapshotMetadataClient::new(self.driver.channel(Side::Controller));
        self.ask("GetMetadataAllocated", client.get_metadata_allocated(self.request(request))).await
    }

    /// GetMetadataDelta: the stream.
    ///
    /// # Errors
    /// The driver's, before the first message.
    pub async fn get_metadata_delta(
        &self,
        mut request: v1::GetMetadataDeltaRequest,
    ) -> Result<Streaming<v1::GetMetadataDeltaResponse>, Status> {
        self.add_secrets("GetMetadataDeltaSecret", &mut request.secrets);
        let mut client = SnapshotMetadataClient::new(self.driver.channel(Side::Controller));
        self.ask("GetMetadataDelta", client.get_metadata_delta(self.request(request))).await
    }
}

fn volume_made(cx: &Cx, _: &v1::CreateVolumeRequest, answer: &v1::CreateVolumeResponse) {
    match &answer.volume {
        Some(volume) if !volume.volume_id.is_empty() => cx.made(Undo::Volume(volume.volume_id.clone())),
        _ => cx.violation("CreateVolume: the answer has no volume_id".into()),
    }
}

fn volume_gone(cx: &Cx, request: &v1::DeleteVolumeRequest, _: &v1::DeleteVolumeResponse) {
    cx.gone(|undo| *undo == Undo::Volume(request.volume_id.clone()));
}

fn attached(cx: &Cx, request: &v1::ControllerPublishVolumeRequest, _: &v1::ControllerPublishVolumeResponse) {
    cx.made(Undo::Attached(request.volume_id.clone(), request.node_id.clone()));
}

fn detached(cx: &Cx, request: &v1::ControllerUnpublishVolumeRequest, _: &v1::ControllerUnpublishVolumeResponse) {
    let of = |node: &str| request.node_id.is_empty() || request.node_id == node;
    cx.gone(|undo| matches!(undo, Undo::Attached(volume, node) if *volume == request.volume_id && of(node)));
}

fn snapshot_made(cx: &Cx, _: &v1::CreateSnapshotRequest, answer: &v1::CreateSnapshotResponse) {
    match &answer.snapshot {
        Some(snapshot) if !snapshot.snapshot_id.is_empty() => cx.made(Undo::Snapshot(snapshot.snapshot_id.clone())),
        _ => cx.violation("CreateSnapshot: the answer has no snapshot_id".into()),
    }
}

fn snapshot_gone(cx: &Cx, request: &v1::DeleteSnapshotRequest, _: &v1::DeleteSnapshotResponse) {
    cx.gone(|undo| *undo == Undo::Snapshot(request.snapshot_id.clone()));
}

fn group_made(cx: &Cx, _: &v1::CreateVolumeGroupSnapshotRequest, answer: &v1::CreateVolumeGroupSnapshotResponse) {
    match &answer.group_snapshot {
        Some(group) if !group.group_snapshot_id.is_empty() => {
            let members = group.snapshots.iter().map(|snapshot| snapshot.snapshot_id.clone()).collect();
            cx.made(Undo::Group(group.group_snapshot_id.clone(), members));
        }
        _ => cx.violation("CreateVolumeGroupSnapshot: the answer has no group_snapshot_id".into()),
    }
}

fn group_gone(cx: &Cx, request: &v1::DeleteVolumeGroupSnapshotRequest, _: &v1::DeleteVolumeGroupSnapshotResponse) {
    cx.gone(|undo| matches!(undo, Undo::Group(group, _) if *group == request.group_snapshot_id));
}

fn staged(cx: &Cx, request: &v1::NodeStageVolumeRequest, _: &v1::NodeStageVolumeResponse) {
    cx.made(Undo::Staged(cx.side, request.volume_id.clone(), request.staging_target_path.clone()));
}

fn unstaged(cx: &Cx, request: &v1::NodeUnstageVolumeRequest, _: &v1::NodeUnstageVolumeResponse) {
    cx.gone(|undo| *undo == Undo::Staged(cx.side, request.volume_id.clone(), request.staging_target_path.clone()));
}

fn published(cx: &Cx, request: &v1::NodePublishVolumeRequest, _: &v1::NodePublishVolumeResponse) {
    cx.made(Undo::Published(cx.side, request.volume_id.clone(), request.target_path.clone()));
}

fn unpublished(cx: &Cx, request: &v1::NodeUnpublishVolumeRequest, _: &v1::NodeUnpublishVolumeResponse) {
    cx.gone(|undo| *undo == Undo::Published(cx.side, request.volume_id.clone(), request.target_path.clone()));
}
