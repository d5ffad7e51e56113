//! What is accepted, and what becomes of it.

use super::super::types::*;
use super::super::{Place, grant_snippet};
use super::*;
use bulkhead_domain::offer::Interface;
use std::path::PathBuf;
use std::time::Duration;

fn place(line: u32, column: u32) -> Place {
    Place { line, column }
}

#[test]
fn the_smallest_file() {
    let config = load(MINIMAL).expect("minimal");
    assert_eq!(
        config,
        Config {
            file: "/etc/bulkhead/f.yaml".into(),
            state_dir: "/var/lib/bulkhead".into(),
            state_dir_at: place(1, 10),
            node: NodeConfig {
                id: "host-1".into(),
                kubelet_root: "/var/lib/kubelet".into(),
                kubelet_root_at: place(1, 10),
                directory: None,
                registration: false,
                labels: [].into(),
                facts: FactsConfig::default(),
            },
            drivers: vec![DriverConfig {
                name: "a.example.com".into(),
                name_at: place(3, 11),
                endpoint: "/run/a.sock".into(),
                endpoint_at: place(4, 15),
                csi: bulkhead_domain::offer::CsiVersion::V1_12,
                offer: Offering::default(),
                backend: BackendConfig {
                    source: "/etc/bulkhead/a.wasm".into(),
                    source_at: place(6, 15),
                    digest: None,
                    digest_at: None,
                    config: [].into(),
                    config_at: [].into(),
                    http: HttpSettings { at: place(6, 7), ..HttpSettings::default() },
                    secrets: [].into(),
                    auth: [].into(),
                    grants: Grants { at: place(6, 7), ..Grants::default() },
                },
                limits: Limits {
                    memory_bytes: 67_108_864,
                    call_timeout: Duration::from_secs(30),
                    concurrency: 64,
                    log_lines: 200
                },
                at: place(3, 5),
            }],
            total_memory_bytes: 1_073_741_824,
            total_memory_at: place(1, 10),
            health: None,
        }
    );
}

const FULL: &str = r#"version: 1
stateDir: state
node:
  id: "${NODE}-1"
  kubeletRoot: /data/kubelet/
  labels: { example.com/rack: r1, floor: 2 }
limits: { memory: 2GiB }
drivers:
  - name: full.example.com
    endpoint: unix:///run/full.sock
    csi: 1.12
    offer: { listing: false, expansion: none, health: false, mountGroup: false, capacity: true }
    backend:
      source: ../lib/full.wasm
      digest: sha256:00ffFF0000000000000000000000000000000000000000000000000000000001
      config:
        zones: [a, {name: b}]
        retries: 0x10
        ratio: 1.50
        on: yes
        text: "5"
        empty: ""
        none: []
        block: |
          two
          lines
        tls.verify: true
        token: $${TOKEN} and ${TOKEN}
      grants:
        pools:
          fast: { path: /srv/fast }
          bulk: { path: ./bulk }
        state: true
        secrets: [reveal]
        http:
          - { scheme: https, host: API.Example.com, methods: [POST, GET], auth: aws }
          - scheme: http
            host: "[FD00::1]"
            port: 8080
            methods:
              - GET
        access: [pool-image, pool-directory]
      secrets:
        array: { file: secrets/array }
        key-id: { file: /run/key-id }
        key: { file: /run/key }
      auth:
        aws:
          type: sigv4
          service: ec2
          region: eu-central-1
          credentials:
            - { type: static, accessKeyId: key-id, secretAccessKey: key, sessionToken: array }
            - { type: webIdentity, tokenFile: token, roleArn: "arn:aws:iam::123456789012:role/a", stsEndpoint: "http://127.0.0.1:5000/" }
            - { type: instanceMetadata }
          assumeRole: { roleArn: "arn:aws-cn:iam::123456789012:role/p/b", externalId: abc, duration: 15min, sessionName: s1 }
        basic: { type: basic, username: "${NODE}${secret:array}", password: array }
        bearer: { type: bearer, token: array }
        header: { type: header, header: X-Api-Key, value: array, prefix: "v1 " }
        session:
          type: login
          method: PUT
          url: https://array.example.com/login
          headers: { X-Token: "${secret:key}" }
          json: { user: "${NODE}", password: "${secret:array}", ttl: 30, deep: [true, ~, { n: 1.5 }] }
          tokenFrom: { json: /data/token }
          header: X-Auth
          lifetime: 30min
        oauth:
          type: oauth2
          tokenUrl: https://id.example.com/token
          clientId: "${NODE}"
          clientSecret: array
          clientAuthentication: body
          scopes: [a, b:c]
          audience: https://array.example.com
    limits: { memory: 100MB, callTimeout: 1min 500ms, concurrency: '${CALLS}', logLines: 0 }
