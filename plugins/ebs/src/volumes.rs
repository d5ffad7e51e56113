//! Removing and checking volumes; making them is in [`crate::create`].

use crate::Ebs;
use crate::access::Access;
use crate::cloud::Cloud;
use crate::create::create;
use crate::ec2::Query;
use crate::model::Done;
use crate::parameters::Class;
use crate::tags::Owner;
use bulkhead_sdk::prelude::*;

impl Volumes for Ebs {
    fn create_volume(request: CreateVolumeRequest) -> Result<Volume> {
        create(&Cloud::open()?, &request, None)
    }

    fn delete_volume(volume_id: String) -> Result<()> {
        let cloud = Cloud::open()?;
        let Some(volume) = cloud.volume(&volume_id)? else {
            return Ok(());
        };
        if cloud.owner(&volume.tag_set) != Owner::Ours {
            warn!("volume {volume_id} lacks the tags of this driver and cluster, so it is left alone");
            return Ok(());
        }
        let attached: Vec<String> = cloud.listed(&volume).published_node_ids;
        if !attached.is_empty() {
            let nodes = attached.join(", ");
            return Err(Error::precondition(format!("volume {volume_id} is attached to {nodes}: detach it first")));
        }
        match cloud.ec2.ask::<Done>(Query::write("DeleteVolume").with("VolumeId", &volume_id)) {
            Err(fault) if !fault.is_not_found() => Err(fault.error),
            _ => {
                info!("deleted {volume_id}");
                Ok(())
            }
        }
    }

    fn validate_volume_capabilities(request: ValidateRequest) -> Result<Option<String>> {
        let cloud = Cloud::open()?;
        let volume = cloud.usable(&request.volume_id)?;
        let fits = Access::of(&request.capabilities).and_then(|access| access.fits_volume(&volume));
        if let Err(reason) = fits {
            return Ok(Some(reason));
        }
        // Clients may have a context from the public driver, or none: what it says besides is nothing that we go by.
        let context = cloud.csi(&volume).context;
        let differs = |(key, value): &(String, String)| lookup(&context, key).is_some_and(|ours| ours != value);
        if request.context.iter().any(differs) {
            return Ok(Some("the volume context isn't this volume's".to_owned()));
        }
        if request.parameters.is_empty() && request.mutable_parameters.is_empty() {
            return Ok(None);
        }
        Ok(match Class::of(&request.parameters, &request.mutable_parameters) {
            Err(error) => Some(error.message().to_owned()),
            Ok(class) => class
                .kind
                .filter(|kind| kind.name != volume.volume_type)
                .map(|kind| format!("the volume's type is {}, not {}", volume.volume_type, kind.name)),
        })
    }
}

impl Inspection for Ebs {
    fn get_volume(volume_id: String) -> Result<ListedVolume> {
        let cloud = Cloud::open()?;
        cloud.usable(&volume_id).map(|volume| cloud.listed(&volume))
    }
}
