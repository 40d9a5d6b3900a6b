//! Kamailio as a member's proxy.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::child::Child;

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
        let file = folder.path().join("kamailio.cfg");
        fs::write(&file, configuration).expect("the folder is ours");
        let mut command = Command::new("kamailio");
        // In the foreground, with little memory.
        command.arg("-f").arg(&file).args(["-DD", "-E", "-m", "32", "-M", "8"]).arg("-Y").arg(folder.path());
        let child = Child::start("kamailio", &mut command, &folder.path().join("log"));
        let mut kamailio = Self { child, _folder: folder };
        let IpAddr::V4(ip) = address.ip() else { panic!("scenarios use IPv4") };
        let entry = format!(" {:08X}:{:04X} ", u32::from(ip).swap_bytes(), address.port());
        crate::until("Kamailio to listen", Duration::from_secs(20), || {
            if let Some(status) = kamailio.child.ended() {
                panic!("Kamailio ended ({status}):\n{}", kamailio.child.last_lines(20));
            }
            fs::read_to_string("/proc/net/udp").ok()?.contains(&entry).then_some(())
        });
        kamailio
    }

    /// What it has printed.
    pub fn printed(&self) -> String {
        self.child.printed()
    }
}
