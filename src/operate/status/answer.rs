//! What is answered, from what the main thread has said.

use std::sync::Arc;

use crate::{
    model::status::{ResourceStatus, Status},
    operate::status::{
        http::{self, Code, Kind, Response, Route},
        metrics::{self, Holders},
        page,
    },
};

/// What those who listen hear when there is no news (a comment, in the words of `EventSource`).
pub(super) const HEARTBEAT: &str = ":\n\n";

/// Makes answers.
#[derive(Debug)]
pub(super) struct Renderer {
    holders: Holders,
}

impl Renderer {
    pub(super) fn new(holders: Holders) -> Renderer {
        Renderer { holders }
    }

    /// The answer to one question.
    pub(super) fn response(&self, route: Route, status: &Status) -> Response {
        let (kind, body) = match route {
            Route::Status => (Kind::Json, json(status) + "\n"),
            Route::Events => (Kind::Events, String::new()),
            Route::Feed => (Kind::Lines, String::new()),
            Route::Metrics => (Kind::Metrics, metrics::text(status, self.holders)),
            Route::Page => (Kind::Html, page::html(&json(status))),
            Route::Health => return Response::text(Code::Fine, "ok"),
            Route::Ready => return readiness(status),
        };
        Response { status: Code::Fine, kind, body }
    }

    /// What those are told who listen.
    pub(super) fn news(&self, status: &Status) -> Arc<[u8]> {
        format!("data: {}\n\n", json(status)).into_bytes().into()
    }
}

/// How the answer to those begins who want to listen.
pub(super) fn stream_head(kind: Kind) -> String {
    http::head(Code::Fine, kind, None)
}

/// On one line: what is quoted has no line ends.
fn json(status: &Status) -> String {
    // These types have no way to fail.
    serde_json::to_string(status).unwrap_or_default()
}

/// Whether each resource is offered, and which is not.
fn readiness(status: &Status) -> Response {
    let waits = |it: &&ResourceStatus| !it.is_serving;
    let why = |it: &ResourceStatus| {
        let refusal = it.refusal.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
        format!("{} is not registered, {}{refusal}", it.name, it.state)
    };
    let mut lines: Vec<String> = status.resources.iter().filter(waits).map(why).collect();
    if !status.is_ready {
        lines.push("not all that was found is served yet".to_owned());
    }
    match lines.is_empty() {
        true => Response::text(Code::Fine, "ok"),
        false => Response::text(Code::Unavailable, &lines.join("\n")),
    }
}
