//! A backend for the host's tests that uses secrets as it is told to, by the parameters of CreateVolume:
//!
//! | parameter | what it does |
//! |---|---|
//! | `keys` | nothing more |
//! | `sign: NAME`, with `bytes: N` | HMAC over so many bytes of `x` |
//! | `reveal: NAME` | looks at the value and says how long it is |
//! | `tell: NAME` | logs the value and returns it in an error, plain and encoded |
//!
//! The volume's context is the answer.
use bulkhead_sdk::{prelude::*, secrets, secrets_reveal, secrets_sign};

struct Keeper;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn secret(name: &str) -> Result<secrets::Secret> {
    let found = secrets::get(name).or_error(Error::not_found, "no such secret")?;
    if found.key() == name { Ok(found) } else { Err(Error::internal("another secret")) }
}

impl Identity for Keeper {
    fn get_info() -> Result<Info> {
        // At load there is none.
        let keys = secrets::keys();
        assert!(keys.is_empty() && secrets::get("array-password").is_none(), "secrets at load");
        Ok(Info::new("1.0.0"))
    }
    fn probe() -> Result<bool> {
        Ok(true)
    }
}

impl Volumes for Keeper {
    fn create_volume(request: CreateVolumeRequest) -> Result<Volume> {
        let mut parameters = Parameters::new(&request.parameters);
        let mut context = vec![("keys".to_owned(), secrets::keys().join(","))];
        if let Some(name) = parameters.optional("sign") {
            let length = parameters.optional("bytes").and_then(|bytes| bytes.parse().ok()).unwrap_or(1);
            let signature = secrets_sign::hmac_sha256(&secret(name)?, &vec![b'x'; length]);
            context.push(("signature".to_owned(), hex(&signature)));
        }
        if let Some(name) = parameters.optional("reveal") {
            let value = secrets_reveal::reveal(&secret(name)?);
            context.push(("length".to_owned(), value.len().to_string()));
        }
        if let Some(name) = parameters.optional("tell") {
            let value = secrets_reveal::reveal(&secret(name)?);
            let plain = String::from_utf8_lossy(&value).into_owned();
            let percent: String = value.iter().map(|byte| format!("%{byte:02X}")).collect();
            bulkhead_sdk::info!("begin {plain} {} {percent} end", hex(&value));
            return Err(Error::precondition(format!("begin {plain} {} {percent} {plain:?} end", hex(&value))));
        }
        let mut volume = Volume::new(request.name, 1 << 20);
        volume.context = context;
        Ok(volume)
    }
    fn delete_volume(_volume_id: String) -> Result<()> {
        Ok(())
    }
    fn validate_volume_capabilities(_request: ValidateRequest) -> Result<Option<String>> {
        Ok(None)
    }
}

impl Node for Keeper {
    fn get_node_info(_facts: NodeFacts) -> Result<NodeInfo> {
        Ok(NodeInfo::default())
    }
    fn plan_volume(request: PlanRequest) -> Result<Plan> {
        // A node has none, not even those of its request.
        let keys = secrets::keys();
        if !keys.is_empty() || secrets::get("array-password").is_some() {
            return Err(Error::internal("secrets on a node"));
        }
        let usage = Usage::directory(&request.capability)?;
        Ok(Plan::new(Access::Nfs(Nfs::new("192.0.2.1", "/x")), usage))
    }
}

bulkhead_sdk::backend!(Keeper: identity, volumes, node);