"#;

const TOKEN: &str = "a: {b: [c]} # not yaml\n- ${NODE}";

pub(super) fn full() -> Config {
    load_with(FULL, &[("NODE", "n"), ("TOKEN", TOKEN), ("CALLS", "8"), ("NODE_NAME", "other")]).expect("full")
}

#[test]
fn everything_set() {
    let config = full();
    assert_eq!(config.state_dir, PathBuf::from("/etc/bulkhead/state"));
    assert_eq!(config.node.id, "n-1");
    assert_eq!(config.node.kubelet_root.as_os_str(), "/data/kubelet");
    assert_eq!(config.node.labels, [("example.com/rack".into(), "r1".into()), ("floor".into(), "2".into())].into());
    assert_eq!(config.total_memory_bytes, 2 << 30);
    let driver = &config.drivers[0];
    assert_eq!(
        driver.offer.withheld.iter().map(|i| i.name()).collect::<Vec<_>>(),
        ["listing", "expansion", "health", "health-listing", "storage-health"]
    );
    assert!(driver.offer.withhold_mount_group && !driver.offer.withheld.contains(&Interface::Capacity));
    let limits =
        Limits { memory_bytes: 100_000_000, call_timeout: Duration::from_millis(60_500), concurrency: 8, log_lines: 0 };
    assert_eq!(driver.limits, limits);
    let backend = &driver.backend;
    assert_eq!(backend.source, PathBuf::from("/etc/bulkhead/../lib/full.wasm"));
    let digest = backend.digest.expect("a digest");
    assert_eq!((digest[..4].to_vec(), digest[31]), (vec![0, 0xff, 0xff, 0], 1));
    assert_eq!(backend.digest_at, Some(place(15, 15)));
}

