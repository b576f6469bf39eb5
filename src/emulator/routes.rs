//! Which call a method and a path mean.
//!
//! A path is taken apart before it is decoded, so that an encoded slash stays part of an id.

use percent_encoding::percent_decode_str;

/// Where a request goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Route {
    Identify(String),
    Delete(String),
    Event(String),
    AnonymousEvent,
    AddDevice(String),
    DeleteDevice(String, String),
    Suppress(String),
    Unsuppress(String),
    Merge,
    Metrics,
    PushEvents,
    Form(String),
    Segment {
        remove: bool,
    },
    Region,
    Entity,
    Batch,
    /// Everything under `/emulator`, which is not Customer.io's.
    View(Vec<String>),
}

impl Route {
    /// Whether the specification lets anybody call it: `security: []`.
    pub(super) fn is_public(&self) -> bool {
        matches!(self, Self::Metrics | Self::PushEvents)
    }

    /// Whether it belongs to Track v2, which has another shape of errors.
    pub(super) fn is_v2(&self) -> bool {
        matches!(self, Self::Entity | Self::Batch)
    }
}

/// Why a request has no route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NoRoute {
    /// Nothing is there: 404.
    UnknownPath,
    /// Something is there, with another method: 405.
    WrongMethod,
}

/// Finds the route of a request.
pub(super) fn find(method: &str, path: &str) -> Result<Route, NoRoute> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let segments: Vec<String> = path
        .strip_prefix('/')
        .unwrap_or(path)
        .split('/')
        .map(decode)
        .collect::<Option<_>>()
        .ok_or(NoRoute::UnknownPath)?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let ["emulator", rest @ ..] = segments.as_slice() {
        let rest = rest.iter().filter(|part| !part.is_empty()).map(|part| (*part).into());
        return Ok(Route::View(rest.collect()));
    }
    let (wanted, route) = known(&segments, method).ok_or(NoRoute::UnknownPath)?;
    if wanted == method { Ok(route) } else { Err(NoRoute::WrongMethod) }
}

fn known(segments: &[&str], method: &str) -> Option<(&'static str, Route)> {
    let own = |text: &str| text.to_owned();
    let found = match segments {
        ["api", "v1", "customers", who] if is_id(who) && method == "DELETE" => {
            ("DELETE", Route::Delete(own(who)))
        }
        ["api", "v1", "customers", who] if is_id(who) => ("PUT", Route::Identify(own(who))),
        ["api", "v1", "customers", who, "events"] if is_id(who) => ("POST", Route::Event(own(who))),
        ["api", "v1", "customers", who, "devices"] if is_id(who) => {
            ("PUT", Route::AddDevice(own(who)))
        }
        ["api", "v1", "customers", who, "devices", token] if is_id(who) && is_id(token) => {
            ("DELETE", Route::DeleteDevice(own(who), own(token)))
        }
        ["api", "v1", "customers", who, "suppress"] if is_id(who) => {
            ("POST", Route::Suppress(own(who)))
        }
        ["api", "v1", "customers", who, "unsuppress"] if is_id(who) => {
            ("POST", Route::Unsuppress(own(who)))
        }
        ["api", "v1", "events"] => ("POST", Route::AnonymousEvent),
        ["api", "v1", "merge_customers"] => ("POST", Route::Merge),
        ["api", "v1", "metrics"] => ("POST", Route::Metrics),
        ["api", "v1", "push", "events"] => ("POST", Route::PushEvents),
        ["api", "v1", "forms", form, "submit"] if is_id(form) => ("POST", Route::Form(own(form))),
        ["api", "v1", "segments", segment, "add_customers"] if is_id(segment) => {
            ("POST", Route::Segment { remove: false })
        }
        ["api", "v1", "segments", segment, "remove_customers"] if is_id(segment) => {
            ("POST", Route::Segment { remove: true })
        }
        ["api", "v1", "accounts", "region"] => ("GET", Route::Region),
        ["api", "v2", "entity"] => ("POST", Route::Entity),
        ["api", "v2", "batch"] => ("POST", Route::Batch),
        _ => return None,
    };
    Some(found)
}

/// Dots alone change the address on the way to a real server.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text != "." && text != ".."
}

fn decode(segment: &str) -> Option<String> {
    percent_decode_str(segment).decode_utf8().ok().map(Into::into)
}

/// The value of a parameter of the query.
pub(super) fn query(path: &str, name: &str) -> Option<String> {
    let query = path.split('#').next()?.split_once('?')?.1;
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| decode(&value.replace('+', " "))).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_apart_before_it_is_decoded() {
        let table = [
            ("PUT", "/api/v1/customers/a%2Fb", Ok(Route::Identify("a/b".into()))),
            (
                "DELETE",
                "/api/v1/customers/ann%40example.com",
                Ok(Route::Delete("ann@example.com".into())),
            ),
            ("POST", "/api/v1/customers/u1/events?x=1", Ok(Route::Event("u1".into()))),
            (
                "DELETE",
                "/api/v1/customers/u1/devices/a%3Ab%20c",
                Ok(Route::DeleteDevice("u1".into(), "a:b c".into())),
            ),
            ("POST", "/api/v2/batch", Ok(Route::Batch)),
            ("GET", "/api/v2/batch", Err(NoRoute::WrongMethod)),
            ("POST", "/api/v1/customers/u1", Err(NoRoute::WrongMethod)),
            ("PUT", "/api/v1/customers/", Err(NoRoute::UnknownPath)),
            ("PUT", "/api/v1/customers/..", Err(NoRoute::UnknownPath)),
            ("PUT", "/api/v1/customers/%FF", Err(NoRoute::UnknownPath)),
            ("GET", "/emulator/people/a%40b", Ok(Route::View(vec!["people".into(), "a@b".into()]))),
            ("GET", "/emulator/", Ok(Route::View(vec![]))),
            ("GET", "/", Err(NoRoute::UnknownPath)),
        ];
        for (method, path, expected) in table {
            assert_eq!(find(method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_parameter_is_read_from_the_query() {
        assert_eq!(query("/x?since=4&a=b%20c+d", "a").as_deref(), Some("b c d"));
        assert_eq!(query("/x?since=4", "limit"), None);
    }
}
