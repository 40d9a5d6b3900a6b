//! What the journal says of a call, so that a restarted node can carry it on and its CDR is never lost.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tandem_model::{Cdr, EndpointId, MemberId, Transport};

/// One record of the journal.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Record {
    /// The call is up, in this state. The last one of a call counts.
    Up(Box<UpRecord>),
    /// The call is over.
    Over(Box<Cdr>),
    /// Every call that was up when the segment began stands before this record, so that older segments are
    /// no longer needed for recovery.
    Checkpoint,
}

/// An answered call.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct UpRecord {
    /// Its CDR so far.
    pub(crate) cdr: Cdr,
    /// The leg facing the originating member.
    pub(crate) ingress: LegRecord,
    /// The leg facing the terminating member.
    pub(crate) egress: LegRecord,
}

/// One leg of an answered call.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LegRecord {
    pub(crate) endpoint: EndpointId,
    pub(crate) member: MemberId,
    pub(crate) transport: Transport,
    pub(crate) remote: SocketAddr,
    pub(crate) target: SocketAddr,
    pub(crate) tag: u64,
    #[serde(with = "octets_as_text")]
    pub(crate) call_id: Vec<u8>,
    #[serde(with = "octets_as_text")]
    pub(crate) remote_tag: Vec<u8>,
    #[serde(with = "octets_as_text")]
    pub(crate) local_uri: Vec<u8>,
    #[serde(with = "octets_as_text")]
    pub(crate) remote_uri: Vec<u8>,
    #[serde(with = "octets_as_text")]
    pub(crate) remote_target: Vec<u8>,
    #[serde(with = "octets_as_text")]
    pub(crate) route_set: Vec<u8>,
    pub(crate) local_cseq: u32,
    pub(crate) remote_cseq: Option<u32>,
}

/// SIP octets need not be UTF-8; as text, each octet is the character of the same number (ISO 8859-1).
mod octets_as_text {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        if octets.is_ascii() {
            serializer.serialize_str(std::str::from_utf8(octets).expect("ASCII is UTF-8"))
        } else {
            serializer.collect_str(&octets.iter().map(|&octet| char::from(octet)).collect::<String>())
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.chars()
            .map(|c| u8::try_from(u32::from(c)).map_err(|_| serde::de::Error::custom("not an octet")))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_beyond_ascii_survive_the_journal() {
        #[derive(Serialize, Deserialize)]
        struct Line(#[serde(with = "octets_as_text")] Vec<u8>);
        let octets: Vec<u8> = (0..=255).collect();
        let json = serde_json::to_vec(&Line(octets.clone())).unwrap();
        assert_eq!(serde_json::from_slice::<Line>(&json).unwrap().0, octets);
    }
}
