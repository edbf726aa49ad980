//! The version of the protocol, and what is said where two sides differ.

/// The version this build speaks. A peer with another one is refused with a message that says
/// which side to upgrade.
pub const PROTOCOL_VERSION: u32 = 1;

/// A side of a connection, for [`version_mismatch`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side<'a> {
    /// Named by [`Hello::client`](crate::messages::session::Hello::client).
    Client(&'a str),
    /// By its version, [`Welcome::plugin`](crate::messages::session::Welcome::plugin).
    Plugin(&'a str),
}

/// Who must be upgraded when two sides speak different versions: the one with the older protocol.
pub(crate) fn version_mismatch(one: Side<'_>, one_speaks: u32, other: Side<'_>, other_speaks: u32) -> String {
    let name = |peer| match peer {
        Side::Client(name) => format!("the client ({name})"),
        Side::Plugin(version) => format!("the plugin in the proxy (wasmdbg.so {version})"),
    };
    let older = if one_speaks < other_speaks { one } else { other };
    let advice = match older {
        Side::Client(_) => "upgrade the client, or use the one that was installed with the plugin",
        Side::Plugin(_) => "upgrade wasmdbg.so and restart the proxy, or use the client installed with it",
    };
    format!(
        "{} speaks version {one_speaks} of the control protocol and {} version {other_speaks}: {advice}",
        name(one),
        name(other)
    )
}
