//! Grants as YAML, ready to paste into a config.

/// The `grants` that a component needs, as YAML without indentation that ends in a newline, or none if it needs none.
/// `imports` are the names of the interfaces that it imports, without package and version (`pools`, `secrets-sign`, `http`, ...);
/// those that need no grant, and unknown ones, are passed over. Paths and hosts in it are examples.
pub fn grant_snippet<'a>(imports: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let (mut pools, mut state, mut secrets, mut sign, mut reveal, mut http) =
        (false, false, false, false, false, false);
    for import in imports {
        match import {
            "pools" => pools = true,
            "state" => state = true,
            "secrets" => secrets = true,
            "secrets-sign" => sign = true,
            "secrets-reveal" => reveal = true,
            "http" => http = true,
            _ => {}
        }
    }
    let mut lines = Vec::new();
    if pools {
        lines.push("  pools:".to_owned());
        lines.push("    fast: { path: /srv/fast }".to_owned());
        lines.push("  access: [pool-directory, pool-image]".to_owned());
    }
    if state {
        lines.push("  state: true".to_owned());
    }
    if secrets || sign || reveal {
        let uses: Vec<_> =
            [(sign, "sign"), (reveal, "reveal")].into_iter().filter_map(|(used, word)| used.then_some(word)).collect();
        lines.push(format!("  secrets: [{}]", uses.join(", ")));
    }
    if http {
        lines.push("  http:".to_owned());
        lines.push("    - { scheme: https, host: storage.example.com, methods: [GET, POST] }".to_owned());
    }
    (!lines.is_empty()).then(|| format!("grants:\n{}\n", lines.join("\n")))
}
