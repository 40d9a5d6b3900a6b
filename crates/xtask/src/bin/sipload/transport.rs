//! How messages travel (RFC 3261 §18), and what they say of it themselves.

/// A transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Transport {
    Udp,
    Tcp,
    Tls,
}

impl Transport {
    /// As `Via` names it.
    pub(crate) fn via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// What a URI that leads here ends with.
    pub(crate) fn parameter(self) -> &'static str {
        match self {
            Self::Udp => "",
            Self::Tcp => ";transport=tcp",
            Self::Tls => ";transport=tls",
        }
    }

    /// Whether a request is sent once only (RFC 3261 §17.1): nothing that was sent is lost.
    pub(crate) fn is_reliable(self) -> bool {
        self != Self::Udp
    }
}
