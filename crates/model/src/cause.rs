//! Why one leg of a call ended, in the numbers of SIP and of ITU-T Q.850, and how the two map (RFC 3398).

use serde::{Deserialize, Serialize};

/// Q.850: the call was cleared because one of its users wished so.
const NORMAL_CLEARING: u8 = 16;

/// Q.850: what happened has no number there.
const INTERWORKING: u8 = 127;

/// Why a leg ended, as its messages said or as it follows from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cause {
    /// A status code of SIP (RFC 3261 §21).
    pub sip: Option<u16>,
    /// A cause value of ITU-T Q.850.
    pub q850: Option<u8>,
}

impl Cause {
    /// A status code, without a word of Q.850.
    pub fn of_status(status: u16) -> Self {
        Self { sip: Some(status), q850: None }
    }

    /// The cause with what is missing filled in: from its other half, and where nothing was said from the final status
    /// of the leg. A leg that had no failure was cleared by one of its users.
    #[must_use]
    pub fn completed(self, status: Option<u16>) -> Self {
        let sip = self.sip.or(status).or_else(|| self.q850.and_then(sip_of));
        let q850 = self.q850.or_else(|| sip.map_or(Some(NORMAL_CLEARING), q850_of));
        Self { sip, q850 }
    }
}

/// The Q.850 cause of a failure's status (RFC 3398 §8.2.6.1); `None` for what is no failure.
fn q850_of(status: u16) -> Option<u8> {
    Some(match status {
        ..300 => return None,
        404 | 485 | 604 => 1,
        486 | 600 => 17,
        480 => 18,
        401..=403 | 407 | 603 => 21,
        410 => 22,
        482 | 483 => 25,
        484 => 28,
        502 => 38,
        400 | 481 | 500 | 503 => 41,
        405 => 63,
        406 | 415 | 501 => 79,
        408 | 504 => 102,
        // The caller gave up (§8.2.3: CANCEL becomes REL with cause 16).
        487 => NORMAL_CLEARING,
        _ => INTERWORKING,
    })
}

/// The status of a Q.850 cause (RFC 3398 §7.2.4.1); `None` for what is no failure.
fn sip_of(cause: u8) -> Option<u16> {
    Some(match cause {
        NORMAL_CLEARING => return None,
        1..=3 | 26 => 404,
        17 => 486,
        18 => 408,
        19 | 20 | 31 => 480,
        21 | 55 | 57 | 87 => 403,
        22 | 23 => 410,
        27 => 502,
        28 => 484,
        29 | 79 => 501,
        34 | 38 | 41 | 42 | 47 | 58 | 88 => 503,
        65 | 70 => 488,
        102 => 504,
        _ => 500,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_stays_and_what_was_not_follows_from_it() {
        let table = [
            ((None, None), None, (None, Some(16))),
            ((None, None), Some(486), (Some(486), Some(17))),
            ((None, None), Some(408), (Some(408), Some(102))),
            ((None, None), Some(487), (Some(487), Some(16))),
            ((None, Some(34)), Some(486), (Some(486), Some(34))),
            ((None, Some(34)), None, (Some(503), Some(34))),
            ((None, Some(16)), None, (None, Some(16))),
            ((Some(200), None), None, (Some(200), None)),
            ((Some(404), Some(3)), Some(503), (Some(404), Some(3))),
        ];
        for ((sip, q850), status, (all_sip, all_q850)) in table {
            let completed = Cause { sip, q850 }.completed(status);
            assert_eq!(completed, Cause { sip: all_sip, q850: all_q850 }, "{sip:?} {q850:?} {status:?}");
        }
    }
}
