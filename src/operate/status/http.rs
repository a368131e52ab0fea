//! Requests and answers of HTTP/1.1, as far as they are needed: `GET` and `HEAD`, and one answer for each connection.

/// The longest head of a request. Browsers send some 700 bytes, and cookies of other services of the same host.
pub(super) const HEAD_LEN_MAX: usize = 8 * 1024;

/// How many headers a request may have.
const HEADERS_MAX: usize = 64;

/// What may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// All that is known, as JSON.
    Status,
    /// The same whenever it changes, as events.
    Events,
    /// The health of each device, as lines of JSON: all, and then what changes.
    Feed,
    /// The same for Prometheus.
    Metrics,
    /// Whether the daemon lives.
    Health,
    /// Whether each resource is offered.
    Ready,
    /// The page of the node.
    Page,
}

/// A request that is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) route: Route,
    /// Only the head of the answer is wanted.
    pub(super) is_head: bool,
}

/// What has been received so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Not all.
    Part,
    /// All of it.
    Request(Request),
    /// Nothing that can be answered otherwise than so.
    Refused {
        response: Response,
        /// Only the head of the answer is wanted.
        is_head: bool,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: Code,
    pub(super) kind: Kind,
    pub(super) body: String,
}

/// How an answer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// 200
    Fine,
    /// 400
    Malformed,
    /// 404
    Unknown,
    /// 405
    NotAllowed,
    /// 431
    TooLong,
    /// 503
    Unavailable,
}

/// What the body of an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Json,
    Metrics,
    Html,
    Events,
    Lines,
}

/// Understands what was received.
pub(super) fn parse(received: &[u8]) -> Received {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(received) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if received.len() < HEAD_LEN_MAX => return Received::Part,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return refused(Code::TooLong, "the request is too long", false);
        }
        Err(err) => return refused(Code::Malformed, &err.to_string(), false),
    }
    let is_head = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        Some(_) | None => return refused(Code::NotAllowed, "only GET and HEAD", false),
    };
    let path = request.path.unwrap_or_default().split('?').next().unwrap_or_default();
    let route = match path {
        "/status" => Route::Status,
        "/events" => Route::Events,
        "/health" => Route::Feed,
        "/metrics" => Route::Metrics,
        "/healthz" | "/livez" => Route::Health,
        "/readyz" => Route::Ready,
        "/" => Route::Page,
        _ => {
            let what = "there is /, /status, /metrics, /healthz, /readyz, /health and /events";
            return refused(Code::Unknown, what, is_head);
        }
    };
    Received::Request(Request { route, is_head })
}

fn refused(status: Code, text: &str, is_head: bool) -> Received {
    Received::Refused { response: Response::text(status, text), is_head }
}

impl Response {
    /// A line for people.
    pub(super) fn text(status: Code, text: &str) -> Response {
        Response { status, kind: Kind::Text, body: format!("{text}\n") }
    }

    /// What is sent.
    pub(super) fn bytes(&self, is_head: bool) -> Vec<u8> {
        let mut bytes = head(self.status, self.kind, Some(self.body.len())).into_bytes();
        if !is_head {
            bytes.extend_from_slice(self.body.as_bytes());
        }
        bytes
    }
}

/// The head of an answer. Without a length it goes on until the connection ends.
pub(super) fn head(status: Code, kind: Kind, len: Option<usize>) -> String {
    let status = match status {
        Code::Fine => "200 OK",
        Code::Malformed => "400 Bad Request",
        Code::Unknown => "404 Not Found",
        Code::NotAllowed => "405 Method Not Allowed\r\nAllow: GET, HEAD",
        Code::TooLong => "431 Request Header Fields Too Large",
        Code::Unavailable => "503 Service Unavailable",
    };
    let kind = match kind {
        Kind::Text => "text/plain; charset=utf-8",
        Kind::Json => "application/json",
        Kind::Metrics => "text/plain; version=0.0.4; charset=utf-8",
        // The page has all that it needs in itself, and nothing may come from elsewhere.
        Kind::Html => {
            "text/html; charset=utf-8\r\nContent-Security-Policy: default-src 'none'; \
             style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        }
        Kind::Events => "text/event-stream",
        Kind::Lines => "application/jsonl; charset=utf-8",
    };
    let len = len.map(|it| format!("Content-Length: {it}\r\n")).unwrap_or_default();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{len}Cache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(text: &str) -> Option<Route> {
        match parse(text.as_bytes()) {
            Received::Request(it) => Some(it.route),
            Received::Part | Received::Refused { .. } => None,
        }
    }

    fn code(bytes: &[u8]) -> Option<Code> {
        match parse(bytes) {
            Received::Refused { response, .. } => Some(response.status),
            Received::Part | Received::Request(_) => None,
        }
    }

    #[test]
    fn a_request_is_understood_when_it_is_complete() {
        let text = "GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n";
        assert_eq!(route(text), Some(Route::Metrics));
        for end in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..end]), Received::Part, "{end}");
        }
        assert_eq!(route("GET / HTTP/1.0\r\n\r\n"), Some(Route::Page));
        let head = parse(b"HEAD /readyz HTTP/1.1\r\n\r\n");
        assert_eq!(head, Received::Request(Request { route: Route::Ready, is_head: true }));
    }

    #[test]
    fn what_is_no_request_is_refused_and_nothing_panics() {
        assert_eq!(code(b"\x16\x03\x01\x02\x00\x01\x00"), Some(Code::Malformed));
        assert_eq!(code(b"POST / HTTP/1.1\r\n\r\n"), Some(Code::NotAllowed));
        assert_eq!(code(b"GET /etc/passwd HTTP/1.1\r\n\r\n"), Some(Code::Unknown));
        assert_eq!(code(&[b'a'; HEAD_LEN_MAX]), Some(Code::TooLong));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(code(many.as_bytes()), Some(Code::TooLong));
        // Every byte at every place of a request.
        let good = b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n";
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bad = good.to_vec();
                bad[at] = byte;
                drop(parse(&bad));
            }
        }
    }

    #[test]
    fn only_the_head_is_sent_to_whom_asks_for_it() {
        let response = Response::text(Code::Fine, "ok");
        let text = String::from_utf8(response.bytes(false)).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nok\n"),
            "{text}"
        );
        let head = String::from_utf8(response.bytes(true)).unwrap();
        assert!(head.contains("Content-Length: 3\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    }
}
