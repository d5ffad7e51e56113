//! The admin port, for people and for other programs. JSON in, JSON out; it is at 127.0.0.1 and asks for no key.
//!
//! `GET /settings`, `PUT /settings` (only what changes), `POST /plan?action=CreateVolume&fault=lost-reply`, `GET /stats`,
//! `DELETE /stats`.

use crate::{Fault, Form, Settings, proxy::Core};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming as Body};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{convert::Infallible, sync::Arc};
use tokio::net::TcpListener;

pub(crate) async fn serve(listener: TcpListener, core: Arc<Core>) {
    while let Ok((stream, _)) = listener.accept().await {
        let core = core.clone();
        let service = hyper::service::service_fn(move |request| {
            let core = core.clone();
            async move { Ok::<_, Infallible>(respond(&core, request).await) }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn respond(core: &Core, request: Request<Body>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, 1 << 20).collect().await.map(http_body_util::Collected::to_bytes);
    let answer = match body {
        Ok(body) => answer(core, &parts, &body),
        Err(e) => Err((StatusCode::BAD_REQUEST, e.to_string())),
    };
    let (status, value) =
        answer.map_or_else(|(status, why)| (status, json!({ "error": why })), |v| (StatusCode::OK, v));
    let mut response = Response::new(Full::new(format!("{value:#}\n").into()));
    *response.status_mut() = status;
    response
}

fn answer(core: &Core, parts: &http::request::Parts, body: &[u8]) -> Result<Value, (StatusCode, String)> {
    let wrong = |e: &dyn std::fmt::Display| (StatusCode::BAD_REQUEST, e.to_string());
    let settings = |core: &Core| serde_json::to_value(&*core.settings()).map_err(|e| wrong(&e));
    match (&parts.method, parts.uri.path()) {
        (&Method::GET, "/settings") => settings(core),
        (&Method::PUT, "/settings") => {
            let change: Value = serde_json::from_slice(body).map_err(|e| wrong(&e))?;
            let mut all = settings(core)?;
            merge(&mut all, change);
            let new: Settings = serde_json::from_value(all).map_err(|e| wrong(&e))?;
            *core.settings() = new;
            settings(core)
        }
        (&Method::POST, "/plan") => {
            let form = Form::parse(parts.uri.query().unwrap_or_default().as_bytes());
            let fault = json!(form.get("fault").unwrap_or_default());
            let fault: Fault = serde_json::from_value(fault).map_err(|e| wrong(&e))?;
            core.plan(form.get("action").unwrap_or_default(), fault);
            Ok(json!({}))
        }
        (&Method::GET, "/stats") => serde_json::to_value(&*core.stats()).map_err(|e| wrong(&e)),
        (&Method::DELETE, "/stats") => {
            core.stats().reset();
            Ok(json!({}))
        }
        _ => Err((StatusCode::NOT_FOUND, "there are /settings, /plan and /stats".into())),
    }
}

/// Puts what is named into `into`. Maps of faults are replaced whole: what they don't name is not met.
fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                let whole = ["faults", "actions"].contains(&key.as_str());
                match into.get_mut(&key) {
                    Some(old) if !whole => merge(old, value),
                    _ => _ = into.insert(key, value),
                }
            }
        }
        (into, change) => *into = change,
    }
}
