//! What a callback means for the proxy. Host functions never act on the proxy's flow themselves: they
//! leave an effect, and the embedder acts on it after the callback, as the last thing of its hook.

use wasmdbg_control::ContextId;

/// `proxy_stream_type_t`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamType {
    /// 0
    Request,
    /// 1
    Response,
    /// 2
    Downstream,
    /// 3
    Upstream,
}

/// `proxy_send_local_response`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalResponse {
    /// HTTP status.
    pub status: u32,
    /// For logs; not sent.
    pub details: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
    /// Fields to add.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What shall happen to a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It goes on: the callback returned Continue, or `proxy_continue_stream` was called.
    Continue,
    /// It stays parked until an [`Effect`] for its context says otherwise.
    Pause,
    /// It is answered here. Boxed: actions are moved about in every callback.
    Respond(Box<LocalResponse>),
    /// `proxy_close_stream`: the connection is closed as far as the proxy can.
    Close,
    /// The virtual machine died (in this or another context's callback): the filter's fail policy
    /// applies, and this context gets no further callback.
    Failed,
}

/// Something that a callback (a tick, another transaction's callback, one of the other direction) did to a
/// parked transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The stream context of the parked transaction, in the same virtual machine.
    pub context: ContextId,
    /// The direction that goes on; none: the transaction as a whole, which is answered, closed, failed or over.
    pub stream: Option<StreamType>,
    /// What shall happen; never [`Action::Pause`].
    pub action: Action,
}

/// The result of one entry into a virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// For the context that was called.
    pub action: Action,
    /// For other contexts of the same virtual machine, or the other direction of this one, in the order in
    /// which they were caused.
    pub effects: Vec<Effect>,
}
