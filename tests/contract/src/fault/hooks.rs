//! All RPCs, from both sides: [`Call`] asks the driver, [`Hooks`] stand in its place.

use bulkhead_proto::v1::{
    self, controller_client::ControllerClient, group_controller_client::GroupControllerClient,
    identity_client::IdentityClient, node_client::NodeClient, snapshot_metadata_client::SnapshotMetadataClient,
};
use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};
use tonic::{Request, Response, Status, metadata::MetadataMap, transport::Channel};

/// The messages of a stream.
pub type Stream<M> = Pin<Box<dyn tokio_stream::Stream<Item = Result<M, Status>> + Send>>;

pub(super) type Future<T> = Pin<Box<dyn std::future::Future<Output = T> + Send>>;

type Hook<Q, A> = Option<Box<dyn Fn(Call, Q) -> Future<Result<A, Status>> + Send + Sync>>;

/// What hooks remember: one value for each type.
type Memory = Mutex<HashMap<TypeId, Box<dyn Any + Send>>>;

/// One call at the proxy, and the way to the driver. What is asked through it carries the client's metadata, its deadline too,
/// and is given up when the client gives up.
#[derive(Clone)]
pub struct Call {
    channel: Channel,
    metadata: MetadataMap,
    memory: Arc<Memory>,
    /// What came beside the driver's last answer.
    answered: Arc<Mutex<MetadataMap>>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Metadata may hold credentials.
        f.debug_struct("Call").finish_non_exhaustive()
    }
}

/// What belongs to one connection and not to the call.
const OF_A_CONNECTION: [&str; 4] = ["grpc-encoding", "grpc-accept-encoding", "content-length", "date"];

fn of_the_call(mut metadata: MetadataMap) -> MetadataMap {
    OF_A_CONNECTION.iter().for_each(|key| _ = metadata.remove(*key));
    metadata
}

/// The driver's error as if it were ours: code, message, details and metadata.
pub(super) fn passed_on(status: &Status) -> Status {
    let metadata = of_the_call(status.metadata().clone());
    Status::with_details_and_metadata(status.code(), status.message(), status.details().to_vec().into(), metadata)
}

impl Call {
    pub(super) fn new(channel: Channel, metadata: MetadataMap, memory: Arc<Memory>) -> Self {
        Self { channel, metadata: of_the_call(metadata), memory, answered: Arc::default() }
    }

    /// What the client sent beside its request.
    pub fn metadata(&self) -> &MetadataMap {
        &self.metadata
    }

    /// Works on the proxy's one value of this type, which is its default at first.
    pub fn with<T: Default + Send + 'static, R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = T::default();
        let value = memory.entry(TypeId::of::<T>()).or_insert_with(|| Box::new(T::default()));
        // Always of its own type: that is its key.
        work(value.downcast_mut().unwrap_or(&mut new))
    }

    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.metadata.clone();
        request
    }

    fn answered<M>(&self, answer: Result<Response<M>, Status>) -> Result<M, Status> {
        let (metadata, message, _) = answer.map_err(|status| passed_on(&status))?.into_parts();
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = of_the_call(metadata);
        Ok(message)
    }

    /// An answer with what the driver sent beside its last one.
    pub(super) fn response<M>(&self, message: M) -> Response<M> {
        let mut response = Response::new(message);
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        *response.metadata_mut() = std::mem::take(&mut *answered);
        response
    }
}

/// A value that is kept for the time of a call.
pub(super) type Held = Box<dyn Any + Send>;

