//! Kamailio, by any configuration.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::child::{Child, Signal};
use crate::until;

/// A Kamailio that is running.
#[derive(Debug)]
pub struct Kamailio {
    child: Child,
    _folder: TempDir,
}

impl Kamailio {
    /// Runs `configuration` as it is, which listens at `address` by UDP.
    pub fn start(configuration: &str, address: SocketAddr) -> Self {
        let folder = TempDir::with_prefix("tandem-kamailio-").expect("a temporary folder");
        let IpAddr::V4(ip) = address.ip() else { panic!("scenarios use IPv4") };
        let entry = format!(" {:08X}:{:04X} ", u32::from(ip).swap_bytes(), address.port());
        Self::within(folder, configuration, || {
            fs::read_to_string("/proc/net/udp").is_ok_and(|sockets| sockets.contains(&entry))
        })
    }

    /// Runs it in a folder that has what the configuration names, and waits until `is_listening`.
    pub(crate) fn within(folder: TempDir, configuration: &str, is_listening: impl Fn() -> bool) -> Self {
        let file = folder.path().join("kamailio.cfg");
        fs::write(&file, configuration).expect("the folder is ours");
        let mut command = Command::new("kamailio");
        // In the foreground, with little memory.
        command.arg("-f").arg(&file).args(["-DD", "-E", "-m", "32", "-M", "8"]);
        command.arg("-Y").arg(folder.path()).arg("-P").arg(folder.path().join("pid"));
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin"));
        let mut child = Child::start("kamailio", &mut command, &folder.path().join("log"));
        until("Kamailio to listen", Duration::from_secs(20), || {
            if let Some(status) = child.ended() {
                panic!("Kamailio ended ({status}):\n{}", child.last_lines(20));
            }
            is_listening().then_some(())
        });
        Self { child, _folder: folder }
    }

    /// What it has printed.
    pub fn printed(&self) -> String {
        self.child.printed()
    }

    /// What it has printed last.
    pub fn last_lines(&self) -> String {
        self.child.last_lines(30)
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // Its processes end with their parent.
        self.child.signal(Signal::Terminate);
        self.child.ends_within(Duration::from_secs(10));
    }
}
