//! The settings of each kind of switch, and why they are so.

use serde::{Deserialize, Serialize};

use super::{
    CallingForm, DiversionField, DiversionPolicy, HeaderPolicy, IdentityField, IdentityPolicy, NumberForm,
    NumberPolicy, OwnHost, Settings,
};

/// A kind of switch whose settings are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Nothing is adapted.
    #[default]
    Neutral,
    /// Asterisk with PJSIP.
    Asterisk,
    /// FreeSWITCH.
    Freeswitch,
    /// Kamailio.
    Kamailio,
    /// OpenSIPS.
    Opensips,
    /// Cisco Unified Border Element.
    CiscoCube,
    /// Microsoft Teams Direct Routing.
    Teams,
    /// Anything that follows SIPconnect 2.0.
    Sipconnect,
}

impl Profile {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 8] = [
        Self::Neutral,
        Self::Asterisk,
        Self::Freeswitch,
        Self::Kamailio,
        Self::Opensips,
        Self::CiscoCube,
        Self::Teams,
        Self::Sipconnect,
    ];

    /// Its name as people know it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Neutral => "Neutral",
            Self::Asterisk => "Asterisk (PJSIP)",
            Self::Freeswitch => "FreeSWITCH",
            Self::Kamailio => "Kamailio",
            Self::Opensips => "OpenSIPS",
            Self::CiscoCube => "Cisco CUBE",
            Self::Teams => "Microsoft Teams Direct Routing",
            Self::Sipconnect => "SIPconnect 2.0",
        }
    }

    /// What it does, and why that suits the switch.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Neutral => {
                "Nothing is adapted: called numbers are E.164 with + and user=phone, and what the other member \
                 says about the caller crosses as it came, with the hub's host in place of the member's."
            }
            Self::Asterisk => {
                "E.164 with +, so that one dial plan pattern (_+X.) takes every call. The caller is in \
                 P-Asserted-Identity, which PJSIP reads with trust_id_inbound and writes with send_pai; who \
                 diverted the call is in Diversion, which PJSIP shows as REDIRECTING()."
            }
            Self::Freeswitch => {
                "E.164 with +. The caller is in Remote-Party-ID, which Sofia reads and writes unless told \
                 otherwise (sip_cid_type); P-Asserted-Identity of another member is rewritten to it. Who diverted \
                 the call is in Diversion."
            }
            Self::Kamailio => {
                "E.164 with + and user=phone; the caller is in P-Asserted-Identity ($ai), and who diverted the \
                 call in Diversion ($di), which a script can read without a module."
            }
            Self::Opensips => {
                "E.164 with + and user=phone; the caller is in P-Asserted-Identity ($ai), and who diverted the \
                 call in Diversion ($di)."
            }
            Self::CiscoCube => {
                "Digits without +, as dial peers match digits, and no user=phone. The caller is in \
                 Remote-Party-ID, which CUBE reads and writes until \"asserted-id pai\" is configured; who \
                 diverted the call is in Diversion."
            }
            Self::Teams => {
                "E.164 with + and user=phone in every field, which Direct Routing demands; the caller is in \
                 P-Asserted-Identity, with Privacy: id where it is withheld, and who diverted the call in \
                 History-Info. Contact has the exchange's host name, which Direct Routing knows it by: the \
                 listener's public_name."
            }
            Self::Sipconnect => {
                "The SIP Forum's profile, for any other switch: E.164 with + and user=phone in every field, the \
                 caller in P-Asserted-Identity, withheld by Privacy: id; who diverted the call is in both \
                 History-Info and Diversion, as switches know one or the other."
            }
        }
    }

    /// Its settings.
    pub(super) fn settings(self) -> Settings {
        let told = |identity, diversion| Settings {
            numbers: NumberPolicy { calling: CallingForm::Converted, ..NumberPolicy::default() },
            identity: IdentityPolicy { write: identity, ..IdentityPolicy::default() },
            diversion: DiversionPolicy { write: diversion },
            ..Settings::default()
        };
        match self {
            Self::Neutral => Settings::default(),
            Self::Asterisk | Self::Kamailio | Self::Opensips => {
                told(IdentityField::PAssertedIdentity, DiversionField::Diversion)
            }
            Self::Freeswitch => told(IdentityField::RemotePartyId, DiversionField::Diversion),
            Self::CiscoCube => {
                let settings = told(IdentityField::RemotePartyId, DiversionField::Diversion);
                let numbers = NumberPolicy { form: NumberForm::Plain, user_phone: false, ..settings.numbers };
                Settings { numbers, ..settings }
            }
            Self::Teams => {
                let settings = told(IdentityField::PAssertedIdentity, DiversionField::HistoryInfo);
                let headers = HeaderPolicy { own_host: OwnHost::Name, ..settings.headers };
                Settings { headers, ..settings }
            }
            Self::Sipconnect => told(IdentityField::PAssertedIdentity, DiversionField::Both),
        }
    }
}
