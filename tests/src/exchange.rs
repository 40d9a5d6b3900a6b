//! An exchange as `tandem apply` reads it, put together for a scenario.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// Members and agreements, as TOML.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    text: String,
}

/// One endpoint of a member.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// Who sends as it; nobody, or whoever `more` says, where there is none.
    pub source: Option<IpAddr>,
    /// Where calls for it go.
    pub target: String,
    /// Lower is tried first.
    pub priority: u16,
    /// Most calls up at once.
    pub max_calls: Option<u32>,
    /// Most new calls a second.
    pub max_calls_per_second: Option<u32>,
    /// Further keys of the endpoint, as lines of TOML; tables come last.
    pub more: String,
}

impl Endpoint {
    /// An endpoint that sends from `source` and takes calls at `target`, without limits.
    pub fn new(name: &str, source: IpAddr, target: &str) -> Self {
        let (name, target) = (name.to_owned(), target.to_owned());
        Self {
            name,
            source: Some(source),
            target,
            priority: 1,
            max_calls: None,
            max_calls_per_second: None,
            more: String::new(),
        }
    }

    /// An endpoint that only sends: nothing answers at its target.
    pub fn sender(name: &str, source: IpAddr) -> Self {
        Self::new(name, source, &format!("sip:{};transport=udp", SocketAddr::new(source, 5060)))
    }
}

impl Exchange {
    /// An exchange in which `acme` calls, with one endpoint that sends from `caller`, and `globex` has
    /// `endpoints` and announces [`PREFIX`] at all of them, if there are any; with an agreement between the two.
    pub fn of_two(caller: IpAddr, endpoints: &[Endpoint]) -> Self {
        let prefixes: &[&str] = if endpoints.is_empty() { &[] } else { &[PREFIX] };
        Self::default()
            .member("acme", &[Endpoint::sender("acme-1", caller)], &[])
            .member("globex", endpoints, prefixes)
            .agreement("acme", "globex")
    }

    /// A member with endpoints, which announces prefixes of verified ranges at all of them.
    #[must_use]
    pub fn member(mut self, name: &str, endpoints: &[Endpoint], prefixes: &[&str]) -> Self {
        let text = &mut self.text;
        writeln!(text, "\n[[member]]\nname = \"{name}\"").expect("a String takes all");
        for endpoint in endpoints {
            let Endpoint { name, source, target, priority, max_calls, max_calls_per_second, more } = endpoint;
            writeln!(
                text,
                "[[member.endpoint]]\nname = \"{name}\"\ntarget = \"{target}\"\npriority = {priority}"
            )
            .expect("a String takes all");
            if let Some(source) = source {
                writeln!(text, "source = [\"{source}\"]").expect("a String takes all");
            }
            for (key, limit) in [("max_calls", max_calls), ("max_calls_per_second", max_calls_per_second)] {
                if let Some(limit) = limit {
                    writeln!(text, "{key} = {limit}").expect("a String takes all");
                }
            }
            writeln!(text, "{more}").expect("a String takes all");
        }
        let names: Vec<String> = endpoints.iter().map(|endpoint| format!("\"{}\"", endpoint.name)).collect();
        for prefix in prefixes {
            self = self.range(prefix, "valid").announcement(prefix, &names.join(", "));
        }
        self
    }

    /// More of the last member, or another one, as the file has it.
    #[must_use]
    pub fn and(mut self, toml: &str) -> Self {
        writeln!(self.text, "{toml}").expect("a String takes all");
        self
    }

    /// A range of the last member.
    #[must_use]
    pub fn range(mut self, prefix: &str, authority: &str) -> Self {
        writeln!(self.text, "[[member.range]]\nprefix = \"{prefix}\"\nauthority = \"{authority}\"")
            .expect("a String takes all");
        self
    }

    /// An announcement of the last member, at quoted names of endpoints.
    #[must_use]
    pub fn announcement(mut self, prefix: &str, endpoints: &str) -> Self {
        writeln!(self.text, "[[member.announcement]]\nprefix = \"{prefix}\"\nendpoints = [{endpoints}]")
            .expect("a String takes all");
        self
    }

    /// An agreement: each may call the other.
    #[must_use]
    pub fn agreement(mut self, one: &str, other: &str) -> Self {
        writeln!(self.text, "\n[[agreement]]\nmembers = [\"{one}\", \"{other}\"]")
            .expect("a String takes all");
        self
    }

    /// The file.
    pub fn toml(&self) -> &str {
        &self.text
    }
}

/// What `globex` announces in [`Exchange::of_two`].
pub const PREFIX: &str = "+44207946";

/// A number under [`PREFIX`].
pub const CALLED: &str = "+442079460000";
