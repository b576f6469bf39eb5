//! What the browser SDKs ask for before they send: which destinations run in the browser (none), and
//! where events go (here).

use actix_web::http::header::HeaderMap;
use serde::Serialize;
use serde_json::{Value, json};

use super::credentials::{Credentials, Keyring};
use super::query::Query;
use super::{IngestError, Intake};
use crate::config::Secret;

/// The settings of analytics.js: events go to `host`, by the protocol by which this was asked.
///
/// # Errors
/// The key belongs to no source.
pub(super) fn segment_settings(
    intake: &Intake,
    key: &str,
    host: &str,
    scheme: &str,
) -> Result<impl Serialize + use<>, IngestError> {
    let mut credentials = Credentials::default();
    credentials.add_key(key);
    intake.keyring.source_of(&credentials).ok_or_else(|| Keyring::no_key(&credentials))?;
    Ok(json!({
        "integrations": {
            "Segment.io": { "apiKey": key, "apiHost": format!("{host}/v1"), "protocol": scheme },
        },
    }))
}

/// The source of RudderStack's SDKs: enabled, without destinations of its own in the browser, and
/// without reports about the SDK itself.
///
/// # Errors
/// The request brings no key of any source.
pub(super) fn source_config(
    intake: &Intake,
    headers: &HeaderMap,
    query: &Query,
) -> Result<Value, IngestError> {
    let credentials = Credentials::read(headers, query);
    let at = intake.keyring.source_of(&credentials).ok_or_else(|| Keyring::no_key(&credentials))?;
    let source = &intake.config.source[at];
    let key = Keyring::key_of(source, &credentials).map(Secret::expose);
    let now = intake.clock.now().to_string();
    let quiet = json!({ "enabled": false });
    Ok(json!({
        "source": {
            "id": source.name,
            "name": source.name,
            "writeKey": key,
            "enabled": true,
            "workspaceId": "segue",
            "config": { "statsCollection": { "errors": quiet, "metrics": quiet } },
            "destinations": [],
            "dataplanes": {},
            "updatedAt": now,
        },
        "updatedAt": now,
    }))
}
