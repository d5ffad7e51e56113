//! What the suite is told: where the driver is, and what it takes.

use bytesize::ByteSize;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// String to string, as CSI's parameters are.
pub type Map = BTreeMap<String, String>;

/// How the driver's volumes are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Usage {
    /// Mounted with this file system; empty is the driver's default.
    Mount(String),
    /// A raw device.
    Block,
}

impl Usage {
    /// `block`, the file system, or `mount` for the default one.
    pub fn name(&self) -> &str {
        match self {
            Self::Block => "block",
            Self::Mount(fs) if fs.is_empty() => "mount",
            Self::Mount(fs) => fs,
        }
    }

    /// Whether it is a raw device.
    pub fn is_block(&self) -> bool {
        *self == Self::Block
    }
}

/// `--access`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Access {
    /// Mounted file systems.
    Mount,
    /// Raw devices.
    Block,
    /// Cases on the node run once for each file system and once for raw devices.
    Both,
}

/// The options, which are those of the command line too. Files are YAML.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "bulkhead-contract", version, about = "Checks that a CSI driver keeps the rules of the specification")]
pub struct Options {
    /// Socket of the driver: unix:///path or host:port.
    #[arg(long, required_unless_present = "list", default_value = "")]
    pub endpoint: String,
    /// Socket of the controller, if it is another process than the node.
    #[arg(long)]
    pub controller_endpoint: Option<String>,
    /// Socket of the same driver on another node, for rules about several nodes.
    #[arg(long)]
    pub second_node_endpoint: Option<String>,
    /// Staging and target paths are made below it: where the driver may mount.
    #[arg(long, default_value = "/tmp/bulkhead-contract")]
    pub work_dir: PathBuf,
    /// As --work-dir, for the second node. The same if not given.
    #[arg(long)]
    pub second_work_dir: Option<PathBuf>,
    /// How volumes are used.
    #[arg(long, value_enum, default_value = "mount")]
    pub access: Access,
    /// File systems, separated by commas. The driver's default if not given.
    #[arg(long, value_delimiter = ',')]
    pub fs_type: Vec<String>,
    /// Size of volumes.
    #[arg(long, default_value = "16MiB")]
    pub size: ByteSize,
    /// Parameters of CreateVolume: a map.
    #[arg(long, value_parser = map_file)]
    pub parameters: Option<Map>,
    /// Other parameters that CreateVolume takes too and that make a different volume.
    #[arg(long, value_parser = map_file)]
    pub other_parameters: Option<Map>,
    /// Parameters that CreateVolume and GetCapacity must not accept.
    #[arg(long, value_parser = map_file)]
    pub bad_parameters: Option<Map>,
    /// Mutable parameters that the driver takes.
    #[arg(long, value_parser = map_file)]
    pub mutable_parameters: Option<Map>,
    /// Other values of them.
    #[arg(long, value_parser = map_file)]
    pub other_mutable_parameters: Option<Map>,
    /// Mutable parameters that it must refuse; an unknown key if not given.
    #[arg(long, value_parser = map_file)]
    pub bad_mutable_parameters: Option<Map>,
    /// Parameters of CreateSnapshot.
    #[arg(long, value_parser = map_file)]
    pub snapshot_parameters: Option<Map>,
    /// Parameters of CreateVolumeGroupSnapshot.
    #[arg(long, value_parser = map_file)]
    pub group_snapshot_parameters: Option<Map>,
    /// Attributes of ephemeral inline volumes: a map. Without it, such volumes are not tried.
    #[arg(long, value_parser = map_file)]
    pub ephemeral_attributes: Option<Map>,
    /// Secrets by kind, as csi-sanity names them: {CreateVolumeSecret: {user: x}}.
    #[arg(long, value_parser = maps_file)]
    pub secrets: Option<BTreeMap<String, Map>>,
    /// Shell line that kills the driver with SIGKILL, starts it again in the background, and ends.
    #[arg(long)]
    pub restart_command: Option<String>,
    /// Nothing is staged, published or measured on a node: for a backend whose volumes have no device here. Cases that would are
    /// skipped. NodeGetInfo and NodeGetCapabilities are still asked.
    #[arg(long)]
    pub controller_only: bool,
    /// Longest wait for an answer, in seconds.
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub timeout: Duration,
    /// Writes a report as JSON.
    #[arg(long)]
    pub report: Option<PathBuf>,
    /// Only cases whose name matches, like 'create-volume/*'. May be given more than once.
    #[arg(long)]
    pub only: Vec<String>,
    /// No case whose name matches.
    #[arg(long)]
    pub except: Vec<String>,
    /// Lists cases and their rules, and runs nothing.
    #[arg(long)]
    pub list: bool,
    /// How many cases run at once.
    #[arg(long, default_value = "4")]
    pub jobs: usize,
}

impl Options {
    /// Everything at its default, for a driver at `endpoint` that may mount below `work_dir`.
    pub fn new(endpoint: impl Into<String>, work_dir: impl Into<PathBuf>) -> Self {
        let mut options: Self = clap::Parser::parse_from(["bulkhead-contract", "--list"]);
        options.list = false;
        options.endpoint = endpoint.into();
        options.work_dir = work_dir.into();
        options
    }

    /// How volumes are used, in the order in which cases run; never empty.
    pub fn uses(&self) -> Vec<Usage> {
        let mut uses = vec![];
        if self.access != Access::Block {
            let default = [String::new()];
            let types = if self.fs_type.is_empty() { &default[..] } else { &self.fs_type };
            uses.extend(types.iter().cloned().map(Usage::Mount));
        }
        if self.access != Access::Mount {
            uses.push(Usage::Block);
        }
        uses
    }

    /// Size of volumes in bytes.
    pub fn bytes(&self) -> i64 {
        i64::try_from(self.size.as_u64()).unwrap_or(i64::MAX)
    }

    /// Whether an option with a file was given.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        let maps = [
            ("parameters", &self.parameters),
            ("other-parameters", &self.other_parameters),
            ("bad-parameters", &self.bad_parameters),
            ("mutable-parameters", &self.mutable_parameters),
            ("other-mutable-parameters", &self.other_mutable_parameters),
            ("bad-mutable-parameters", &self.bad_mutable_parameters),
            ("snapshot-parameters", &self.snapshot_parameters),
            ("group-snapshot-parameters", &self.group_snapshot_parameters),
            ("ephemeral-attributes", &self.ephemeral_attributes),
        ];
        maps.iter().any(|(option, map)| *option == name && map.is_some())
            || (name == "secrets" && self.secrets.is_some())
    }
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))
}

fn map_file(path: &str) -> Result<Map, String> {
    serde_saphyr::from_str(&read(path)?).map_err(|e| format!("{path}: {e}"))
}

// Values of secrets must not show: an error tells no more than where.
fn maps_file(path: &str) -> Result<BTreeMap<String, Map>, String> {
    serde_saphyr::from_str(&read(path)?).map_err(|_| format!("{path}: not a map of maps of strings"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|e| format!("{text}: {e}"))
}
