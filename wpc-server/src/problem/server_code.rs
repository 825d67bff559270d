//! The table of the server's own codes, for requests that it refuses before a call is made, or
//! cannot answer.

use axum::http::StatusCode;

macro_rules! codes {
    ($($variant:ident $code:literal $status:ident $rpc:literal $retry:literal $title:literal $description:literal),+ $(,)?) => {
        /// A problem that is not an error of a call.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum ServerCode { $($variant),+ }

        impl ServerCode {
            /// Every code.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code as text, which never changes between versions.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// The status of a response that reports it.
            pub(crate) const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),+ }
            }

            /// The code of a JSON-RPC error that reports it.
            pub(crate) const fn json_rpc_code(self) -> i32 {
                match self { $(Self::$variant => $rpc),+ }
            }

            /// Whether the same request may succeed later.
            pub(crate) const fn retry_can_help(self) -> bool {
                match self { $(Self::$variant => $retry),+ }
            }

            /// The kind of problem in a few words.
            pub(crate) const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }

            /// What it means, as a sentence.
            pub(crate) const fn description(self) -> &'static str {
                match self { $(Self::$variant => $description),+ }
            }
        }
    };
}

// The variant, its code, HTTP status and JSON-RPC code, whether a retry can help, its title and its description.
codes! {
    BadRequest "bad_request" BAD_REQUEST -32600 false "invalid request"
        "A header, a parameter, the path or the form of the request is invalid.",
    InvalidJson "invalid_json" BAD_REQUEST -32700 false "invalid JSON"
        "The body is not JSON, has a duplicate key, is nested too deeply, or has a number that cannot be represented.",
    Forbidden "forbidden" FORBIDDEN -32007 false "the scope is missing"
        "The client does not have the scope that the request needs.",
    Unauthenticated "unauthenticated" UNAUTHORIZED -32007 false "a valid token is required"
        "The request has no token, or an invalid one.",
    QuotaExceeded "quota_exceeded" TOO_MANY_REQUESTS -32005 true "the quota is used up"
        "The token has used up its quota.",
    NoTokens "no_tokens" NOT_FOUND -32601 false "no tokens"
        "The server has neither a data folder nor a file for tokens.",
    NoCluster "no_cluster" NOT_FOUND -32601 false "no cluster"
        "The server is not part of a cluster.",
    InvalidToken "invalid_token" BAD_REQUEST -32600 false "invalid token"
        "The description of the new token is invalid.",
    NameTaken "name_taken" CONFLICT -32600 false "the name is taken"
        "Another valid token has this name.",
    TokenNotFound "token_not_found" NOT_FOUND -32601 false "the token was not found"
        "No valid token has this id or name.",
    TooManyTokens "too_many_tokens" CONFLICT -32600 false "too many tokens"
        "There are too many valid tokens.",
    ReadOnlyTokens "read_only_tokens" CONFLICT -32600 false "the tokens are in a file"
        "The server reads its tokens from a file and does not change the file.",
    OriginNotAllowed "origin_not_allowed" FORBIDDEN -32007 false "the origin is not allowed"
        "A web page of another origin sent the request, and the server does not accept requests from this origin.",
    NotFound "not_found" NOT_FOUND -32601 false "not found"
        "Nothing exists at the path.",
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED -32600 false "the method is not allowed"
        "The path does not support the method; the header `Allow` lists those that it supports.",
    NotAcceptable "not_acceptable" NOT_ACCEPTABLE -32600 false "the accepted types are not supported"
        "The header `Accept` lists no type in which the response can be written.",
    RevisionNotFound "revision_not_found" NOT_FOUND -32601 false "the revision does not exist"
        "No revision has this number.",
    ConstantNotFound "constant_not_found" NOT_FOUND -32601 false "the constant does not exist"
        "The active revision has no constant of this name.",
    ModuleNotFound "module_not_found" NOT_FOUND -32601 false "the module does not exist"
        "No module with this SHA-256 is stored.",
    RequestTimeout "request_timeout" REQUEST_TIMEOUT -32600 true "the request timed out"
        "The headers or the body of the request arrived too slowly.",
    IdempotencyInFlight "idempotency_in_flight" CONFLICT -32600 true "the first request is in progress"
        "A request with the same idempotency key is in progress. Repeat the request later to get its response.",
    IdempotencyAnswerDropped "idempotency_answer_dropped" CONFLICT -32600 false "the response was not kept"
        "The call of the first request with this idempotency key has ended, but its response was too large to be kept.",
    NoDataFolder "no_data_folder" CONFLICT -32600 false "the server has no data folder"
        "Deployments need a data folder, and the server was started without one, or is a node of a cluster, whose registry has them.",
    RevisionConflict "revision_conflict" CONFLICT -32600 false "another revision is active"
        "The active revision is not the one that the client expects.",
    NothingToRollBack "nothing_to_roll_back" CONFLICT -32600 false "there is nothing to roll back to"
        "No revision was active before.",
    ManifestTooLarge "manifest_too_large" PAYLOAD_TOO_LARGE -32600 false "the manifest is too large"
        "The manifest is larger than the server accepts.",
    UploadIncomplete "upload_incomplete" BAD_REQUEST -32600 true "the upload is incomplete"
        "The module did not arrive completely, or arrived too slowly (408). Nothing was stored.",
    HeadersTooLarge "headers_too_large" REQUEST_HEADER_FIELDS_TOO_LARGE -32600 false "the headers are too large"
        "The line and headers of the request are larger than the server accepts (431), or its path and query are (414).",
    BodyTooLarge "body_too_large" PAYLOAD_TOO_LARGE -32600 false "the body is too large"
        "The body is larger than the server accepts.",
    BatchTooLong "batch_too_long" PAYLOAD_TOO_LARGE -32600 false "the batch is too long"
        "The JSON-RPC batch has more requests than the server accepts; none of them was run.",
    UnsupportedMediaType "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE -32600 false "the content type is not supported"
        "The header `Content-Type` names a type that the path does not accept.",
    HostNotAllowed "host_not_allowed" MISDIRECTED_REQUEST -32600 false "the host is not allowed"
        "The header `Host` names another server.",
    DeploymentRefused "deployment_refused" UNPROCESSABLE_ENTITY -32002 false "the deployment is refused"
        "The manifest or one of its modules has problems, which `problems` lists.",
    ModulesMissing "modules_missing" UNPROCESSABLE_ENTITY -32002 false "modules were not uploaded"
        "The manifest names modules that were not uploaded, which `missing` lists.",
    ModuleRefused "module_refused" UNPROCESSABLE_ENTITY -32002 false "the module cannot be used"
        "The module cannot be stored or served.",
    IdempotencyMismatch "idempotency_mismatch" UNPROCESSABLE_ENTITY -32600 false "the key was used for another request"
        "The idempotency key was used for a request with another body, content type, query, pin or response format.",
    UpgradeRequired "upgrade_required" UPGRADE_REQUIRED -32600 false "a WebSocket upgrade is required"
        "A GET request to the path must be a WebSocket handshake.",
    Internal "internal" INTERNAL_SERVER_ERROR -32603 true "internal error"
        "The server failed to process the request.",
    StoreFailed "store_failed" INTERNAL_SERVER_ERROR -32603 true "the store failed"
        "The data folder failed; the server's log has the reason.",
    DiskFull "disk_full" INSUFFICIENT_STORAGE -32603 true "the disk is full"
        "The disk of the data folder is full.",
    MetricsFailed "metrics_failed" INTERNAL_SERVER_ERROR -32603 true "the metrics cannot be read"
        "The metrics cannot be read.",
    BatchResultTooLarge "batch_result_too_large" INSUFFICIENT_STORAGE -32603 false "the results of the batch are too large"
        "The function has run, but the results of its batch are larger than the server accepts.",
    Overloaded "overloaded" SERVICE_UNAVAILABLE -32005 true "the server is overloaded"
        "The server has too many connections or requests in progress, or their bodies take too much memory.",
    TooManyUploads "too_many_uploads" SERVICE_UNAVAILABLE -32005 true "too many uploads"
        "Too many modules are being uploaded.",
    TooManyWatchers "too_many_watchers" SERVICE_UNAVAILABLE -32005 true "too many watchers"
        "Too many clients watch the live page or its data, or follow the events.",
    FunctionNotServed "function_not_served" SERVICE_UNAVAILABLE -32005 true "the function is not served"
        "The active revision has the function, but the server refused it at its start or at a reload: `GET /v1/deployment` has the reason.",
    Draining "draining" SERVICE_UNAVAILABLE -32005 true "the server is draining"
        "An operator drains the server: it finishes the calls in progress and accepts no new ones.",
    Stopping "stopping" SERVICE_UNAVAILABLE -32005 true "the server is stopping"
        "The server is stopping.",
    IdempotencyStoreFull "idempotency_store_full" SERVICE_UNAVAILABLE -32005 true "too many idempotency keys are in use"
        "Too many requests with idempotency keys are in progress.",
}
