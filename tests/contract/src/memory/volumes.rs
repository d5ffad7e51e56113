//! Volumes: creating, deleting, validating, growing, modifying.

use super::store::{Answer, BLOCKS, SIZES, Store, Volume, ZONE, capability, given, invalid, size, supported};
use crate::options::Map;
use bulkhead_proto::v1::{self, volume_content_source::Type as Source};
use tonic::Status;

/// Parameters that are known; any other key or value is refused.
const COLORS: [&str; 2] = ["red", "blue"];

pub(super) fn parameters(all: &Map) -> Answer<()> {
    let bad = all.iter().find(|(key, value)| *key != "color" || !COLORS.contains(&value.as_str()));
    bad.map_or(Ok(()), |(key, _)| Err(invalid(format!("parameter {key:?} is not known or has no such value"))))
}

fn mutable(all: &Map) -> Answer<()> {
    let bad = all.iter().find(|(key, value)| *key != "speed" || value.parse::<u32>().is_err());
    bad.map_or(Ok(()), |(key, _)| Err(invalid(format!("mutable parameter {key:?} is not known or has no such value"))))
}

pub(super) fn topology(zone: &str) -> v1::Topology {
    v1::Topology { segments: [(ZONE.to_owned(), zone.to_owned())].into() }
}

impl Store {
    /// Where a volume may be: one of the requisite topologies.
    fn place(&self, asked: Option<&v1::TopologyRequirement>) -> Answer<v1::Topology> {
        let all: Vec<_> = self.nodes.iter().map(|node| topology(node)).collect();
        let Some(asked) = asked.filter(|asked| !(asked.requisite.is_empty() && asked.preferred.is_empty())) else {
            return all.into_iter().next().ok_or_else(|| Status::internal("there is no node"));
        };
        let in_order = asked.preferred.iter().chain(&asked.requisite);
        let mut fitting = in_order.filter(|one| asked.requisite.is_empty() || asked.requisite.contains(one));
        let found = fitting.find(|one| all.contains(one)).cloned();
        found.ok_or_else(|| Status::resource_exhausted("there is no such topology"))
    }

    /// Least size and blocks of a source.
    fn source(&mut self, source: Option<&v1::VolumeContentSource>) -> Answer<(i64, Vec<u64>)> {
        match source.map(|source| &source.r#type) {
            None => Ok((0, vec![0; BLOCKS])),
            Some(None) => Err(invalid("volume_content_source has no type")),
            Some(Some(Source::Snapshot(from))) => {
                given(&[("snapshot_id", &from.snapshot_id)])?;
                let snapshot = self.snapshot(&from.snapshot_id)?;
                Ok((snapshot.snapshot.size_bytes, snapshot.blocks.clone()))
            }
            Some(Some(Source::Volume(from))) => {
                given(&[("volume_id", &from.volume_id)])?;
                let volume = self.volume(&from.volume_id)?;
                Ok((volume.volume.capacity_bytes, volume.blocks.clone()))
            }
        }
    }

    pub(super) fn create_volume(&mut self, request: v1::CreateVolumeRequest) -> Answer<v1::CreateVolumeResponse> {
        given(&[("name", &request.name)])?;
        if request.volume_capabilities.is_empty() {
            return Err(invalid("volume_capabilities is missing"));
        }
        request.volume_capabilities.iter().try_for_each(|one| supported(Some(one)))?;
        parameters(&request.parameters)?;
        mutable(&request.mutable_parameters)?;
        // Wrong in itself, whatever is there.
        size(request.capacity_range.as_ref(), 0)?;
        if let Some(there) = self.volumes.values().find(|volume| volume.made_by.name == request.name) {
            return self.repeat(there, &request).map(|volume| v1::CreateVolumeResponse { volume: Some(volume) });
        }
        let (least, blocks) = self.source(request.volume_content_source.as_ref())?;
        let place = self.place(request.accessibility_requirements.as_ref())?;
        let volume = v1::Volume {
            volume_id: self.id("volume"),
            capacity_bytes: size(request.capacity_range.as_ref(), least)?,
            volume_context: [("kept-in".to_owned(), "memory".to_owned())].into(),
            content_source: request.volume_content_source.clone(),
            accessible_topology: vec![place],
        };
        let new = Volume {
            mutable: request.mutable_parameters.clone(),
            made_by: request,
            volume: volume.clone(),
            blocks,
            attached: [].into(),
            staged: [].into(),
            published: [].into(),
        };
        self.volumes.insert(volume.volume_id.clone(), new);
        Ok(v1::CreateVolumeResponse { volume: Some(volume) })
    }