#[test]
fn settings_are_flattened_as_written() {
    let settings = full().drivers[0].backend.config.clone();
    let expected = [
        ("block", "two\nlines\n"),
        ("empty", ""),
        ("on", "yes"),
        ("ratio", "1.50"),
        ("retries", "0x10"),
        ("text", "5"),
        ("tls.verify", "true"),
        ("token", &format!("${{TOKEN}} and {TOKEN}")),
        ("zones.0", "a"),
        ("zones.1.name", "b"),
    ];
    assert_eq!(settings, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    let debug = format!("{:?}", full());
    assert!(!debug.contains("not yaml") && debug.contains("tls.verify"), "{debug}");
}

#[test]
fn modes_of_directories_are_octal() {
    let with_mode = |mode: &str| {
        let pool = format!("grants: {{ pools: {{ a: {{ path: /srv/a, directoryMode: {mode} }} }} }}");
        with("source: a.wasm", &format!("source: a.wasm\n      {pool}"))
    };
    for (text, mode) in [("\"0777\"", 0o777), ("0770", 0o770), ("2775", 0o2775), ("700", 0o700)] {
        let config = load(&with_mode(text)).expect(text);
        assert_eq!(config.drivers[0].backend.grants.pools["a"].directory_mode, Some(mode), "{text}");
    }
    for text in ["0o777", "rwxrwxrwx", "0888", "077", "\"\"", "00777"] {
        let refused = errors_with(&with_mode(text), &[]).concat();
        assert!(refused.contains("pools.a.directoryMode") && refused.contains("octal digits"), "{refused}");
    }
}

#[test]
fn grants() {
    let grants = &full().drivers[0].backend.grants;
    assert_eq!(
        grants.pools["fast"],
        Pool { path: "/srv/fast".into(), copy_limit_bytes: 256 << 20, directory_mode: None, at: place(31, 25) }
    );
    assert_eq!(grants.pools["bulk"].path.as_os_str(), "/etc/bulkhead/bulk");
    assert_eq!(grants.state, Some(StateGrant { quota_bytes: 16 << 20, at: place(33, 16) }));
    assert_eq!(grants.secrets, Some(SecretsGrant { sign: false, reveal: true }));
    assert_eq!(grants.access, ["pool-directory".to_owned(), "pool-image".to_owned()].into());
    assert_eq!(grants.at, place(30, 9));
    let [first, second] = &grants.http[..] else { panic!("two http grants") };
    assert_eq!((first.scheme, first.host.to_string().as_str(), first.port), (Scheme::Https, "api.example.com", 443));
    assert_eq!((first.methods.len(), first.auth.as_deref()), (2, Some("aws")));
    assert_eq!((second.scheme, second.host.to_string().as_str(), second.port), (Scheme::Http, "fd00::1", 8080));
    assert_eq!((second.auth.as_deref(), second.at), (None, place(37, 13)));
}

#[test]
fn who_names_the_node() {
    let id = |env: &[(&str, &str)]| load_with(MINIMAL, env).expect("minimal").node.id;
    assert_eq!(id(&[("NODE_NAME", "from-env")]), "from-env");
    assert_eq!(id(&[("NODE_NAME", "")]), "host-1");
}

#[test]
fn the_downward_api_gives_labels() {
    let text = with("version: 1\n", "version: 1\nnode: { labels: { topology.example.com/zone: \"${ZONE}\" } }\n");
    let labels = load_with(&text, &[("ZONE", "eu-1")]).expect("a label").node.labels;
    assert_eq!(labels, [("topology.example.com/zone".into(), "eu-1".into())].into());
    let key = "2:46: node.labels.topology.example.com/zone:";
    one(&text, &format!("{key} the environment variable ZONE is not set: set it or write the value"));
    let empty = format!("{key} the value of \"${{ZONE}}\" is missing: write 1 to 63 bytes of plain text");
    assert_eq!(errors_with(&text, &[("ZONE", "")]), [empty]);
}

#[test]
fn kubelet_and_probes() {
    let text = with(
        "version: 1\n",
        "version: 1\nnode: { kubeletRoot: /k, registration: true }\nhealth: { endpoint: '[::]:9808' }\n",
    );
    let config = load(&text).expect("both");
    assert!(config.node.registration);
    let socket = config.node.registration_socket(&config.drivers[0].name);
    assert_eq!(socket.as_os_str(), "/k/plugins_registry/a.example.com@reg.sock");
    assert_eq!(config.health, Some(("[::]:9808".parse().expect("an address"), place(3, 21))));
    assert_eq!(load(&text.replace("{ endpoint: '[::]:9808' }", "")).expect("an empty section").health, None);
}

#[test]
fn the_endpoint_of_a_single_driver_may_come_from_outside() {
    let text = with("endpoint: /run/a.sock\n    ", "");
    let config = load_with(&text, &[("CSI_ENDPOINT", "unix:///csi/csi.sock")]).expect("an endpoint");
    assert_eq!(config.drivers[0].endpoint.as_os_str(), "/csi/csi.sock");
    assert_eq!(config.drivers[0].endpoint_at, config.drivers[0].at);
}

#[test]
fn anchors_and_sizes_in_bytes() {
    let text = "version: 1
drivers:
  - name: a
    endpoint: /a
    backend: { source: &wasm a.wasm, config: { n: &n 0o7, m: *n } }
    limits: &limits { memory: 1048576 }
  - { name: b, endpoint: /b, backend: { source: *wasm }, limits: *limits }
";
    let config = load(text).expect("anchors");
    assert_eq!(config.drivers[0].backend.config["m"], "0o7");
    assert_eq!(config.drivers[1].backend.source, config.drivers[0].backend.source);
    assert_eq!(config.drivers[1].limits.memory_bytes, 1 << 20);
}

#[test]
fn empty_sections_are_defaults() {
    let text = with("    backend", "    limits:\n    offer:\n    backend")
        .replace("a.wasm", "a.wasm\n      grants:\n      config:");
    let config = load(&format!("{text}node:\nlimits:\n")).expect("empty sections");
    let minimal = load(MINIMAL).expect("minimal");
    assert_eq!((config.drivers[0].limits, &config.node), (minimal.drivers[0].limits, &minimal.node));
}

#[test]
fn state_is_granted_with_its_size() {
    let state = |text: &str| {
        let text = with("source: a.wasm", &format!("source: a.wasm\n      grants: {{ state: {text} }}"));
        load_with(&text, &[("ON", "true")]).expect("state").drivers[0].backend.grants.state
    };
    let granted = |quota_bytes| Some(StateGrant { quota_bytes, at: place(7, 24) });
    assert_eq!(state("false"), None);
    assert_eq!(state("\"${ON}\""), granted(16 << 20));
    assert_eq!(state("{}"), granted(16 << 20));
    assert_eq!(state("{ quota: 64KiB }"), granted(64 << 10));
    assert_eq!(state("{ quota: 256MiB }"), granted(256 << 20));
}

#[test]
fn snippets_are_accepted() {
    assert_eq!(grant_snippet(["call", "logging", "config", "unknown"]), None);
    let all = grant_snippet(["pools", "state", "secrets", "secrets-sign", "secrets-reveal", "http"]).expect("grants");
    let indented = all.lines().map(|line| format!("\n      {line}")).collect::<String>();
    let config = load(&with("source: a.wasm", &format!("source: a.wasm{indented}"))).expect(&all);
    let grants = &config.drivers[0].backend.grants;
    assert!(
        grants.pools.contains_key("fast")
            && grants.state.is_some()
            && grants.http.len() == 1
            && grants.access.len() == 2
    );
    assert_eq!(grants.secrets, Some(SecretsGrant { sign: true, reveal: true }));
    assert_eq!(grant_snippet(["secrets"]).as_deref(), Some("grants:\n  secrets: []\n"));
    assert_eq!(
        grant_snippet(["pools"]).as_deref(),
        Some("grants:\n  pools:\n    fast: { path: /srv/fast }\n  access: [pool-directory, pool-image]\n")
    );
}

#[test]
fn errors_made_elsewhere_look_the_same() {
    let config = load(MINIMAL).expect("minimal");
    let driver = &config.drivers[0];
    let error =
        config.error(driver.backend.source_at, "drivers[0].backend.source", "is not a component: build it again");
    assert_eq!(
        error.to_string(),
        "/etc/bulkhead/f.yaml:6:15: drivers[0].backend.source: is not a component: build it again"
    );
    assert_eq!(config.locate(driver.backend.grants.at), "/etc/bulkhead/f.yaml:6:7");
}

#[test]
fn no_damage_makes_it_panic() {
    let (mut refused, mut accepted) = (0, 0);
    let mut judge = |text: &str| match load_with(text, &[("NODE", "n"), ("TOKEN", TOKEN), ("CALLS", "8")]) {
        Ok(_) => accepted += 1,
        Err(errors) => {
            refused += 1;
            assert!(!errors.is_empty() && errors.iter().all(|error| !error.to_string().contains('\n')), "{errors:?}");
        }
    };
    for (at, _) in FULL.char_indices().step_by(7) {
        judge(&FULL[..at]);
        for damage in ["", "\t", "\n", "{", "]", ":", "&a ", "*a", "\"", "\0", "\u{feff}", "ä", "${"] {
            judge(&format!("{}{damage}{}", &FULL[..at], &FULL[at + 1..]));
        }
    }
    assert!(refused > 1_000 && accepted > 100, "{refused} refused, {accepted} accepted");
}