type Around = Option<Box<dyn Fn(Call, &'static str) -> Future<Held> + Send + Sync>>;
type Errors = Option<Box<dyn Fn(&'static str, Status) -> Status + Send + Sync>>;

macro_rules! rpcs {
    (
        unary { $($client:ident: $($method:ident($request:ident) -> $response:ident,)*;)* }
        streaming { $($s_method:ident($s_request:ident) -> $s_response:ident,)* }
    ) => {
        impl Call {
            $($(
                #[doc = concat!("Asks the driver: `", stringify!($request), "`.")]
                ///
                /// # Errors
                /// The driver's.
                pub async fn $method(&self, request: v1::$request) -> Result<v1::$response, Status> {
                    let mut client = $client::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
                    self.answered(client.$method(self.request(request)).await)
                }
            )*)*
            $(
                #[doc = concat!("Asks the driver: `", stringify!($s_request), "`.")]
                ///
                /// # Errors
                /// The driver's, before the first message.
                pub async fn $s_method(&self, request: v1::$s_request) -> Result<Stream<v1::$s_response>, Status> {
                    use tokio_stream::StreamExt;
                    let client = SnapshotMetadataClient::new(self.channel.clone());
                    let mut client = client.max_decoding_message_size(usize::MAX);
                    let stream = self.answered(client.$s_method(self.request(request)).await)?;
                    Ok(Box::pin(stream.map(|message| message.map_err(|status| passed_on(&status)))))
                }
            )*
        }

        /// What stands in the place of the driver, RPC by RPC.
        #[derive(Default)]
        pub struct Hooks {
            $($(pub(super) $method: Hook<v1::$request, v1::$response>,)*)*
            $(pub(super) $s_method: Hook<v1::$s_request, Stream<v1::$s_response>>,)*
            pub(super) around: Around,
            pub(super) errors: Errors,
        }

        impl Hooks {
            $($(
                #[doc = concat!("Answers `", stringify!($request), "`.")]
                pub fn $method<F>(&mut self, answer: impl Fn(Call, v1::$request) -> F + Send + Sync + 'static)
                where
                    F: std::future::Future<Output = Result<v1::$response, Status>> + Send + 'static,
                {
                    self.$method = Some(Box::new(move |call, request| Box::pin(answer(call, request))));
                }
            )*)*
            $(
                #[doc = concat!("Answers `", stringify!($s_request), "`.")]
                pub fn $s_method<F>(&mut self, answer: impl Fn(Call, v1::$s_request) -> F + Send + Sync + 'static)
                where
                    F: std::future::Future<Output = Result<Stream<v1::$s_response>, Status>> + Send + 'static,
                {
                    self.$s_method = Some(Box::new(move |call, request| Box::pin(answer(call, request))));
                }
            )*

            /// Whether everything goes through unchanged.
            pub fn is_empty(&self) -> bool {
                self.around.is_none() && self.errors.is_none()
                    $($(&& self.$method.is_none())*)* $(&& self.$s_method.is_none())*
            }
        }
    };
}

rpcs! {
    unary {
        IdentityClient:
            get_plugin_info(GetPluginInfoRequest) -> GetPluginInfoResponse,
            get_plugin_capabilities(GetPluginCapabilitiesRequest) -> GetPluginCapabilitiesResponse,
            probe(ProbeRequest) -> ProbeResponse,;
        ControllerClient:
            create_volume(CreateVolumeRequest) -> CreateVolumeResponse,
            delete_volume(DeleteVolumeRequest) -> DeleteVolumeResponse,
            controller_publish_volume(ControllerPublishVolumeRequest) -> ControllerPublishVolumeResponse,
            controller_unpublish_volume(ControllerUnpublishVolumeRequest) -> ControllerUnpublishVolumeResponse,
            validate_volume_capabilities(ValidateVolumeCapabilitiesRequest) -> ValidateVolumeCapabilitiesResponse,
            list_volumes(ListVolumesRequest) -> ListVolumesResponse,
            get_capacity(GetCapacityRequest) -> GetCapacityResponse,
            controller_get_capabilities(ControllerGetCapabilitiesRequest) -> ControllerGetCapabilitiesResponse,
            create_snapshot(CreateSnapshotRequest) -> CreateSnapshotResponse,
            delete_snapshot(DeleteSnapshotRequest) -> DeleteSnapshotResponse,
            list_snapshots(ListSnapshotsRequest) -> ListSnapshotsResponse,
            get_snapshot(GetSnapshotRequest) -> GetSnapshotResponse,
            controller_expand_volume(ControllerExpandVolumeRequest) -> ControllerExpandVolumeResponse,
            controller_get_volume(ControllerGetVolumeRequest) -> ControllerGetVolumeResponse,
            controller_modify_volume(ControllerModifyVolumeRequest) -> ControllerModifyVolumeResponse,
            controller_get_volume_health(ControllerGetVolumeHealthRequest) -> ControllerGetVolumeHealthResponse,
            controller_list_volume_health(ControllerListVolumeHealthRequest) -> ControllerListVolumeHealthResponse,;
        GroupControllerClient:
            group_controller_get_capabilities(GroupControllerGetCapabilitiesRequest)
                -> GroupControllerGetCapabilitiesResponse,
            create_volume_group_snapshot(CreateVolumeGroupSnapshotRequest) -> CreateVolumeGroupSnapshotResponse,
            delete_volume_group_snapshot(DeleteVolumeGroupSnapshotRequest) -> DeleteVolumeGroupSnapshotResponse,
            get_volume_group_snapshot(GetVolumeGroupSnapshotRequest) -> GetVolumeGroupSnapshotResponse,;
        NodeClient:
            node_stage_volume(NodeStageVolumeRequest) -> NodeStageVolumeResponse,
            node_unstage_volume(NodeUnstageVolumeRequest) -> NodeUnstageVolumeResponse,
            node_publish_volume(NodePublishVolumeRequest) -> NodePublishVolumeResponse,
            node_unpublish_volume(NodeUnpublishVolumeRequest) -> NodeUnpublishVolumeResponse,
            node_get_volume_stats(NodeGetVolumeStatsRequest) -> NodeGetVolumeStatsResponse,
            node_get_volume_health(NodeGetVolumeHealthRequest) -> NodeGetVolumeHealthResponse,
            node_get_storage_health(NodeGetStorageHealthRequest) -> NodeGetStorageHealthResponse,
            node_expand_volume(NodeExpandVolumeRequest) -> NodeExpandVolumeResponse,
            node_get_capabilities(NodeGetCapabilitiesRequest) -> NodeGetCapabilitiesResponse,
            node_get_info(NodeGetInfoRequest) -> NodeGetInfoResponse,;
    }
    streaming {
        get_metadata_allocated(GetMetadataAllocatedRequest) -> GetMetadataAllocatedResponse,
        get_metadata_delta(GetMetadataDeltaRequest) -> GetMetadataDeltaResponse,
    }
}

impl Hooks {
    /// Runs before every call, RPCs named as methods of [`Call`]; what it gives is dropped after the call, also when the client gives it up.
    pub fn around<F, T>(&mut self, before: impl Fn(Call, &'static str) -> F + Send + Sync + 'static)
    where
        F: std::future::Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        self.around = Some(Box::new(move |call, rpc| {
            let before = before(call, rpc);
            Box::pin(async move { Box::new(before.await) as Held })
        }));
    }

    /// Changes every error, on its way to the client. RPCs are named as methods of [`Call`].
    pub fn errors(&mut self, change: impl Fn(&'static str, Status) -> Status + Send + Sync + 'static) {
        self.errors = Some(Box::new(change));
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}
