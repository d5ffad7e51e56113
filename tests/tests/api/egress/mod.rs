//! Requests of a backend: a real guest, the host over its socket, servers on loopback.

mod bodies;
mod closed;
mod list;
mod proxy;
mod servers;
mod tls;

use bulkhead_tests::{
    Client, Driver, Host, HostBuilder, Sandbox,
    client::{Use, create_request},
    secrets::plant,
};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};
use tonic::Status;

/// A grant of everything that tests do at this port of `localhost`.
fn localhost(scheme: &str, port: u16) -> String {
    format!("{{ scheme: {scheme}, host: localhost, port: {port}, methods: [GET, POST], addresses: [loopback] }}")
}

/// The backend that sends what a volume's parameters say.
fn caller(requests: impl IntoIterator<Item = String>, http: &str) -> Driver {
    Driver { requests: requests.into_iter().collect(), http: http.to_owned(), ..Driver::plain("caller") }
}

/// A host whose controller serves that driver.
fn serving(sandbox: &Sandbox, driver: Driver) -> Host {
    // What some of the requests carry.
    ["planted-header", "planted-path", "planted-query"].iter().for_each(plant);
    HostBuilder::new(sandbox, [driver]).mode("controller").env("BULKHEAD_LOG", "trace").start()
}

/// Sends one request and gives the volume's context.
async fn ask(client: &Client, parameters: &[(&str, &str)]) -> Result<BTreeMap<String, String>, Status> {
    static NAMES: AtomicUsize = AtomicUsize::new(0);
    let name = format!("request-{}", NAMES.fetch_add(1, SeqCst));
    Ok(client.create(create_request(&name, 1 << 30, Use::Block, parameters)).await?.volume_context)
}

/// What came of one request.
async fn outcome(client: &Client, parameters: &[(&str, &str)]) -> String {
    match ask(client, parameters).await {
        Ok(context) => context["outcome"].clone(),
        Err(status) => panic!("{parameters:?}: {status}"),
    }
}

/// `localhost:PORT`.
fn at(port: u16) -> String {
    format!("localhost:{port}")
}