    /// A request for a name that there is: the volume, if it fits.
    fn repeat(&self, there: &Volume, request: &v1::CreateVolumeRequest) -> Answer<v1::Volume> {
        let made = &there.made_by;
        let range = request.capacity_range.unwrap_or_default();
        let has = there.volume.capacity_bytes;
        let fits = has >= range.required_bytes && (range.limit_bytes == 0 || has <= range.limit_bytes);
        let asked = request.accessibility_requirements.as_ref().map(|asked| &asked.requisite);
        let here =
            asked.is_none_or(|all| all.is_empty() || all.iter().any(|t| there.volume.accessible_topology.contains(t)));
        let same = made.volume_capabilities == request.volume_capabilities
            && made.parameters == request.parameters
            && made.mutable_parameters == request.mutable_parameters
            && made.volume_content_source == request.volume_content_source;
        if fits && here && same {
            return Ok(there.volume.clone());
        }
        Err(Status::already_exists(format!("{:?} is there, made by another request", request.name)))
    }

    pub(super) fn delete_volume(&mut self, request: &v1::DeleteVolumeRequest) -> Answer<v1::DeleteVolumeResponse> {
        given(&[("volume_id", &request.volume_id)])?;
        if self.volumes.get(&request.volume_id).is_some_and(Volume::in_use) {
            return Err(Status::failed_precondition("the volume is in use"));
        }
        self.volumes.remove(&request.volume_id);
        Ok(v1::DeleteVolumeResponse {})
    }

    pub(super) fn validate(
        &mut self,
        request: v1::ValidateVolumeCapabilitiesRequest,
    ) -> Answer<v1::ValidateVolumeCapabilitiesResponse> {
        given(&[("volume_id", &request.volume_id)])?;
        if request.volume_capabilities.is_empty() {
            return Err(invalid("volume_capabilities is missing"));
        }
        let volume = self.volume(&request.volume_id)?;
        let no = |message: String| Ok(v1::ValidateVolumeCapabilitiesResponse { confirmed: None, message });
        for one in &request.volume_capabilities {
            if let Some(why) = capability(Some(one))? {
                return no(why);
            }
            if !volume.has(one) {
                return no("the volume was not made for that".into());
            }
        }
        if !request.volume_context.is_empty() && request.volume_context != volume.volume.volume_context {
            return no("that is not the volume's context".into());
        }
        if !request.parameters.is_empty() && request.parameters != volume.made_by.parameters {
            return no("those are not the volume's parameters".into());
        }
        if !request.mutable_parameters.is_empty() && request.mutable_parameters != volume.mutable {
            return no("those are not the volume's mutable parameters".into());
        }
        let confirmed = v1::validate_volume_capabilities_response::Confirmed {
            volume_context: request.volume_context,
            volume_capabilities: request.volume_capabilities,
            parameters: request.parameters,
            mutable_parameters: request.mutable_parameters,
        };
        Ok(v1::ValidateVolumeCapabilitiesResponse { confirmed: Some(confirmed), message: String::new() })
    }

    pub(super) fn expand(
        &mut self,
        request: &v1::ControllerExpandVolumeRequest,
    ) -> Answer<v1::ControllerExpandVolumeResponse> {
        given(&[("volume_id", &request.volume_id)])?;
        let range = request.capacity_range.as_ref().ok_or_else(|| invalid("capacity_range is missing"))?;
        if request.volume_capability.is_some() {
            supported(request.volume_capability.as_ref())?;
        }
        let volume = self.volume(&request.volume_id)?;
        volume.volume.capacity_bytes = size(Some(range), volume.volume.capacity_bytes)?;
        let capacity_bytes = volume.volume.capacity_bytes;
        Ok(v1::ControllerExpandVolumeResponse { capacity_bytes, node_expansion_required: false })
    }

    pub(super) fn modify(
        &mut self,
        request: v1::ControllerModifyVolumeRequest,
    ) -> Answer<v1::ControllerModifyVolumeResponse> {
        given(&[("volume_id", &request.volume_id)])?;
        if request.mutable_parameters.is_empty() {
            return Err(invalid("mutable_parameters is missing"));
        }
        mutable(&request.mutable_parameters)?;
        self.volume(&request.volume_id)?.mutable.extend(request.mutable_parameters);
        Ok(v1::ControllerModifyVolumeResponse {})
    }

    pub(super) fn capacity(&self, request: &v1::GetCapacityRequest) -> Answer<v1::GetCapacityResponse> {
        parameters(&request.parameters)?;
        let mut available_capacity = SIZES.1;
        for one in &request.volume_capabilities {
            if capability(Some(one))?.is_some() {
                available_capacity = 0;
            }
        }
        if let Some(asked) = &request.accessible_topology
            && !self.nodes.iter().any(|node| topology(node) == *asked)
        {
            available_capacity = 0;
        }
        Ok(v1::GetCapacityResponse {
            available_capacity,
            maximum_volume_size: Some(SIZES.1),
            minimum_volume_size: Some(SIZES.0),
        })
    }
}
